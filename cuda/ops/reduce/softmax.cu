// Along the rows of x[rows, cols]: softmax, log-softmax and their gradients, one or two
// reductions and a map each.
#include "ops/reduce/softmax.h"

using namespace cdn;

namespace {

template <class T> struct Softmax : MaxThenSumExp<T> {
  using C = Compute<T>;
  using Base = MaxThenSumExp<T>;
  CDN_FN C second(typename Base::None, C max, C (&v)[1]) const {
    return v[0] = fn::exp_for<T>(v[0] - max);
  }
  CDN_FN C all(typename Base::None, C, Sum<T> sum) const { return C(1) / static_cast<C>(sum); }
  CDN_FN C result(C share, int64_t, const C (&v)[1], const typename Base::Column&) const {
    return v[0] * share;
  }
};

// Where all of a row is -Infinity, nothing is chosen: 0.
template <class T> struct MaskedSoftmax : Softmax<T> {
  using C = Compute<T>;
  using typename Softmax<T>::None;
  CDN_FN C second(None none, C max, C (&v)[1]) const {
    return max == this->start1() ? v[0] = C(0) : Softmax<T>::second(none, max, v);
  }
  CDN_FN C all(None none, C max, Sum<T> sum) const {
    return max == this->start1() ? C(0) : Softmax<T>::all(none, max, sum);
  }
};

template <class T> struct LogSoftmax : MaxThenSumExp<T> {
  using C = Compute<T>;
  using Base = MaxThenSumExp<T>;
  struct All {
    C max, log;
  };
  CDN_FN C second(typename Base::None, C max, const C (&v)[1]) const {
    return fn::exp_for<T>(v[0] - max);
  }
  CDN_FN All all(typename Base::None, C max, Sum<T> sum) const { return {max, this->log_of(sum)}; }
  CDN_FN C result(All all, int64_t, const C (&v)[1], const typename Base::Column&) const {
    return v[0] - all.max - all.log;
  }
};

// One sum, then a map of dy and y.
template <class T> struct OfResult : RowOperands<T, 2>, AddingRows<Sum<T>> {
  using C = Compute<T>;
  using typename RowOperands<T, 2>::None;
  CDN_FN C all(None, Sum<T> sum, Sum<T>) const { return static_cast<C>(sum); }
};

template <class T> struct SoftmaxGrad : OfResult<T> {  // dx = y * (dy - sum(dy * y))
  using C = Compute<T>;
  using Column = typename OfResult<T>::Column;
  CDN_FN Sum<T> first(typename OfResult<T>::None, const C (&v)[2], const Column&) const {
    return Sum<T>(v[0]) * v[1];
  }
  CDN_FN C result(C sum, int64_t, const C (&v)[2], const Column&) const {
    return v[1] * (v[0] - sum);
  }
};

// dx = dy - exp(y) * sum(dy); a row of NaN has no say where its gradient is 0
template <class T> struct LogSoftmaxGrad : OfResult<T> {
  using C = Compute<T>;
  using Column = typename OfResult<T>::Column;
  CDN_FN C first(typename OfResult<T>::None, const C (&v)[2], const Column&) const { return v[0]; }
  CDN_FN C result(C sum, int64_t, const C (&v)[2], const Column&) const {
    C share = fn::exp_for<T>(v[1]) * sum;
    return v[0] - (sum == C(0) ? C(0) : share);
  }
};

// The same from dy and x, for 16-bit floats, whose y has lost too many digits: y is worked out
// again.
template <class T, bool LOG> struct OfScores : MaxThenSumExp<T, 2> {
  using C = Compute<T>;
  using Base = MaxThenSumExp<T, 2>;
  using Acc2 = Pair<Sum<T>>;
  struct All {
    C share, sum;
  };
  CDN_FN Pair<C> second(typename Base::None, C max, C (&v)[2]) const {
    v[1] = max == this->start1() ? C(0) : fn::exp_for<T>(v[1] - max);
    return {v[1], LOG ? v[0] : v[0] * v[1]};
  }
  CDN_FN All all(typename Base::None, C, Acc2 sums) const {
    const C total = static_cast<C>(sums.first), sum = static_cast<C>(sums.second);
    const C share = total == C(0) ? C(0) : C(1) / total;
    return {LOG ? share * sum : share, LOG ? sum : sum * share};
  }
  CDN_FN C result(All all, int64_t, const C (&v)[2], const typename Base::Column&) const {
    if (LOG) return v[0] - (all.sum == C(0) ? C(0) : v[1] * all.share);
    return v[1] * all.share * (v[0] - all.sum);
  }
};

template <template <class> class Of, bool LOG> struct GradOf {
  template <class T> using Op = std::conditional_t<is_half<T>, OfScores<T, LOG>, Of<T>>;
};

template <template <class> class Op>
int32_t row_map(const char* name, uint32_t y, uint32_t x, int64_t n_rows, int64_t cols,
                int32_t dtype) {
  return run(name, Call::IN_PLACE, Floats{}, dtype, [&]<class T>(Call& call, T) {
    int64_t n = checked_product("rows, cols", n_rows, cols);
    Op<T> op;
    op.y = call.out<T>(y, "y", n);
    op.in[0] = call.in<T>(x, "x", n);
    if (n) rows(call, n_rows, cols, op);
  });
}

template <class Grad>
int32_t row_grad(const char* name, uint32_t dx, uint32_t dy, uint32_t y, int64_t n_rows,
                 int64_t cols, int32_t dtype) {
  return run(name, Call::IN_PLACE, Floats{}, dtype, [&]<class T>(Call& call, T) {
    int64_t n = checked_product("rows, cols", n_rows, cols);
    typename Grad::template Op<T> op;
    op.y = call.out<T>(dx, "dx", n);
    op.in[0] = call.in<T>(dy, "dy", n);
    op.in[1] = call.in<T>(y, "y", n);
    if (n) rows(call, n_rows, cols, op);
  });
}

}  // namespace

#define CDN_ROW_MAP(name, F)                                                                      \
  CDN_API int32_t cdn_##name(uint32_t y, uint32_t x, int64_t rows, int64_t cols, int32_t dtype) { \
    return row_map<F>("cdn_" #name, y, x, rows, cols, dtype);                                     \
  }
#define CDN_ROW_GRAD(name, ...)                                                         \
  CDN_API int32_t cdn_##name##_grad(uint32_t dx, uint32_t dy, uint32_t y, int64_t rows, \
                                    int64_t cols, int32_t dtype) {                      \
    return row_grad<__VA_ARGS__>("cdn_" #name "_grad", dx, dy, y, rows, cols, dtype);   \
  }

CDN_ROW_MAP(softmax, Softmax)
CDN_ROW_MAP(masked_softmax, MaskedSoftmax)
CDN_ROW_MAP(log_softmax, LogSoftmax)
CDN_ROW_GRAD(softmax, GradOf<SoftmaxGrad, false>)
CDN_ROW_GRAD(log_softmax, GradOf<LogSoftmaxGrad, true>)
