// The activation functions of networks, and their gradients, written as those of activations.h.
#include "kernel/activations.h"

#include "kernel/elementwise.h"
#include "kernel/sum.h"

using namespace cdn;

namespace {

template <class T> struct LeakyRelu {
  T slope;
  CDN_FN T operator()(T x) const { return x > T(0) ? x : x * slope; }
};
template <class T> struct LeakyReluGrad {
  T slope;
  CDN_FN T operator()(T dy, T x) const { return x > T(0) ? dy : dy * slope; }
};

template <class T> struct Elu {
  T alpha;
  CDN_FN T operator()(T x) const {
    return fn::larger(x, T(0)) + alpha * fn::expm1(fn::smaller(x, T(0)));
  }
};
template <class T> struct EluGrad {
  T alpha;
  CDN_FN T operator()(T dy, T x) const {
    T below = alpha * fn::exp(fn::smaller(x, T(0)));
    return dy * (x > T(0) ? T(1) : below);
  }
};

// The slopes are of x: 1 - y would have lost its digits where y is near 1, all of them in 16 bits.
struct SigmoidGrad {
  template <class T> CDN_FN T operator()(T dy, T x) const {
    T e = fn::exp(-fn::abs(x)), sum = T(1) + e;
    return dy * fn::divide(e, sum * sum);
  }
};

struct TanhGrad {
  template <class T> CDN_FN T operator()(T dy, T x) const {
    T e = fn::exp(T(-2) * fn::abs(x)), sum = T(1) + e;
    return dy * fn::divide(T(4) * e, sum * sum);
  }
};

template <class T> struct Softplus {
  T beta, threshold;
  CDN_FN T operator()(T x) const {
    T z = beta * x, size = z < T(0) ? z : -z;
    T soft = (fn::larger(z, T(0)) + fn::log1p(fn::exp(size))) * (T(1) / beta);
    return z > threshold ? x : soft;
  }
};
template <class T> struct SoftplusGrad {
  T beta, threshold;
  CDN_FN T operator()(T dy, T x) const {
    T z = beta * x, share = fn::sigmoid(z);
    return dy * (z > threshold ? T(1) : share);
  }
};

// silu(gate) * up, and dy times its slopes by the two.
struct SwiGlu {
  template <class T> CDN_FN T operator()(T gate, T up) const { return Silu{}(gate)*up; }
};
struct SwiGluGrad {
  template <class T> CDN_FN Pair<T> operator()(T dy, T gate, T up) const {
    const T x = within(gate), s = fn::sigmoid(x);
    return {dy * up * (s * (T(1) + x * (T(1) - s))), dy * (not_below(gate) * s)};
  }
};

}  // namespace

CDN_UNARY(relu, Relu, Floats)
CDN_FUNCTION(sigmoid, Sigmoid)
CDN_FUNCTION(tanh, Tanh)
CDN_UNARY(gelu, Gelu, Floats)
CDN_UNARY(gelu_tanh, GeluTanh, Floats)
CDN_UNARY(silu, Silu, Floats)
CDN_API int32_t cdn_leaky_relu(uint32_t y, uint32_t x, int64_t n, double slope, int32_t dtype) {
  return unary("cdn_leaky_relu", Floats{}, with<LeakyRelu>(slope), y, x, n, dtype);
}
CDN_API int32_t cdn_elu(uint32_t y, uint32_t x, int64_t n, double alpha, int32_t dtype) {
  return unary("cdn_elu", Floats{}, with<Elu>(alpha), y, x, n, dtype);
}
CDN_API int32_t cdn_softplus(uint32_t y, uint32_t x, int64_t n, double beta, double threshold,
                             int32_t dtype) {
  return unary("cdn_softplus", Floats{}, with<Softplus>(beta, threshold), y, x, n, dtype);
}

CDN_UNARY_GRAD(relu, ReluGrad)
CDN_UNARY_GRAD(sigmoid, SigmoidGrad)
CDN_UNARY_GRAD(tanh, TanhGrad)
CDN_UNARY_GRAD(gelu, GeluGrad)
CDN_UNARY_GRAD(gelu_tanh, GeluTanhGrad)
CDN_UNARY_GRAD(silu, SiluGrad)
CDN_API int32_t cdn_leaky_relu_grad(uint32_t dx, uint32_t dy, uint32_t x, int64_t n, double slope,
                                    int32_t dtype) {
  return unary_grad("cdn_leaky_relu_grad", Floats{}, with<LeakyReluGrad>(slope), dx, dy, x, n,
                    dtype);
}
CDN_API int32_t cdn_elu_grad(uint32_t dx, uint32_t dy, uint32_t x, int64_t n, double alpha,
                             int32_t dtype) {
  return unary_grad("cdn_elu_grad", Floats{}, with<EluGrad>(alpha), dx, dy, x, n, dtype);
}
CDN_API int32_t cdn_softplus_grad(uint32_t dx, uint32_t dy, uint32_t x, int64_t n, double beta,
                                  double threshold, int32_t dtype) {
  return unary_grad("cdn_softplus_grad", Floats{}, with<SoftplusGrad>(beta, threshold), dx, dy, x,
                    n, dtype);
}

CDN_API int32_t cdn_swiglu(uint32_t y, uint32_t gate, uint32_t up, int64_t n, int32_t dtype) {
  return run("cdn_swiglu", Call::IN_PLACE, Floats{}, dtype, [&]<class T>(Call& call, T) {
    T* to = call.out<T>(y, "y", n);
    const T* from = call.in<T>(gate, "gate", n);
    map(call, n, SwiGlu{}, to, from, call.in<T>(up, "up", n));
  });
}
CDN_API int32_t cdn_swiglu_grad(uint32_t dgate, uint32_t dup, uint32_t dy, uint32_t gate,
                                uint32_t up, int64_t n, int32_t dtype) {
  return run("cdn_swiglu_grad", Floats{}, dtype, [&]<class T>(Call& call, T) {
    T *to_gate = call.out<T>(dgate, "dgate", n), *to_up = call.out<T>(dup, "dup", n);
    const T *upstream = call.in<T>(dy, "dy", n), *opens = call.in<T>(gate, "gate", n);
    map_pair(call, n, SwiGluGrad{}, to_gate, to_up, upstream, opens, call.in<T>(up, "up", n));
  });
}
