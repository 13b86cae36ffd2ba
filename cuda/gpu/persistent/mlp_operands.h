// Products of a warp on tensor cores, as accurate as float32's: each number is two of tf32, and the
// small products are added up apart from the large ones.
#pragma once
#include "gpu/tile/mma.h"

namespace cdn {
#if defined(CDN_HOPPER)

template <class Fragment> struct TwoTerms {
  Fragment high, low;
};
// Exact to the last bits of a float: a second term has up to 13, of which tensor cores take 11.
__device__ __forceinline__ void cut(float x, uint32_t& high, uint32_t& low) {
  high = __float_as_uint(x) & 0xffffe000;
  low = __float_as_uint(x - __uint_as_float(high));
}
// at(i, k): the operand's row, or column, g + 8 i and step t, or t + 4 for k = 1.
template <class At> __device__ __forceinline__ TwoTerms<MmaA> operand_a(At&& at) {
  TwoTerms<MmaA> a;
  cut(at(0, 0), a.high.low0, a.low.low0), cut(at(1, 0), a.high.low8, a.low.low8);
  cut(at(0, 1), a.high.high0, a.low.high0), cut(at(1, 1), a.high.high8, a.low.high8);
  return a;
}
template <class At> __device__ __forceinline__ TwoTerms<MmaB> operand_b(At&& at) {
  TwoTerms<MmaB> b;
  cut(at(0), b.high.low, b.low.low), cut(at(1), b.high.high, b.low.high);
  return b;
}

// sum += a b over M x N tiles of 16 x 8 and all steps, a multiple of 8. a(m, k) and b(n, k) give
// the operands of the 8 steps from k on; EXACT_A, EXACT_B: whose second terms are 0. Tensor cores
// cut their sums, so they add no more than a few of them.
template <bool EXACT_A, bool EXACT_B, int M, int N, class A, class B>
__device__ __forceinline__ void multiply_tiles(float (&sum)[M][N][4], int steps, A&& a, B&& b) {
  constexpr int FEW = 64;
  for (int first = 0; first < steps; first += FEW) {
    float large[M][N][4] = {}, small[M][N][4] = {};
    const int end = min(first + FEW, steps);
#pragma unroll 1
    for (int k = first; k < end; k += 8) {
      TwoTerms<MmaB> of_b[N];
#pragma unroll
      for (int n = 0; n < N; n++) of_b[n] = b(n, k);
#pragma unroll
      for (int m = 0; m < M; m++) {
        const TwoTerms<MmaA> of_a = a(m, k);
#pragma unroll
        for (int n = 0; n < N; n++) {
          if (!EXACT_A) multiply_add<float>(small[m][n], of_a.low, of_b[n].high, small[m][n]);
          multiply_add<float>(large[m][n], of_a.high, of_b[n].high, large[m][n]);
          if (!EXACT_B) multiply_add<float>(small[m][n], of_a.high, of_b[n].low, small[m][n]);
        }
      }
    }
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
      for (int n = 0; n < N; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) sum[m][n][i] += large[m][n][i] + small[m][n][i];
  }
}

#endif
}  // namespace cdn
