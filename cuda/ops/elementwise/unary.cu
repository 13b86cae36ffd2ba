// y = f(x) for the functions of arithmetic and analysis, and their gradients where those are one
// pass; fill and cast.
#include "kernel/elementwise.h"

using namespace cdn;

namespace {

struct Neg {
  template <class T> CDN_FN T operator()(T x) const { return -x; }
  CDN_FN int32_t operator()(int32_t x) const {
    return static_cast<int32_t>(0u - static_cast<uint32_t>(x));
  }
};
struct Abs {
  template <class T> CDN_FN T operator()(T x) const { return x < T(0) || x == T(0) ? T(0) - x : x; }
  CDN_FN int32_t operator()(int32_t x) const {
    return x < 0 ? static_cast<int32_t>(0u - static_cast<uint32_t>(x)) : x;
  }
};
struct Sign {  // 0 for NaN, as in PyTorch
  template <class T> CDN_FN T operator()(T x) const {
    return static_cast<T>((x > T(0)) - (x < T(0)));
  }
};
struct Exp {
  template <class T> CDN_FN T operator()(T x) const { return fn::exp(x); }
};
struct Expm1 {
  template <class T> CDN_FN T operator()(T x) const { return fn::expm1(x); }
};
struct Log {
  template <class T> CDN_FN T operator()(T x) const { return fn::log(x); }
};
struct Log1p {
  template <class T> CDN_FN T operator()(T x) const { return fn::log1p(x); }
};
struct Sqrt {
  template <class T> CDN_FN T operator()(T x) const { return fn::sqrt(x); }
};
struct Rsqrt {
  template <class T> CDN_FN T operator()(T x) const { return fn::rsqrt(x); }
};
struct Sin {
  template <class T> CDN_FN T operator()(T x) const { return fn::sin(x); }
};
struct Cos {
  template <class T> CDN_FN T operator()(T x) const { return fn::cos(x); }
};
struct Erf {
  template <class T> CDN_FN T operator()(T x) const { return fn::erf(x); }
};
template <class T> struct Clip {  // NaN stays NaN; the upper bound wins where it is the lesser one
  T low, high;
  CDN_FN T operator()(T x) const {
    T y = x < low ? low : x;
    return y > high ? high : y;
  }
};

struct AbsGrad {
  template <class T> CDN_FN T operator()(T dy, T x) const {
    return x > T(0) ? dy : x < T(0) ? -dy : x * T(0);
  }
};
struct SqrtGrad {
  template <class T> CDN_FN T operator()(T dy, T y) const { return dy / (y + y); }
};
struct RsqrtGrad {
  // From dy to the result step by step: y^3 may overflow where that does not.
  template <class T> CDN_FN T operator()(T dy, T y) const { return T(-0.5) * dy * y * y * y; }
};
struct ErfGrad {
  template <class T> CDN_FN T operator()(T dy, T x) const {
    return dy * (T(1.1283791670955126) * fn::exp(-x * x));  // 2 / sqrt(pi)
  }
};
template <class T> struct ClipGrad {
  T low, high;
  CDN_FN T operator()(T dy, T x) const { return x >= low && x <= high ? dy : T(0); }
};

template <class T> struct Constant {
  T value;
  T* y;
  CDN_FN void operator()(int64_t i) const { y[i] = value; }
};

}  // namespace

