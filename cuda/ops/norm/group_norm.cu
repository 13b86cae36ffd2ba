// Group normalisation of images in either memory format. Sums are first of each channel of each
// image, then of groups of channels, or down the batch, over few numbers. Instance norm is a group
// for each channel. As in batch_norm.cu statistics are float64.
#include "ops/norm/by_channel.h"
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
  CDN_FN int64_t channel(int64_t r) const { return r - quotient(r, channels) * channels; }
  ChannelShape shape() const {
    return last ? ChannelShape(batch, pixels, channels, 1)
                : ChannelShape(1, 1, batch * channels, pixels);
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

// What normalises row r; weight and bias may be null: 1 and 0.
template <class T> struct Scaling {
  using C = Compute<T>;
  Sizes s;
  const double *mean, *rstd;
  const T *weight, *bias;
  struct Known : Normal<T> {
    C rstd;
  };
  CDN_FN Known known(double mean, double rstd, int64_t r) const {
    const int64_t c = s.channel(r);
    const double scale = weight ? rstd * static_cast<double>(wide(weight[c])) : rstd;
    return {normal<T>(mean, scale, bias ? wide(bias[c]) : C(0)), static_cast<C>(rstd)};
  }
  CDN_FN int64_t group(int64_t r) const { return quotient(r, s.each); }
  CDN_FN Known of(int64_t r) const { return known(mean[group(r)], rstd[group(r)], r); }
};

template <class T> struct GroupNorm : Scaling<T> {
  using C = Compute<T>;
  using typename Scaling<T>::Known;
  CDN_FN C operator()(const Known& k, const C (&v)[1]) const { return k(v[0]); }
};

// For whole_rows, where a group's elements are neighbours.
template <class T> struct WholeGroups : GroupNorm<T> {
  using C = Compute<T>;
  double *mean_to, *rstd_to, eps;
  T* y;
  const T* x;
  struct Known {
    double mean, rstd;
  };
  CDN_FN Known statistics(int64_t g, C first, Moments sums, bool writes) const {
    const double n = static_cast<double>(this->s.each * this->s.pixels);
    const Known k{first + sums.first / n, fn::rsqrt(squares_about_mean(sums, n) / n + eps)};
    if (writes) mean_to[g] = k.mean, rstd_to[g] = k.rstd;
    return k;
  }
  template <class Pack>
  CDN_FN Pack normalized(const Known& k, int64_t g, int64_t column, Pack v) const {
    const int64_t channel = this->s.each > 1 ? quotient(column, this->s.pixels) : 0;
    const auto known = this->known(k.mean, k.rstd, g * this->s.each + channel);
    for (T& e : v.v) e = static_cast<T>((*this)(known, {wide(e)}));
    return v;
  }
};

// Of each row: the sums of dy * n, with n the normalised x, and of dy.
template <class T> struct RowSums : AddingPairs<T>, Scaling<T> {
  using C = Compute<T>;
  using typename Scaling<T>::Known;
  double *along, *sum;
  CDN_FN Pair<C> operator()(const Known& k, const C (&v)[2]) const {
    return {v[0] * (k.centred(v[1]) * k.rstd), v[0]};
  }
  CDN_FN void store(int64_t r, Pair<Sum<T>> sums) const {
    along[r] = static_cast<double>(sums.first);
    sum[r] = static_cast<double>(sums.second);
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
template <class T> struct GroupNormGrad : Scaling<T> {
  using C = Compute<T>;
  const double *along, *sum;
  struct Known {
    typename Scaling<T>::Known map;
    C along, sum;
  };
  CDN_FN Known of(int64_t r) const {
    const int64_t g = this->group(r);
    const double rstd = this->rstd[g];
    return {Scaling<T>::of(r), static_cast<C>(rstd * along[g]), static_cast<C>(rstd * sum[g])};
  }
  CDN_FN C operator()(const Known& k, const C (&v)[2]) const {
    return k.map.scale * v[0] - k.sum - k.map.centred(v[1]) * k.map.rstd * k.along;
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
    const GroupNorm<T> op{{s, means, rstds, call.optional<T>(weight, "weight", channels),
                           call.optional<T>(bias, "bias", channels)}};
    if (s.n == 0) return;
#if defined(__CUDACC__)
    if constexpr (sizeof(T) < 8) {
      const bool neighbours = !s.last && s.pixels % (16 / sizeof(T)) == 0;
      if (neighbours && whole_rows<T>(call, count, s.each * s.pixels,
                                      WholeGroups<T>{op, means, rstds, eps, to, from}))
        return;
    }
#endif
    double* row_means = call.scratch<double>(batch * channels);
    double* row_vars = call.scratch<double>(batch * channels);
    sum_by_channel(call, s.shape(), Statistics<T>{{}, s.shape(), from, row_means, row_vars},
                   nullptr, Inputs{from});
    reduce(call, count, s.each, 1, GroupMoments{{}, s, row_means, row_vars, means, rstds, eps});
    map_by_channel(call, s.shape(), op, to, Inputs{from});
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
    T* to = call.optional_out<T>(dx, "dx", s.n);
    T* weight_to = call.optional_out<T>(dweight, "dweight", channels);
    T* bias_to = call.optional_out<T>(dbias, "dbias", channels);
    const Inputs in{call.in<T>(dy, "dy", s.n), call.in<T>(x, "x", s.n)};
    const Scaling<T> map{s, call.in<double>(mean, "mean", count),
                         call.in<double>(rstd, "rstd", count),
                         call.optional<T>(weight, "weight", channels), nullptr};
    double *along = call.scratch<double>(rows), *sum = call.scratch<double>(rows);
    if (s.n) sum_by_channel(call, s.shape(), RowSums<T>{{}, map, along, sum}, nullptr, in);
    if (dweight || dbias)
      reduce(call, 1, s.n ? batch : 0, channels, ParamGrad<T>{{}, along, sum, weight_to, bias_to});
    if (!to || s.n == 0) return;
    double *group_along = call.scratch<double>(count), *group_sum = call.scratch<double>(count);
    reduce(call, count, s.each, 1,
           GroupSums<T>{{}, s, map.weight, along, sum, group_along, group_sum});
    map_by_channel(call, s.shape(), GroupNormGrad<T>{map, group_along, group_sum}, to, in);
  });
}
