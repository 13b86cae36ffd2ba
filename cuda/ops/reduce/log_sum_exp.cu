// Log-sum-exp of x[outer, axis, inner] over axis, and its gradient. It carries the largest element
// and the sum of e^(x - largest), at one exp an element.
#include "kernel/functions.h"
#include "kernel/spread.h"

using namespace cdn;

namespace {

template <class C> struct Scaled {  // sum e^largest
  C largest, sum;
};
template <class T> struct LogSumExp {
  using C = Compute<T>;
  using Acc = Scaled<C>;
  const T* x;
  double* y;
  CDN_FN Acc start() const { return {-std::numeric_limits<C>::infinity(), C(0)}; }
  CDN_FN Acc load(int64_t at, int64_t) const { return {wide(x[at]), C(1)}; }
  CDN_FN Acc join(Acc a, Acc b) const {
    // Equal ones may be infinite, and their difference NaN.
    C apart = a.largest == b.largest ? C(0) : a.largest - b.largest;
    C scale = fn::exp(apart > C(0) ? -apart : apart);
    return {fn::larger(a.largest, b.largest),
            apart > C(0) ? a.sum + b.sum * scale : a.sum * scale + b.sum};
  }
  CDN_FN void store(int64_t at, Acc acc) const {
    y[at] = static_cast<double>(acc.largest) + static_cast<double>(fn::log(acc.sum));
  }
};

// dy e^(x - y); 0 where all of the axis is -Infinity.
template <class T> struct LogSumExpGrad {
  T* dx;
  const T *dy, *x;
  const double* y;
  CDN_FN void operator()(int64_t at, int64_t from) const {
    using C = Compute<T>;
    double total = y[from], base = total == -std::numeric_limits<double>::infinity() ? 0 : total;
    dx[at] = static_cast<T>(wide(dy[from]) *
                            fn::exp(static_cast<C>(static_cast<double>(wide(x[at])) - base)));
  }
};

}  // namespace

CDN_API int32_t cdn_log_sum_exp(uint32_t y, uint32_t x, int64_t outer, int64_t axis, int64_t inner,
                                int32_t dtype) {
  return run("cdn_log_sum_exp", Floats{}, dtype, [&]<class T>(Call& call, T) {
    Sizes n(outer, axis, inner);
    double* to = call.out<double>(y, "y", n.out);
    reduce(call, outer, axis, inner, LogSumExp<T>{call.in<T>(x, "x", n.in), to});
  });
}

CDN_API int32_t cdn_log_sum_exp_grad(uint32_t dx, uint32_t dy, uint32_t x, uint32_t y,
                                     int64_t outer, int64_t axis, int64_t inner, int32_t dtype) {
  return run("cdn_log_sum_exp_grad", Floats{}, dtype, [&]<class T>(Call& call, T) {
    Sizes n(outer, axis, inner);
    LogSumExpGrad<T> op{call.out<T>(dx, "dx", n.in), call.in<T>(dy, "dy", n.out),
                        call.in<T>(x, "x", n.in), call.in<double>(y, "y", n.out)};
    spread(call, outer, axis, inner, op);
  });
}
