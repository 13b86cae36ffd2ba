// Batch normalisation of x[batch, channels, inner]: the map, the running statistics, and the
// gradients. mean and var are float64, since a mean that was rounded is off by more than a small
// deviation. In evaluation the running statistics stand for those of the batch, so that one map and
// one gradient serve both. A residual and relu may follow: y = relu(norm(x) + residual), whose mask
// the gradients take from y, or without a residual from x.
#include "kernel/activations.h"
#include "ops/norm/by_channel.h"

using namespace cdn;

namespace {

// running = (1 - momentum) * running + momentum * statistic; cumulative: momentum is 1 over the
// batches so far.
template <class S> struct Track {
  S *running_mean, *running_var;
  const int32_t* tracked;
  const double *mean, *var;
  double momentum, unbiased;
  bool cumulative;
  CDN_FN void operator()(int64_t c) const {
    double share = cumulative ? 1 / (static_cast<double>(*tracked) + 1) : momentum,
           rest = 1 - share;
    running_mean[c] =
        static_cast<S>(rest * static_cast<double>(wide(running_mean[c])) + share * mean[c]);
    running_var[c] = static_cast<S>(rest * static_cast<double>(wide(running_var[c])) +
                                    share * var[c] * unbiased);
  }
};
struct Count {
  int32_t* tracked;
  CDN_FN void operator()(int64_t) const {
    *tracked = static_cast<int32_t>(static_cast<uint32_t>(*tracked) + 1u);
  }
};

// weight or bias: of x's type or, for 16-bit floats, float32; may be null, for a constant.
template <class T> struct Parameter {
  const T* own;
  const float* single;
  CDN_FN Compute<T> at(int64_t c, Compute<T> otherwise) const {
    return own ? wide(own[c]) : single ? static_cast<Compute<T>>(single[c]) : otherwise;
  }
};

// What the map and its gradient know of a channel.
template <class T> struct Channel {
  using C = Compute<T>;
  const double *mean, *var;
  Parameter<T> weight, bias;
  double eps;
  using Known = Normal<T>;
  CDN_FN double rstd(int64_t c) const { return fn::rsqrt(var[c] + eps); }
  CDN_FN Known of(int64_t c) const {
    return normal<T>(mean[c], rstd(c) * static_cast<double>(weight.at(c, C(1))), bias.at(c, C(0)));
  }
};

// y = norm(x), or norm(x) + residual.
template <class T> struct Normalize : Channel<T> {
  using C = Compute<T>;
  using typename Channel<T>::Known;
  bool relu;
  CDN_FN C activated(C y) const { return relu ? Relu{}(y) : y; }
  CDN_FN C operator()(const Known& k, const C (&v)[1]) const { return activated(k(v[0])); }
  CDN_FN C operator()(const Known& k, const C (&v)[2]) const { return activated(k(v[0]) + v[1]); }
};

// From dy and x, or dy, x and y, the gradients of bias and weight: the sums of g and of g times the
// normalised x, where g is dy, or with relu what that lets through.
template <class T> struct GradSums : AddingPairs<T>, Channel<T> {
  using C = Compute<T>;
  using typename Channel<T>::Known;
  using typename AddingPairs<T>::Acc;
  double *dweight, *dbias;
  bool relu;
  template <int N> CDN_FN Pair<C> operator()(const Known& k, const C (&v)[N]) const {
    const C g = N == 3 || relu ? ReluGrad{}(v[0], N == 3 ? v[N - 1] : k(v[1])) : v[0];
    return {g * k.centred(v[1]), g};
  }
  CDN_FN void store(int64_t c, Acc sums) const {
    dweight[c] = static_cast<double>(sums.first) * this->rstd(c);
    dbias[c] = static_cast<double>(sums.second);
  }
};

// dx = weight * rstd * (g - (dbias + n * dweight) / count), with n the normalised x, from dy and x,
// as g * scale + n * along + offset; in evaluation, where the statistics do not depend on x,
// dweight and dbias are null and count for nothing.
template <class T> struct NormalizeGrad : Channel<T> {
  using C = Compute<T>;
  const double *dweight, *dbias;
  double share;  // 1 / count: a division of float64 costs more than all the rest
  bool relu;
  struct Known {
    typename Channel<T>::Known map;
    C rstd, along, offset;
  };
  CDN_FN Known of(int64_t c) const {
    const C rstd = static_cast<C>(this->rstd(c));
    if (!dweight) return {Channel<T>::of(c), rstd, C(0), C(0)};
    const double scale = -this->rstd(c) * static_cast<double>(this->weight.at(c, C(1))) * share;
    return {Channel<T>::of(c), rstd, static_cast<C>(scale * dweight[c]),
            static_cast<C>(scale * dbias[c])};
  }
  CDN_FN C operator()(const Known& k, const C (&v)[2]) const {
    const C g = relu ? ReluGrad{}(v[0], k.map(v[1])) : v[0];
    const C rest = dweight ? k.map.centred(v[1]) * k.rstd * k.along + k.offset : C(0);
    return g * k.map.scale + rest;
  }
};

template <class T>
Parameter<T> parameter(Call& call, uint32_t handle, const char* name, int64_t channels,
                       int32_t dtype) {
  if (dtype == dtype_of<T>) return {call.optional<T>(handle, name, channels), nullptr};
  if (dtype != CDN_FLOAT32 || !is_half<T>)
    CDN_FAIL(CDN_UNSUPPORTED, "%s is %s; it must be %s%s", name, dtype_name(dtype),
             dtype_name(dtype_of<T>), is_half<T> ? " or float32" : "");
  return {nullptr, call.optional<float>(handle, name, channels)};
}

template <class T>
Channel<T> channel_of(Call& call, uint32_t mean, uint32_t var, uint32_t weight, uint32_t bias,
                      int32_t parameters, int64_t channels, double eps) {
  return {call.in<double>(mean, "mean", channels), call.in<double>(var, "var", channels),
          parameter<T>(call, weight, "weight", channels, parameters),
          parameter<T>(call, bias, "bias", channels, parameters), eps};
}

}  // namespace

