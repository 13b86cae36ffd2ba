// Normalisation along the rows of x[rows, cols]: layer norm (mean and deviation) and RMS norm (root
// of the mean square). Each is one launch of the `rows` driver: a sum, for layer norm a second one
// of squared differences (two passes keep the digits of a small variance around a large mean; the
// row is in a cache by then), and the map. Squares leave float32's range, so they are added in
// float64; mean and rstd, the reciprocal of the deviation, are float64 too, since a mean in float32
// is off by more than the deviation where that is small. The gradients of weight and bias are sums
// down the columns, in an order that the sizes fix.
#include "kernel/sum.h"

using namespace cdn;

namespace {

// Layer norm, or, without MEAN, RMS norm, whose one sum is of squares; weight and bias may be null:
// then they are 1 and 0.
template <class T, bool MEAN>
struct Norm : AddingRows<std::conditional_t<MEAN, Sum<T>, double>, double> {
  using C = Compute<T>;
  using S = std::conditional_t<MEAN, Sum<T>, double>;
  static constexpr bool SECOND = MEAN;
  T* y;
  double *mean, *rstd;  // null when no gradient will ask for them
  const T *x, *weight, *bias;
  int64_t cols;
  double eps;
  CDN_FN double average(S sum) const {
    return MEAN ? static_cast<double>(sum) / static_cast<double>(cols) : 0;
  }
  CDN_FN double reciprocal_root(S sum, double squares) const {
    if constexpr (!MEAN) squares = sum;
    return fn::rsqrt(squares / static_cast<double>(cols) + eps);
  }
  CDN_FN auto load1(int64_t r, int64_t c) const {
    if constexpr (MEAN) {
      return wide(x[r * cols + c]);
    } else {
      const double value = wide(x[r * cols + c]);
      return value * value;
    }
  }
  CDN_FN double load2(int64_t r, int64_t c, S sum) const {
    const double difference = static_cast<double>(wide(x[r * cols + c])) - average(sum);
    return MEAN ? difference * difference : 0;
  }
  CDN_FN void store(int64_t r, int64_t c, S sum, double squares) const {
    C n = centred(x[r * cols + c], average(sum)) * static_cast<C>(reciprocal_root(sum, squares));
    C scaled = weight ? n * wide(weight[c]) : n;
    y[r * cols + c] = static_cast<T>(bias ? scaled + wide(bias[c]) : scaled);
  }
  CDN_FN void finish(int64_t r, S sum, double squares) const {
    if (MEAN && mean) mean[r] = average(sum);
    if (rstd) rstd[r] = reciprocal_root(sum, squares);
  }
};

// With n the normalised row and g = dy * weight: dx = rstd * (g - mean(g) - n * mean(g * n)). RMS
// norm, whose mean is null, has no mean(g).
template <class T> struct NormGrad : AddingRows<Sum<T>> {
  using C = Compute<T>;
  using Acc = Sum<T>;
  static constexpr bool SECOND = true;
  T* dx;
  const T *dy, *x, *weight;
  const double *mean, *rstd;
  int64_t cols;
  CDN_FN C normal(int64_t r, int64_t c) const {
    return centred(x[r * cols + c], mean ? mean[r] : 0) * static_cast<C>(rstd[r]);
  }
  CDN_FN C scaled(int64_t r, int64_t c) const {
    C upstream = wide(dy[r * cols + c]);
    return weight ? upstream * wide(weight[c]) : upstream;
  }
  CDN_FN C average(Acc sum) const { return static_cast<C>(sum) / static_cast<C>(cols); }
  CDN_FN Acc load1(int64_t r, int64_t c) const { return Acc(scaled(r, c)) * normal(r, c); }
  CDN_FN C load2(int64_t r, int64_t c, Acc) const { return mean ? scaled(r, c) : C(0); }
  CDN_FN void store(int64_t r, int64_t c, Acc along, Acc sum) const {
    dx[r * cols + c] = static_cast<T>(
        static_cast<C>(rstd[r]) * (scaled(r, c) - average(sum) - normal(r, c) * average(along)));
  }
};

// dweight = the sum over rows of dy * n, dbias that of dy.
template <class T> struct NormParamGrad : Adding<Pair<Sum<T>>> {
  using C = Compute<T>;
  Inputs<T, 2> in;     // dy, x
  T *dweight, *dbias;  // dbias may be null
  const double *mean, *rstd;
  struct Known {
    double mean, rstd;
  };
  CDN_FN Known of(int64_t r) const { return {mean ? mean[r] : 0, rstd[r]}; }
  CDN_FN Pair<Sum<T>> operator()(const Known& row, const C (&v)[2]) const {
    return {Sum<T>(v[0]) * (centred(v[1], row.mean) * static_cast<C>(row.rstd)), Sum<T>(v[0])};
  }
  CDN_FN void store(int64_t c, Pair<Sum<T>> sums) const {
    dweight[c] = static_cast<T>(sums.first);
    if (dbias) dbias[c] = static_cast<T>(sums.second);
  }
};

template <bool MEAN>
int32_t norm(const char* name, uint32_t y, uint32_t mean, uint32_t rstd, uint32_t x,
             uint32_t weight, uint32_t bias, int64_t n_rows, int64_t cols, double eps,
             int32_t dtype) {
  return run(name, Floats{}, dtype, [&]<class T>(Call& call, T) {
    int64_t n = checked_product("rows, cols", n_rows, cols);
    Norm<T, MEAN> op;
    op.y = call.out<T>(y, "y", n);
    op.mean = call.optional_out<double>(mean, "mean", n_rows);
    op.rstd = call.optional_out<double>(rstd, "rstd", n_rows);
    op.x = call.in<T>(x, "x", n);
    op.weight = call.optional<T>(weight, "weight", cols);
    op.bias = call.optional<T>(bias, "bias", cols);
    op.cols = cols;
    op.eps = eps;
    if (n) rows(call, n_rows, cols, op);
  });
}

}  // namespace

