// Group normalisation of images in either memory format. Sums are first of each channel of each
// image, in which the formats differ by no more than where the next pixel is; then of groups of
// channels, or down the batch, over few numbers. So one set of functors serves both formats, and
// no sum divides to find its channel. Instance norm is a group for each channel. As in
// batch_norm.cu sums take differences from the first element of a channel, so that a large mean
// costs no digits, and statistics are float64.
#include "kernel/sum.h"
#if defined(__CUDACC__)
#include "gpu/norm/whole_rows.h"
#endif

using namespace cdn;

namespace {

// x[batch, channels, pixels], or [batch, pixels, channels] where the channels come last; `each` of
// them form a group. Row r = image * channels + channel, and so r / each is its group.
struct Sizes {
  int64_t batch, channels, pixels, groups, each, n;
  bool last;
  CDN_FN int64_t first(int64_t r) const {
    if (!last) return r * pixels;
    int64_t image = quotient(r, channels);
    return image * pixels * channels + (r - image * channels);
  }
  CDN_FN int64_t step() const { return last ? channels : 1; }  // to the next pixel
  CDN_FN int64_t channel(int64_t r) const { return r - quotient(r, channels) * channels; }
  template <class Op> void over_pixels(Call& call, Op op) const {
    last ? reduce(call, batch, pixels, channels, op)
         : reduce(call, batch * channels, pixels, 1, op);
  }
};

Sizes sizes_of(int64_t batch, int64_t channels, int64_t groups, int64_t pixels, int32_t last) {
  int64_t n = checked_product("batch, channels, pixels", batch, channels, pixels);
  checked_product("batch, channels", batch, channels);
  if (groups < 1 || channels % groups != 0)
    CDN_FAIL(CDN_BAD_ARGUMENT, "groups is %lld; it must divide channels, %lld", (long long)groups,
             (long long)channels);
  return {batch, channels, pixels, groups, channels / groups, n, last != 0};
}

template <class T> struct RowMoments : Adding<Moments> {
  Sizes s;
  const T* x;
  double *mean, *var;
  CDN_FN Moments load(int64_t at, int64_t k) const { return moments(x[at], x[at - k * s.step()]); }
  CDN_FN void store(int64_t r, Moments sums) const {
    double n = static_cast<double>(s.pixels);
    mean[r] = static_cast<double>(wide(x[s.first(r)])) + sums.first / n;
    var[r] = squares_about_mean(sums, n) / n;
  }
};

struct GroupMoments : Adding<Moments> {
  Sizes s;
  const double *row_mean, *row_var;
  double *mean, *rstd, eps;
  CDN_FN Moments load(int64_t r, int64_t k) const {
    double d = row_mean[r] - row_mean[r - k];
    return {d, d * d + row_var[r]};
  }
  CDN_FN void store(int64_t g, Moments sums) const {
    double n = static_cast<double>(s.each);
    mean[g] = row_mean[g * s.each] + sums.first / n;
    rstd[g] = fn::rsqrt(squares_about_mean(sums, n) / n + eps);
  }
};

// A functor of each_row: f.at(i, f.known(row)) for each element i. LAST: a row is a pixel and runs
// over its channels; else a row is a channel of an image.
template <class F, bool LAST> struct ByRow {
  F f;
  Sizes s;
  using Known = typename F::Known;
  struct Row {
    F f;
    Known known;
    int64_t first, r, count;
    CDN_FN void operator()(int64_t i) const {
      if constexpr (LAST)
        f.at(first + i, f.known(r + i, i));
      else
        f.at(first + i, known);
    }
  };
  CDN_FN Row row(int64_t r) const {
    if constexpr (LAST)
      return {f, Known{}, r * s.channels, quotient(r, s.pixels) * s.channels, s.channels};
    else
      return {f, f.known(r, s.channel(r)), r * s.pixels, r, s.pixels};
  }
};

template <class F> void by_row(Call& call, const Sizes& s, F f) {
  if (s.last)
    each_row(call, s.batch * s.pixels, s.channels, ByRow<F, true>{f, s});
  else
    each_row(call, s.batch * s.channels, s.pixels, ByRow<F, false>{f, s});
}

// What normalises row r; weight and bias may be null: 1 and 0.
template <class T> struct Scaling {
  using C = Compute<T>;
  int64_t each;
  const double *mean, *rstd;
  const T *weight, *bias;
  struct Known {
    double mean;
    C rstd, weight, bias;
  };
  CDN_FN Known known(int64_t r, int64_t c) const {
    int64_t g = quotient(r, each);
    return {mean[g], static_cast<C>(rstd[g]), weight ? wide(weight[c]) : C(1),
            bias ? wide(bias[c]) : C(0)};
  }
};

template <class T> struct GroupNorm {
  using Known = typename Scaling<T>::Known;
  Scaling<T> scaling;
  T* y;
  const T* x;
  CDN_FN Known known(int64_t r, int64_t c) const { return scaling.known(r, c); }
  CDN_FN void at(int64_t i, const Known& k) const {
    y[i] = static_cast<T>(centred(x[i], k.mean) * k.rstd * k.weight + k.bias);
  }
};

// For whole_rows, where a group's elements are neighbours.
template <class T> struct WholeGroups {
  using C = Compute<T>;
  Sizes s;
  Scaling<T> scaling;
  double *mean, *rstd, eps;
  T* y;
  const T* x;
  struct Known {
    C high, low, rstd;
  };
  CDN_FN Known statistics(int64_t g, C first, Moments sums, bool writes) const {
    const double n = static_cast<double>(s.each * s.pixels), middle = first + sums.first / n,
                 scale = fn::rsqrt(squares_about_mean(sums, n) / n + eps);
    if (writes) mean[g] = middle, rstd[g] = scale;
    const C high = static_cast<C>(middle);
    return {high, static_cast<C>(middle - high), static_cast<C>(scale)};
  }
  template <class Pack>
  CDN_FN Pack normalized(const Known& k, int64_t g, int64_t column, Pack v) const {
    const int64_t c = s.channel(g * s.each + (s.each > 1 ? quotient(column, s.pixels) : 0));
    const C weight = scaling.weight ? wide(scaling.weight[c]) : C(1),
            bias = scaling.bias ? wide(scaling.bias[c]) : C(0);
    for (T& e : v.v) e = static_cast<T>((wide(e) - k.high - k.low) * k.rstd * weight + bias);
    return v;
  }
};

// Of each row: the sums of dy * n, with n the normalised x, and of dy.
template <class T> struct RowSums : Adding<Pair<Sum<T>>> {
  Sizes s;
  const T *dy, *x;
  const double *mean, *rstd;
  double *along, *sum;
  CDN_FN Pair<Sum<T>> load(int64_t at, int64_t k) const {
    Sum<T> upstream(wide(dy[at]));
    return {(Sum<T>(wide(x[at])) + -wide(x[at - k * s.step()])) * wide(dy[at]), upstream};
  }
  CDN_FN void store(int64_t r, Pair<Sum<T>> sums) const {
    int64_t g = quotient(r, s.each);
    double off = static_cast<double>(wide(x[s.first(r)])) - mean[g];
    sum[r] = static_cast<double>(sums.second);
    along[r] = (static_cast<double>(sums.first) + off * sum[r]) * rstd[g];
  }
};

// The gradients of weight and bias, down the batch; either may be null.
template <class T> struct ParamGrad : Adding<Pair<double>> {
  const double *along, *sum;
  T *dweight, *dbias;
  CDN_FN Pair<double> load(int64_t r, int64_t) const { return {along[r], sum[r]}; }
  CDN_FN void store(int64_t c, Pair<double> sums) const {
    if (dweight) dweight[c] = static_cast<T>(sums.first);
    if (dbias) dbias[c] = static_cast<T>(sums.second);
  }
};

// The means of weight * dy * n and of weight * dy over a group.
template <class T> struct GroupSums : Adding<Pair<double>> {
  Sizes s;
  const T* weight;
  const double *row_along, *row_sum;
  double *along, *sum;
  CDN_FN Pair<double> load(int64_t r, int64_t) const {
    double w = weight ? static_cast<double>(wide(weight[s.channel(r)])) : 1;
    return {w * row_along[r], w * row_sum[r]};
  }
  CDN_FN void store(int64_t g, Pair<double> sums) const {
    double n = static_cast<double>(s.each * s.pixels);
    along[g] = sums.first / n;
    sum[g] = sums.second / n;
  }
};

// dx = rstd * (weight * dy - mean(weight * dy) - n * mean(weight * dy * n))
template <class T> struct GroupNormGrad {
  using C = Compute<T>;
  Scaling<T> scaling;
  T* dx;
  const T *dy, *x;
  const double *along, *sum;
  struct Known {
    typename Scaling<T>::Known scale;
    C along, sum;
  };
  CDN_FN Known known(int64_t r, int64_t c) const {
    int64_t g = quotient(r, scaling.each);
    return {scaling.known(r, c), static_cast<C>(along[g]), static_cast<C>(sum[g])};
  }
  CDN_FN void at(int64_t i, const Known& k) const {
    C n = centred(x[i], k.scale.mean) * k.scale.rstd;
    dx[i] = static_cast<T>(k.scale.rstd * (k.scale.weight * wide(dy[i]) - k.sum - n * k.along));
  }
};

}  // namespace

