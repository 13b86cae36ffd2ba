// The vendor's library as one more variant of cdn_matmul, for comparison: opened at run time if it is there.
#pragma once
#include "../runtime.h"

namespace cdn {

// c[m, n] = op(a) op(b) on the call's stream, all row-major; m, n, k > 0. Throws CDN_UNSUPPORTED where cuBLAS is
// missing or a size is above 2^31 - 1. No TF32: float32 arithmetic as in the other variants.
void cublas_matmul(Call& call, float* c, const float* a, const float* b, int64_t m, int64_t n, int64_t k, bool trans_a,
                   bool trans_b);
void cublas_matmul(Call& call, double* c, const double* a, const double* b, int64_t m, int64_t n, int64_t k,
                   bool trans_a, bool trans_b);

}  // namespace cdn