CDN_API int32_t cdn_layer_norm(uint32_t y, uint32_t mean, uint32_t rstd, uint32_t x,
                               uint32_t weight, uint32_t bias, int64_t rows, int64_t cols,
                               double eps, int32_t dtype) {
  return norm<true>("cdn_layer_norm", y, mean, rstd, x, weight, bias, rows, cols, eps, dtype);
}
CDN_API int32_t cdn_rms_norm(uint32_t y, uint32_t rstd, uint32_t x, uint32_t weight, int64_t rows,
                             int64_t cols, double eps, int32_t dtype) {
  return norm<false>("cdn_rms_norm", y, 0, rstd, x, weight, 0, rows, cols, eps, dtype);
}

CDN_API int32_t cdn_norm_grad(uint32_t dx, uint32_t dy, uint32_t x, uint32_t weight, uint32_t mean,
                              uint32_t rstd, int64_t n_rows, int64_t cols, int32_t dtype) {
  return run("cdn_norm_grad", Floats{}, dtype, [&]<class T>(Call& call, T) {
    int64_t n = checked_product("rows, cols", n_rows, cols);
    NormGrad<T> op;
    op.dx = call.out<T>(dx, "dx", n);
    op.dy = call.in<T>(dy, "dy", n);
    op.x = call.in<T>(x, "x", n);
    op.weight = call.optional<T>(weight, "weight", cols);
    op.mean = call.optional<double>(mean, "mean", n_rows);
    op.rstd = call.in<double>(rstd, "rstd", n_rows);
    op.cols = cols;
    if (n) rows(call, n_rows, cols, op);
  });
}

CDN_API int32_t cdn_norm_param_grad(uint32_t dweight, uint32_t dbias, uint32_t dy, uint32_t x,
                                    uint32_t mean, uint32_t rstd, int64_t n_rows, int64_t cols,
                                    int32_t dtype) {
  return run("cdn_norm_param_grad", Floats{}, dtype, [&]<class T>(Call& call, T) {
    int64_t n = checked_product("rows, cols", n_rows, cols);
    NormParamGrad<T> op;
    op.dweight = call.out<T>(dweight, "dweight", cols);
    op.dbias = call.optional_out<T>(dbias, "dbias", cols);
    op.in = {{call.in<T>(dy, "dy", n), call.in<T>(x, "x", n)}};
    op.mean = call.optional<double>(mean, "mean", n_rows);
    op.rstd = call.in<double>(rstd, "rstd", n_rows);
    reduce(call, 1, n_rows, cols, op);
  });
}
