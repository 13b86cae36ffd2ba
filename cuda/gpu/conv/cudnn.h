// The vendor's library as one more method of convolution, for comparison: opened at run time if it
// is there. Its fastest algorithm for each shape is found by trying, at the first call; that may
// add in another order at each call.
#pragma once
#include "ops/conv/geometry.h"
#include "ops/linalg/matmul.h"

namespace cdn {

// to = y of x and w, x's gradient of w and that of y, or w's of x and that of y; nothing is empty.
// T is float, double, float16 or bfloat16. Throws CDN_UNSUPPORTED where cuDNN is missing, or has no
// algorithm.
template <class T>
void cudnn_convolve(Call& call, const ConvGeometry& g, ConvDirection direction, const T* a,
                    const T* b, T* to, Precision precision);

}  // namespace cdn
