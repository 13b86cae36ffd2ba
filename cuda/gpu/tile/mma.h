// The tensor-core instructions of sm_80 and all later GPUs, as functions that a warp executes
// together. g = lane / 4 and t = lane % 4 say which part of a matrix a thread holds.
#pragma once
#include "gpu/tile/async_copy.h"

namespace cdn {

// Four matrices of 8 lines of 16 bytes; lane l says where line l % 8 of matrix l / 8 is. A thread
// gets word t of line g: two 16-bit numbers, or one float. TRANSPOSED, for 16-bit numbers: numbers
// 2t and 2t + 1 of column g instead.
template <bool TRANSPOSED>
__device__ __forceinline__ void read_matrices(uint32_t& m0, uint32_t& m1, uint32_t& m2,
                                              uint32_t& m3, uint32_t from) {
  if constexpr (TRANSPOSED)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(m0), "=r"(m1), "=r"(m2), "=r"(m3)
                 : "r"(from)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(m0), "=r"(m1), "=r"(m2), "=r"(m3)
                 : "r"(from)
                 : "memory");
}

// 16 bytes of shared memory.
__device__ __forceinline__ void read_words(uint32_t& w0, uint32_t& w1, uint32_t& w2, uint32_t& w3,
                                           uint32_t from) {
  asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(w0), "=r"(w1), "=r"(w2), "=r"(w3)
               : "r"(from)
               : "memory");
}

// What a thread gives to a product of 16 x 8 outputs: of a's rows g and g + 8 and of b's column g,
// a word of the first half of k and a word of the second. A word is one float, of k = t, or two
// 16-bit numbers, of k = 2t and 2t + 1.
struct MmaA {
  uint32_t low0, low8, high0, high8;
};
struct MmaB {
  uint32_t low, high;
};

// sum = a b + add: row g's columns 2t and 2t + 1, then row g + 8's. k is 16 for 16-bit numbers; it
// is 8 for floats, of which the lower 13 bits are dropped. Sums are cut to float, not rounded.
template <class T>
__device__ __forceinline__ void multiply_add(float (&sum)[4], const MmaA& a, const MmaB& b,
                                             const float (&add)[4]) {
#define CDN_MMA(SHAPE, TYPE)                                                                    \
  asm volatile("mma.sync.aligned." SHAPE ".row.col.f32." TYPE "." TYPE                          \
               ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"       \
               : "=f"(sum[0]), "=f"(sum[1]), "=f"(sum[2]), "=f"(sum[3])                         \
               : "r"(a.low0), "r"(a.low8), "r"(a.high0), "r"(a.high8), "r"(b.low), "r"(b.high), \
                 "f"(add[0]), "f"(add[1]), "f"(add[2]), "f"(add[3]))
  if constexpr (std::is_same<T, float16>::value)
    CDN_MMA("m16n8k16", "f16");
  else if constexpr (std::is_same<T, bfloat16>::value)
    CDN_MMA("m16n8k16", "bf16");
  else
    CDN_MMA("m16n8k8", "tf32");
#undef CDN_MMA
}

// Two floats, rounded to nearest even, in one word.
__device__ __forceinline__ uint32_t bfloat16_pair(uint32_t low, uint32_t high) {
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;"
      : "=r"(pair)
      : "f"(__uint_as_float(high)), "f"(__uint_as_float(low)));
  return pair;
}

// What the tensor core, which drops the lower 13 bits, makes the nearest tf32 of: half of its last
// place is added, as cvt.rna.tf32 does, but in two instructions. NaN and infinity stay what they
// are.
__device__ __forceinline__ uint32_t tf32_rounded(uint32_t x) {
  float power_of_two = __uint_as_float(x & 0xff800000);
  return __float_as_uint(fmaf(power_of_two, 0x1p-11f, __uint_as_float(x)));
}

}  // namespace cdn
