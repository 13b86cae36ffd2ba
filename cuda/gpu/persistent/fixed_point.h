// Products of bytes and floats on tensor cores for integers. Floats become whole multiples of 2^-22
// of the largest of their row, three signed digits of base 256, so that sums are exact; what is
// lost is what float32 loses beside the largest number. A fragment needs no conversion of bytes.
#pragma once
#include "gpu/tile/mma.h"

namespace cdn {
#if defined(CDN_HOPPER)

constexpr int DIGITS = 3;

// By what a number is multiplied to become an integer, and what gives it back. NaN and infinity
// make `unit`, and so all of the row, NaN.
struct FixedPoint {
  float scale, unit;

  FixedPoint() = default;
  __device__ __forceinline__ explicit FixedPoint(float largest) {
    constexpr float STEPS = 0x1p22f - 1;
    const bool tiny = largest < 0x1p-100f;  // 1 / unit would overflow
    unit = tiny ? 0x1p-122f : largest * (1 / STEPS);
    scale = __frcp_rn(unit);
    if (!(largest <= 3.4e38f)) unit = NAN, scale = 0;
  }
  // The digits, the lowest in the lowest byte. The sum's last bits are the integer.
  __device__ __forceinline__ uint32_t digits(float x) const {
    const uint32_t whole = __float_as_uint(fmaf(x, scale, 0x1.8p23f)) - 0x4b400000;
    return (whole + 0x808080) ^ 0x808080;
  }
};

// Four numbers' digits, of each place in a word.
struct FourDigits {
  uint32_t place[DIGITS];

  FourDigits() = default;
  __device__ __forceinline__ FourDigits(const FixedPoint& by, float a, float b, float c, float d) {
    const uint32_t x = by.digits(a), y = by.digits(b), z = by.digits(c), w = by.digits(d);
    const uint32_t xy = __byte_perm(x, y, 0x5140), zw = __byte_perm(z, w, 0x5140);
    place[0] = __byte_perm(xy, zw, 0x5410), place[1] = __byte_perm(xy, zw, 0x7632);
    place[2] = __byte_perm(__byte_perm(x, y, 0x0062), __byte_perm(z, w, 0x0062), 0x5410);
  }
};

// Four bytes each of four words, turned: word i has the bytes i.
__device__ __forceinline__ void transpose_bytes(uint32_t (&x)[4]) {
  const uint32_t low01 = __byte_perm(x[0], x[1], 0x5140), high01 = __byte_perm(x[0], x[1], 0x7362);
  const uint32_t low23 = __byte_perm(x[2], x[3], 0x5140), high23 = __byte_perm(x[2], x[3], 0x7362);
  x[0] = __byte_perm(low01, low23, 0x5410), x[1] = __byte_perm(low01, low23, 0x7632);
  x[2] = __byte_perm(high01, high23, 0x5410), x[3] = __byte_perm(high01, high23, 0x7632);
}

// Sums of a tile of 16 x 8, of each digit; indices as of multiply_add in tile/mma.h. A word has
// four numbers along k, of which a has bytes and b digits.
struct DigitSums {
  int32_t sum[DIGITS][4] = {};

  __device__ __forceinline__ void add(const MmaA& a, const FourDigits& low,
                                      const FourDigits& high) {
#pragma unroll
    for (int d = 0; d < DIGITS; d++)
      asm volatile(
          "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
          "{%8, %9}, {%0, %1, %2, %3};"
          : "+r"(sum[d][0]), "+r"(sum[d][1]), "+r"(sum[d][2]), "+r"(sum[d][3])
          : "r"(a.low0), "r"(a.low8), "r"(a.high0), "r"(a.high8), "r"(low.place[d]),
            "r"(high.place[d]));
  }
  // To be multiplied by the unit.
  __device__ __forceinline__ float total(int i) const {
    return fmaf(65536, static_cast<float>(sum[2][i]),
                static_cast<float>(sum[1][i] * 256 + sum[0][i]));
  }
};

#endif
}  // namespace cdn
