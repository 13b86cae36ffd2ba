// Convolutions of each channel by a filter of its own, on GPUs: bound by memory, if what windows
// share is read once. For square filters of 3, 5 or 7 taps and strides of 1 or 2; false where that
// does not hold, and nothing was done.
#pragma once
#include "ops/conv/geometry.h"
#include "ops/linalg/matmul.h"

namespace cdn {

template <class T> struct DepthwiseKernels {
  static bool conv2d(Call& call, const ConvGeometry& g, const T* x, const T* w,
                     const Epilogue& epilogue);
  static bool grad_input(Call& call, const ConvGeometry& g, T* dx, const T* dy, const T* w);
  static bool grad_weight(Call& call, const ConvGeometry& g, T* dw, const T* dy, const T* x);
};

}  // namespace cdn
