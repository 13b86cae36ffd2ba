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

#include "runtime/call.h"
#include "cpu/device/threads.h"

using namespace cdn;

namespace {

constexpr int64_t LINE_BYTES = 64;
constexpr int64_t PATCH_BLOCKS = 8;          // side of a patch in blocks
constexpr int64_t GRAIN_ELEMENTS = 1 << 16;  // fewer are not worth another thread

typedef uint8_t Byte16 __attribute__((vector_size(16)));
typedef uint16_t Short8 __attribute__((vector_size(16)));
typedef uint32_t Word4 __attribute__((vector_size(16)));
typedef uint64_t Long2 __attribute__((vector_size(16)));

// The first halves, or the second halves, of two vectors, element by element in turn.
#if defined(__clang__)
#define CDN_SHUFFLE(V, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define CDN_SHUFFLE(V, a, b, ...) __builtin_shuffle(a, b, V{__VA_ARGS__})
#endif
inline Byte16 low(Byte16 a, Byte16 b) {
  return CDN_SHUFFLE(Byte16, a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
inline Byte16 high(Byte16 a, Byte16 b) {
  return CDN_SHUFFLE(Byte16, a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}
inline Short8 low(Short8 a, Short8 b) {
  return CDN_SHUFFLE(Short8, a, b, 0, 8, 1, 9, 2, 10, 3, 11);
}
inline Short8 high(Short8 a, Short8 b) {
  return CDN_SHUFFLE(Short8, a, b, 4, 12, 5, 13, 6, 14, 7, 15);
}
inline Word4 low(Word4 a, Word4 b) { return CDN_SHUFFLE(Word4, a, b, 0, 4, 1, 5); }
inline Word4 high(Word4 a, Word4 b) { return CDN_SHUFFLE(Word4, a, b, 2, 6, 3, 7); }
inline Long2 low(Long2 a, Long2 b) { return CDN_SHUFFLE(Long2, a, b, 0, 2); }
inline Long2 high(Long2 a, Long2 b) { return CDN_SHUFFLE(Long2, a, b, 1, 3); }

// SIDE rows of one vector each. A round interleaves row i with row i + SIDE / 2; log2(SIDE) rounds
// transpose.
template <class V, class T> void transpose_square(T* y, int64_t y_row, const T* x, int64_t x_row) {
  constexpr int SIDE = sizeof(V) / sizeof(T);
  V rows[SIDE], next[SIDE];
#pragma GCC unroll 16
  for (int i = 0; i < SIDE; i++) memcpy(&rows[i], x + i * x_row, sizeof(V));
#pragma GCC unroll 4
  for (int round = 1; round < SIDE; round *= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < SIDE / 2; i++) {
      next[2 * i] = low(rows[i], rows[i + SIDE / 2]);
      next[2 * i + 1] = high(rows[i], rows[i + SIDE / 2]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < SIDE; i++) rows[i] = next[i];
  }
#pragma GCC unroll 16
  for (int i = 0; i < SIDE; i++) memcpy(y + i * y_row, &rows[i], sizeof(V));
}

// Parts of blocks, at the edges of a matrix.
template <class T>
void transpose_edge(T* y, const T* x, int64_t rows, int64_t cols, int64_t height, int64_t width) {
  for (int64_t c = 0; c < width; c++)
    for (int64_t r = 0; r < height; r++) y[c * rows + r] = x[r * cols + c];
}

template <class V, class T> void transpose_block(T* y, const T* x, int64_t rows, int64_t cols) {
  constexpr int64_t LINE = LINE_BYTES / sizeof(T), SIDE = sizeof(V) / sizeof(T);
  alignas(LINE_BYTES) T block[LINE * LINE];
  for (int64_t r = 0; r < LINE; r += SIDE)
    for (int64_t c = 0; c < LINE; c += SIDE)
      transpose_square<V>(block + c * LINE + r, LINE, x + r * cols + c, cols);
  for (int64_t c = 0; c < LINE; c++) memcpy(y + c * rows, block + c * LINE, LINE_BYTES);
}

template <class V, class T>
void transpose_patch(T* y, const T* x, int64_t rows, int64_t cols, int64_t height, int64_t width) {
  constexpr int64_t LINE = LINE_BYTES / sizeof(T);
  int64_t whole_height = height - height % LINE, whole_width = width - width % LINE;
  for (int64_t c = 0; c < whole_width; c += LINE)
    for (int64_t r = 0; r < whole_height; r += LINE)
      transpose_block<V>(y + c * rows + r, x + r * cols + c, rows, cols);
  transpose_edge(y + whole_height, x + whole_height * cols, rows, cols, height - whole_height,
                 whole_width);
  transpose_edge(y + whole_width * rows, x + whole_width, rows, cols, height, width - whole_width);
}

template <class V, class T>
void transpose(T* y, const T* x, int64_t batch, int64_t rows, int64_t cols) {
  constexpr int64_t LINE = LINE_BYTES / sizeof(T), PATCH = PATCH_BLOCKS * LINE;
  int64_t down = (rows + PATCH - 1) / PATCH, across = (cols + PATCH - 1) / PATCH;
  int64_t grain =
      std::max<int64_t>(1, GRAIN_ELEMENTS / (std::min(rows, PATCH) * std::min(cols, PATCH)));
  parallel_for(batch * down * across, grain, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      int64_t left = i % across * PATCH, top = i / across % down * PATCH,
              matrix = i / across / down * rows * cols;
      int64_t height = std::min(PATCH, rows - top), width = std::min(PATCH, cols - left);
      transpose_patch<V>(y + matrix + left * rows + top, x + matrix + top * cols + left, rows, cols,
                         height, width);
    }
  });
}

}  // namespace

CDN_API int32_t cdn_transpose(uint32_t y, uint32_t x, int64_t batch, int64_t rows, int64_t cols,
                              int32_t dtype) {
  return run("cdn_transpose", [&](Call& call) {
    checked_size("batch", batch);
    checked_size("rows", rows);
    checked_size("cols", cols);
    int64_t n = checked_product("batch, rows, cols", batch, rows, cols);
    auto typed = [&](auto element, auto vector) {
      using T = decltype(element);
      T* to = call.out<T>(y, "y", n);
      const T* from = call.in<T>(x, "x", n);
      if (n) transpose<decltype(vector)>(to, from, batch, rows, cols);
    };
    switch (dtype_bytes(dtype)) {  // bits move, whatever they mean
      case 1: return typed(uint8_t{}, Byte16{});
      case 2: return typed(uint16_t{}, Short8{});
      case 4: return typed(uint32_t{}, Word4{});
      default: return typed(uint64_t{}, Long2{});
    }
  });
}
