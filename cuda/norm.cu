// Normalisation along the rows of x[rows, cols]: layer norm (mean and deviation) and RMS norm (root of the mean
// square). Each is one launch of the `rows` driver: a sum, for layer norm a second one of squared differences (two
// passes keep the digits of a small variance around a large mean; the row is in a cache by then), and the map. mean and
// rstd, the reciprocal of the deviation, are kept in the computing type for the gradient. The gradients of weight and
// bias are sums down the columns, in float64 and in an order that the sizes fix.
#include "functions.h"

using namespace cdn;

namespace {

// What both forward passes have; weight and bias may be null: then they are 1 and 0.
template <class T> struct Norm {
  using Acc = Compute<T>;
  T* y;
  Acc *mean, *rstd;  // null when no gradient will ask for them
  const T *x, *weight, *bias;
  int64_t cols;
  Acc eps;
  CDN_FN Acc at(int64_t r, int64_t c) const { return wide(x[r * cols + c]); }
  CDN_FN Acc start1() const { return Acc(0); }
  CDN_FN Acc join1(Acc a, Acc b) const { return a + b; }
  CDN_FN bool maps() const { return true; }
  CDN_FN Acc reciprocal_root(Acc sum) const { return Acc(1) / fn::sqrt(sum / static_cast<Acc>(cols) + eps); }
  CDN_FN void put(int64_t r, int64_t c, Acc normal) const {
    Acc scaled = weight ? normal * wide(weight[c]) : normal;
    y[r * cols + c] = static_cast<T>(bias ? scaled + wide(bias[c]) : scaled);
  }
};

template <class T> struct LayerNorm : Norm<T> {
  using Acc = Compute<T>;
  static constexpr bool SECOND = true;
  CDN_FN Acc average(Acc sum) const { return sum / static_cast<Acc>(this->cols); }
  CDN_FN Acc load1(int64_t r, int64_t c) const { return this->at(r, c); }
  CDN_FN Acc load2(int64_t r, int64_t c, Acc sum) const {
    Acc difference = this->at(r, c) - average(sum);
    return difference * difference;
  }
  CDN_FN void store(int64_t r, int64_t c, Acc sum, Acc squares) const {
    this->put(r, c, (this->at(r, c) - average(sum)) * this->reciprocal_root(squares));
  }
  CDN_FN void finish(int64_t r, Acc sum, Acc squares) const {
    if (this->mean) this->mean[r] = average(sum);
    if (this->rstd) this->rstd[r] = this->reciprocal_root(squares);
  }
};

template <class T> struct RmsNorm : Norm<T> {
  using Acc = Compute<T>;
  static constexpr bool SECOND = false;
  CDN_FN Acc load1(int64_t r, int64_t c) const { return this->at(r, c) * this->at(r, c); }
  CDN_FN Acc load2(int64_t, int64_t, Acc) const { return Acc(0); }
  CDN_FN void store(int64_t r, int64_t c, Acc squares, Acc) const {
    this->put(r, c, this->at(r, c) * this->reciprocal_root(squares));
  }
  CDN_FN void finish(int64_t r, Acc squares, Acc) const {
    if (this->rstd) this->rstd[r] = this->reciprocal_root(squares);
  }
};

// With n the normalised row and g = dy * weight: dx = rstd * (g - mean(g) - n * mean(g * n)). RMS norm, whose mean is
// null, has no mean(g).
template <class T> struct NormGrad {
  using Acc = Compute<T>;
  static constexpr bool SECOND = true;
  T* dx;
  const T *dy, *x, *weight;
  const Acc *mean, *rstd;
  int64_t cols;
  CDN_FN Acc normal(int64_t r, int64_t c) const {
    Acc value = wide(x[r * cols + c]);
    return (mean ? value - mean[r] : value) * rstd[r];
  }
  CDN_FN Acc scaled(int64_t r, int64_t c) const {
    Acc upstream = wide(dy[r * cols + c]);
    return weight ? upstream * wide(weight[c]) : upstream;
  }
  CDN_FN Acc start1() const { return Acc(0); }
  CDN_FN Acc load1(int64_t r, int64_t c) const { return scaled(r, c) * normal(r, c); }
  CDN_FN Acc join1(Acc a, Acc b) const { return a + b; }
  CDN_FN Acc load2(int64_t r, int64_t c, Acc) const { return mean ? scaled(r, c) : Acc(0); }
  CDN_FN bool maps() const { return true; }
  CDN_FN void store(int64_t r, int64_t c, Acc along, Acc sum) const {
    Acc n = static_cast<Acc>(cols);
    dx[r * cols + c] = static_cast<T>(rstd[r] * (scaled(r, c) - sum / n - normal(r, c) * (along / n)));
  }
  CDN_FN void finish(int64_t, Acc, Acc) const {}
};

struct Pair {
  double first, second;
};

// dweight = the sum over rows of dy * n, dbias that of dy.
template <class T> struct NormParamGrad {
  using Acc = Pair;
  T *dweight, *dbias;  // dbias may be null
  const T *dy, *x;
  const Compute<T>*mean, *rstd;
  CDN_FN Acc start() const { return {0, 0}; }
  CDN_FN Acc load(int64_t at, int64_t r) const {
    Compute<T> value = wide(x[at]), upstream = wide(dy[at]);
    return {upstream * ((mean ? value - mean[r] : value) * rstd[r]), upstream};
  }
  CDN_FN Acc join(Acc a, Acc b) const { return {a.first + b.first, a.second + b.second}; }
  CDN_FN void store(int64_t c, Acc sums) const {
    dweight[c] = static_cast<T>(static_cast<Compute<T>>(sums.first));
    if (dbias) dbias[c] = static_cast<T>(static_cast<Compute<T>>(sums.second));
  }
};

// An argument that may be left out, by the handle 0.
template <class T> const T* optional(Call& call, uint32_t handle, const char* name, int64_t count) {
  return handle ? call.in<T>(handle, name, count) : nullptr;
}

template <template <class> class Op>
int32_t norm(const char* name, uint32_t y, uint32_t mean, uint32_t rstd, uint32_t x, uint32_t weight, uint32_t bias,
             int64_t n_rows, int64_t cols, double eps, int32_t dtype) {
  return run(name, [&](Call& call) {
    int64_t n = checked_product("rows, cols", n_rows, cols);
    with_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      using C = Compute<T>;
      Op<T> op;
      op.y = call.out<T>(y, "y", n);
      op.mean = mean ? call.out<C>(mean, "mean", n_rows) : nullptr;
      op.rstd = rstd ? call.out<C>(rstd, "rstd", n_rows) : nullptr;
      op.x = call.in<T>(x, "x", n);
      op.weight = optional<T>(call, weight, "weight", cols);
      op.bias = optional<T>(call, bias, "bias", cols);
      op.cols = cols;
      op.eps = static_cast<C>(eps);
      if (n) rows(call, n_rows, cols, op);
    });
  });
}

}  // namespace

