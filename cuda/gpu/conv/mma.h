// Convolution as an implicit product on the tensor cores of sm_80 and later GPUs: for what TMA does
// not take, such as groups, and for GPUs without it. Channels that are summed come in 16 bytes;
// false where these are not whole, or tensor cores would not serve, and nothing was done.
#pragma once
#include "ops/conv/geometry.h"
#include "ops/linalg/matmul.h"

namespace cdn {

template <class T> struct MmaKernels {
  static bool conv2d(Call& call, const ConvGeometry& g, const T* x, const T* w,
                     const Epilogue& epilogue, Precision precision);
  static bool grad_input(Call& call, const ConvGeometry& g, T* dx, const T* dy, const T* w,
                         Precision precision);
  static bool grad_weight(Call& call, const ConvGeometry& g, T* dw, const T* dy, const T* x,
                          Precision precision);
};

}  // namespace cdn
