// Losses of one number against another, element by element: f(x, target), and for the gradient its
// slope by x, scaled by the one number that is the gradient of a reduced loss, which is read where
// it lies, on the device. A reduced loss reads its inputs once, and leaves the slope on the way.
// The formulas hold at extreme inputs: nothing overflows on the way to a result that does not.
#include "kernel/sum.h"
#include "ops/optim/elements.h"

using namespace cdn;

namespace {

template <class T> CDN_FN T sign_of(T x) { return static_cast<T>((x > T(0)) - (x < T(0))); }

template <class T> CDN_FN T within(T x, T limit) {
  T size = fn::smaller(fn::abs(x), limit);
  return x < T(0) ? -size : size;
}

// p is beta, delta or margin; the others have no use for it.
struct Mse {
  template <class T> CDN_FN static T value(T x, T t, T) { return (x - t) * (x - t); }
  template <class T> CDN_FN static T slope(T x, T t, T) { return T(2) * (x - t); }
};
struct L1 {
  template <class T> CDN_FN static T value(T x, T t, T) { return fn::abs(x - t); }
  template <class T> CDN_FN static T slope(T x, T t, T) { return sign_of(x - t); }
};
// Two pieces as one expression, which is faster than a choice: |d| and the slope end at the limit.
struct SmoothL1 {  // quadratic up to beta, then of slope 1
  // One division for all elements; of a denormal beta it would be infinite.
  template <class T> CDN_FN static T inverse(T beta) {
    return fn::smaller(T(1) / beta, std::numeric_limits<T>::max());
  }
  template <class T> CDN_FN static T value(T x, T t, T beta) {
    T far = fn::abs(x - t);
    return fn::smaller(far * inverse(beta), T(1)) * (far - T(0.5) * fn::smaller(far, beta));
  }
  template <class T> CDN_FN static T slope(T x, T t, T beta) {
    return within((x - t) * inverse(beta), T(1));
  }
};
struct Huber {  // quadratic up to delta, then of slope delta
  template <class T> CDN_FN static T value(T x, T t, T delta) {
    T far = fn::abs(x - t), near = fn::smaller(far, delta);
    return near * (far - T(0.5) * near);
  }
  template <class T> CDN_FN static T slope(T x, T t, T delta) { return within(x - t, delta); }
};
struct Bce {  // logarithms end at -100, as PyTorch's do: a wrong 0 or 1 costs 100, not infinity
  template <class T> CDN_FN static T value(T x, T t, T) {
    T yes = fn::larger(fn::log(x), T(-100)), no = fn::larger(fn::log1p(-x), T(-100));
    return (t - T(1)) * no - t * yes;
  }
  template <class T> CDN_FN static T slope(T x, T t, T) {
    return (x - t) / fn::larger((T(1) - x) * x, T(1e-12));
  }
};
struct BceWithLogits {  // log(1 + e^x) - t x, whose line is 0 where x is infinite and t agrees
  template <class T> CDN_FN static T value(T x, T t, T) {
    T share = x > T(0) ? T(1) - t : -t;
    return (share == T(0) ? T(0) : x * share) + fn::log1p(fn::exp(-fn::abs(x)));
  }
  template <class T> CDN_FN static T slope(T x, T t, T) { return fn::sigmoid(x) - t; }
};
struct Hinge {
  template <class T> CDN_FN static T value(T x, T t, T margin) {
    return fn::larger(margin - x * t, T(0));
  }
  template <class T> CDN_FN static T slope(T x, T t, T margin) {
    return margin - x * t > T(0) ? -t : T(0);
  }
};
struct KlDiv {  // t (log t - x)
  template <class T> CDN_FN static T value(T x, T t, T) {
    return t == T(0) ? T(0) : t * (fn::log(t) - x);
  }
  template <class T> CDN_FN static T slope(T, T t, T) { return -t; }
};
struct KlDivLog {  // the same, from log t
  template <class T> CDN_FN static T value(T x, T t, T) {
    T p = fn::exp(t);
    return p == T(0) ? T(0) : p * (t - x);
  }
  template <class T> CDN_FN static T slope(T, T t, T) { return -fn::exp(t); }
};

template <class F, class C> struct Value {
  C parameter;
  CDN_FN C operator()(C x, C t) const { return F::value(x, t, parameter); }
};
template <class F, class T> struct Slope {
  using C = Compute<T>;
  C parameter, scale;
  const T* dy;  // may be null: 1
  CDN_FN C operator()(C x, C t) const {
    C factor = dy ? scale * wide(*dy) : scale;
    return F::slope(x, t, parameter) * factor;
  }
};

// The losses added up; their slopes go to `kept`, which may be null.
template <class F, class T> struct Reduced : Adding<Sum<Compute<T>>>, Taking<T, 2> {
  using C = Compute<T>;
  T *y, *kept;
  C parameter, scale;
  double divisor;
  CDN_FN C operator()(int, const C (&v)[2]) const { return F::value(v[0], v[1], parameter); }
  CDN_FN C kept_of(const C (&v)[2]) const { return F::slope(v[0], v[1], parameter) * scale; }
  CDN_FN void store(int64_t, Sum<C> sum) const {
    *y = static_cast<T>(static_cast<double>(sum) / divisor);
  }
};

template <class F> void with_loss(int32_t kind, F&& f) {
  switch (kind) {
    case CDN_LOSS_MSE: return f(Mse{});
    case CDN_LOSS_L1: return f(L1{});
    case CDN_LOSS_SMOOTH_L1: return f(SmoothL1{});
    case CDN_LOSS_HUBER: return f(Huber{});
    case CDN_LOSS_BCE: return f(Bce{});
    case CDN_LOSS_BCE_WITH_LOGITS: return f(BceWithLogits{});
    case CDN_LOSS_HINGE: return f(Hinge{});
    case CDN_LOSS_KL_DIV: return f(KlDiv{});
    case CDN_LOSS_KL_DIV_LOG: return f(KlDivLog{});
    default: CDN_FAIL(CDN_BAD_ARGUMENT, "kind is %d; it must be one of CDN_LOSS_*", kind);
  }
}

// Times dy, in place, where there is usually nothing to do: the gradient of a loss is 1.
template <class T> struct Scaled {
  const T* dy;
  Compute<T> factor = {};
  CDN_FN bool begin() {
    factor = wide(*dy);
    return factor != 1;
  }
  CDN_FN Compute<T> operator()(const Compute<T>* x) const { return x[0] * factor; }
};

}  // namespace

