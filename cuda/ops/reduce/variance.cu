// Variance and standard deviation of x[outer, axis, inner] over axis, in one pass over memory, and
// their gradient: from sums in float64 of x - x0 and its square, x0 being the first element along
// the axis: near the data, so that a large mean cancels before it is squared.
#include "kernel/functions.h"
#include "kernel/spread.h"

using namespace cdn;

namespace {

struct Moments {
  double sum, squares;
};

template <class T> struct Variance {
  using Acc = Moments;
  const T* x;
  T* y;
  double* mean;  // nullptr: not wanted
  int64_t axis, inner;
  double divisor;
  bool root;
  CDN_FN Acc start() const { return {0, 0}; }
  CDN_FN Acc load(int64_t at, int64_t k) const {
    double d = static_cast<double>(x[at]) - static_cast<double>(x[at - k * inner]);
    return {d, d * d};
  }
  CDN_FN Acc join(Acc a, Acc b) const { return {a.sum + b.sum, a.squares + b.squares}; }
  CDN_FN void store(int64_t at, Acc acc) const {
    double n = static_cast<double>(axis), squares = acc.squares - acc.sum * (acc.sum / n);
    double variance = (squares < 0 ? 0 : squares) / divisor;
    y[at] = static_cast<T>(root ? fn::sqrt(variance) : variance);
    if (mean && axis > 0) {
      int64_t o = quotient(at, inner);
      double first = static_cast<double>(x[o * axis * inner + (at - o * inner)]);
      mean[at] = first + acc.sum / n;
    }
  }
};

template <class T, bool ROOT> struct VarianceGrad {
  T* dx;
  const T *dy, *x, *y;
  const double* mean;
  double divisor;
  CDN_FN void operator()(int64_t at, int64_t from) const {
    double upstream = wide(dy[from]), centred = static_cast<double>(wide(x[at])) - mean[from];
    if constexpr (ROOT) {
      double deviation = wide(y[from]);
      dx[at] = static_cast<T>(deviation == 0 ? 0 : upstream * centred / (deviation * divisor));
    } else {
      dx[at] = static_cast<T>(upstream * centred * (2 / divisor));
    }
  }
};

// n - correction, but never below 0, as PyTorch has it: too few elements give NaN or infinity.
double divisor_for(int64_t n, double correction) {
  double divisor = static_cast<double>(n) - correction;
  return divisor > 0 ? divisor : 0;
}

}  // namespace

CDN_API int32_t cdn_variance(uint32_t y, uint32_t mean, uint32_t x, int64_t outer, int64_t axis,
                             int64_t inner, double correction, int32_t root, int32_t dtype) {
  return run("cdn_variance", [&](Call& call) {
    Sizes n(outer, axis, inner);
    with_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      T* to = call.out<T>(y, "y", n.out);
      double* middle = mean ? call.out<double>(mean, "mean", n.out) : nullptr;
      const T* from = call.in<T>(x, "x", n.in);
      reduce(call, outer, axis, inner,
             Variance<T>{from, to, middle, axis, inner, divisor_for(axis, correction), root != 0});
    });
  });
}

CDN_API int32_t cdn_variance_grad(uint32_t dx, uint32_t dy, uint32_t x, uint32_t mean, uint32_t y,
                                  int64_t outer, int64_t axis, int64_t inner, double correction,
                                  int32_t dtype) {
  return run("cdn_variance_grad", [&](Call& call) {
    Sizes n(outer, axis, inner);
    with_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      T* to = call.out<T>(dx, "dx", n.in);
      const T *upstream = call.in<T>(dy, "dy", n.out), *from = call.in<T>(x, "x", n.in);
      const double* middle = call.in<double>(mean, "mean", n.out);
      const double divisor = divisor_for(axis, correction);
      if (y)
        spread(
            call, outer, axis, inner,
            VarianceGrad<T, true>{to, upstream, from, call.in<T>(y, "y", n.out), middle, divisor});
      else
        spread(call, outer, axis, inner,
               VarianceGrad<T, false>{to, upstream, from, nullptr, middle, divisor});
    });
  });
}
