// What sums of elements add up in. Long sums in float32 lose digits with their length; in float64
// they do not, but most GPUs run that at 1/64 of float32's rate: there a pair of float32 holds the
// sum, the second what rounding took from the first (Knuth's TwoSum). A CPU's vectors add float64
// in fewer instructions.
//
// A pair has float32's range, so what may leave it, squares above all, is added in float64.
#pragma once
#include "kernel/functions.h"

namespace cdn {

struct TwoFloat {
  float high, low;

  TwoFloat() = default;
  CDN_FN TwoFloat(float high, float low = 0) : high(high), low(low) {}

  CDN_FN friend TwoFloat operator+(TwoFloat a, float b) {
    float sum = a.high + b, part = sum - a.high;
    return {sum, a.low + ((a.high - (sum - part)) + (b - part))};
  }
  CDN_FN friend TwoFloat operator+(TwoFloat a, TwoFloat b) {
    TwoFloat sum = a + b.high;
    return {sum.high, sum.low + b.low};
  }
  CDN_FN friend TwoFloat operator*(TwoFloat a, float b) {
    float product = rounded_product(a.high, b);
    return {product, fn::fma(a.low, b, fn::fma(a.high, b, -product))};
  }

  // Where the sum is not finite or was so on the way, the rounding errors are NaN.
  CDN_FN explicit operator float() const {
    float sum = high + low;
    return is_nan(sum - sum) || sum == high ? high : sum;  // a zero keeps its sign
  }
  CDN_FN explicit operator double() const {
    double sum = static_cast<double>(high) + static_cast<double>(low);
    return is_nan(sum - sum) || low == 0 ? static_cast<double>(high) : sum;
  }

  // Rounded once.
  CDN_FN explicit operator float16() const { return float16(static_cast<double>(*this)); }
  CDN_FN explicit operator bfloat16() const { return bfloat16(static_cast<double>(*this)); }

 private:
  // Never contracted: where a sum took the unrounded product, its rounding would count twice.
  CDN_FN static float rounded_product(float a, float b) {
#if defined(__CUDA_ARCH__)
    return __fmul_rn(a, b);
#else
    return a * b;
#endif
  }
};

#if defined(__CUDACC__)
using WideFloat = TwoFloat;
#else
using WideFloat = double;
#endif

template <class T> struct SumOf {
  using type = WideFloat;
};
template <> struct SumOf<double> {
  using type = double;
};
template <> struct SumOf<int32_t> {
  using type = int64_t;  // and wraps in the end
};
template <> struct SumOf<uint8_t> {
  using type = int64_t;
};
template <class T> using Sum = typename SumOf<T>::type;

template <class S> struct Pair {
  S first, second;
  template <class B> CDN_FN friend Pair operator+(Pair a, Pair<B> b) {
    return {a.first + b.first, a.second + b.second};
  }
};

// The part of a functor for reduce or scan that adds.
template <class A> struct Adding {
  using Acc = A;
  CDN_FN Acc start() const { return Acc{}; }
  template <class B> CDN_FN Acc join(Acc a, B b) const { return a + b; }
};

// The operands of a functor for rows, all of T: y, which may be null, N inputs, and M vectors with
// an element for each column, which are 1 (the first of them) or 0 where they are null; the step
// that takes these is the last, or the first.
template <class T, int N, int M = 0, bool OF_RESULT = true> struct RowOperands {
  using Element = T;
  static constexpr int INPUTS = N, COLUMNS = M;
  static constexpr bool COLUMNS_OF_RESULT = OF_RESULT, SECOND = false;
  static constexpr bool ADDS = false;  // first()
  struct Column {
    Compute<T> v[M > 0 ? M : 1];
  };
  struct None {};
  T* y = nullptr;
  const T* in[N] = {};
  const T* columns[M > 0 ? M : 1] = {};
  bool columns_aligned = false;  // for the driver
  CDN_FN None row(int64_t) const { return {}; }
  template <class All> CDN_FN void finish(int64_t, const All&) const {}
};

// The part of a functor for rows that adds.
template <class A> struct AddingRows {
  using Acc = A;
  using Acc2 = A;
  CDN_FN Acc start1() const { return Acc{}; }
  template <class B> CDN_FN Acc join1(Acc a, B b) const { return a + b; }
};

// Sums of the differences from an element near the data, and of their squares.
using Moments = Pair<double>;
template <class T> CDN_FN Moments moments(T x, T near) {
  double d = static_cast<double>(wide(x)) - static_cast<double>(wide(near));
  return {d, d * d};
}
// The sum of the squared differences from the mean of n elements.
CDN_FN double squares_about_mean(Moments sums, double n) {
  double squares = sums.second - sums.first * (sums.first / n);
  return squares < 0 ? 0 : squares;
}

// x - mean, which is taken off in two parts: that keeps its digits without a float64 for x.
template <class T> CDN_FN Compute<T> centred(T x, double mean) {
  using C = Compute<T>;
  const C high = static_cast<C>(mean), low = static_cast<C>(mean - static_cast<double>(high));
  return (wide(x) - high) - low;
}

}  // namespace cdn
