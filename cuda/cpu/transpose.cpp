// y[b][c][r] = x[b][r][c] on the CPU.
//
// A plain double loop reads along rows and writes down columns, and a column of a large matrix touches a new cache line (and
// often a new page) with each element. So the matrix is walked in square blocks: the BLOCK lines read and the BLOCK lines
// written fit the L1 cache together, and each is used whole. Threads share out the blocks.
#include <algorithm>
#include <cstring>

#include "../runtime.h"
#include "threads.h"

using namespace cdn;

namespace {

constexpr int64_t BLOCK = 32;           // side of a block in elements
constexpr int64_t GRAIN_ELEMENTS = 32768;  // a piece for a thread

template <class T>
void transpose_block(T* y, const T* x, int64_t rows, int64_t cols, int64_t height, int64_t width) {
  for (int64_t c = 0; c < width; c++)
    for (int64_t r = 0; r < height; r++) y[c * rows + r] = x[r * cols + c];
}

template <class T>
void transpose(T* y, const T* x, int64_t batch, int64_t rows, int64_t cols) {
  int64_t down = (rows + BLOCK - 1) / BLOCK, across = (cols + BLOCK - 1) / BLOCK;
  int64_t grain = std::max<int64_t>(1, GRAIN_ELEMENTS / (std::min(rows, BLOCK) * std::min(cols, BLOCK)));
  parallel_for(batch * down * across, grain, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      int64_t c = i % across * BLOCK, r = i / across % down * BLOCK, at = i / across / down * rows * cols;
      transpose_block(y + at + c * rows + r, x + at + r * cols + c, rows, cols, std::min(BLOCK, rows - r), std::min(BLOCK, cols - c));
    }
  });
}

}  // namespace

CDN_API int32_t cdn_transpose(uint32_t y, uint32_t x, int64_t batch, int64_t rows, int64_t cols, int32_t dtype) {
  return run("cdn_transpose", [&](Call& call) {
    int64_t n = checked_product("batch, rows, cols", batch, rows, cols);
    auto typed = [&](auto zero) {
      using T = decltype(zero);
      T* to = call.out<T>(y, "y", n);
      const T* from = call.in<T>(x, "x", n);
      if (n) transpose(to, from, batch, rows, cols);
    };
    switch (dtype_bytes(dtype)) {  // bits move, whatever they mean
      case 1: return typed(uint8_t{});
      case 4: return typed(uint32_t{});
      default: return typed(uint64_t{});
    }
  });
}
