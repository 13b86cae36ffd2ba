// Copies of operands in the order in which a kernel reads them. Included by kernel.cpp only.
#pragma once
#include "cpu/gemm/vector.h"

namespace cdn {
namespace {

// to[p * to_stride + w] = x[w * x_stride + p], w < width, p < k: in registers, in slices of one
// cache line of each row of x, so that rows a power of two apart do not evict each other half read.
template <class T>
void transpose(T* to, int64_t to_stride, const T* x, int64_t x_stride, int64_t width, int64_t k) {
  constexpr int64_t SLICE = 64 / sizeof(T);
  const int64_t w_done = width - width % SIDE<T>, p_done = k - k % SIDE<T>;
  for (int64_t slice = 0; slice < p_done; slice += SLICE)
    for (int64_t w = 0; w < w_done; w += SIDE<T>) {
      T* target = to + slice * to_stride + w;
      const T* from = x + w * x_stride + slice;
      if (p_done - slice >= SLICE)
#pragma GCC unroll 8
        for (int64_t p = 0; p < SLICE; p += SIDE<T>)
          transpose_square(target + p * to_stride, to_stride, from + p, x_stride);
      else
        for (int64_t p = 0; p < p_done - slice; p += SIDE<T>)
          transpose_square(target + p * to_stride, to_stride, from + p, x_stride);
    }
  for (int64_t w = w_done; w < width; w++)
    for (int64_t p = 0; p < p_done; p++) to[p * to_stride + w] = x[w * x_stride + p];
  for (int64_t p = p_done; p < k; p++)
    for (int64_t w = 0; w < width; w++) to[p * to_stride + w] = x[w * x_stride + p];
}

// Panels of `each` <= WIDTH elements, the last may have fewer: element (w, p) of a panel goes to p
// * WIDTH + w, and the next panel is WIDTH * k further. Neighbours along w lie width_stride apart
// in x, those along k k_stride; one of the strides is 1, or its extent is. Where it is
// width_stride, several panels take their parts of a row while it is at hand: reading little from
// each of many rows would wait for memory.
template <class T, int WIDTH>
void pack(T* packed, const T* x, int64_t width, int64_t k, int64_t each, int64_t width_stride,
          int64_t k_stride) {
  if (width_stride != 1) {
    for (int64_t w = 0; w < width; w += each, packed += WIDTH * k)
      transpose(packed, WIDTH, x + w * width_stride, width_stride,
                width - w < each ? width - w : each, k);
    return;
  }
  constexpr int64_t AHEAD = 8, LINE = 64 / sizeof(T);
  const int64_t group = 8 * each;
  for (int64_t begin = 0; begin < width; begin += group, packed += 8 * WIDTH * k) {
    const int64_t end = begin + group < width ? begin + group : width;
    for (int64_t p = 0; p < k; p++) {
      const T* row = x + p * k_stride;
      if (p + AHEAD < k)
        for (int64_t w = begin; w < end; w += LINE) __builtin_prefetch(row + AHEAD * k_stride + w);
      T* to = packed + p * WIDTH;
      for (int64_t w = begin; w < end; w += each, to += WIDTH * k)
        if (width - w >= WIDTH)  // as many as fit: more than `each` is for nothing, but quicker
          __builtin_memcpy(to, row + w, sizeof(T) * WIDTH);
        else
          for (int64_t i = 0; i < each && w + i < width; i++) to[i] = row[w + i];
    }
  }
}

}  // namespace
}  // namespace cdn
