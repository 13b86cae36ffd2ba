// Normalisation along the rows of x[rows, cols]: layer norm (mean and deviation) and RMS norm (root
// of the mean square). Each is one launch of the `rows` driver: a sum, for layer norm a second one
// of squared differences (two passes keep the digits of a small variance around a large mean; the
// row is in a cache by then), and the map. Sums and what they are sums of, mean and rstd, the
// reciprocal of the deviation, are float64: a mean in float32 is off by more than the deviation
// where that is small, and squares leave float32's range. The gradients of weight and bias are sums
// down the columns, in an order that the sizes fix.
#include "kernel/functions.h"

using namespace cdn;

namespace {

// An element normalised: RMS norm's mean is 0. The mean is taken off in two parts, which keeps its
// digits without converting the element to float64.
template <class T> CDN_FN Compute<T> normal(T x, double mean, double rstd) {
  using C = Compute<T>;
  const C high = static_cast<C>(mean), low = static_cast<C>(mean - static_cast<double>(high));
  return ((wide(x) - high) - low) * static_cast<C>(rstd);
}

// What both forward passes have; weight and bias may be null: then they are 1 and 0.
template <class T> struct Norm {
  using Acc = double;
  T* y;
  double *mean, *rstd;  // null when no gradient will ask for them
  const T *x, *weight, *bias;
  int64_t cols;
  double eps;
  CDN_FN double at(int64_t r, int64_t c) const {
    return static_cast<double>(wide(x[r * cols + c]));
  }
  CDN_FN double start1() const { return 0; }
  CDN_FN double join1(double a, double b) const { return a + b; }
  CDN_FN bool maps() const { return true; }
  CDN_FN double average(double sum) const { return sum / static_cast<double>(cols); }
  CDN_FN double reciprocal_root(double sum) const { return fn::rsqrt(average(sum) + eps); }
  CDN_FN void put(int64_t r, int64_t c, double mean, double rstd) const {
    Compute<T> n = normal(x[r * cols + c], mean, rstd);
    Compute<T> scaled = weight ? n * wide(weight[c]) : n;
    y[r * cols + c] = static_cast<T>(bias ? scaled + wide(bias[c]) : scaled);
  }
};

template <class T> struct LayerNorm : Norm<T> {
  static constexpr bool SECOND = true;
  CDN_FN double load1(int64_t r, int64_t c) const { return this->at(r, c); }
  CDN_FN double load2(int64_t r, int64_t c, double sum) const {
    double difference = this->at(r, c) - this->average(sum);
    return difference * difference;
  }
  CDN_FN void store(int64_t r, int64_t c, double sum, double squares) const {
    this->put(r, c, this->average(sum), this->reciprocal_root(squares));
  }
  CDN_FN void finish(int64_t r, double sum, double squares) const {
    if (this->mean) this->mean[r] = this->average(sum);
    if (this->rstd) this->rstd[r] = this->reciprocal_root(squares);
  }
};

template <class T> struct RmsNorm : Norm<T> {
  static constexpr bool SECOND = false;
  CDN_FN double load1(int64_t r, int64_t c) const { return this->at(r, c) * this->at(r, c); }
  CDN_FN double load2(int64_t, int64_t, double) const { return 0; }
  CDN_FN void store(int64_t r, int64_t c, double squares, double) const {
    this->put(r, c, 0, this->reciprocal_root(squares));
  }
  CDN_FN void finish(int64_t r, double squares, double) const {
    if (this->rstd) this->rstd[r] = this->reciprocal_root(squares);
  }
};

// With n the normalised row and g = dy * weight: dx = rstd * (g - mean(g) - n * mean(g * n)). RMS
// norm, whose mean is null, has no mean(g).
template <class T> struct NormGrad {
  using Acc = double;
  static constexpr bool SECOND = true;
  T* dx;
  const T *dy, *x, *weight;
  const double *mean, *rstd;
  int64_t cols;
  using C = Compute<T>;
  CDN_FN C normal_at(int64_t r, int64_t c) const {
    return normal(x[r * cols + c], mean ? mean[r] : 0, rstd[r]);
  }
  CDN_FN C scaled(int64_t r, int64_t c) const {
    C upstream = wide(dy[r * cols + c]);
    return weight ? upstream * wide(weight[c]) : upstream;
  }
  CDN_FN double start1() const { return 0; }
  CDN_FN double load1(int64_t r, int64_t c) const {
    return static_cast<double>(scaled(r, c)) * normal_at(r, c);
  }
  CDN_FN double join1(double a, double b) const { return a + b; }
  CDN_FN double load2(int64_t r, int64_t c, double) const { return mean ? scaled(r, c) : 0; }
  CDN_FN bool maps() const { return true; }
  CDN_FN void store(int64_t r, int64_t c, double along, double sum) const {
    const double n = static_cast<double>(cols);
    const C centred = scaled(r, c) - static_cast<C>(sum / n);
    dx[r * cols + c] = static_cast<T>(static_cast<C>(rstd[r]) *
                                      (centred - normal_at(r, c) * static_cast<C>(along / n)));
  }
  CDN_FN void finish(int64_t, double, double) const {}
};

struct Pair {
  double first, second;
};

// dweight = the sum over rows of dy * n, dbias that of dy.
template <class T> struct NormParamGrad {
  using Acc = Pair;
  T *dweight, *dbias;  // dbias may be null
  const T *dy, *x;
  const double *mean, *rstd;
  CDN_FN Acc start() const { return {0, 0}; }
  CDN_FN Acc load(int64_t at, int64_t r) const {
    double upstream = wide(dy[at]);
    return {upstream * normal(x[at], mean ? mean[r] : 0, rstd[r]), upstream};
  }
  CDN_FN Acc join(Acc a, Acc b) const { return {a.first + b.first, a.second + b.second}; }
  CDN_FN void store(int64_t c, Acc sums) const {
    dweight[c] = static_cast<T>(sums.first);
    if (dbias) dbias[c] = static_cast<T>(sums.second);
  }
};

// An argument that may be left out, by the handle 0.
template <class T> const T* optional(Call& call, uint32_t handle, const char* name, int64_t count) {
  return handle ? call.in<T>(handle, name, count) : nullptr;
}

template <template <class> class Op>
int32_t norm(const char* name, uint32_t y, uint32_t mean, uint32_t rstd, uint32_t x,
             uint32_t weight, uint32_t bias, int64_t n_rows, int64_t cols, double eps,
             int32_t dtype) {
  return run(name, [&](Call& call) {
    int64_t n = checked_product("rows, cols", n_rows, cols);
    with_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      Op<T> op;
      op.y = call.out<T>(y, "y", n);
      op.mean = mean ? call.out<double>(mean, "mean", n_rows) : nullptr;
      op.rstd = rstd ? call.out<double>(rstd, "rstd", n_rows) : nullptr;
      op.x = call.in<T>(x, "x", n);
      op.weight = optional<T>(call, weight, "weight", cols);
      op.bias = optional<T>(call, bias, "bias", cols);
      op.cols = cols;
      op.eps = eps;
      if (n) rows(call, n_rows, cols, op);
    });
  });
}

}  // namespace

