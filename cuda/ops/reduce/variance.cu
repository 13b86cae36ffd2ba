// Variance and standard deviation of x[outer, axis, inner] over axis, in one pass over memory, and
// their gradient. Along rows that is two sums over what is kept of one; else they come from sums of
// x - x0 and its square, x0 being the first element along the axis: near the data, so that a large
// mean cancels before it is squared. They are float64, for the range of squares and for the digits
// that cancel where x0 is far from the rest.
#include "kernel/spread.h"
#include "kernel/sum.h"

using namespace cdn;

namespace {

// Where one result is left of the sum of squared differences from the mean.
template <class T> struct Deviations {
  using C = Compute<T>;
  C* y;
  double* mean;  // nullptr: not wanted
  double divisor;
  bool root;
  CDN_FN void write(int64_t at, double near_mean, double squares) const {
    const double variance = squares / divisor;
    y[at] = static_cast<C>(root ? fn::sqrt(variance) : variance);
    if (mean) mean[at] = near_mean;
  }
};

template <class T> struct Variance : Adding<Moments> {
  Deviations<T> to;
  const T* x;
  int64_t axis, inner;
  CDN_FN Moments load(int64_t at, int64_t k) const { return moments(x[at], x[at - k * inner]); }
  CDN_FN void store(int64_t at, Moments sums) const {
    const double n = static_cast<double>(axis);
    const int64_t o = quotient(at, inner);
    const double near = axis > 0 ? wide(x[o * axis * inner + (at - o * inner)]) : 0;
    to.write(at, near + sums.first / n, squares_about_mean(sums, n));
  }
};

// Of neighbours, which are kept from the sum to that of squares.
template <class T> struct RowVariance : RowOperands<T, 1> {
  using C = Compute<T>;
  using typename RowOperands<T, 1>::None;
  using typename RowOperands<T, 1>::Column;
  using Acc = Sum<T>;
  using Acc2 = double;
  static constexpr bool SECOND = true, ADDS = true;
  Deviations<T> to;
  int64_t cols;
  struct All {
    double mean, squares;
  };
  CDN_FN Acc start1() const { return Acc{}; }
  template <class B> CDN_FN Acc join1(Acc a, B b) const { return a + b; }
  CDN_FN C first(None, const C (&v)[1], const Column&) const { return v[0]; }
  CDN_FN double average(Acc sum) const {
    return static_cast<double>(sum) / static_cast<double>(cols);
  }
  CDN_FN double second(None, Acc sum, const C (&v)[1]) const {
    const double off = static_cast<double>(v[0]) - average(sum);
    return off * off;
  }
  CDN_FN All all(None, Acc sum, double squares) const { return {average(sum), squares}; }
  CDN_FN void finish(int64_t r, const All& all) const { to.write(r, all.mean, all.squares); }
  CDN_FN C result(const All&, int64_t, const C (&v)[1], const Column&) const { return v[0]; }
};

template <class T> struct VarianceGrad {
  using C = Compute<T>;
  T* dx;
  const C *dy, *y;  // y is null for the variance itself
  const T* x;
  const double* mean;
  C share;  // 1 / divisor
  CDN_FN void operator()(int64_t at, int64_t from) const {
    C upstream = dy[from], off = centred(x[at], mean[from]);
    if (y) {
      C deviation = y[from];
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
    const Deviations<T> to{call.out<Compute<T>>(y, "y", n.out),
                           call.optional_out<double>(mean, "mean", n.out),
                           divisor_for(axis, correction), root != 0};
    const T* from = call.in<T>(x, "x", n.in);
    if (inner == 1 && axis > 0) {
      RowVariance<T> op;
      op.in[0] = from;
      op.to = to;
      op.cols = axis;
      return rows(call, outer, axis, op);
    }
    reduce(call, outer, axis, inner, Variance<T>{{}, to, from, axis, inner});
  });
}

CDN_API int32_t cdn_variance_grad(uint32_t dx, uint32_t dy, uint32_t x, uint32_t mean, uint32_t y,
                                  int64_t outer, int64_t axis, int64_t inner, double correction,
                                  int32_t dtype) {
  return run("cdn_variance_grad", Floats{}, dtype, [&]<class T>(Call& call, T) {
    Sizes n(outer, axis, inner);
    VarianceGrad<T> op;
    op.dx = call.out<T>(dx, "dx", n.in);
    op.dy = call.in<Compute<T>>(dy, "dy", n.out);
    op.x = call.in<T>(x, "x", n.in);
    op.mean = call.in<double>(mean, "mean", n.out);
    op.y = call.optional<Compute<T>>(y, "y", n.out);
    op.share = static_cast<Compute<T>>(1 / divisor_for(axis, correction));
    spread(call, outer, axis, inner, op);
  });
}
