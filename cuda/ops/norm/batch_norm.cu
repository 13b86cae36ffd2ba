// Batch normalisation of x[batch, channels, inner]: statistics of each channel, the map, the
// running statistics, and the gradients. Sums run in float64, in an order that the sizes fix, and
// the variance sums differences from an element of the channel, so that a large mean costs no
// digits; for the same reason mean and var are float64. Where inner is more than 1 they take two
// passes, along inner and then down the batch: both read neighbours, and neither divides to find
// its channel. In evaluation the running ones stand for them, so that one map and one gradient
// serve both.
#include "kernel/functions.h"

using namespace cdn;

namespace {

// Sums of differences, of their squares, and of the squares within the rows of a first pass.
struct Moments {
  double sum, squares, within;
  CDN_FN Moments operator+(Moments b) const {
    return {sum + b.sum, squares + b.squares, within + b.within};
  }
};
struct Row {
  double mean, within;
};

// Along inner: differences from the row's first element.
template <class T> struct RowMoments {
  using Acc = Moments;
  const T* x;
  Row* rows;
  int64_t inner;
  CDN_FN Acc start() const { return {0, 0, 0}; }
  CDN_FN Acc load(int64_t at, int64_t k) const {
    double d = static_cast<double>(wide(x[at])) - static_cast<double>(wide(x[at - k]));
    return {d, d * d, 0};
  }
  CDN_FN Acc join(Acc a, Acc b) const { return a + b; }
  CDN_FN void store(int64_t r, Acc m) const {
    double n = static_cast<double>(inner);
    rows[r] = {static_cast<double>(wide(x[r * inner])) + m.sum / n, m.squares - m.sum * m.sum / n};
  }
};

// Down the batch: differences from the channel's first element, or from the mean of its first row.
template <class T> struct ChannelMoments {
  using Acc = Moments;
  const T* x;
  const Row* rows;  // null: inner is 1
  double *mean, *var;
  int64_t batch, channels, inner;
  CDN_FN double value(int64_t at) const {
    return rows ? rows[at].mean : static_cast<double>(wide(x[at]));
  }
  CDN_FN Acc start() const { return {0, 0, 0}; }
  CDN_FN Acc load(int64_t at, int64_t k) const {
    double d = value(at) - value(at - k * channels);
    return {d, d * d, rows ? rows[at].within : 0};
  }
  CDN_FN Acc join(Acc a, Acc b) const { return a + b; }
  CDN_FN void store(int64_t c, Acc m) const {
    double n = static_cast<double>(batch), each = static_cast<double>(inner);
    mean[c] = value(c) + m.sum / n;
    double squares = m.within + each * (m.squares - m.sum * m.sum / n);
    var[c] = fn::larger(squares / (n * each), 0.0);
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
  CDN_FN double scale(int64_t c) const {
    return weight ? rstd(c) * static_cast<double>(wide(weight[c])) : rstd(c);
  }
  CDN_FN C shift(int64_t c) const { return bias ? wide(bias[c]) : C(0); }
};

CDN_FN int64_t channel_of(int64_t r, int64_t channels) {
  return r - quotient(r, channels) * channels;
}

// LAST: inner is 1, a row is a sample and runs over the channels. Else a row is one channel of a
// sample.
template <class T, bool LAST> struct Normalize {
  using C = Compute<T>;
  Channel<T> channel;
  T* y;
  const T* x;
  int64_t channels, inner;
  struct Row {
    Channel<T> channel;
    T* y;
    const T* x;
    double mean, scale;
    C shift;
    int64_t count;
    CDN_FN void operator()(int64_t i) const {
      double value = wide(x[i]);
      if constexpr (LAST)
        y[i] = static_cast<T>(static_cast<C>((value - channel.mean[i]) * channel.scale(i)) +
                              channel.shift(i));
      else
        y[i] = static_cast<T>(static_cast<C>((value - mean) * scale) + shift);
    }
  };
  CDN_FN Row row(int64_t r) const {
    if constexpr (LAST) return {channel, y + r * channels, x + r * channels, 0, 0, C(0), channels};
    int64_t c = channel_of(r, channels);
    return {channel,          y + r * inner,    x + r * inner, channel.mean[c],
            channel.scale(c), channel.shift(c), inner};
  }
};

// dx = weight * rstd * (dy - (dbias + n * dweight) / count), with n the normalised x; in
// evaluation, where the statistics do not depend on x, dweight and dbias are null and count for
// nothing.
template <class T, bool LAST> struct NormalizeGrad {
  Channel<T> channel;
  T* dx;
  const T *dy, *x;
  const double *dweight, *dbias;
  int64_t channels, inner;
  double share;  // 1 / count: a division of float64 costs more than all the rest
  struct Slope {
    double mean, scale, offset, along;
  };
  CDN_FN Slope slope(int64_t c) const {
    if (!dweight) return {0, channel.scale(c), 0, 0};
    return {channel.mean[c], channel.scale(c), dbias[c] * share,
            channel.rstd(c) * (dweight[c] * share)};
  }
  struct Row {
    NormalizeGrad op;
    Slope known;
    int64_t first, count;
    CDN_FN void operator()(int64_t i) const {
      Slope s = known;
      if constexpr (LAST) s = op.slope(i);
      double centred = static_cast<double>(wide(op.x[first + i])) - s.mean,
             upstream = wide(op.dy[first + i]);
      op.dx[first + i] = static_cast<T>(s.scale * (upstream - s.offset - centred * s.along));
    }
  };
  CDN_FN Row row(int64_t r) const {
    if constexpr (LAST) return {*this, Slope{}, r * channels, channels};
    return {*this, slope(channel_of(r, channels)), r * inner, inner};
  }
};

struct Sums {
  double along, sum;  // of dy * (x - mean), and of dy
};

// Along inner, with x taken from the row's first element; what that is off from the mean is made
// good at the end.
template <class T> struct RowSums {
  using Acc = Sums;
  const T *dy, *x;
  const double* mean;
  Sums* rows;
  int64_t channels, inner;
  CDN_FN Acc start() const { return {0, 0}; }
  CDN_FN Acc load(int64_t at, int64_t k) const {
    double upstream = wide(dy[at]);
    return {upstream * (static_cast<double>(wide(x[at])) - static_cast<double>(wide(x[at - k]))),
            upstream};
  }
  CDN_FN Acc join(Acc a, Acc b) const { return {a.along + b.along, a.sum + b.sum}; }
  CDN_FN void store(int64_t r, Acc s) const {
    double off = static_cast<double>(wide(x[r * inner])) - mean[channel_of(r, channels)];
    rows[r] = {s.along + off * s.sum, s.sum};
  }
};

template <class T> struct ChannelSums {
  using Acc = Sums;
  double *dweight, *dbias;
  const T *dy, *x;
  const Sums* rows;  // null: inner is 1
  Channel<T> channel;
  int64_t channels;
  CDN_FN Acc start() const { return {0, 0}; }
  CDN_FN Acc load(int64_t at, int64_t k) const {
    if (rows) return rows[at];
    double upstream = wide(dy[at]);
    double centred = static_cast<double>(wide(x[at])) - channel.mean[at - k * channels];
    return {upstream * centred, upstream};
  }
  CDN_FN Acc join(Acc a, Acc b) const { return {a.along + b.along, a.sum + b.sum}; }
  CDN_FN void store(int64_t c, Acc s) const {
    dweight[c] = s.along * channel.rstd(c);
    dbias[c] = s.sum;
  }
};

struct Extents {
  int64_t batch, channels, inner, n;
  Extents(int64_t batch, int64_t channels, int64_t inner)
      : batch(batch),
        channels(channels),
        inner(inner),
        n(checked_product("batch, channels, inner", batch, channels, inner)) {
    checked_product("batch, channels", batch, channels);
  }
  int64_t rows() const { return batch * channels; }
};

template <class T> const T* optional(Call& call, uint32_t handle, const char* name, int64_t count) {
  return handle ? call.in<T>(handle, name, count) : nullptr;
}

template <class T>
Channel<T> channel_of(Call& call, uint32_t mean, uint32_t var, uint32_t weight, uint32_t bias,
                      int64_t channels, double eps) {
  Channel<T> out;
  out.mean = call.in<double>(mean, "mean", channels);
  out.var = call.in<double>(var, "var", channels);
  out.weight = optional<T>(call, weight, "weight", channels);
  out.bias = optional<T>(call, bias, "bias", channels);
  out.eps = eps;
  return out;
}

}  // namespace

CDN_API int32_t cdn_batch_norm_stats(uint32_t mean, uint32_t var, uint32_t x, int64_t batch,
                                     int64_t channels, int64_t inner, int32_t dtype) {
  return run("cdn_batch_norm_stats", [&](Call& call) {
    Extents e(batch, channels, inner);
    if (e.n == 0 && channels > 0)
      CDN_FAIL(CDN_BAD_ARGUMENT, "batch or inner is 0: there is nothing to average");
    with_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      double* mean_to = call.out<double>(mean, "mean", channels);
      double* var_to = call.out<double>(var, "var", channels);
      const T* from = call.in<T>(x, "x", e.n);
      if (e.n == 0) return;
      Row* by_row = inner > 1 ? call.scratch<Row>(e.rows()) : nullptr;
      if (by_row) reduce(call, e.rows(), inner, 1, RowMoments<T>{from, by_row, inner});
      reduce(call, 1, batch, channels,
             ChannelMoments<T>{from, by_row, mean_to, var_to, batch, channels, inner});
    });
  });
}

