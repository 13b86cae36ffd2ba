// The negative log-likelihood of chosen classes: x[outer, classes, inner] are scores, target[outer,
// inner] class numbers. A target equal to ignore_index, or of a class whose weight is 0, costs
// nothing, whatever its score. The gradient is written whole, element by element: no two threads
// meet.
#include "kernel/sum.h"
#include "kernel/target.h"

using namespace cdn;

namespace {

template <class T, class Target> struct NllLoss {
  using C = Compute<T>;
  T* loss;
  const T *x, *weight;  // weight may be null: 1
  Chosen<Target> chosen;
  int64_t inner;
  volatile Fault* fault;
  CDN_FN void operator()(int64_t r) const {
    int64_t t = chosen.at(r);
    if (chosen.ignored(t)) {
      loss[r] = static_cast<T>(C(0));
    } else if (!chosen.valid(t)) {
      report_fault(fault, FAULT_NLL_LOSS, t, chosen.classes);
      loss[r] = static_cast<T>(std::numeric_limits<C>::quiet_NaN());
    } else {
      C score = wide(x[(r / inner * chosen.classes + t) * inner + r % inner]);
      C share = weight ? wide(weight[t]) : C(1);
      loss[r] = static_cast<T>(share == C(0) ? C(0) : -score * share);
    }
  }
};

template <class T, class Target> struct NllLossGrad {
  using C = Compute<T>;
  T* dx;
  const T *dy, *weight;
  Chosen<Target> chosen;
  int64_t inner;
  CDN_FN void operator()(int64_t at) const {
    int64_t row = quotient(at, inner), o = quotient(row, chosen.classes),
            c = row - o * chosen.classes, r = o * inner + (at - row * inner);
    int64_t t = chosen.at(r);
    C share = weight ? wide(weight[c]) : C(1);
    bool counts = t == c && !chosen.ignored(t) && share != C(0);
    dx[at] = static_cast<T>(counts ? -wide(dy[r]) * share : C(0));
  }
};

// The sum of losses over the sum of their targets' weights.
template <class T, class Target> struct NllMean : Adding<Pair<Sum<T>>> {
  using C = Compute<T>;
  T* y;
  C* total;
  const T *losses, *weight;
  Chosen<Target> chosen;
  CDN_FN Pair<Sum<T>> load(int64_t r, int64_t) const {
    int64_t t = chosen.at(r);
    bool counts = !chosen.ignored(t) && chosen.valid(t);
    return {Sum<T>(wide(losses[r])), Sum<T>(!counts ? C(0) : weight ? wide(weight[t]) : C(1))};
  }
  CDN_FN void store(int64_t, Pair<Sum<T>> sums) const {
    double weights = static_cast<double>(sums.second);
    y[0] = static_cast<T>(static_cast<double>(sums.first) / weights);
    double none = std::numeric_limits<double>::infinity();  // to divide gradients by
    total[0] = static_cast<C>(weights == 0 ? none : weights);
  }
};

// f(T, target's type) with both dtypes, of a call.
template <class F> int32_t run_nll(const char* op, int32_t dtype, int32_t target_dtype, F&& body) {
  return run(op, Floats{}, dtype, [&](Call& call, auto zero) {
    with_target(target_dtype, [&](auto target) { body(call, zero, target); });
  });
}

}  // namespace

CDN_API int32_t cdn_nll_loss(uint32_t loss, uint32_t x, uint32_t target, uint32_t weight,
                             int64_t outer, int64_t classes, int64_t inner, int32_t ignore_index,
                             int32_t dtype, int32_t target_dtype) {
  return run_nll("cdn_nll_loss", dtype, target_dtype,
                 [&]<class T, class Target>(Call& call, T, Target) {
                   int64_t n = checked_product("outer, classes, inner", outer, classes, inner);
                   int64_t n_rows = checked_product("outer, inner", outer, inner);
                   NllLoss<T, Target> op;
                   op.loss = call.out<T>(loss, "loss", n_rows);
                   op.x = call.in<T>(x, "x", n);
                   op.chosen = {call.in<Target>(target, "target", n_rows), classes, ignore_index};
                   op.weight = call.optional<T>(weight, "weight", classes);
                   op.inner = inner;
                   op.fault = call.fault();
                   each(call, n_rows, op);
                 });
}

CDN_API int32_t cdn_nll_loss_grad(uint32_t dx, uint32_t dy, uint32_t target, uint32_t weight,
                                  int64_t outer, int64_t classes, int64_t inner,
                                  int32_t ignore_index, int32_t dtype, int32_t target_dtype) {
  return run_nll("cdn_nll_loss_grad", dtype, target_dtype,
                 [&]<class T, class Target>(Call& call, T, Target) {
                   int64_t n = checked_product("outer, classes, inner", outer, classes, inner);
                   int64_t n_rows = checked_product("outer, inner", outer, inner);
                   NllLossGrad<T, Target> op;
                   op.dx = call.out<T>(dx, "dx", n);
                   op.dy = call.in<T>(dy, "dy", n_rows);
                   op.chosen = {call.in<Target>(target, "target", n_rows), classes, ignore_index};
                   op.weight = call.optional<T>(weight, "weight", classes);
                   op.inner = inner;
                   each(call, n, op);
                 });
}

CDN_API int32_t cdn_nll_mean(uint32_t y, uint32_t total, uint32_t losses, uint32_t target,
                             uint32_t weight, int64_t n, int64_t classes, int32_t ignore_index,
                             int32_t dtype, int32_t target_dtype) {
  return run_nll("cdn_nll_mean", dtype, target_dtype,
                 [&]<class T, class Target>(Call& call, T, Target) {
                   checked_size("n", n);
                   checked_size("classes", classes);
                   NllMean<T, Target> op;
                   op.y = call.out<T>(y, "y", 1);
                   op.total = call.out<Compute<T>>(total, "total", 1);
                   op.losses = call.in<T>(losses, "losses", n);
                   op.chosen = {call.in<Target>(target, "target", n), classes, ignore_index};
                   op.weight = call.optional<T>(weight, "weight", classes);
                   reduce_all(call, n, op);
                 });
}
