// The inner loops of the blocked matrix product, in GCC's and Clang's vector extensions: one source
// for AVX-512, AVX2, NEON and plain SSE2. The Makefile compiles it once for each, with
// -DCDN_ISA=base|avx2|avx512 and the -march to match.
//
// Everything but the table is in an anonymous namespace, and no library header is included: see
// kernel.h.
#include "cpu/gemm/kernel.h"

#include "cpu/gemm/dots.h"
#include "cpu/gemm/pack.h"
#include "cpu/gemm/tile.h"

#ifndef CDN_ISA
#define CDN_ISA base
#endif
#define CDN_JOIN_TWICE(a, b) a##b
#define CDN_JOIN(a, b) CDN_JOIN_TWICE(a, b)

namespace cdn {
namespace {

template <class T>
constexpr TileKernel<T> KERNEL = {VECTOR_BYTES == 64 ? 1 : 2,
                                  VECTOR_BYTES == 64 ? 1.15 : 0.75,
                                  ROWS,
                                  LANES<T>,
                                  LANES<T, HALF_BYTES>,
                                  VECTORS * LANES<T>,
                                  pack<T, ROWS>,
                                  pack<T, VECTORS * LANES<T>>,
                                  transpose<T>,
                                  multiply<T>,
                                  dots<T>};

}  // namespace

const MatmulKernel& CDN_JOIN(matmul_kernel_, CDN_ISA)() {
  static constexpr MatmulKernel table = {KERNEL<float>, KERNEL<double>};
  return table;
}

}  // namespace cdn