CDN_API int32_t cdn_group_norm(uint32_t y, uint32_t mean, uint32_t rstd, uint32_t x,
                               uint32_t weight, uint32_t bias, int64_t batch, int64_t channels,
                               int64_t groups, int64_t pixels, int32_t channels_last, double eps,
                               int32_t dtype) {
  return run("cdn_group_norm", Floats{}, dtype, [&]<class T>(Call& call, T) {
    Sizes s = sizes_of(batch, channels, groups, pixels, channels_last);
    int64_t count = checked_product("batch, groups", batch, groups);
    T* to = call.out<T>(y, "y", s.n);
    double* means = call.out<double>(mean, "mean", count);
    double* rstds = call.out<double>(rstd, "rstd", count);
    const T* from = call.in<T>(x, "x", s.n);
    Scaling<T> scaling{s.each, means, rstds, call.optional<T>(weight, "weight", channels),
                       call.optional<T>(bias, "bias", channels)};
    if (s.n == 0) return;
#if defined(__CUDACC__)
    if constexpr (sizeof(T) < 8) {
      const bool neighbours = !s.last && s.pixels % (16 / sizeof(T)) == 0;
      if (neighbours && whole_rows<T>(call, count, s.each * s.pixels,
                                      WholeGroups<T>{s, scaling, means, rstds, eps, to, from}))
        return;
    }
#endif
    RowMoments<T> rows;
    rows.s = s;
    rows.x = from;
    rows.mean = call.scratch<double>(batch * channels);
    rows.var = call.scratch<double>(batch * channels);
    s.over_pixels(call, rows);
    GroupMoments group;
    group.s = s;
    group.row_mean = rows.mean;
    group.row_var = rows.var;
    group.mean = means;
    group.rstd = rstds;
    group.eps = eps;
    reduce(call, count, s.each, 1, group);
    by_row(call, s, GroupNorm<T>{scaling, to, from});
  });
}