CDN_API int32_t cdn_batch_norm_track(uint32_t running_mean, uint32_t running_var, uint32_t tracked,
                                     uint32_t mean, uint32_t var, int64_t channels, int64_t count,
                                     double momentum, int32_t cumulative, int32_t dtype) {
  return run("cdn_batch_norm_track", [&](Call& call) {
    checked_size("channels", channels);
    checked_size("count", count);
    if (cumulative && !tracked)
      CDN_FAIL(CDN_BAD_HANDLE, "tracked is 0: a cumulative average needs the count");
    with_float(dtype, [&](auto zero) {
      using S = decltype(zero);
      Track<S> op;
      op.running_mean = call.out<S>(running_mean, "running_mean", channels);
      op.running_var = call.out<S>(running_var, "running_var", channels);
      int32_t* batches = tracked ? call.out<int32_t>(tracked, "tracked", 1) : nullptr;
      op.tracked = batches;
      op.mean = call.in<double>(mean, "mean", channels);
      op.var = call.in<double>(var, "var", channels);
      op.momentum = momentum;
      op.unbiased = static_cast<double>(count) / static_cast<double>(count - 1);
      op.cumulative = cumulative != 0;
      each(call, channels, op);
      if (batches) each(call, 1, Count{batches});
    });
  });
}

