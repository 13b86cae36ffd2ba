// Cross-entropy of the rows of x[rows, cols] against a class each, and with it the gradient, which
// a second look at the row gives.
#include "kernel/target.h"
#include "ops/reduce/softmax.h"

using namespace cdn;

namespace {

template <class T, class Target> struct CrossEntropy : MaxThenSumExp<T> {
  using Acc = Compute<T>;
  T *loss, *dx;
  Chosen<Target> chosen;
  volatile Fault* fault;
  CDN_FN bool maps() const { return dx != nullptr; }
  CDN_FN void store(int64_t r, int64_t c, Acc max, Sum<T> sum) const {
    int64_t at = r * this->cols + c, t = chosen.at(r);
    Acc p = fn::exp(wide(this->x[at]) - max) / static_cast<Acc>(sum);
    dx[at] = static_cast<T>(chosen.ignored(t) ? Acc(0) : p - (c == t ? Acc(1) : Acc(0)));
  }
  CDN_FN void finish(int64_t r, Acc max, Sum<T> sum) const {
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

}  // namespace

CDN_API int32_t cdn_cross_entropy(uint32_t loss, uint32_t dx, uint32_t x, uint32_t target,
                                  int64_t n_rows, int64_t cols, int32_t ignore_index, int32_t dtype,
                                  int32_t target_dtype) {
  return run("cdn_cross_entropy", Floats{}, dtype, [&]<class T>(Call& call, T) {
    int64_t n = checked_product("rows, cols", n_rows, cols);
    if (cols == 0 && n_rows > 0)
      CDN_FAIL(CDN_BAD_ARGUMENT, "cols is 0: there is no class to choose");
    with_target(target_dtype, [&]<class Target>(Target) {
      CrossEntropy<T, Target> op;
      op.loss = call.out<T>(loss, "loss", n_rows);
      op.dx = call.optional_out<T>(dx, "dx", n);
      op.x = call.in<T>(x, "x", n);
      op.chosen = {call.in<Target>(target, "target", n_rows), cols, ignore_index};
      op.cols = cols;
      op.fault = call.fault();
      if (n) rows(call, n_rows, cols, op);
    });
  });
}
