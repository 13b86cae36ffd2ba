// Variance and standard deviation of x[outer, axis, inner] over axis, in one pass over memory, and
// their gradient: from sums of x - x0 and its square, x0 being the first element along the axis:
// near the data, so that a large mean cancels before it is squared. They are float64, for the range
// of squares and for the digits that cancel where x0 is far from the rest.
#include "kernel/spread.h"
#include "kernel/sum.h"

using namespace cdn;

namespace {

template <class T> struct Variance : Adding<Moments> {
  const T* x;
  T* y;
  double* mean;  // nullptr: not wanted
  int64_t axis, inner;
  double divisor;
  bool root;
  CDN_FN Moments load(int64_t at, int64_t k) const { return moments(x[at], x[at - k * inner]); }
  CDN_FN void store(int64_t at, Moments sums) const {
    double n = static_cast<double>(axis), variance = squares_about_mean(sums, n) / divisor;
    y[at] = static_cast<T>(root ? fn::sqrt(variance) : variance);
    if (mean && axis > 0) {
      int64_t o = quotient(at, inner);
      mean[at] = static_cast<double>(x[o * axis * inner + (at - o * inner)]) + sums.first / n;
    }
  }
};

template <class T> struct VarianceGrad {
  using C = Compute<T>;
  T* dx;
  const T *dy, *x, *y;  // y is null for the variance itself
  const double* mean;
  C share;  // 1 / divisor
  CDN_FN void operator()(int64_t at, int64_t from) const {
    C upstream = wide(dy[from]), off = centred(x[at], mean[from]);
    if (y) {
      C deviation = wide(y[from]);
      dx[at] = static_cast<T>(deviation == C(0) ? C(0) : upstream * (off / deviation) * share);
    } else {
      dx[at] = static_cast<T>(upstream * (off * (share + share)));
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
  return run("cdn_variance", Floats{}, dtype, [&]<class T>(Call& call, T) {
    Sizes n(outer, axis, inner);
    Variance<T> op;
    op.y = call.out<T>(y, "y", n.out);
    op.mean = call.optional_out<double>(mean, "mean", n.out);
    op.x = call.in<T>(x, "x", n.in);
    op.axis = axis;
    op.inner = inner;
    op.divisor = divisor_for(axis, correction);
    op.root = root != 0;
    reduce(call, outer, axis, inner, op);
  });
}

CDN_API int32_t cdn_variance_grad(uint32_t dx, uint32_t dy, uint32_t x, uint32_t mean, uint32_t y,
                                  int64_t outer, int64_t axis, int64_t inner, double correction,
                                  int32_t dtype) {
  return run("cdn_variance_grad", Floats{}, dtype, [&]<class T>(Call& call, T) {
    Sizes n(outer, axis, inner);
    VarianceGrad<T> op;
    op.dx = call.out<T>(dx, "dx", n.in);
    op.dy = call.in<T>(dy, "dy", n.out);
    op.x = call.in<T>(x, "x", n.in);
    op.mean = call.in<double>(mean, "mean", n.out);
    op.y = call.optional<T>(y, "y", n.out);
    op.share = static_cast<Compute<T>>(1 / divisor_for(axis, correction));
    spread(call, outer, axis, inner, op);
  });
}
