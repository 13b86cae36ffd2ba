// Float matrices for tensor cores that multiply 16-bit numbers. Every row of op(a) and every column
// of op(b) is scaled by a power of two, so that its largest number lies in [2^14, 2^15), and cut
// into float16:
//
//   x 2^e = hi + 2^-11 lo     hi holds the first 11 bits, lo the next 11 (with one plane there is
//   only hi)
//
// Tensor cores cut off what does not fit when they add, half a unit of the last place on average:
// that much is given back at the end, unless both rows were so short that probably nothing was cut
// off.
//
// Numbers more than 2^28 times smaller than their row's largest lose bits, and infinities and NaN
// cannot be scaled. Rows with such numbers are marked, and matmul_wgmma computes the elements of c
// that they may have spoilt in plain float.
#pragma once
#include "gpu/gemm/product.h"

namespace cdn {

// One word a row of op(a) or column of op(b). With NOT_FINITE the exponent is 0, and nothing else
// is marked.
struct SplitInfo {
  static constexpr int32_t LOST = 1, NOT_FINITE = 2,
                           SHORT = 4;  // SHORT: hi alone holds all of the row
  CDN_FN static int32_t make(int32_t exponent, int32_t marks) { return exponent * 8 + marks; }
  CDN_FN static int32_t exponent(int32_t info) { return info >> 3; }
  CDN_FN static int32_t marks(int32_t info) { return info & 7; }
};

// Both operands, cut and before: what the product's end needs.
struct CutOperands {
  const int32_t *a_info, *b_info;  // [matrices, m], [matrices, n]
  Operand<float> a, b;             // the first matrices
  int64_t a_step, b_step;          // from matrix to matrix in a and b, 0 where one is repeated
  int32_t a_moves, b_moves;        // the same in numbers of matrices, 0 or 1
};

// A cut operand: planes [plane][matrix][lines][ld], of which lines and ld are (extent, k) or (k,
// extent), as in memory before; ld is rounded up to whole pieces of 16 bytes, as TMA wants it.
struct CutOperand {
  float16* planes;
  int32_t* info;
  int64_t matrices, lines, ld;
};

// The matrices of a batch, at a fixed distance; 0 where all use the same one.
struct Matrices {
  int64_t count = 1, a_step = 0, b_step = 0;
};

struct CutProduct {
  CutOperand a, b;
};

// planes is 1 or 2. (split.cu)
CutProduct split_operands(Call& call, const Product<float>& p, const Matrices& batch, int planes);

// 2^exponent for -252 <= exponent <= 254, as two factors.
struct PowerOfTwo {
  float first, second;
  PowerOfTwo() = default;
  CDN_FN explicit PowerOfTwo(int32_t exponent) {
    int32_t half = exponent >> 1;
    first = bits_as<float>((half + 127) << 23);
    second = bits_as<float>((exponent - half + 127) << 23);
  }
};

#if defined(__CUDACC__)

// The product as floats: the scales of rows and columns, and how its sums go on.
struct ExactProduct {
  const CutOperands& cut;
  int64_t z, m, n;
  __device__ __forceinline__ int32_t a_info(int64_t row) const {
    return cut.a_info[z * cut.a_moves * m + row];
  }
  __device__ __forceinline__ int32_t b_info(int64_t col) const {
    return cut.b_info[z * cut.b_moves * n + col];
  }
  __device__ __forceinline__ float add(float sum, int64_t row, int64_t col, int64_t k) const {
    Operand<float> a = cut.a, b = cut.b;
    a.data += z * cut.a_step;
    b.data += z * cut.b_step;
    return fmaf(a.at(row, k), b.at(col, k), sum);
  }
};

// The part of k that a thread's sums are of, and the extents of c.
struct SumsPart {
  int32_t m, n;
  int64_t first_k, last_k;
};

// What tensor cores cut off is, on average, this part of a sum, whether of 16
// or of 64 products.
template <int PLANES> constexpr float CUT_OFF = PLANES == 2 ? 9.4e-8f : 0.0f;

// Stores two numbers of neighbouring columns: wide, by 8 bytes; else the second only where both are
// inside.
__device__ __forceinline__ void store_two(float* to, const float (&d)[2], bool wide, bool both) {
  if (wide) {
    *reinterpret_cast<float2*>(to) = float2{d[0], d[1]};
  } else {
    to[0] = d[0];
    if (both) to[1] = d[1];
  }
}

// Where scaled sums go: c, whose lines are ld apart.
struct ScaledLines {
  float* c;
  int64_t ld;
  int32_t m, n;
  // i: which of the thread's sums the first is.
  __device__ __forceinline__ void put(int, int32_t row, int32_t col, const float (&two)[2]) const {
    if (row < m && col < n)
      store_two(c + row * ld + col, two, ld % 2 == 0 && n % 2 == 0, col + 1 < n);
  }
  __device__ __forceinline__ void correct(int, int64_t row, int64_t col, float sum) const {
    c[row * ld + col] = sum;
  }
};
// The same in the sums' own registers.
template <int COUNT> struct ScaledInPlace {
  float (&d)[COUNT];
  __device__ __forceinline__ void put(int i, int32_t, int32_t, const float (&two)[2]) const {
    d[i] = two[0], d[i + 1] = two[1];
  }
  __device__ __forceinline__ void correct(int which, int64_t, int64_t, float sum) const {
#pragma unroll
    for (int i = 0; i < COUNT; i++)
      if (i == which) d[i] = sum;
  }
};

// As scale_back(), where no row or column is marked and none is scaled by much. rows, cols: what
// the thread's are multiplied by.
template <int PLANES, int COUNT, class To>
__device__ __forceinline__ void scale_plainly(const float (&d)[COUNT], const float* rows,
                                              const float* cols, int32_t m, int32_t n, int32_t row,
                                              int32_t col, const To& to) {
#pragma unroll
  for (int h = 0; h < 2; h++) {
    if (row + 8 * h >= m) continue;
    const float of_row = rows[8 * h];
#pragma unroll
    for (int g = 0; g < COUNT / 4; g++) {
      if (col + 8 * g >= n) continue;
      const float2 of_col = *reinterpret_cast<const float2*>(cols + 8 * g);
      float two[2] = {d[g * 4 + h * 2], d[g * 4 + h * 2 + 1]};
      if (PLANES == 2)
        two[0] = fmaf(two[0], CUT_OFF<2>, two[0]), two[1] = fmaf(two[1], CUT_OFF<2>, two[1]);
      two[0] *= of_row * of_col.x, two[1] *= of_row * of_col.y;
      to.put(g * 4 + h * 2, row + 8 * h, col + 8 * g, two);
    }
  }
}

// Scales a thread's sums back, which it holds as matmul_wgmma does (register i is row + 8 (i / 2 %
// 2), column col + 8 (i / 4) + i % 2), and computes those anew that marked rows or columns may have
// spoilt. All threads of a warp call it together. to: ScaledLines or ScaledInPlace.
template <int PLANES, int COUNT, class Exact, class To>
__device__ __forceinline__ void scale_back(float (&d)[COUNT], const Exact& exact,
                                           const SumsPart& part, int32_t row, int32_t col,
                                           const To& to) {
  const int32_t m = part.m, n = part.n;
  const int64_t first_k = part.first_k, last_k = part.last_k;
  // What lost bits can have changed, at most: k 2^-36 2^15 a side with two planes, k 2^-25 2^15
  // with one; it must not show in float's, or tf32's, last place.
  const float least = static_cast<float>(last_k - first_k) * (PLANES == 2 ? 0x1p5f : 0x1p2f);
  uint32_t spoilt[(COUNT + 31) / 32] = {};
  int32_t info_a[2];
#pragma unroll
  for (int h = 0; h < 2; h++) info_a[h] = row + 8 * h < m ? exact.a_info(row + 8 * h) : 0;
#pragma unroll
  for (int g = 0; g < COUNT / 4; g++) {
    const int32_t j = col + 8 * g;
    int32_t info_b[2] = {j < n ? exact.b_info(j) : 0, j + 1 < n ? exact.b_info(j + 1) : 0};
#pragma unroll
    for (int h = 0; h < 2; h++) {
#pragma unroll
      for (int e = 0; e < 2; e++) {
        const int i = g * 4 + h * 2 + e;
        const int32_t marks = info_a[h] | info_b[e];
        if (!((info_a[h] | info_b[e]) & SplitInfo::SHORT)) d[i] = fmaf(d[i], CUT_OFF<PLANES>, d[i]);
        if (marks & SplitInfo::NOT_FINITE || (marks & SplitInfo::LOST && fabsf(d[i]) < least))
          spoilt[i / 32] |= 1u << i % 32;
        int32_t exponent = -SplitInfo::exponent(info_a[h]) - SplitInfo::exponent(info_b[e]);
        PowerOfTwo power(exponent < -252 ? -252 : exponent);  // below, the result is 0 anyway
        d[i] = d[i] * power.first * power.second;
      }
      const float two[2] = {d[g * 4 + h * 2], d[g * 4 + h * 2 + 1]};
      to.put(g * 4 + h * 2, row + 8 * h, j, two);
    }
  }
  // The warp takes its lanes' spoilt elements one by one.
  constexpr uint32_t ALL = 0xffffffff;
  const int lane = (int)threadIdx.x % 32;
#pragma unroll
  for (int word = 0; word < (COUNT + 31) / 32; word++) {
    uint32_t mine = spoilt[word], lanes;
    while ((lanes = __ballot_sync(ALL, mine != 0)) != 0) {
      const int owner = __ffs((int)lanes) - 1;
      const int bit = __shfl_sync(ALL, __ffs((int)mine) - 1, owner), i = word * 32 + bit;
      const int64_t r = __shfl_sync(ALL, row, owner) + 8 * (i / 2 % 2),
                    j = __shfl_sync(ALL, col, owner) + 8 * (i / 4) + i % 2;
      if (lane == owner) mine &= mine - 1;
      if (r >= m || j >= n) continue;
      float sum = 0;
      for (int64_t k = first_k + lane; k < last_k; k += 32) sum = exact.add(sum, r, j, k);
#pragma unroll
      for (int apart = 16; apart > 0; apart /= 2) sum += __shfl_xor_sync(ALL, sum, apart);
      if (lane == owner) to.correct(i, r, j, sum);  // after its own first
    }
  }
}

#endif

}  // namespace cdn