CDN_API int32_t cdn_layer_norm(uint32_t y, uint32_t mean, uint32_t rstd, uint32_t x,
                               uint32_t weight, uint32_t bias, int64_t rows, int64_t cols,
                               double eps, int32_t dtype) {
  return norm<LayerNorm>("cdn_layer_norm", y, mean, rstd, x, weight, bias, rows, cols, eps, dtype);
}
CDN_API int32_t cdn_rms_norm(uint32_t y, uint32_t rstd, uint32_t x, uint32_t weight, int64_t rows,
                             int64_t cols, double eps, int32_t dtype) {
  return norm<RmsNorm>("cdn_rms_norm", y, 0, rstd, x, weight, 0, rows, cols, eps, dtype);
}

CDN_API int32_t cdn_norm_grad(uint32_t dx, uint32_t dy, uint32_t x, uint32_t weight, uint32_t mean,
                              uint32_t rstd, int64_t n_rows, int64_t cols, int32_t dtype) {
  return run("cdn_norm_grad", [&](Call& call) {
    int64_t n = checked_product("rows, cols", n_rows, cols);
    with_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      NormGrad<T> op;
      op.dx = call.out<T>(dx, "dx", n);
      op.dy = call.in<T>(dy, "dy", n);
      op.x = call.in<T>(x, "x", n);
      op.weight = optional<T>(call, weight, "weight", cols);
      op.mean = optional<double>(call, mean, "mean", n_rows);
      op.rstd = call.in<double>(rstd, "rstd", n_rows);
      op.cols = cols;
      if (n) rows(call, n_rows, cols, op);
    });
  });
}

CDN_API int32_t cdn_norm_param_grad(uint32_t dweight, uint32_t dbias, uint32_t dy, uint32_t x,
                                    uint32_t mean, uint32_t rstd, int64_t n_rows, int64_t cols,
                                    int32_t dtype) {
  return run("cdn_norm_param_grad", [&](Call& call) {
    int64_t n = checked_product("rows, cols", n_rows, cols);
    with_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      NormParamGrad<T> op;
      op.dweight = call.out<T>(dweight, "dweight", cols);
      op.dbias = dbias ? call.out<T>(dbias, "dbias", cols) : nullptr;
      op.dy = call.in<T>(dy, "dy", n);
      op.x = call.in<T>(x, "x", n);
      op.mean = optional<double>(call, mean, "mean", n_rows);
      op.rstd = call.in<double>(rstd, "rstd", n_rows);
      reduce(call, 1, n_rows, cols, op);
    });
  });
}
