// Elementary functions by one name for float and double, in a form that g++ turns into vector code:
// glibc's libmvec keeps NaN and infinity, which -ffast-math would not.
#pragma once
#include <cmath>

#include "kernel/drivers.h"

#if !defined(__CUDACC__) && defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && \
    defined(__GLIBC__)
#define CDN_VECTOR __attribute__((simd("notinbranch"), const))
extern "C" {
CDN_VECTOR float expf(float) noexcept;
CDN_VECTOR double exp(double) noexcept;
CDN_VECTOR float logf(float) noexcept;
CDN_VECTOR double log(double) noexcept;
CDN_VECTOR float powf(float, float) noexcept;
CDN_VECTOR double pow(double, double) noexcept;
CDN_VECTOR float sinf(float) noexcept;
CDN_VECTOR double sin(double) noexcept;
CDN_VECTOR float cosf(float) noexcept;
CDN_VECTOR double cos(double) noexcept;
#if __GLIBC_PREREQ(2, 35)
CDN_VECTOR float tanhf(float) noexcept;
CDN_VECTOR double tanh(double) noexcept;
CDN_VECTOR float expm1f(float) noexcept;
CDN_VECTOR double expm1(double) noexcept;
CDN_VECTOR float log1pf(float) noexcept;
CDN_VECTOR double log1p(double) noexcept;
CDN_VECTOR float erff(float) noexcept;
CDN_VECTOR double erf(double) noexcept;
CDN_VECTOR float erfcf(float) noexcept;
CDN_VECTOR double erfc(double) noexcept;
#endif
}
#undef CDN_VECTOR
#endif

namespace cdn {
namespace fn {

CDN_FN float abs(float x) { return ::fabsf(x); }
CDN_FN double abs(double x) { return ::fabs(x); }
CDN_FN float exp(float x) { return ::expf(x); }
CDN_FN double exp(double x) { return ::exp(x); }
CDN_FN float log(float x) { return ::logf(x); }
CDN_FN double log(double x) { return ::log(x); }
CDN_FN float pow(float x, float y) { return ::powf(x, y); }
CDN_FN double pow(double x, double y) { return ::pow(x, y); }
CDN_FN float tanh(float x) { return ::tanhf(x); }
CDN_FN double tanh(double x) { return ::tanh(x); }
CDN_FN float expm1(float x) { return ::expm1f(x); }
CDN_FN double expm1(double x) { return ::expm1(x); }
CDN_FN float log1p(float x) { return ::log1pf(x); }
CDN_FN double log1p(double x) { return ::log1p(x); }
CDN_FN float sin(float x) { return ::sinf(x); }
CDN_FN double sin(double x) { return ::sin(x); }
CDN_FN float cos(float x) { return ::cosf(x); }
CDN_FN double cos(double x) { return ::cos(x); }
CDN_FN float erf(float x) { return ::erff(x); }
CDN_FN double erf(double x) { return ::erf(x); }
CDN_FN float erfc(float x) { return ::erfcf(x); }
CDN_FN double erfc(double x) { return ::erfc(x); }
CDN_FN float fma(float x, float y, float z) { return ::fmaf(x, y, z); }
CDN_FN double fma(double x, double y, double z) { return ::fma(x, y, z); }
CDN_FN float fmod(float x, float y) { return ::fmodf(x, y); }
CDN_FN double fmod(double x, double y) { return ::fmod(x, y); }
CDN_FN float floor(float x) { return ::floorf(x); }
CDN_FN double floor(double x) { return ::floor(x); }
CDN_FN float sqrt(float x) { return ::sqrtf(x); }
CDN_FN double sqrt(double x) { return ::sqrt(x); }
#if defined(__CUDA_ARCH__)
CDN_FN float rsqrt(float x) { return ::rsqrtf(x); }
CDN_FN double rsqrt(double x) { return ::rsqrt(x); }
#else
CDN_FN float rsqrt(float x) { return 1.0f / ::sqrtf(x); }
CDN_FN double rsqrt(double x) { return 1.0 / ::sqrt(x); }
#endif

// Of e^-|x|, which does not overflow where the result is small; |x| by a comparison would be joined
// with the other one to a branch, which is no vector code.
template <class T> CDN_FN T sigmoid(T x) {
  T e = exp(-abs(x));
  return (x < T(0) ? e : T(1)) / (T(1) + e);
}

// The larger (smaller) of two, NaN if either is NaN, as PyTorch has it.
template <class T> CDN_FN T larger(T a, T b) { return a > b || is_nan(a) ? a : b; }
template <class T> CDN_FN T smaller(T a, T b) { return a < b || is_nan(a) ? a : b; }

}  // namespace fn

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

}  // namespace cdn
