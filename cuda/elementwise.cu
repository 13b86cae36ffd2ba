// y = f(x), its gradients, fill and cast.
#include "functions.h"

using namespace cdn;

namespace {

struct Neg {
  template <class T> CDN_FN T operator()(T x) const { return -x; }
  CDN_FN int32_t operator()(int32_t x) const { return static_cast<int32_t>(0u - static_cast<uint32_t>(x)); }
};
struct Abs {
  template <class T> CDN_FN T operator()(T x) const { return x < T(0) || x == T(0) ? T(0) - x : x; }
  CDN_FN int32_t operator()(int32_t x) const { return x < 0 ? static_cast<int32_t>(0u - static_cast<uint32_t>(x)) : x; }
};
struct Exp {
  template <class T> CDN_FN T operator()(T x) const { return fn::exp(x); }
};
struct Log {
  template <class T> CDN_FN T operator()(T x) const { return fn::log(x); }
};
struct Sqrt {
  template <class T> CDN_FN T operator()(T x) const { return fn::sqrt(x); }
};
struct Relu {  // NaN stays NaN
  template <class T> CDN_FN T operator()(T x) const { return x < T(0) ? T(0) : x; }
};
struct Sigmoid {
  template <class T> CDN_FN T operator()(T x) const { return T(1) / (T(1) + fn::exp(-x)); }
};
struct Tanh {
  template <class T> CDN_FN T operator()(T x) const { return fn::tanh(x); }
};

struct AbsGrad {
  template <class T> CDN_FN T operator()(T dy, T x) const { return x > T(0) ? dy : x < T(0) ? -dy : x * T(0); }
};
struct SqrtGrad {
  template <class T> CDN_FN T operator()(T dy, T y) const { return dy / (y + y); }
};
struct ReluGrad {
  template <class T> CDN_FN T operator()(T dy, T y) const { return y <= T(0) ? T(0) : dy; }
};
struct SigmoidGrad {
  template <class T> CDN_FN T operator()(T dy, T y) const { return dy * y * (T(1) - y); }
};
struct TanhGrad {
  template <class T> CDN_FN T operator()(T dy, T y) const { return dy * (T(1) - y * y); }
};

template <class F> int32_t unary_float(const char* op, uint32_t y, uint32_t x, int64_t n, int32_t dtype) {
  return run(op, Call::IN_PLACE, [&](Call& call) {
    with_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      T* to = call.out<T>(y, "y", n);
      map(call, n, F{}, to, call.in<T>(x, "x", n));
    });
  });
}

template <class F> int32_t unary_number(const char* op, uint32_t y, uint32_t x, int64_t n, int32_t dtype) {
  return run(op, Call::IN_PLACE, [&](Call& call) {
    with_number(dtype, [&](auto zero) {
      using T = decltype(zero);
      T* to = call.out<T>(y, "y", n);
      map(call, n, F{}, to, call.in<T>(x, "x", n));
    });
  });
}

template <class F>
int32_t unary_grad(const char* op, uint32_t dx, uint32_t dy, uint32_t saved, int64_t n, int32_t dtype) {
  return run(op, Call::IN_PLACE, [&](Call& call) {
    with_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      T* to = call.out<T>(dx, "dx", n);
      const T* upstream = call.in<T>(dy, "dy", n);
      map(call, n, F{}, to, upstream, call.in<T>(saved, "x or y", n));
    });
  });
}

template <class T> struct Constant {
  T value;
  T* y;
  CDN_FN void operator()(int64_t i) const { y[i] = value; }
};

}  // namespace

CDN_API int32_t cdn_neg(uint32_t y, uint32_t x, int64_t n, int32_t dtype) {
  return unary_number<Neg>("cdn_neg", y, x, n, dtype);
}
CDN_API int32_t cdn_abs(uint32_t y, uint32_t x, int64_t n, int32_t dtype) {
  return unary_number<Abs>("cdn_abs", y, x, n, dtype);
}
CDN_API int32_t cdn_exp(uint32_t y, uint32_t x, int64_t n, int32_t dtype) {
  return unary_float<Exp>("cdn_exp", y, x, n, dtype);
}
CDN_API int32_t cdn_log(uint32_t y, uint32_t x, int64_t n, int32_t dtype) {
  return unary_float<Log>("cdn_log", y, x, n, dtype);
}
CDN_API int32_t cdn_sqrt(uint32_t y, uint32_t x, int64_t n, int32_t dtype) {
  return unary_float<Sqrt>("cdn_sqrt", y, x, n, dtype);
}
CDN_API int32_t cdn_relu(uint32_t y, uint32_t x, int64_t n, int32_t dtype) {
  return unary_float<Relu>("cdn_relu", y, x, n, dtype);
}
CDN_API int32_t cdn_sigmoid(uint32_t y, uint32_t x, int64_t n, int32_t dtype) {
  return unary_float<Sigmoid>("cdn_sigmoid", y, x, n, dtype);
}
CDN_API int32_t cdn_tanh(uint32_t y, uint32_t x, int64_t n, int32_t dtype) {
  return unary_float<Tanh>("cdn_tanh", y, x, n, dtype);
}

CDN_API int32_t cdn_abs_grad(uint32_t dx, uint32_t dy, uint32_t x, int64_t n, int32_t dtype) {
  return unary_grad<AbsGrad>("cdn_abs_grad", dx, dy, x, n, dtype);
}
CDN_API int32_t cdn_sqrt_grad(uint32_t dx, uint32_t dy, uint32_t y, int64_t n, int32_t dtype) {
  return unary_grad<SqrtGrad>("cdn_sqrt_grad", dx, dy, y, n, dtype);
}
CDN_API int32_t cdn_relu_grad(uint32_t dx, uint32_t dy, uint32_t y, int64_t n, int32_t dtype) {
  return unary_grad<ReluGrad>("cdn_relu_grad", dx, dy, y, n, dtype);
}
CDN_API int32_t cdn_sigmoid_grad(uint32_t dx, uint32_t dy, uint32_t y, int64_t n, int32_t dtype) {
  return unary_grad<SigmoidGrad>("cdn_sigmoid_grad", dx, dy, y, n, dtype);
}
CDN_API int32_t cdn_tanh_grad(uint32_t dx, uint32_t dy, uint32_t y, int64_t n, int32_t dtype) {
  return unary_grad<TanhGrad>("cdn_tanh_grad", dx, dy, y, n, dtype);
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
