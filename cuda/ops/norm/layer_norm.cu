// Normalisation along the rows of x[rows, cols]: layer norm (mean and deviation) and RMS norm (root
// of the mean square). Each is one launch of the `rows` driver: a sum, for layer norm a second one
// of squared differences (two steps keep the digits of a small variance around a large mean), and
// the map. Squares leave float32's range, so they are added in float64; mean and rstd, the
// reciprocal of the deviation, are float64 too, since a mean in float32 is off by more than the
// deviation where that is small. The gradients of weight and bias are sums down the columns, in an
// order that the sizes fix.
#include "kernel/sum.h"

using namespace cdn;

namespace {

// Layer norm, or, without MEAN, RMS norm, whose one sum is of squares; the columns are weight and
// bias.
template <class T, bool MEAN> struct Norm : RowOperands<T, 1, 2> {
  using C = Compute<T>;
  using Base = RowOperands<T, 1, 2>;
  using Acc = std::conditional_t<MEAN, Sum<T>, double>;
  using Acc2 = double;
  static constexpr bool SECOND = MEAN, ADDS = true;
  double *mean, *rstd;  // null when no gradient will ask for them
  int64_t cols;
  double eps;
  struct All {
    double mean, rstd;
  };
  CDN_FN double average(Acc sum) const {
    return MEAN ? static_cast<double>(sum) / static_cast<double>(cols) : 0;
  }
  CDN_FN Acc start1() const { return Acc{}; }
  template <class B> CDN_FN Acc join1(Acc a, B b) const { return a + b; }
  CDN_FN auto first(typename Base::None, const C (&v)[1], const typename Base::Column&) const {
    if constexpr (MEAN)
      return v[0];
    else
      return square(v[0]);
  }
  CDN_FN double second(typename Base::None, Acc sum, C (&v)[1]) const {
    v[0] = centred(v[0], average(sum));
    return square(v[0]);
  }
  CDN_FN All all(typename Base::None, Acc sum, double squares) const {
    if constexpr (!MEAN) squares = sum;
    return {average(sum), fn::rsqrt(squares / static_cast<double>(cols) + eps)};
  }
  CDN_FN void finish(int64_t r, const All& all) const {
    if (MEAN && mean) mean[r] = all.mean;
    if (rstd) rstd[r] = all.rstd;
  }
  CDN_FN C result(const All& all, int64_t, const C (&v)[1], const typename Base::Column& k) const {
    return v[0] * static_cast<C>(all.rstd) * k.v[0] + k.v[1];
  }

 private:
  CDN_FN static double square(double x) { return x * x; }
};

// With n the normalised row and g = dy * weight, of which v becomes: dx = rstd * (g - mean(g) - n *
// mean(g * n)). RMS norm, whose mean is null, has no mean(g).
template <class T> struct NormGrad : RowOperands<T, 2, 1, false>, AddingRows<Pair<Sum<T>>> {
  using C = Compute<T>;
  using Base = RowOperands<T, 2, 1, false>;
  using Sums = Pair<Sum<T>>;
  using Part = std::conditional_t<is_half<T>, C, Sum<T>>;
  static constexpr bool ADDS = true;
  const double *mean, *rstd;
  int64_t cols;
  struct Known {
    double mean;
    C rstd;
  };
  struct All {
    C rstd, along, sum;
  };
  CDN_FN Known row(int64_t r) const { return {mean ? mean[r] : 0, static_cast<C>(rstd[r])}; }
  CDN_FN Pair<Part> first(const Known& known, C (&v)[2], const typename Base::Column& k) const {
    v[0] = v[0] * k.v[0];
    v[1] = centred(v[1], known.mean) * known.rstd;
    return {Part(v[0]) * v[1], Part(v[0])};
  }
  CDN_FN All all(const Known& known, const Sums& sums, const Sums&) const {
    const C n = static_cast<C>(cols);
    return {known.rstd, static_cast<C>(sums.first) / n,
            mean ? static_cast<C>(sums.second) / n : C(0)};
  }
  CDN_FN C result(const All& all, int64_t, const C (&v)[2], const typename Base::Column&) const {
    return all.rstd * (v[0] - all.sum - v[1] * all.along);
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
    op.in[0] = call.in<T>(x, "x", n);
    op.columns[0] = call.optional<T>(weight, "weight", cols);
    op.columns[1] = call.optional<T>(bias, "bias", cols);
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
    op.y = call.out<T>(dx, "dx", n);
    op.in[0] = call.in<T>(dy, "dy", n);
    op.in[1] = call.in<T>(x, "x", n);
    op.columns[0] = call.optional<T>(weight, "weight", cols);
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
