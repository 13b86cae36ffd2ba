// What has to be known of the numbers of a row or column before they are split: by how much to
// scale them, and how well two float16 hold them; and the splitting itself.
#pragma once
#include <cuda_fp16.h>

#include "gpu/gemm/fp32_emulation/split.h"

namespace cdn {

// What has been seen of a row: the largest magnitude, and the smallest but 0 less 1, as bits, which
// order like the numbers; and all bits that are set in any.
struct alignas(16) Extremes {
  uint32_t largest = 0, below_smallest = 0xffffffff, bits = 0;
};

__device__ __forceinline__ void see(Extremes& seen, float x) {
  const uint32_t magnitude = __float_as_uint(x) & 0x7fffffff;
  seen.largest = max(seen.largest, magnitude);
  seen.below_smallest =
      __viaddmin_u32(magnitude, 0xffffffff, seen.below_smallest);  // 0 - 1 is never the minimum
  seen.bits |= magnitude;
}
__device__ __forceinline__ void join(Extremes& seen, const Extremes& other) {
  seen.largest = max(seen.largest, other.largest);
  seen.below_smallest = min(seen.below_smallest, other.below_smallest);
  seen.bits |= other.bits;
}
__device__ __forceinline__ Extremes shuffled(const Extremes& seen, int apart) {
  Extremes other;
  other.largest = __shfl_xor_sync(0xffffffff, seen.largest, apart);
  other.below_smallest = __shfl_xor_sync(0xffffffff, seen.below_smallest, apart);
  other.bits = __shfl_xor_sync(0xffffffff, seen.bits, apart);
  return other;
}
// Of two, a lane keeps the one that `second` says, with what the lane across has seen of it.
__device__ __forceinline__ Extremes halved(const Extremes& x, const Extremes& y, bool second,
                                           int apart) {
  Extremes kept = x, given = y;
  if (second) kept = y, given = x;
  join(kept, shuffled(given, apart));
  return kept;
}

// floor(log2 x) for the bits of a positive float.
__device__ __forceinline__ int32_t exponent_of(uint32_t bits) {
  return bits >> 23 ? (int32_t)(bits >> 23) - 127 : 31 - __clz((int)bits) - 149;
}

__device__ __forceinline__ int32_t info_of(const Extremes& x) {
  constexpr int32_t TOP = 14, RANGE = 28;
  if (x.largest >= 0x7f800000) return SplitInfo::make(0, SplitInfo::NOT_FINITE);
  int32_t marks = x.bits & 0x1fff ? 0 : SplitInfo::SHORT;  // at most 11 bits
  if (x.largest == 0) return SplitInfo::make(0, marks);
  int32_t top = exponent_of(x.largest);
  if (top - exponent_of(x.below_smallest + 1) > RANGE) marks |= SplitInfo::LOST;
  return SplitInfo::make(TOP - top, marks);
}

// x 2^e as hi + 2^-11 lo.
template <int PLANES>
__device__ __forceinline__ void store_four(const float (&x)[4], const PowerOfTwo (&powers)[4],
                                           float16* hi, int64_t to_lo) {
  uint32_t high[2], low[2];
#pragma unroll
  for (int i = 0; i < 2; i++) {
    const PowerOfTwo &p = powers[2 * i], &q = powers[2 * i + 1];
    const float2 scaled = {x[2 * i] * p.first * p.second, x[2 * i + 1] * q.first * q.second};
    const __half2 cut = __float22half2_rn(scaled);
    const float2 taken = __half22float2(cut);
    high[i] = bits_as<uint32_t>(cut);
    if (PLANES == 2)
      low[i] = bits_as<uint32_t>(__float22half2_rn(
          float2{(scaled.x - taken.x) * 0x1p11f, (scaled.y - taken.y) * 0x1p11f}));
  }
  *reinterpret_cast<uint2*>(hi) = uint2{high[0], high[1]};
  if (PLANES == 2) *reinterpret_cast<uint2*>(hi + to_lo) = uint2{low[0], low[1]};
}

}  // namespace cdn
