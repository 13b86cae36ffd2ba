// Elementary functions by one name for float and double, in a form that g++ turns into vector code:
// glibc's libmvec keeps NaN and infinity, which -ffast-math would not.
#pragma once
#include <cmath>

#include "kernel/drivers.h"

#if !defined(__CUDACC__) && defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && \
    defined(__GLIBC__)
#define CDN_VECTOR __attribute__((simd("notinbranch"), const))
#define CDN_VECTORS(name)                   \
  CDN_VECTOR float name##f(float) noexcept; \
  CDN_VECTOR double name(double) noexcept;
extern "C" {
CDN_VECTORS(exp)
CDN_VECTORS(log)
CDN_VECTORS(sin)
CDN_VECTORS(cos)
CDN_VECTOR float powf(float, float) noexcept;
CDN_VECTOR double pow(double, double) noexcept;
#if __GLIBC_PREREQ(2, 35)
CDN_VECTORS(tanh)
CDN_VECTORS(expm1)
CDN_VECTORS(log1p)
CDN_VECTORS(erf)
CDN_VECTORS(erfc)
#endif
}
#undef CDN_VECTORS
#undef CDN_VECTOR
#endif

namespace cdn {
namespace fn {

#define CDN_FUNCTIONS(name)                           \
  CDN_FN float name(float x) { return ::name##f(x); } \
  CDN_FN double name(double x) { return ::name(x); }
CDN_FUNCTIONS(exp)
CDN_FUNCTIONS(log)
CDN_FUNCTIONS(tanh)
CDN_FUNCTIONS(expm1)
CDN_FUNCTIONS(log1p)
CDN_FUNCTIONS(sin)
CDN_FUNCTIONS(cos)
CDN_FUNCTIONS(erf)
CDN_FUNCTIONS(erfc)
CDN_FUNCTIONS(floor)
CDN_FUNCTIONS(ceil)
CDN_FUNCTIONS(trunc)
CDN_FUNCTIONS(rint)
CDN_FUNCTIONS(sqrt)
#undef CDN_FUNCTIONS
CDN_FN float abs(float x) { return ::fabsf(x); }
CDN_FN double abs(double x) { return ::fabs(x); }
CDN_FN float pow(float x, float y) { return ::powf(x, y); }
CDN_FN double pow(double x, double y) { return ::pow(x, y); }
CDN_FN float fmod(float x, float y) { return ::fmodf(x, y); }
CDN_FN double fmod(double x, double y) { return ::fmod(x, y); }
CDN_FN float fma(float x, float y, float z) { return ::fmaf(x, y, z); }
CDN_FN double fma(double x, double y, double z) { return ::fma(x, y, z); }
#if defined(__CUDA_ARCH__)
CDN_FN float rsqrt(float x) { return ::rsqrtf(x); }
CDN_FN double rsqrt(double x) { return ::rsqrt(x); }
#else
CDN_FN float rsqrt(float x) { return 1.0f / ::sqrtf(x); }
CDN_FN double rsqrt(double x) { return 1.0 / ::sqrt(x); }
#endif

// The larger (smaller) of two, NaN if either is NaN, as PyTorch has it.
template <class T> CDN_FN T larger(T a, T b) { return a > b || is_nan(a) ? a : b; }
template <class T> CDN_FN T smaller(T a, T b) { return a < b || is_nan(a) ? a : b; }

// By the instructions that a GPU has for them. Those of its special function units are off by a bit
// or two and take denormal numbers for 0.
#if defined(__CUDA_ARCH__)
#define CDN_UNIT(name)                              \
  CDN_FN float name##_approx(float x) {             \
    asm(#name ".approx.ftz.f32 %0, %0;" : "+f"(x)); \
    return x;                                       \
  }
CDN_UNIT(ex2)
CDN_UNIT(lg2)
CDN_UNIT(rcp)
CDN_UNIT(rsqrt)
#undef CDN_UNIT
#if __CUDA_ARCH__ >= 800
CDN_FN float larger(float a, float b) {
  asm("max.NaN.f32 %0, %0, %1;" : "+f"(a) : "f"(b));
  return a;
}
CDN_FN float smaller(float a, float b) {
  asm("min.NaN.f32 %0, %0, %1;" : "+f"(a) : "f"(b));
  return a;
}
#endif
#endif

// e^x as far as T, to which it will be rounded, can tell it from the exact one.
template <class T> CDN_FN Compute<T> exp_for(Compute<T> x) {
#if defined(__CUDA_ARCH__)
  if constexpr (is_half<T>) return __expf(x);
#endif
  return exp(x);
}

// a / b for b from 1 to 2^100, so that no case of a division needs a branch.
template <class T> CDN_FN T divide(T a, T b) {
#if defined(__CUDA_ARCH__)
  if constexpr (std::is_same<T, float>::value) {
    float inverse = rcp_approx(b), near = a * inverse;
    return fma(fma(-near, b, a), inverse, near);
  }
#endif
  return a / b;
}

// Of e^-|x|, which does not overflow where the result is small; |x| by a comparison would be joined
// with the other one to a branch, which is no vector code.
template <class T> CDN_FN T sigmoid(T x) {
  T e = exp(-abs(x));
  return divide(x < T(0) ? e : T(1), T(1) + e);
}

// The normal distribution's density at a, and its share above a, for a from 0 to where the share
// is 0.
template <class T> struct Tail {
  static constexpr T END = sizeof(T) == 4 ? T(14.4) : T(39);
  T density, above;
};
template <class T> CDN_FN Tail<T> normal_tail(T a) {
  constexpr T PEAK = T(0.39894228040143268);  // 1 / sqrt(2 pi)
#if defined(__CUDA_ARCH__)
  if constexpr (std::is_same<T, float>::value) {
    // e^(-a^2 / 2) = 2^n 2^part, with what rounding a^2 left out; n comes from the last bits of a
    // large float, and the scale is 2^24 too large, as 2^n may be too small for a float.
    constexpr float HALF_LOG2E = 0.721347511f, LARGE = 0x1.8p23f + 151;
    float square = a * a, rest = fma(a, a, -square), n = fma(square, -HALF_LOG2E, LARGE);
    float part = fma(rest, -HALF_LOG2E, fma(square, -HALF_LOG2E, LARGE - n));
    float bell = ex2_approx(part) * bits_as<float>(bits_as<uint32_t>(n) << 23) * 0x1p-24f;
    // The share over the bell is a polynomial (minimax) of t = a / (a + 2.85), over a + 2.85. It
    // makes up for HALF_LOG2E's rounding too, which is as smooth.
    float inverse = rcp_approx(a + 2.85f), t = a * inverse, p = -0.0837828889f;
    for (float c : {0.258894145f, -0.191319466f, -0.0419445261f, -0.179828092f, 0.296142757f,
                    0.731152177f, -1.81539905f, 1.42499995f})
      p = fma(p, t, c);
    return {PEAK * bell, bell * (inverse * p)};
  }
#endif
  return {PEAK * exp(T(-0.5) * a * a), T(0.5) * erfc(a * T(0.70710678118654752))};
}

}  // namespace fn

struct Same {
  template <class T> CDN_FN T operator()(T x) const { return x; }
};

// From a wide value to Y: integers saturate, NaN becomes 0.
template <class Y> struct Converted {
  template <class X> CDN_FN Y operator()(X x) const {
    if constexpr (is_real<Y> || std::is_same<X, Y>::value) {
      return static_cast<Y>(x);
    } else {
      using Limits = std::numeric_limits<Y>;
      double wide = static_cast<double>(x);
      if (is_nan(wide)) return Y(0);
      if (wide <= static_cast<double>(Limits::min())) return Limits::min();
      if (wide >= static_cast<double>(Limits::max())) return Limits::max();
      return static_cast<Y>(wide);
    }
  }
};

template <class T> struct Constant {
  T value;
  CDN_FN T operator()() const { return value; }
};

}  // namespace cdn