CDN_API int32_t cdn_loss(uint32_t y, uint32_t x, uint32_t target, int64_t n, double parameter,
                         int32_t kind, int32_t dtype) {
  return run("cdn_loss", Call::IN_PLACE, Floats{}, dtype, [&]<class T>(Call& call, T) {
    using C = Compute<T>;
    T* to = call.out<T>(y, "y", n);
    const T *from = call.in<T>(x, "x", n), *wanted = call.in<T>(target, "target", n);
    with_loss(kind, [&]<class F>(F) {
      map(call, n, Value<F, C>{static_cast<C>(parameter)}, to, from, wanted);
    });
  });
}

CDN_API int32_t cdn_loss_grad(uint32_t dx, uint32_t dy, uint32_t x, uint32_t target, int64_t n,
                              double parameter, double scale, int32_t kind, int32_t dtype) {
  return run("cdn_loss_grad", Floats{}, dtype, [&]<class T>(Call& call, T) {
    using C = Compute<T>;
    T* to = call.out<T>(dx, "dx", n);
    const T* upstream = call.optional<T>(dy, "dy", 1);
    const T *from = call.in<T>(x, "x", n), *wanted = call.in<T>(target, "target", n);
    with_loss(kind, [&]<class F>(F) {
      Slope<F, T> slope{static_cast<C>(parameter), static_cast<C>(scale), upstream};
      map(call, n, slope, to, from, wanted);
    });
  });
}

CDN_API int32_t cdn_loss_reduced(uint32_t y, uint32_t dx, uint32_t x, uint32_t target, int64_t n,
                                 double parameter, double divisor, int32_t kind, int32_t dtype) {
  return run("cdn_loss_reduced", Floats{}, dtype, [&]<class T>(Call& call, T) {
    using C = Compute<T>;
    T *to = call.out<T>(y, "y", 1), *kept = call.optional_out<T>(dx, "dx", n);
    const Inputs in{call.in<T>(x, "x", n), call.in<T>(target, "target", n)};
    const C number = static_cast<C>(parameter), scale = static_cast<C>(1 / divisor);
    with_loss(kind, [&]<class F>(F) {
      reduce_all(call, n, Reduced<F, T>{{}, {in}, to, kept, number, scale, divisor});
    });
  });
}

CDN_API int32_t cdn_scale_grad(uint32_t dx, uint32_t dy, int64_t n, int32_t dtype) {
  return run("cdn_scale_grad", Floats{}, dtype, [&]<class T>(Call& call, T) {
    const List lists[] = {{&dx, "dx", true, false}};
    each_element<T, T>(call, lists, &n, 1, Scaled<T>{call.in<T>(dy, "dy", 1)}, Unclocked{});
  });
}
