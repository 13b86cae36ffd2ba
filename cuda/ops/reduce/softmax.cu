// Along the rows of x[rows, cols]: softmax, log-softmax and their gradients, two reductions and a
// map each.
#include "ops/reduce/softmax.h"

using namespace cdn;

namespace {

template <class T> struct Softmax : MaxThenSumExp<T> {
  using Acc = Compute<T>;
  T* y;
  CDN_FN void store(int64_t r, int64_t c, Acc max, Sum<T> sum) const {
    int64_t at = r * this->cols + c;
    y[at] = static_cast<T>(fn::exp(wide(this->x[at]) - max) / static_cast<Acc>(sum));
  }
};

// Where all of a row is -Infinity, nothing is chosen: 0.
template <class T> struct MaskedSoftmax : Softmax<T> {
  using Acc = Compute<T>;
  CDN_FN void store(int64_t r, int64_t c, Acc max, Sum<T> sum) const {
    if (max == this->start1())
      this->y[r * this->cols + c] = static_cast<T>(Acc(0));
    else
      Softmax<T>::store(r, c, max, sum);
  }
};

template <class T> struct LogSoftmax : MaxThenSumExp<T> {
  using Acc = Compute<T>;
  T* y;
  CDN_FN void store(int64_t r, int64_t c, Acc max, Sum<T> sum) const {
    int64_t at = r * this->cols + c;
    y[at] = static_cast<T>(wide(this->x[at]) - max - this->log_of(sum));
  }
};

// One sum, then a map of dy and y.
template <class T> struct RowGrad : AddingRows<Sum<T>> {
  T* dx;
  const T *dy, *y;
  int64_t cols;
};

template <class T> struct SoftmaxGrad : RowGrad<T> {  // dx = y * (dy - sum(dy * y))
  using C = Compute<T>;
  CDN_FN Sum<T> load1(int64_t r, int64_t c) const {
    int64_t at = r * this->cols + c;
    return Sum<T>(wide(this->dy[at])) * wide(this->y[at]);
  }
  CDN_FN void store(int64_t r, int64_t c, Sum<T> sum, Sum<T>) const {
    int64_t at = r * this->cols + c;
    this->dx[at] = static_cast<T>(wide(this->y[at]) * (wide(this->dy[at]) - static_cast<C>(sum)));
  }
};

// dx = dy - exp(y) * sum(dy); a row of NaN has no say where its gradient is 0
template <class T> struct LogSoftmaxGrad : RowGrad<T> {
  using C = Compute<T>;
  CDN_FN C load1(int64_t r, int64_t c) const { return wide(this->dy[r * this->cols + c]); }
  CDN_FN void store(int64_t r, int64_t c, Sum<T> total, Sum<T>) const {
    int64_t at = r * this->cols + c;
    C sum = static_cast<C>(total), share = fn::exp(wide(this->y[at])) * sum;
    this->dx[at] = static_cast<T>(wide(this->dy[at]) - (sum == C(0) ? C(0) : share));
  }
};

template <template <class> class Op>
int32_t row_map(const char* name, uint32_t y, uint32_t x, int64_t n_rows, int64_t cols,
                int32_t dtype) {
  return run(name, Call::IN_PLACE, Floats{}, dtype, [&]<class T>(Call& call, T) {
    int64_t n = checked_product("rows, cols", n_rows, cols);
    Op<T> op;
    op.y = call.out<T>(y, "y", n);
    op.x = call.in<T>(x, "x", n);
    op.cols = cols;
    if (n) rows(call, n_rows, cols, op);
  });
}

template <template <class> class Op>
int32_t row_grad(const char* name, uint32_t dx, uint32_t dy, uint32_t y, int64_t n_rows,
                 int64_t cols, int32_t dtype) {
  return run(name, Call::IN_PLACE, Floats{}, dtype, [&]<class T>(Call& call, T) {
    int64_t n = checked_product("rows, cols", n_rows, cols);
    Op<T> op;
    op.dx = call.out<T>(dx, "dx", n);
    op.dy = call.in<T>(dy, "dy", n);
    op.y = call.in<T>(y, "y", n);
    op.cols = cols;
    if (n) rows(call, n_rows, cols, op);
  });
}

}  // namespace

#define CDN_ROW_MAP(name, F)                                                                      \
  CDN_API int32_t cdn_##name(uint32_t y, uint32_t x, int64_t rows, int64_t cols, int32_t dtype) { \
    return row_map<F>("cdn_" #name, y, x, rows, cols, dtype);                                     \
  }
#define CDN_ROW_GRAD(name, F)                                                           \
  CDN_API int32_t cdn_##name##_grad(uint32_t dx, uint32_t dy, uint32_t y, int64_t rows, \
                                    int64_t cols, int32_t dtype) {                      \
    return row_grad<F>("cdn_" #name "_grad", dx, dy, y, rows, cols, dtype);             \
  }

CDN_ROW_MAP(softmax, Softmax)
CDN_ROW_MAP(masked_softmax, MaskedSoftmax)
CDN_ROW_MAP(log_softmax, LogSoftmax)
CDN_ROW_GRAD(softmax, SoftmaxGrad)
CDN_ROW_GRAD(log_softmax, LogSoftmaxGrad)
