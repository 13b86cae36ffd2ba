// Along the rows of x[rows, cols]: softmax, log-softmax, cross-entropy. Each is two reductions and
// a map, which suits vector lanes as well as warps; subtracting the row's maximum first keeps exp
// from overflowing. The sums are float64: in float32 those of long rows, over a vocabulary for
// instance, lose digits with their length. One of e^x is 1, so log1p of the others keeps the digits
// of a logarithm near 0, that of a class which is almost certain.
#include "kernel/functions.h"
#include "kernel/target.h"

using namespace cdn;

namespace {

template <class T> struct MaxThenSumExp {
  using Acc = Compute<T>;
  static constexpr bool SECOND = true;
  const T* x;
  int64_t cols;
  CDN_FN Acc start1() const { return -std::numeric_limits<Acc>::infinity(); }
  CDN_FN Acc load1(int64_t r, int64_t c) const { return wide(x[r * cols + c]); }
  CDN_FN Acc join1(Acc a, Acc b) const { return fn::larger(a, b); }
  CDN_FN Acc load2(int64_t r, int64_t c, Acc max) const {
    return fn::exp(wide(x[r * cols + c]) - max);
  }
  CDN_FN static Acc log_of(double sum) { return fn::log1p(static_cast<Acc>(sum - 1)); }
  CDN_FN bool maps() const { return true; }
  CDN_FN void finish(int64_t, Acc, double) const {}
};

template <class T> struct Softmax : MaxThenSumExp<T> {
  using Acc = Compute<T>;
  T* y;
  CDN_FN void store(int64_t r, int64_t c, Acc max, double sum) const {
    int64_t at = r * this->cols + c;
    y[at] = static_cast<T>(fn::exp(wide(this->x[at]) - max) / static_cast<Acc>(sum));
  }
};

// Where all of a row is -Infinity, nothing is chosen: 0.
template <class T> struct MaskedSoftmax : Softmax<T> {
  using Acc = Compute<T>;
  CDN_FN void store(int64_t r, int64_t c, Acc max, double sum) const {
    if (max == this->start1())
      this->y[r * this->cols + c] = static_cast<T>(Acc(0));
    else
      Softmax<T>::store(r, c, max, sum);
  }
};

template <class T> struct LogSoftmax : MaxThenSumExp<T> {
  using Acc = Compute<T>;
  T* y;
  CDN_FN void store(int64_t r, int64_t c, Acc max, double sum) const {
    int64_t at = r * this->cols + c;
    y[at] = static_cast<T>(wide(this->x[at]) - max - this->log_of(sum));
  }
};

template <class T, class Target> struct CrossEntropy : MaxThenSumExp<T> {
  using Acc = Compute<T>;
  T *loss, *dx;
  Chosen<Target> chosen;
  volatile Fault* fault;
  CDN_FN bool maps() const { return dx != nullptr; }
  CDN_FN void store(int64_t r, int64_t c, Acc max, double sum) const {
    int64_t at = r * this->cols + c, t = chosen.at(r);
    Acc p = fn::exp(wide(this->x[at]) - max) / static_cast<Acc>(sum);
    dx[at] = static_cast<T>(chosen.ignored(t) ? Acc(0) : p - (c == t ? Acc(1) : Acc(0)));
  }
  CDN_FN void finish(int64_t r, Acc max, double sum) const {
    int64_t t = chosen.at(r);
    if (chosen.ignored(t)) {
      loss[r] = static_cast<T>(Acc(0));
    } else if (!chosen.valid(t)) {
      report_fault(fault, FAULT_CROSS_ENTROPY, t, this->cols);
      loss[r] = static_cast<T>(std::numeric_limits<Acc>::quiet_NaN());
    } else {
      loss[r] = static_cast<T>(this->log_of(sum) + (max - wide(this->x[r * this->cols + t])));
    }
  }
};

// One sum, then a map of dy and y.
template <class T> struct RowGrad {
  using Acc = double;
  static constexpr bool SECOND = false;
  T* dx;
  const T *dy, *y;
  int64_t cols;
  CDN_FN double start1() const { return 0; }
  CDN_FN double join1(double a, double b) const { return a + b; }
  CDN_FN double load2(int64_t, int64_t, double) const { return 0; }
  CDN_FN bool maps() const { return true; }
  CDN_FN void finish(int64_t, double, double) const {}
};

template <class T> struct SoftmaxGrad : RowGrad<T> {  // dx = y * (dy - sum(dy * y))
  using C = Compute<T>;
  CDN_FN double load1(int64_t r, int64_t c) const {
    return static_cast<double>(wide(this->dy[r * this->cols + c])) *
           static_cast<double>(wide(this->y[r * this->cols + c]));
  }
  CDN_FN void store(int64_t r, int64_t c, double sum, double) const {
    int64_t at = r * this->cols + c;
    this->dx[at] = static_cast<T>(wide(this->y[at]) * (wide(this->dy[at]) - static_cast<C>(sum)));
  }
};

template <class T>
struct LogSoftmaxGrad
    : RowGrad<T> {  // dx = dy - exp(y) * sum(dy); a row of NaN has no say where its gradient is 0
  using C = Compute<T>;
  CDN_FN double load1(int64_t r, int64_t c) const { return wide(this->dy[r * this->cols + c]); }
  CDN_FN void store(int64_t r, int64_t c, double total, double) const {
    int64_t at = r * this->cols + c;
    C sum = static_cast<C>(total), share = fn::exp(wide(this->y[at])) * sum;
    this->dx[at] = static_cast<T>(wide(this->dy[at]) - (sum == C(0) ? C(0) : share));
  }
};

template <template <class> class Op>
int32_t row_map(const char* name, uint32_t y, uint32_t x, int64_t n_rows, int64_t cols,
                int32_t dtype) {
  return run(name, Call::IN_PLACE, [&](Call& call) {
    int64_t n = checked_product("rows, cols", n_rows, cols);
    with_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      Op<T> op;
      op.y = call.out<T>(y, "y", n);
      op.x = call.in<T>(x, "x", n);
      op.cols = cols;
      if (n) rows(call, n_rows, cols, op);
    });
  });
}