CDN_API int32_t cdn_group_norm_grad(uint32_t dx, uint32_t dweight, uint32_t dbias, uint32_t dy,
                                    uint32_t x, uint32_t weight, uint32_t mean, uint32_t rstd,
                                    int64_t batch, int64_t channels, int64_t groups, int64_t pixels,
                                    int32_t channels_last, int32_t dtype) {
  return run("cdn_group_norm_grad", Floats{}, dtype, [&]<class T>(Call& call, T) {
    Sizes s = sizes_of(batch, channels, groups, pixels, channels_last);
    int64_t count = checked_product("batch, groups", batch, groups);
    int64_t rows = s.n ? batch * channels : 0;
    ParamGrad<T> parameters;
    T* to = call.optional_out<T>(dx, "dx", s.n);
    parameters.dweight = call.optional_out<T>(dweight, "dweight", channels);
    parameters.dbias = call.optional_out<T>(dbias, "dbias", channels);
    RowSums<T> sums;
    sums.s = s;
    sums.dy = call.in<T>(dy, "dy", s.n);
    sums.x = call.in<T>(x, "x", s.n);
    GroupSums<T> group;
    group.s = s;
    group.weight = call.optional<T>(weight, "weight", channels);
    sums.mean = call.in<double>(mean, "mean", count);
    sums.rstd = call.in<double>(rstd, "rstd", count);
    parameters.along = group.row_along = sums.along = call.scratch<double>(rows);
    parameters.sum = group.row_sum = sums.sum = call.scratch<double>(rows);
    if (s.n) s.over_pixels(call, sums);
    if (dweight || dbias) reduce(call, 1, s.n ? batch : 0, channels, parameters);
    if (!to || s.n == 0) return;
    group.along = call.scratch<double>(count);
    group.sum = call.scratch<double>(count);
    reduce(call, count, s.each, 1, group);
    Scaling<T> scaling{s.each, sums.mean, sums.rstd, group.weight, nullptr};
    by_row(call, s, GroupNormGrad<T>{scaling, to, sums.dy, sums.x, group.along, group.sum});
  });
}
