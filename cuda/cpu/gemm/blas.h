// A BLAS of the system, OpenBLAS or Apple's Accelerate, opened when first asked for. It is only
// ever an alternative: the library needs none.
#pragma once
#include <cstdint>

namespace cdn {
namespace blas {

// c[m, n] = op(a) op(b), row-major, every size at least 1. Throws CDN_UNSUPPORTED when there is no
// BLAS, with the reasons the system gave, or when a size is more than its 32-bit numbers hold.
void matmul(float* c, const float* a, const float* b, int64_t m, int64_t n, int64_t k, int64_t lda,
            int64_t ldb, int64_t ldc, bool trans_a, bool trans_b);
void matmul(double* c, const double* a, const double* b, int64_t m, int64_t n, int64_t k,
            int64_t lda, int64_t ldb, int64_t ldc, bool trans_a, bool trans_b);

}  // namespace blas
}  // namespace cdn
