// What TMA is told of a tensor of 16-bit numbers.
#pragma once
#include <cuda.h>

#include "gpu/gemm/product.h"

namespace cdn {

// `count` matrices of 16-bit numbers, `step` elements apart, of `lines` lines of `cols` numbers, ld
// apart.
struct Lines {
  const void* data;
  int64_t cols, lines, ld, count, step;
};

// Whether TMA can read or write them.
bool fits(const Lines& x);

// In boxes of 64 columns and `height` lines, in the 128-byte swizzle.
CUtensorMap tensor_map(const Lines& x, int height);

// The heads of a batch: `lines` lines of `cols` numbers each, ld apart.
struct HeadLines {
  const void* data;
  int64_t cols, lines, heads, count, ld, head_step, step;
};

bool fits(const HeadLines& x);
CUtensorMap tensor_map(const HeadLines& x, int height);

// Images [n, h, w, channels], walked from place to place of a filter's first tap: `width` places of
// a line, the first at column first_w and line first_h, `stride` apart. The last tap is `span`
// further. Pixels and lines are so many elements apart, a multiple of 8: pixels may overlap.
struct Im2ColImages {
  const void* data;
  int64_t n, h, w, channels, pixel, line;
  int64_t height, width, first_h, first_w, stride_h, stride_w, span_h, span_w;
};

bool fits(const Im2ColImages& x);

// In columns of so many pixels by 64 channels, in the 128-byte swizzle.
CUtensorMap im2col_map(const Im2ColImages& x, int pixels);

}  // namespace cdn
