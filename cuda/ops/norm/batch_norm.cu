// Batch normalisation of x[batch, channels, inner]: statistics of each channel, the map, the
// running statistics, and the gradients. The variance sums differences from an element of the
// channel, so that a large mean costs no digits; for the same reason mean and var are float64, and
// their sums, as variance.cu's. Where inner is more than 1 sums take two passes, along inner and
// then down the batch: both read neighbours, and neither divides to find its channel. In evaluation
// the running statistics stand for those of the batch, so that one map and one gradient serve both.
#include "kernel/sum.h"

using namespace cdn;

namespace {

CDN_FN int64_t channel_of(int64_t r, int64_t channels) {
  return r - quotient(r, channels) * channels;
}

// Of each row along inner, or where that is 1 of each channel.
template <class T> struct Statistics : Adding<Moments> {
  const T* x;
  double *mean, *var;
  int64_t count, inner, step;  // step: from one element to the next
  CDN_FN Moments load(int64_t at, int64_t k) const { return moments(x[at], x[at - k * step]); }
  CDN_FN void store(int64_t i, Moments sums) const {
    double n = static_cast<double>(count);
    mean[i] = static_cast<double>(wide(x[i * inner])) + sums.first / n;
    var[i] = squares_about_mean(sums, n) / n;
  }
};

// Of each channel, from those of its rows.
struct OverRows : Adding<Moments> {
  const double *row_mean, *row_var;
  double *mean, *var;
  int64_t batch, channels;
  CDN_FN Moments load(int64_t at, int64_t k) const {
    double d = row_mean[at] - row_mean[at - k * channels];
    return {d, d * d + row_var[at]};
  }
  CDN_FN void store(int64_t c, Moments sums) const {
    double n = static_cast<double>(batch);
    mean[c] = row_mean[c] + sums.first / n;
    var[c] = squares_about_mean(sums, n) / n;
  }
};

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

// What the map and its gradient know of a channel; weight and bias may be null: 1 and 0.
template <class T> struct Channel {
  using C = Compute<T>;
  const double *mean, *var;
  const T *weight, *bias;
  double eps;
  CDN_FN double rstd(int64_t c) const { return fn::rsqrt(var[c] + eps); }
  CDN_FN C scale(int64_t c) const {
    return static_cast<C>(weight ? rstd(c) * static_cast<double>(wide(weight[c])) : rstd(c));
  }
  CDN_FN C shift(int64_t c) const { return bias ? wide(bias[c]) : C(0); }
};

template <class T> struct Normalize {
  using C = Compute<T>;
  Channel<T> channel;
  T* y;
  const T* x;
  struct Known {
    double mean;
    C scale, shift;
  };
  CDN_FN Known of(int64_t c) const { return {channel.mean[c], channel.scale(c), channel.shift(c)}; }
  CDN_FN void operator()(int64_t at, const Known& of) const {
    y[at] = static_cast<T>(centred(x[at], of.mean) * of.scale + of.shift);
  }
};

// dx = weight * rstd * (dy - (dbias + n * dweight) / count), with n the normalised x; in
// evaluation, where the statistics do not depend on x, dweight and dbias are null and count for
// nothing.
template <class T> struct NormalizeGrad {
  using C = Compute<T>;
  Channel<T> channel;
  T* dx;
  const T *dy, *x;
  const double *dweight, *dbias;
  double share;  // 1 / count: a division of float64 costs more than all the rest
  struct Known {
    double mean;
    C scale, offset, along;
  };
  CDN_FN Known of(int64_t c) const {
    if (!dweight) return {0, channel.scale(c), C(0), C(0)};
    return {channel.mean[c], channel.scale(c), static_cast<C>(dbias[c] * share),
            static_cast<C>(channel.rstd(c) * (dweight[c] * share))};
  }
  CDN_FN void operator()(int64_t at, const Known& of) const {
    C along = centred(x[at], of.mean) * of.along;
    dx[at] = static_cast<T>(of.scale * (wide(dy[at]) - of.offset - along));
  }
};

// A functor of each_row: op(at, op.of(channel)) for each element of x[batch, channels, inner].
// LAST: inner is 1, a row is a sample and runs over the channels. Else a row is one channel of a
// sample.
template <class Op, bool LAST> struct ByChannel {
  Op op;
  int64_t channels, inner;
  struct Row {
    Op op;
    typename Op::Known known;
    int64_t first, count;
    CDN_FN void operator()(int64_t i) const {
      if constexpr (LAST)
        op(first + i, op.of(i));
      else
        op(first + i, known);
    }
  };
  CDN_FN Row row(int64_t r) const {
    if constexpr (LAST) return {op, {}, r * channels, channels};
    return {op, op.of(channel_of(r, channels)), r * inner, inner};
  }
};

template <class Op>
void each_by_channel(Call& call, int64_t batch, int64_t channels, int64_t inner, Op op) {
  if (batch * channels * inner == 0) return;
  if (inner == 1)
    each_row(call, batch, channels, ByChannel<Op, true>{op, channels, inner});
  else
    each_row(call, batch * channels, inner, ByChannel<Op, false>{op, channels, inner});
}

// The sums of dy * (x - mean) and of dy: of each row along inner, or where that is 1 of each
// channel and then the gradients of weight and bias. x is taken from the first element; what that
// is off from the mean is made good at the end.
template <class T> struct GradSums : Adding<Pair<Sum<T>>> {
  const T *dy, *x;
  Channel<T> channel;
  double *along, *sum;
  int64_t channels, inner, step;
  CDN_FN Pair<Sum<T>> load(int64_t at, int64_t k) const {
    Sum<T> upstream(wide(dy[at]));
    return {(Sum<T>(wide(x[at])) + -wide(x[at - k * step])) * wide(dy[at]), upstream};
  }
  CDN_FN void store(int64_t i, Pair<Sum<T>> sums) const {
    int64_t c = channel_of(i, channels);
    double off = static_cast<double>(wide(x[i * inner])) - channel.mean[c];
    sum[i] = static_cast<double>(sums.second);
    along[i] = static_cast<double>(sums.first) + off * sum[i];
    if (inner == 1) along[i] *= channel.rstd(c);
  }
};

template <class T> struct OverRowSums : Adding<Pair<double>> {
  const double *row_along, *row_sum;
  Channel<T> channel;
  double *dweight, *dbias;
  CDN_FN Pair<double> load(int64_t at, int64_t) const { return {row_along[at], row_sum[at]}; }
  CDN_FN void store(int64_t c, Pair<double> sums) const {
    dweight[c] = sums.first * channel.rstd(c);
    dbias[c] = sums.second;
  }
};

template <class T>
Channel<T> channel_of(Call& call, uint32_t mean, uint32_t var, uint32_t weight, uint32_t bias,
                      int64_t channels, double eps) {
  return {call.in<double>(mean, "mean", channels), call.in<double>(var, "var", channels),
          call.optional<T>(weight, "weight", channels), call.optional<T>(bias, "bias", channels),
          eps};
}

}  // namespace