CDN_API int32_t cdn_batch_norm_stats(uint32_t mean, uint32_t var, uint32_t x, int64_t batch,
                                     int64_t channels, int64_t inner, int32_t dtype) {
  return run("cdn_batch_norm_stats", Floats{}, dtype, [&]<class T>(Call& call, T) {
    const ChannelShape s(1, batch, channels, inner);
    if (s.n == 0 && channels > 0)
      CDN_FAIL(CDN_BAD_ARGUMENT, "batch or inner is 0: there is nothing to average");
    double* means = call.out<double>(mean, "mean", channels);
    double* vars = call.out<double>(var, "var", channels);
    const T* from = call.in<T>(x, "x", s.n);
    if (s.n == 0) return;
    sum_by_channel(call, s, Statistics<T>{{}, s, from, means, vars}, nullptr, Inputs{from});
  });
}

CDN_API int32_t cdn_batch_norm_track(uint32_t running_mean, uint32_t running_var, uint32_t tracked,
                                     uint32_t mean, uint32_t var, int64_t channels, int64_t count,
                                     double momentum, int32_t cumulative, int32_t dtype) {
  return run("cdn_batch_norm_track", Floats{}, dtype, [&]<class S>(Call& call, S) {
    checked_size("channels", channels);
    checked_size("count", count);
    if (cumulative && !tracked)
      CDN_FAIL(CDN_BAD_HANDLE, "tracked is 0: a cumulative average needs the count");
    S* mean_to = call.out<S>(running_mean, "running_mean", channels);
    S* var_to = call.out<S>(running_var, "running_var", channels);
    int32_t* batches = call.optional_out<int32_t>(tracked, "tracked", 1);
    Track<S> op{mean_to,
                var_to,
                batches,
                call.in<double>(mean, "mean", channels),
                call.in<double>(var, "var", channels),
                momentum,
                static_cast<double>(count) / static_cast<double>(count - 1),
                cumulative != 0};
    each(call, channels, op);
    if (batches) each(call, 1, Count{batches});
  });
}

