// A BLAS of the system, OpenBLAS or Apple's Accelerate, opened when first asked for. It is only
// ever an alternative: the library needs none.
#pragma once
#include "cpu/gemm/blocked.h"

namespace cdn {
namespace blas {

// Throws CDN_UNSUPPORTED when there is no BLAS, with the reasons the system gave, or when a size is
// more than its 32-bit numbers hold.
void matmul(const BatchProduct<float>& x);
void matmul(const BatchProduct<double>& x);

}  // namespace blas
}  // namespace cdn