CDN_API int32_t cdn_batch_norm_stats(uint32_t mean, uint32_t var, uint32_t x, int64_t batch,
                                     int64_t channels, int64_t inner, int32_t dtype) {
  return run("cdn_batch_norm_stats", Floats{}, dtype, [&]<class T>(Call& call, T) {
    int64_t n = checked_product("batch, channels, inner", batch, channels, inner);
    if (n == 0 && channels > 0)
      CDN_FAIL(CDN_BAD_ARGUMENT, "batch or inner is 0: there is nothing to average");
    Statistics<T> op;
    OverRows over;
    over.mean = op.mean = call.out<double>(mean, "mean", channels);
    over.var = op.var = call.out<double>(var, "var", channels);
    op.x = call.in<T>(x, "x", n);
    op.inner = inner;
    if (n == 0) return;
    if (inner == 1) {
      op.count = batch;
      op.step = channels;
      return reduce(call, 1, batch, channels, op);
    }
    op.count = inner;
    op.step = 1;
    over.row_mean = op.mean = call.scratch<double>(batch * channels);
    over.row_var = op.var = call.scratch<double>(batch * channels);
    over.batch = batch;
    over.channels = channels;
    reduce(call, batch * channels, inner, 1, op);
    reduce(call, 1, batch, channels, over);
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

CDN_API int32_t cdn_batch_norm(uint32_t y, uint32_t x, uint32_t mean, uint32_t var, uint32_t weight,
                               uint32_t bias, int64_t batch, int64_t channels, int64_t inner,
                               double eps, int32_t dtype) {
  return run("cdn_batch_norm", Floats{}, dtype, [&]<class T>(Call& call, T) {
    int64_t n = checked_product("batch, channels, inner", batch, channels, inner);
    T* to = call.out<T>(y, "y", n);
    const T* from = call.in<T>(x, "x", n);
    Channel<T> channel = channel_of<T>(call, mean, var, weight, bias, channels, eps);
    each_by_channel(call, batch, channels, inner, Normalize<T>{channel, to, from});
  });
}

CDN_API int32_t cdn_batch_norm_sums(uint32_t dweight, uint32_t dbias, uint32_t dy, uint32_t x,
                                    uint32_t mean, uint32_t var, int64_t batch, int64_t channels,
                                    int64_t inner, double eps, int32_t dtype) {
  return run("cdn_batch_norm_sums", Floats{}, dtype, [&]<class T>(Call& call, T) {
    int64_t n = checked_product("batch, channels, inner", batch, channels, inner);
    GradSums<T> op;
    OverRowSums<T> over;
    over.dweight = op.along = call.out<double>(dweight, "dweight", channels);
    over.dbias = op.sum = call.out<double>(dbias, "dbias", channels);
    op.dy = call.in<T>(dy, "dy", n);
    op.x = call.in<T>(x, "x", n);
    over.channel = op.channel = channel_of<T>(call, mean, var, 0, 0, channels, eps);
    op.channels = channels;
    op.inner = inner;
    op.step = inner == 1 ? channels : 1;
    if (inner == 1 && batch > 0) return reduce(call, 1, batch, channels, op);
    over.row_along = op.along = call.scratch<double>(n > 0 ? batch * channels : 0);
    over.row_sum = op.sum = call.scratch<double>(n > 0 ? batch * channels : 0);
    if (n > 0) reduce(call, batch * channels, inner, 1, op);
    reduce(call, 1, n > 0 ? batch : 0, channels, over);
  });
}

CDN_API int32_t cdn_batch_norm_grad(uint32_t dx, uint32_t dy, uint32_t x, uint32_t mean,
                                    uint32_t var, uint32_t weight, uint32_t dweight, uint32_t dbias,
                                    int64_t batch, int64_t channels, int64_t inner, double eps,
                                    int32_t dtype) {
  return run("cdn_batch_norm_grad", Floats{}, dtype, [&]<class T>(Call& call, T) {
    int64_t n = checked_product("batch, channels, inner", batch, channels, inner);
    if (!dweight != !dbias)
      CDN_FAIL(CDN_BAD_HANDLE, "dweight and dbias: either both are 0 or none");
    T* to = call.out<T>(dx, "dx", n);
    const T *upstream = call.in<T>(dy, "dy", n), *from = call.in<T>(x, "x", n);
    Channel<T> channel = channel_of<T>(call, mean, var, weight, 0, channels, eps);
    const double* along = call.optional<double>(dweight, "dweight", channels);
    const double* sum = call.optional<double>(dbias, "dbias", channels);
    const double share = 1 / static_cast<double>(batch * inner);
    each_by_channel(call, batch, channels, inner,
                    NormalizeGrad<T>{channel, to, upstream, from, along, sum, share});
  });
}
