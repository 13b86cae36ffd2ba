// y[b][c][r] = x[b][r][c] on the CPU.
//
// A plain double loop reads along rows and writes down columns, and a column of a large matrix
// touches another cache line, and often another page, with each element. So the matrix is walked in
// blocks one cache line wide and high: each is read in whole lines, transposed in registers,
// gathered in a small buffer (lines of y that lie a power of two apart would evict each other half
// written) and written in whole lines. Threads share out patches of blocks, small enough that the
// pages of one stay in the TLB.
#include <algorithm>
#include <cstring>

#include "kernel/drivers.h"
#include "cpu/device/threads.h"
#include "cpu/kernel/square.h"

using namespace cdn;

namespace {

constexpr int64_t LINE_BYTES = 64;
constexpr int64_t PATCH_BLOCKS = 8;          // side of a patch in blocks
constexpr int64_t GRAIN_ELEMENTS = 1 << 16;  // fewer are not worth another thread

// Parts of blocks, at the edges of a matrix.
template <class T>
void transpose_edge(T* y, const T* x, int64_t rows, int64_t cols, int64_t height, int64_t width) {
  for (int64_t c = 0; c < width; c++)
    for (int64_t r = 0; r < height; r++) y[c * rows + r] = x[r * cols + c];
}

template <class T> void transpose_block(T* y, const T* x, int64_t rows, int64_t cols) {
  constexpr int64_t LINE = LINE_BYTES / sizeof(T);
  alignas(LINE_BYTES) T block[LINE * LINE];
  for (int64_t r = 0; r < LINE; r += SIDE<T>)
    for (int64_t c = 0; c < LINE; c += SIDE<T>)
      transpose_square(block + c * LINE + r, LINE, x + r * cols + c, cols);
  for (int64_t c = 0; c < LINE; c++) memcpy(y + c * rows, block + c * LINE, LINE_BYTES);
}

template <class T>
void transpose_patch(T* y, const T* x, int64_t rows, int64_t cols, int64_t height, int64_t width) {
  constexpr int64_t LINE = LINE_BYTES / sizeof(T);
  const int64_t whole_height = height - height % LINE, whole_width = width - width % LINE;
  for (int64_t c = 0; c < whole_width; c += LINE)
    for (int64_t r = 0; r < whole_height; r += LINE)
      transpose_block(y + c * rows + r, x + r * cols + c, rows, cols);
  transpose_edge(y + whole_height, x + whole_height * cols, rows, cols, height - whole_height,
                 whole_width);
  transpose_edge(y + whole_width * rows, x + whole_width, rows, cols, height, width - whole_width);
}

template <class T> void transpose(T* y, const T* x, int64_t batch, int64_t rows, int64_t cols) {
  constexpr int64_t PATCH = PATCH_BLOCKS * LINE_BYTES / sizeof(T);
  const int64_t down = ceil_div(rows, PATCH), across = ceil_div(cols, PATCH);
  const int64_t elements = std::min(rows, PATCH) * std::min(cols, PATCH);
  parallel_each(batch * down * across, GRAIN_ELEMENTS / elements + 1, [=](int64_t i) {
    const int64_t left = i % across * PATCH, top = i / across % down * PATCH;
    const int64_t matrix = i / across / down * rows * cols;
    transpose_patch(y + matrix + left * rows + top, x + matrix + top * cols + left, rows, cols,
                    std::min(PATCH, rows - top), std::min(PATCH, cols - left));
  });
}

}  // namespace

CDN_API int32_t cdn_transpose(uint32_t y, uint32_t x, int64_t batch, int64_t rows, int64_t cols,
                              int32_t dtype) {
  // Bits move, whatever they mean.
  return run("cdn_transpose", AnyWord{}, dtype, [&](Call& call, auto word) {
    using T = decltype(word);
    checked_size("batch", batch);
    checked_size("rows", rows);
    checked_size("cols", cols);
    const int64_t n = checked_product("batch, rows, cols", batch, rows, cols);
    T* to = call.out<T>(y, "y", n);
    const T* from = call.in<T>(x, "x", n);
    if (n) transpose(to, from, batch, rows, cols);
  });
}
