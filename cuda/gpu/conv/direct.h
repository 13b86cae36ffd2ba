// Convolutions of few channels by sums over a tile of the image in shared memory, on GPUs: what the
// filters' sums are of is too short for tensor cores, or the images are small. One group, no
// dilation; false where they do not serve or, unless the caller insists, would not pay, and nothing
// was done.
#pragma once
#include "ops/conv/geometry.h"
#include "ops/linalg/matmul.h"

namespace cdn {

template <class T> struct DirectKernels {
  static bool conv2d(Call& call, const ConvGeometry& g, const T* x, const T* w,
                     const Epilogue& epilogue, bool insists);
  // The largest of each 2 x 2 of y after ReLU, in y's place, and which they are, unless argument is
  // null.
  static bool conv2d_pooled(Call& call, const ConvGeometry& g, const T* x, const T* w,
                            const Epilogue& epilogue, uint8_t* argument, bool insists);
  static bool grad_input(Call& call, const ConvGeometry& g, T* dx, const T* dy, const T* w,
                         bool insists);
  static bool grad_weight(Call& call, const ConvGeometry& g, T* dw, const T* dy, const T* x,
                          bool insists);
};

}  // namespace cdn