template <template <class> class Op>
int32_t row_grad(const char* name, uint32_t dx, uint32_t dy, uint32_t y, int64_t n_rows,
                 int64_t cols, int32_t dtype) {
  return run(name, Call::IN_PLACE, [&](Call& call) {
    int64_t n = checked_product("rows, cols", n_rows, cols);
    with_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      Op<T> op;
      op.dx = call.out<T>(dx, "dx", n);
      op.dy = call.in<T>(dy, "dy", n);
      op.y = call.in<T>(y, "y", n);
      op.cols = cols;
      if (n) rows(call, n_rows, cols, op);
    });
  });
}

}  // namespace

CDN_API int32_t cdn_softmax(uint32_t y, uint32_t x, int64_t rows, int64_t cols, int32_t dtype) {
  return row_map<Softmax>("cdn_softmax", y, x, rows, cols, dtype);
}
CDN_API int32_t cdn_masked_softmax(uint32_t y, uint32_t x, int64_t rows, int64_t cols,
                                   int32_t dtype) {
  return row_map<MaskedSoftmax>("cdn_masked_softmax", y, x, rows, cols, dtype);
}
CDN_API int32_t cdn_log_softmax(uint32_t y, uint32_t x, int64_t rows, int64_t cols, int32_t dtype) {
  return row_map<LogSoftmax>("cdn_log_softmax", y, x, rows, cols, dtype);
}
CDN_API int32_t cdn_softmax_grad(uint32_t dx, uint32_t dy, uint32_t y, int64_t rows, int64_t cols,
                                 int32_t dtype) {
  return row_grad<SoftmaxGrad>("cdn_softmax_grad", dx, dy, y, rows, cols, dtype);
}
CDN_API int32_t cdn_log_softmax_grad(uint32_t dx, uint32_t dy, uint32_t y, int64_t rows,
                                     int64_t cols, int32_t dtype) {
  return row_grad<LogSoftmaxGrad>("cdn_log_softmax_grad", dx, dy, y, rows, cols, dtype);
}

CDN_API int32_t cdn_cross_entropy(uint32_t loss, uint32_t dx, uint32_t x, uint32_t target,
                                  int64_t n_rows, int64_t cols, int32_t ignore_index, int32_t dtype,
                                  int32_t target_dtype) {
  return run("cdn_cross_entropy", [&](Call& call) {
    int64_t n = checked_product("rows, cols", n_rows, cols);
    if (cols == 0 && n_rows > 0)
      CDN_FAIL(CDN_BAD_ARGUMENT, "cols is 0: there is no class to choose");
    with_float(dtype, [&](auto zero) {
      with_target(target_dtype, [&](auto target_zero) {
        using T = decltype(zero);
        using Target = decltype(target_zero);
        CrossEntropy<T, Target> op;
        op.loss = call.out<T>(loss, "loss", n_rows);
        op.dx = dx ? call.out<T>(dx, "dx", n) : nullptr;
        op.x = call.in<T>(x, "x", n);
        op.chosen = {call.in<Target>(target, "target", n_rows), cols, ignore_index};
        op.cols = cols;
        op.fault = call.fault();
        if (n) rows(call, n_rows, cols, op);
      });
    });
  });
}
