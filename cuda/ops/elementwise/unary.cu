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
  CDN_FN uint8_t operator()(uint8_t x) const { return static_cast<uint8_t>(-x); }
};
struct Abs {
  template <class T> CDN_FN T operator()(T x) const { return x < T(0) || x == T(0) ? T(0) - x : x; }
  CDN_FN int32_t operator()(int32_t x) const {
    return x < 0 ? static_cast<int32_t>(0u - static_cast<uint32_t>(x)) : x;
  }
  CDN_FN uint8_t operator()(uint8_t x) const { return x; }
};
struct Sign {  // 0 for NaN, as in PyTorch
  template <class T> CDN_FN T operator()(T x) const {
    return static_cast<T>((x > T(0)) - (x < T(0)));
  }
  CDN_FN uint8_t operator()(uint8_t x) const { return x != 0; }
};
struct Round {  // halves to the even neighbour
  template <class T> CDN_FN T operator()(T x) const { return fn::rint(x); }
};
struct IsFinite {
  template <class T> CDN_FN uint8_t operator()(T x) const {
    return fn::abs(x) < std::numeric_limits<T>::infinity();
  }
};
struct IsInf {
  template <class T> CDN_FN uint8_t operator()(T x) const {
    return fn::abs(x) == std::numeric_limits<T>::infinity();
  }
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

template <class F>
int32_t predicate(const char* op, F f, uint32_t y, uint32_t x, int64_t n, int32_t dtype) {
  return run(op, Floats{}, dtype, [&]<class T>(Call& call, T) {
    uint8_t* to = call.out<uint8_t>(y, "y", n);
    map(call, n, f, to, call.in<T>(x, "x", n));
  });
}

}  // namespace

CDN_UNARY(neg, Neg, Any)
CDN_UNARY(abs, Abs, Any)
CDN_UNARY(sign, Sign, Any)
CDN_UNARY(round, Round, Floats)

CDN_FUNCTION(exp, Exp)
CDN_FUNCTION(expm1, Expm1)
CDN_FUNCTION(log, Log)
CDN_FUNCTION(log1p, Log1p)
CDN_FUNCTION(sqrt, Sqrt)
CDN_FUNCTION(rsqrt, Rsqrt)
CDN_FUNCTION(sin, Sin)
CDN_FUNCTION(cos, Cos)
CDN_FUNCTION(erf, Erf)
CDN_FUNCTION(floor, Floor)
CDN_FUNCTION(ceil, Ceil)
CDN_FUNCTION(trunc, Trunc)

CDN_API int32_t cdn_isfinite(uint32_t y, uint32_t x, int64_t n, int32_t dtype) {
  return predicate("cdn_isfinite", IsFinite{}, y, x, n, dtype);
}
CDN_API int32_t cdn_isinf(uint32_t y, uint32_t x, int64_t n, int32_t dtype) {
  return predicate("cdn_isinf", IsInf{}, y, x, n, dtype);
}

CDN_API int32_t cdn_clip(uint32_t y, uint32_t x, int64_t n, double low, double high,
                         int32_t dtype) {
  return unary("cdn_clip", Any{}, with<Clip>(low, high), y, x, n, dtype);
}

CDN_UNARY_GRAD(abs, AbsGrad)
CDN_UNARY_GRAD(sqrt, SqrtGrad)
CDN_UNARY_GRAD(rsqrt, RsqrtGrad)
CDN_UNARY_GRAD(erf, ErfGrad)
CDN_API int32_t cdn_clip_grad(uint32_t dx, uint32_t dy, uint32_t x, int64_t n, double low,
                              double high, int32_t dtype) {
  return unary_grad("cdn_clip_grad", Floats{}, with<ClipGrad>(low, high), dx, dy, x, n, dtype);
}

CDN_API int32_t cdn_fill(uint32_t y, int64_t n, double value, int32_t dtype) {
  return run("cdn_fill", Any{}, dtype, [&]<class T>(Call& call, T) {
    map(call, n, Constant<T>{Converted<T>{}(value)}, call.out<T>(y, "y", n));
  });
}

CDN_API int32_t cdn_cast(uint32_t y, uint32_t x, int64_t n, int32_t y_dtype, int32_t x_dtype) {
  return run("cdn_cast", Call::IN_PLACE, Any{}, y_dtype, [&]<class Y>(Call& call, Y) {
    with_any(x_dtype, [&]<class X>(X) {
      Y* to = call.out<Y>(y, "y", n);
      map(call, n, Converted<Y>{}, to, call.in<X>(x, "x", n));
    });
  });
}