CDN_API int32_t cdn_batch_norm(uint32_t y, uint32_t x, uint32_t residual, uint32_t mean,
                               uint32_t var, uint32_t weight, uint32_t bias, int64_t batch,
                               int64_t channels, int64_t inner, double eps, int32_t relu,
                               int32_t parameters, int32_t dtype) {
  return run("cdn_batch_norm", Floats{}, dtype, [&]<class T>(Call& call, T) {
    const ChannelShape s(1, batch, channels, inner);
    T* to = call.out<T>(y, "y", s.n);
    const T *from = call.in<T>(x, "x", s.n), *more = call.optional<T>(residual, "residual", s.n);
    const Normalize<T> op{channel_of<T>(call, mean, var, weight, bias, parameters, channels, eps),
                          relu != 0};
    if (more)
      map_by_channel(call, s, op, to, Inputs{from, more});
    else
      map_by_channel(call, s, op, to, Inputs{from});
  });
}

CDN_API int32_t cdn_batch_norm_sums(uint32_t dweight, uint32_t dbias, uint32_t g, uint32_t dy,
                                    uint32_t x, uint32_t y, uint32_t mean, uint32_t var,
                                    uint32_t weight, uint32_t bias, int64_t batch, int64_t channels,
                                    int64_t inner, double eps, int32_t relu, int32_t parameters,
                                    int32_t dtype) {
  return run("cdn_batch_norm_sums", Floats{}, dtype, [&]<class T>(Call& call, T) {
    const ChannelShape s(1, batch, channels, inner);
    double* weight_to = call.out<double>(dweight, "dweight", channels);
    double* bias_to = call.out<double>(dbias, "dbias", channels);
    if (!g != !y) CDN_FAIL(CDN_BAD_HANDLE, "g and y: either both are 0 or none");
    T* kept = call.optional_out<T>(g, "g", s.n);
    const T *upstream = call.in<T>(dy, "dy", s.n), *from = call.in<T>(x, "x", s.n),
            *result = call.optional<T>(y, "y", s.n);
    const GradSums<T> op{{},
                         channel_of<T>(call, mean, var, weight, bias, parameters, channels, eps),
                         weight_to,
                         bias_to,
                         relu != 0};
    if (result)
      sum_by_channel(call, s, op, kept, Inputs{upstream, from, result});
    else
      sum_by_channel(call, s, op, nullptr, Inputs{upstream, from});
  });
}

CDN_API int32_t cdn_batch_norm_grad(uint32_t dx, uint32_t dy, uint32_t x, uint32_t mean,
                                    uint32_t var, uint32_t weight, uint32_t bias, uint32_t dweight,
                                    uint32_t dbias, int64_t batch, int64_t channels, int64_t inner,
                                    double eps, int32_t relu, int32_t parameters, int32_t dtype) {
  return run("cdn_batch_norm_grad", Floats{}, dtype, [&]<class T>(Call& call, T) {
    const ChannelShape s(1, batch, channels, inner);
    if (!dweight != !dbias)
      CDN_FAIL(CDN_BAD_HANDLE, "dweight and dbias: either both are 0 or none");
    T* to = call.out<T>(dx, "dx", s.n);
    const T *upstream = call.in<T>(dy, "dy", s.n), *from = call.in<T>(x, "x", s.n);
    const Channel<T> channel =
        channel_of<T>(call, mean, var, weight, bias, parameters, channels, eps);
    const double* along = call.optional<double>(dweight, "dweight", channels);
    const double* sum = call.optional<double>(dbias, "dbias", channels);
    const double share = 1 / (static_cast<double>(batch) * static_cast<double>(inner));
    map_by_channel(call, s, NormalizeGrad<T>{channel, along, sum, share, relu != 0}, to,
                   Inputs{upstream, from});
  });
}
