// The vendor's library as one more variant of cdn_matmul, for comparison: opened at run time if it
// is there.
#pragma once
#include "ops/linalg/matmul.h"

namespace cdn {

// For each place of a batch, in one call of cuBLAS where the matrices lie at even distances; all
// row-major, m, n, k > 0. T is float, double, float16 or bfloat16; sums are float32 for the 16-bit
// ones. tf32: floats are rounded to TF32 first. Throws CDN_UNSUPPORTED where cuBLAS is missing or a
// size is above 2^31 - 1.
template <class T> void cublas_matmul(Call& call, const BatchProduct<T>& x, bool tf32 = false);

}  // namespace cdn
