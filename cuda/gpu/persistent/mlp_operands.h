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
// Of rows g and g + 8, for the first half of k and for the second. EXACT: second terms are 0.
template <bool EXACT>
__device__ __forceinline__ TwoTerms<MmaA> operand_a(float low0, float low8, float high0,
                                                    float high8) {
  if (EXACT)
    return {{__float_as_uint(low0), __float_as_uint(low8), __float_as_uint(high0),
             __float_as_uint(high8)},
            {}};
  TwoTerms<MmaA> a;
  cut(low0, a.high.low0, a.low.low0), cut(low8, a.high.low8, a.low.low8);
  cut(high0, a.high.high0, a.low.high0), cut(high8, a.high.high8, a.low.high8);
  return a;
}
__device__ __forceinline__ TwoTerms<MmaB> operand_b(float low, float high) {
  TwoTerms<MmaB> b;
  cut(low, b.high.low, b.low.low), cut(high, b.high.high, b.low.high);
  return b;
}

// Sums of a tile of 16 x 8. Tensor cores cut theirs at each step, so after 64 steps or so they are
// to be added to others.
struct TileSums {
  float large[4] = {}, small[4] = {};

  // EXACT_A, EXACT_B: whose second terms are 0.
  template <bool EXACT_A, bool EXACT_B>
  __device__ __forceinline__ void add(const TwoTerms<MmaA>& a, const TwoTerms<MmaB>& b) {
    if (!EXACT_A) multiply_add<float>(small, a.low, b.high, small);
    multiply_add<float>(large, a.high, b.high, large);
    if (!EXACT_B) multiply_add<float>(small, a.high, b.low, small);
  }
  __device__ __forceinline__ float sum(int i) const { return large[i] + small[i]; }
};

#endif
}  // namespace cdn