CDN_API int32_t cdn_layer_norm(uint32_t y, uint32_t mean, uint32_t rstd, uint32_t x, uint32_t weight, uint32_t bias,
                               int64_t rows, int64_t cols, double eps, int32_t dtype) {
  return norm<LayerNorm>("cdn_layer_norm", y, mean, rstd, x, weight, bias, rows, cols, eps, dtype);
}
CDN_API int32_t cdn_rms_norm(uint32_t y, uint32_t rstd, uint32_t x, uint32_t weight, int64_t rows, int64_t cols,
                             double eps, int32_t dtype) {
  return norm<RmsNorm>("cdn_rms_norm", y, 0, rstd, x, weight, 0, rows, cols, eps, dtype);
}

CDN_API int32_t cdn_norm_grad(uint32_t dx, uint32_t dy, uint32_t x, uint32_t weight, uint32_t mean, uint32_t rstd,
                              int64_t n_rows, int64_t cols, int32_t dtype) {
  return run("cdn_norm_grad", [&](Call& call) {
    int64_t n = checked_product("rows, cols", n_rows, cols);
    with_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      using C = Compute<T>;
      NormGrad<T> op;
      op.dx = call.out<T>(dx, "dx", n);
      op.dy = call.in<T>(dy, "dy", n);
      op.x = call.in<T>(x, "x", n);
      op.weight = optional<T>(call, weight, "weight", cols);
      op.mean = optional<C>(call, mean, "mean", n_rows);
      op.rstd = call.in<C>(rstd, "rstd", n_rows);
      op.cols = cols;
      if (n) rows(call, n_rows, cols, op);
    });
  });
}

CDN_API int32_t cdn_norm_param_grad(uint32_t dweight, uint32_t dbias, uint32_t dy, uint32_t x, uint32_t mean,
                                    uint32_t rstd, int64_t n_rows, int64_t cols, int32_t dtype) {
  return run("cdn_norm_param_grad", [&](Call& call) {
    int64_t n = checked_product("rows, cols", n_rows, cols);
    with_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      using C = Compute<T>;
      NormParamGrad<T> op;
      op.dweight = call.out<T>(dweight, "dweight", cols);
      op.dbias = dbias ? call.out<T>(dbias, "dbias", cols) : nullptr;
      op.dy = call.in<T>(dy, "dy", n);
      op.x = call.in<T>(x, "x", n);
      op.mean = optional<C>(call, mean, "mean", n_rows);
      op.rstd = call.in<C>(rstd, "rstd", n_rows);
      reduce(call, 1, n_rows, cols, op);
    });
  });
}
