// Convolution with fewer multiplications (Winograd's F(2x2, 3x3)) for float32 on GPUs: 3 x 3
// filters, a stride of 1, no dilation, one group. False where that does not hold, and nothing was
// done.
#pragma once
#include "ops/conv/geometry.h"
#include "ops/linalg/matmul.h"

namespace cdn {

struct WinogradKernels {
  static bool conv2d(Call& call, const ConvGeometry& g, const float* x, const float* w,
                     const Epilogue& epilogue);
  static bool grad_input(Call& call, const ConvGeometry& g, float* dx, const float* dy,
                         const float* w);
  static bool grad_weight(Call&, const ConvGeometry&, float*, const float*, const float*) {
    return false;
  }
};

}  // namespace cdn
