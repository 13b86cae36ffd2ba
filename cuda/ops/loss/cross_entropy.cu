// Cross-entropy of the rows of x[rows, cols] against a class each, and its gradient, for which the
// row is looked at again: so nothing of x's size is kept from one to the other.
#include "kernel/target.h"
#include "ops/reduce/softmax.h"

using namespace cdn;

namespace {

template <class T, class Target> struct OfTarget : MaxThenSumExp<T> {
  using C = Compute<T>;
  Chosen<Target> chosen;
  struct Known {
    int64_t t;
    C score;  // of the class t, if it is one
  };
  CDN_FN Known row(int64_t r) const {
    const int64_t t = chosen.at(r);
    const bool counts = !chosen.ignored(t) && chosen.valid(t);
    return {t, counts ? wide(this->in[0][r * chosen.classes + t]) : C(0)};
  }
};

template <class T, class Target> struct CrossEntropy : OfTarget<T, Target> {
  using C = Compute<T>;
  using typename OfTarget<T, Target>::Known;
  C* loss;
  volatile Fault* fault;
  struct All {
    Known known;
    C loss;
  };
  CDN_FN C second(const Known&, C max, const C (&v)[1]) const { return fn::exp(v[0] - max); }
  CDN_FN All all(const Known& known, C max, Sum<T> sum) const {
    return {known, this->log_of(sum) + (max - known.score)};
  }
  CDN_FN void finish(int64_t r, const All& all) const {
    const int64_t t = all.known.t;
    C value = all.loss;
    if (this->chosen.ignored(t)) {
      value = C(0);
    } else if (!this->chosen.valid(t)) {
      report_fault(fault, FAULT_CROSS_ENTROPY, t, this->chosen.classes);
      value = std::numeric_limits<C>::quiet_NaN();
    }
    loss[r] = value;
  }
  template <class K> CDN_FN C result(const All&, int64_t, const C (&v)[1], const K&) const {
    return v[0];
  }
};

// (softmax(x) - onehot) * dy / total: 0 where nothing comes from above, or the target is ignored.
template <class T, class Target> struct CrossEntropyGrad : OfTarget<T, Target> {
  using C = Compute<T>;
  const C *dy, *total;  // total may be null: 1
  int64_t dy_step;
  struct Known : OfTarget<T, Target>::Known {
    C scale;
  };
  struct All {
    int64_t t;
    C share, scale;
  };
  CDN_FN Known row(int64_t r) const {
    const auto of_target = OfTarget<T, Target>::row(r);
    const C upstream = dy[r * dy_step], scale = total ? upstream / *total : upstream;
    return {of_target, this->chosen.ignored(of_target.t) ? C(0) : scale};
  }
  CDN_FN C second(const Known&, C max, C (&v)[1]) const {
    return v[0] = fn::exp_for<T>(v[0] - max);
  }
  CDN_FN All all(const Known& known, C, Sum<T> sum) const {
    return {known.t, C(1) / static_cast<C>(sum), known.scale};
  }
  template <class K> CDN_FN C result(const All& all, int64_t c, const C (&v)[1], const K&) const {
    const C slope = v[0] * all.share - (c == all.t ? C(1) : C(0));
    return all.scale == C(0) ? C(0) : slope * all.scale;
  }
};

template <template <class, class> class Op, class F>
int32_t along_targets(const char* name, uint32_t x, uint32_t target, int64_t n_rows, int64_t cols,
                      int32_t ignore_index, int32_t dtype, int32_t target_dtype, F&& others) {
  return run(name, Call::IN_PLACE, Floats{}, dtype, [&]<class T>(Call& call, T) {
    int64_t n = checked_product("rows, cols", n_rows, cols);
    if (cols == 0 && n_rows > 0)
      CDN_FAIL(CDN_BAD_ARGUMENT, "cols is 0: there is no class to choose");
    with_target(target_dtype, [&]<class Target>(Target) {
      Op<T, Target> op;
      others(call, op, n);
      op.in[0] = call.in<T>(x, "x", n);
      op.chosen = {call.in<Target>(target, "target", n_rows), cols, ignore_index};
      if (n) rows(call, n_rows, cols, op);
    });
  });
}

}  // namespace

CDN_API int32_t cdn_cross_entropy(uint32_t loss, uint32_t x, uint32_t target, int64_t n_rows,
                                  int64_t cols, int32_t ignore_index, int32_t dtype,
                                  int32_t target_dtype) {
  return along_targets<CrossEntropy>(
      "cdn_cross_entropy", x, target, n_rows, cols, ignore_index, dtype, target_dtype,
      [&]<class T, class Target>(Call& call, CrossEntropy<T, Target>& op, int64_t) {
        op.loss = call.out<Compute<T>>(loss, "loss", n_rows);
        op.fault = call.fault();
      });
}

CDN_API int32_t cdn_cross_entropy_grad(uint32_t dx, uint32_t dy, uint32_t total, uint32_t x,
                                       uint32_t target, int64_t dy_count, int64_t n_rows,
                                       int64_t cols, int32_t ignore_index, int32_t dtype,
                                       int32_t target_dtype) {
  return along_targets<CrossEntropyGrad>(
      "cdn_cross_entropy_grad", x, target, n_rows, cols, ignore_index, dtype, target_dtype,
      [&]<class T, class Target>(Call& call, CrossEntropyGrad<T, Target>& op, int64_t n) {
        if (dy_count != 1 && dy_count != n_rows)
          CDN_FAIL(CDN_BAD_ARGUMENT, "dy_count is %lld; it must be 1 or rows, %lld",
                   (long long)dy_count, (long long)n_rows);
        op.y = call.out<T>(dx, "dx", n);
        op.dy = call.in<Compute<T>>(dy, "dy", dy_count);
        op.total = call.optional<Compute<T>>(total, "total", 1);
        op.dy_step = dy_count == 1 ? 0 : 1;
      });
}