CDN_API int32_t cdn_neg(uint32_t y, uint32_t x, int64_t n, int32_t dtype) {
  return unary("cdn_neg", Numbers{}, Just<Neg>{}, y, x, n, dtype);
}
CDN_API int32_t cdn_abs(uint32_t y, uint32_t x, int64_t n, int32_t dtype) {
  return unary("cdn_abs", Numbers{}, Just<Abs>{}, y, x, n, dtype);
}
CDN_API int32_t cdn_sign(uint32_t y, uint32_t x, int64_t n, int32_t dtype) {
  return unary("cdn_sign", Numbers{}, Just<Sign>{}, y, x, n, dtype);
}
CDN_API int32_t cdn_exp(uint32_t y, uint32_t x, int64_t n, int32_t dtype) {
  return unary("cdn_exp", Floats{}, Just<Exp>{}, y, x, n, dtype);
}
CDN_API int32_t cdn_expm1(uint32_t y, uint32_t x, int64_t n, int32_t dtype) {
  return unary("cdn_expm1", Floats{}, Just<Expm1>{}, y, x, n, dtype);
}
CDN_API int32_t cdn_log(uint32_t y, uint32_t x, int64_t n, int32_t dtype) {
  return unary("cdn_log", Floats{}, Just<Log>{}, y, x, n, dtype);
}
CDN_API int32_t cdn_log1p(uint32_t y, uint32_t x, int64_t n, int32_t dtype) {
  return unary("cdn_log1p", Floats{}, Just<Log1p>{}, y, x, n, dtype);
}
CDN_API int32_t cdn_sqrt(uint32_t y, uint32_t x, int64_t n, int32_t dtype) {
  return unary("cdn_sqrt", Floats{}, Just<Sqrt>{}, y, x, n, dtype);
}
CDN_API int32_t cdn_rsqrt(uint32_t y, uint32_t x, int64_t n, int32_t dtype) {
  return unary("cdn_rsqrt", Floats{}, Just<Rsqrt>{}, y, x, n, dtype);
}
CDN_API int32_t cdn_sin(uint32_t y, uint32_t x, int64_t n, int32_t dtype) {
  return unary("cdn_sin", Floats{}, Just<Sin>{}, y, x, n, dtype);
}
CDN_API int32_t cdn_cos(uint32_t y, uint32_t x, int64_t n, int32_t dtype) {
  return unary("cdn_cos", Floats{}, Just<Cos>{}, y, x, n, dtype);
}
CDN_API int32_t cdn_erf(uint32_t y, uint32_t x, int64_t n, int32_t dtype) {
  return unary("cdn_erf", Floats{}, Just<Erf>{}, y, x, n, dtype);
}
CDN_API int32_t cdn_clip(uint32_t y, uint32_t x, int64_t n, double low, double high,
                         int32_t dtype) {
  return unary("cdn_clip", Numbers{}, with<Clip>(low, high), y, x, n, dtype);
}

CDN_API int32_t cdn_abs_grad(uint32_t dx, uint32_t dy, uint32_t x, int64_t n, int32_t dtype) {
  return unary_grad("cdn_abs_grad", Floats{}, Just<AbsGrad>{}, dx, dy, x, n, dtype);
}
CDN_API int32_t cdn_sqrt_grad(uint32_t dx, uint32_t dy, uint32_t y, int64_t n, int32_t dtype) {
  return unary_grad("cdn_sqrt_grad", Floats{}, Just<SqrtGrad>{}, dx, dy, y, n, dtype);
}
CDN_API int32_t cdn_rsqrt_grad(uint32_t dx, uint32_t dy, uint32_t y, int64_t n, int32_t dtype) {
  return unary_grad("cdn_rsqrt_grad", Floats{}, Just<RsqrtGrad>{}, dx, dy, y, n, dtype);
}
CDN_API int32_t cdn_erf_grad(uint32_t dx, uint32_t dy, uint32_t x, int64_t n, int32_t dtype) {
  return unary_grad("cdn_erf_grad", Floats{}, Just<ErfGrad>{}, dx, dy, x, n, dtype);
}
CDN_API int32_t cdn_clip_grad(uint32_t dx, uint32_t dy, uint32_t x, int64_t n, double low,
                              double high, int32_t dtype) {
  return unary_grad("cdn_clip_grad", Floats{}, with<ClipGrad>(low, high), dx, dy, x, n, dtype);
}

CDN_API int32_t cdn_fill(uint32_t y, int64_t n, double value, int32_t dtype) {
  return run("cdn_fill", [&](Call& call) {
    with_any(dtype, [&](auto zero) {
      using T = decltype(zero);
      T* to = call.out<T>(y, "y", n);
      each(call, n, Constant<T>{Converted<T>{}(value), to});
    });
  });
}

CDN_API int32_t cdn_cast(uint32_t y, uint32_t x, int64_t n, int32_t y_dtype, int32_t x_dtype) {
  return run("cdn_cast", Call::IN_PLACE, [&](Call& call) {
    with_any(y_dtype, [&](auto y_zero) {
      with_any(x_dtype, [&](auto x_zero) {
        using Y = decltype(y_zero);
        using X = decltype(x_zero);
        Y* to = call.out<Y>(y, "y", n);
        map(call, n, Converted<Y>{}, to, call.in<X>(x, "x", n));
      });
    });
  });
}
