// The activation functions that may end a product (matmul.h), y = f(x), and their gradients: dx =
// f(dy, y) where y tells enough, else of x. Values that only one branch needs are computed for all
// elements, without overflow, so that loops become vector code.
#pragma once
#include "kernel/functions.h"

namespace cdn {

struct Relu {  // NaN stays NaN
  template <class T> CDN_FN T operator()(T x) const { return x < T(0) ? T(0) : x; }
};
struct ReluGrad {
  template <class T> CDN_FN T operator()(T dy, T y) const { return y <= T(0) ? T(0) : dy; }
};

// A share of the normal distribution that is small keeps its digits: gelu(x) is x times the share
// below x, which is x for x > 0 but for the share above |x|; and the slopes at x and -x add up
// to 1.
struct Gelu {
  template <class T> CDN_FN T operator()(T x) const {
    T size = fn::smaller(fn::abs(x), fn::Tail<T>::END);
    return fn::larger(x, T(0)) - size * fn::normal_tail(size).above;
  }
};
struct GeluGrad {
  template <class T> CDN_FN T operator()(T dy, T x) const {
    T size = fn::smaller(fn::abs(x), fn::Tail<T>::END);
    fn::Tail<T> tail = fn::normal_tail(size);
    T below = tail.above - size * tail.density;
    return dy * (x < T(0) ? below : T(1) - below);
  }
};

// The activations below and their slopes are at their limits long before |x| is 1000 (silu: 0
// below, x above), and at the far end of a float's range infinity times 0 would be NaN.
template <class T> CDN_FN T not_below(T x) { return fn::larger(x, T(-1000)); }
template <class T> CDN_FN T within(T x) { return fn::smaller(not_below(x), T(1000)); }

// With u = sqrt(2 / pi) (x + 0.044715 x^3): (1 + tanh u) / 2 is sigmoid(2 u), which keeps its
// digits below 0.
constexpr double TWO_ROOT = 1.5957691216057308, CUBIC = 0.044715;  // 2 sqrt(2 / pi)
struct GeluTanh {
  template <class T> CDN_FN T operator()(T x) const {
    x = not_below(x);
    return x * fn::sigmoid(T(TWO_ROOT) * x * (T(1) + T(CUBIC) * x * x));
  }
};
struct GeluTanhGrad {
  template <class T> CDN_FN T operator()(T dy, T x) const {
    x = within(x);
    T s = fn::sigmoid(T(TWO_ROOT) * x * (T(1) + T(CUBIC) * x * x));
    T slope = T(TWO_ROOT) * (T(1) + T(3 * CUBIC) * x * x);
    return dy * (s + x * slope * (s * (T(1) - s)));
  }
};

struct Silu {
  template <class T> CDN_FN T operator()(T x) const {
    x = not_below(x);
    return x * fn::sigmoid(x);
  }
};
struct SiluGrad {
  template <class T> CDN_FN T operator()(T dy, T x) const {
    x = within(x);
    T s = fn::sigmoid(x);
    return dy * (s * (T(1) + x * (T(1) - s)));
  }
};

}  // namespace cdn
