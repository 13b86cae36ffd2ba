// The host side of y = f(x) and dx = f(dy, saved): checks the arguments of an export and maps a
// functor over them.
#pragma once
#include "kernel/functions.h"

namespace cdn {

// Makes F for the type that it computes in: F without parameters, or F<T> from parameters that
// become Ts.
template <class F> struct Just {
  template <class T> F operator()(T) const { return {}; }
};
template <template <class> class F, class... P> auto with(P... parameters) {
  return [=]<class T>(T) { return F<T>{Converted<T>{}(parameters)...}; };
}

template <class DTypes, class Make>
int32_t unary(const char* op, DTypes with_dtype, Make make, uint32_t y, uint32_t x, int64_t n,
              int32_t dtype) {
  return run(op, Call::IN_PLACE, with_dtype, dtype, [&]<class T>(Call& call, T) {
    T* to = call.out<T>(y, "y", n);
    map(call, n, make(Compute<T>{}), to, call.in<T>(x, "x", n));
  });
}

template <class DTypes, class Make>
int32_t unary_grad(const char* op, DTypes with_dtype, Make make, uint32_t dx, uint32_t dy,
                   uint32_t saved, int64_t n, int32_t dtype) {
  return run(op, Call::IN_PLACE, with_dtype, dtype, [&]<class T>(Call& call, T) {
    T* to = call.out<T>(dx, "dx", n);
    const T* upstream = call.in<T>(dy, "dy", n);
    map(call, n, make(Compute<T>{}), to, upstream, call.in<T>(saved, "x or y", n));
  });
}

// The exports of functors without parameters.
#define CDN_UNARY(name, F, DTypes)                                               \
  CDN_API int32_t cdn_##name(uint32_t y, uint32_t x, int64_t n, int32_t dtype) { \
    return unary("cdn_" #name, DTypes{}, Just<F>{}, y, x, n, dtype);             \
  }
// A function of functions.h, and its export.
#define CDN_FUNCTION(name, F)                                                 \
  namespace {                                                                 \
  struct F {                                                                  \
    template <class T> CDN_FN T operator()(T x) const { return fn::name(x); } \
  };                                                                          \
  }                                                                           \
  CDN_UNARY(name, F, Floats)
#define CDN_UNARY_GRAD(name, F)                                                            \
  CDN_API int32_t cdn_##name##_grad(uint32_t dx, uint32_t dy, uint32_t saved, int64_t n,   \
                                    int32_t dtype) {                                       \
    return unary_grad("cdn_" #name "_grad", Floats{}, Just<F>{}, dx, dy, saved, n, dtype); \
  }

}  // namespace cdn