CDN_API int32_t cdn_batch_norm(uint32_t y, uint32_t x, uint32_t mean, uint32_t var, uint32_t weight,
                               uint32_t bias, int64_t batch, int64_t channels, int64_t inner,
                               double eps, int32_t dtype) {
  return run("cdn_batch_norm", [&](Call& call) {
    Extents e(batch, channels, inner);
    with_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      T* to = call.out<T>(y, "y", e.n);
      const T* from = call.in<T>(x, "x", e.n);
      Channel<T> channel = channel_of<T>(call, mean, var, weight, bias, channels, eps);
      if (e.n == 0) return;
      if (inner == 1)
        each_row(call, batch, channels, Normalize<T, true>{channel, to, from, channels, inner});
      else
        each_row(call, e.rows(), inner, Normalize<T, false>{channel, to, from, channels, inner});
    });
  });
}

CDN_API int32_t cdn_batch_norm_sums(uint32_t dweight, uint32_t dbias, uint32_t dy, uint32_t x,
                                    uint32_t mean, uint32_t var, int64_t batch, int64_t channels,
                                    int64_t inner, double eps, int32_t dtype) {
  return run("cdn_batch_norm_sums", [&](Call& call) {
    Extents e(batch, channels, inner);
    with_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      ChannelSums<T> op;
      op.dweight = call.out<double>(dweight, "dweight", channels);
      op.dbias = call.out<double>(dbias, "dbias", channels);
      op.dy = call.in<T>(dy, "dy", e.n);
      op.x = call.in<T>(x, "x", e.n);
      op.channel = channel_of<T>(call, mean, var, 0, 0, channels, eps);
      op.channels = channels;
      Sums* by_row = inner > 1 && e.n > 0 ? call.scratch<Sums>(e.rows()) : nullptr;
      op.rows = by_row;
      if (by_row)
        reduce(call, e.rows(), inner, 1,
               RowSums<T>{op.dy, op.x, op.channel.mean, by_row, channels, inner});
      reduce(call, 1, e.n > 0 ? batch : 0, channels, op);
    });
  });
}

CDN_API int32_t cdn_batch_norm_grad(uint32_t dx, uint32_t dy, uint32_t x, uint32_t mean,
                                    uint32_t var, uint32_t weight, uint32_t dweight, uint32_t dbias,
                                    int64_t batch, int64_t channels, int64_t inner, double eps,
                                    int32_t dtype) {
  return run("cdn_batch_norm_grad", [&](Call& call) {
    Extents e(batch, channels, inner);
    if (!dweight != !dbias)
      CDN_FAIL(CDN_BAD_HANDLE, "dweight and dbias: either both are 0 or none");
    with_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      T* to = call.out<T>(dx, "dx", e.n);
      const T* upstream = call.in<T>(dy, "dy", e.n);
      const T* from = call.in<T>(x, "x", e.n);
      Channel<T> channel = channel_of<T>(call, mean, var, weight, 0, channels, eps);
      const double* along = optional<double>(call, dweight, "dweight", channels);
      const double* sum = optional<double>(call, dbias, "dbias", channels);
      if (e.n == 0) return;
      double share = 1 / static_cast<double>(batch * inner);
      if (inner == 1)
        each_row(call, batch, channels,
                 NormalizeGrad<T, true>{channel, to, upstream, from, along, sum, channels, inner,
                                        share});
      else
        each_row(call, e.rows(), inner,
                 NormalizeGrad<T, false>{channel, to, upstream, from, along, sum, channels, inner,
                                         share});
    });
  });
}
