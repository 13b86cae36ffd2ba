// Optimizer steps over many parameters in one launch (lists.h). A rule is the formula for one
// element: from the parameter, its gradient and up to three numbers of state to their new values,
// computed and, but for the parameter, kept in Compute<T>: a mean stored in 16 bits would stand
// still or vanish. What depends on the number of the step is computed by one thread before, in
// float64 (clock.h), and taken by a rule's begin().
#include "ops/optim/elements.h"

using namespace cdn;

namespace {

template <class Rule> struct Step {
  using C = typename Rule::Compute;
  Rule rule;
  const Clock* clock;
  bool maximize;
  CDN_FN bool begin() {
    rule.begin(*clock);
    return clock->runs != 0;
  }
  CDN_FN C operator()(C* x) const {
    rule(x[0], maximize ? -x[1] : x[1], x + 2);
    return x[0];
  }
};

// What kernels ask of a rule's type; its numbers follow, first those that the caller gives.
template <class C, int N> struct Rule {
  using Compute = C;
  static constexpr int STATES = N;
};

// The gradient with the coupled weight decay, an L2 penalty. Not computed where it is 0, or an
// infinite p would give NaN.
template <class C> CDN_FN C decayed(C g, C p, C weight_decay) {
  return weight_decay != C(0) ? g + weight_decay * p : g;
}

// The clock's extra is 1 once there is a velocity: the first one is the gradient itself.
struct SgdValues {
  double dampening;
  bool velocity;
  CDN_FN void operator()(Clock& c) const {
    c.value[0] = c.lr;
    c.value[1] = c.momentum;
    c.value[2] = c.extra != 0 ? 1 - dampening : 1;
    if (velocity) c.extra = 1;
  }
};
template <class C, bool MOMENTUM> struct Sgd : Rule<C, MOMENTUM> {
  C weight_decay, nesterov, lr = {}, momentum = {}, undamped = {};
  CDN_FN void begin(const Clock& c) { c.get(lr, momentum, undamped); }
  CDN_FN void operator()(C& p, C g, C* s) const {
    g = decayed(g, p, weight_decay);
    if (MOMENTUM) {
      s[0] = momentum * s[0] + undamped * g;
      g = nesterov != C(0) ? g + momentum * s[0] : s[0];
    }
    p -= lr * g;
  }
};

// The running means that Adam and NAdam share.
template <class C> struct Moments {
  C beta2, rest2, eps, weight_decay, beta1 = {}, rest1 = {};
  CDN_FN C update(C p, C g, C* s) const {
    g = decayed(g, p, weight_decay);
    s[0] = beta1 * s[0] + rest1 * g;
    s[1] = beta2 * s[1] + rest2 * g * g;
    return g;
  }
};

struct AdamValues {
  double beta2, decay;  // decay: decoupled
  CDN_FN void operator()(Clock& c) const {
    c.value[0] = c.lr / (1 - fn::pow(c.momentum, c.step));
    c.value[1] = fn::sqrt(1 - fn::pow(beta2, c.step));
    c.value[2] = 1 - c.lr * decay;
    c.value[3] = c.momentum;
    c.value[4] = 1 - c.momentum;
  }
};
template <class C, bool AMSGRAD> struct Adam : Rule<C, AMSGRAD ? 3 : 2> {
  Moments<C> moments;
  C rate = {}, root_correction = {}, shrink = {};
  CDN_FN void begin(const Clock& c) {
    c.get(rate, root_correction, shrink, moments.beta1, moments.rest1);
  }
  CDN_FN void operator()(C& p, C g, C* s) const {
    p *= shrink;
    moments.update(p, g, s);
    if (AMSGRAD) s[2] = fn::larger(s[2], s[1]);
    p -= rate * (s[0] / (fn::sqrt(s[AMSGRAD ? 2 : 1]) / root_correction + moments.eps));
  }
};

// The clock's extra is the product of the momenta.
struct NAdamValues {
  double beta2, momentum_decay, decay;
  CDN_FN double momentum(double beta1, double step) const {
    return beta1 * (1 - 0.5 * fn::pow(0.96, step * momentum_decay));
  }
  CDN_FN void operator()(Clock& c) const {
    const double mu = momentum(c.momentum, c.step), next = momentum(c.momentum, c.step + 1);
    const double product = c.extra *= mu;
    c.value[0] = c.lr * (1 - mu) / (1 - product);
    c.value[1] = c.lr * next / (1 - product * next);
    c.value[2] = 1 - fn::pow(beta2, c.step);
    c.value[3] = 1 - c.lr * decay;
    c.value[4] = c.momentum;
    c.value[5] = 1 - c.momentum;
  }
};
template <class C> struct NAdam : Rule<C, 2> {
  Moments<C> moments;
  C grad_rate = {}, momentum_rate = {}, correction = {}, shrink = {};
  CDN_FN void begin(const Clock& c) {
    c.get(grad_rate, momentum_rate, correction, shrink, moments.beta1, moments.rest1);
  }
  CDN_FN void operator()(C& p, C g, C* s) const {
    p *= shrink;
    g = moments.update(p, g, s);
    C scale = fn::sqrt(s[1] / correction) + moments.eps;
    p -= grad_rate * (g / scale);
    p -= momentum_rate * (s[0] / scale);
  }
};

struct RateValues {
  double decay;
  CDN_FN void operator()(Clock& c) const {
    c.value[0] = c.lr / (1 + (c.step - 1) * decay);
    c.value[1] = c.momentum;
  }
};

// States: the mean square, then the mean (CENTERED), then the velocity (MOMENTUM).
template <class C, bool CENTERED, bool MOMENTUM> struct RmsProp : Rule<C, 1 + CENTERED + MOMENTUM> {
  C alpha, rest, eps, weight_decay, lr = {}, momentum = {};
  CDN_FN void begin(const Clock& c) { c.get(lr, momentum); }
  CDN_FN void operator()(C& p, C g, C* s) const {
    g = decayed(g, p, weight_decay);
    s[0] = alpha * s[0] + rest * g * g;
    C square = s[0];
    if (CENTERED) {
      s[1] = alpha * s[1] + rest * g;
      square -= s[1] * s[1];
      if (square < C(0))
        square = C(0);  // rounding may make it so where the gradient hardly changes
    }
    C change = g / (fn::sqrt(square) + eps);
    if (MOMENTUM) {
      C& velocity = s[CENTERED ? 2 : 1];
      change = velocity = momentum * velocity + change;
    }
    p -= lr * change;
  }
};

template <class C> struct Adagrad : Rule<C, 1> {
  C eps, weight_decay, rate = {};
  CDN_FN void begin(const Clock& c) { c.get(rate); }
  CDN_FN void operator()(C& p, C g, C* s) const {
    g = decayed(g, p, weight_decay);
    s[0] += g * g;
    p -= rate * (g / (fn::sqrt(s[0]) + eps));
  }
};

// What all steps have in common of their arguments.
struct Parameters {
  const uint32_t *params, *grads;
  const int64_t* sizes;
  int32_t count;
  uint32_t clock, skip;
  int32_t maximize, dtype;
};

constexpr int MAX_STATES = 3;

// make(zero) gives the rule in the type of `zero`; states are the lists that it needs, in its
// order.
template <class Values, class Make>
int32_t step(const char* name, const Parameters& with, const List (&states)[MAX_STATES],
             const Values& values, Make make) {
  return run(name, Call::UNCHECKED, [&](Call& call) {
    const Advance<Values> advance{clock_of(call, with.clock), skip_of(call, with.skip), values};
    with_float(with.dtype, [&]<class T>(T) {
      const auto rule = make(Compute<T>{});
      using Rule = std::decay_t<decltype(rule)>;
      List lists[2 + Rule::STATES] = {{with.params, "params", true, false},
                                      {with.grads, "grads", false, false}};
      for (int k = 0; k < Rule::STATES; k++) lists[2 + k] = states[k];
      const Step<Rule> step{rule, advance.clock, with.maximize != 0};
      each_element<T, T, Rule::STATES>(call, lists, with.sizes, with.count, step, advance);
    });
  });
}

// The rule of these numbers, rounded.
template <class R, class... N> R rule(N... numbers) {
  return {{}, static_cast<typename R::Compute>(numbers)...};
}
template <class F> int32_t choose(bool which, F f) {
  return which ? f(std::true_type{}) : f(std::false_type{});
}

}  // namespace

CDN_API int32_t cdn_sgd_step(const uint32_t* params, const uint32_t* grads,
                             const uint32_t* velocities, const int64_t* sizes, int32_t count,
                             uint32_t clock, uint32_t skip, double dampening, double weight_decay,
                             int32_t nesterov, int32_t maximize, int32_t dtype) {
  return choose(velocities, [&](auto has) {
    return step("cdn_sgd_step", {params, grads, sizes, count, clock, skip, maximize, dtype},
                {{velocities, "velocities"}}, SgdValues{dampening, velocities != nullptr},
                [&](auto zero) {
                  return rule<Sgd<decltype(zero), decltype(has)::value>>(weight_decay, nesterov);
                });
  });
}

CDN_API int32_t cdn_adam_step(const uint32_t* params, const uint32_t* grads, const uint32_t* means,
                              const uint32_t* squares, const uint32_t* largest,
                              const int64_t* sizes, int32_t count, uint32_t clock, uint32_t skip,
                              double beta2, double eps, double weight_decay, int32_t decoupled,
                              int32_t maximize, int32_t dtype) {
  const double shrinks = decoupled ? weight_decay : 0, coupled = decoupled ? 0 : weight_decay;
  return choose(largest, [&](auto amsgrad) {
    return step("cdn_adam_step", {params, grads, sizes, count, clock, skip, maximize, dtype},
                {{means, "means"}, {squares, "squares"}, {largest, "largest"}},
                AdamValues{beta2, shrinks}, [&](auto zero) {
                  return rule<Adam<decltype(zero), decltype(amsgrad)::value>>(beta2, 1 - beta2, eps,
                                                                              coupled);
                });
  });
}

CDN_API int32_t cdn_nadam_step(const uint32_t* params, const uint32_t* grads, const uint32_t* means,
                               const uint32_t* squares, const int64_t* sizes, int32_t count,
                               uint32_t clock, uint32_t skip, double beta2, double eps,
                               double weight_decay, double momentum_decay, int32_t decoupled,
                               int32_t maximize, int32_t dtype) {
  const double shrinks = decoupled ? weight_decay : 0, coupled = decoupled ? 0 : weight_decay;
  return step(
      "cdn_nadam_step", {params, grads, sizes, count, clock, skip, maximize, dtype},
      {{means, "means"}, {squares, "squares"}}, NAdamValues{beta2, momentum_decay, shrinks},
      [&](auto zero) { return rule<NAdam<decltype(zero)>>(beta2, 1 - beta2, eps, coupled); });
}

CDN_API int32_t cdn_rmsprop_step(const uint32_t* params, const uint32_t* grads,
                                 const uint32_t* squares, const uint32_t* means,
                                 const uint32_t* velocities, const int64_t* sizes, int32_t count,
                                 uint32_t clock, uint32_t skip, double alpha, double eps,
                                 double weight_decay, int32_t maximize, int32_t dtype) {
  const List velocity{velocities, "velocities"}, mean{means, "means"};
  return choose(means, [&](auto centered) {
    return choose(velocities, [&](auto has) {
      return step(
          "cdn_rmsprop_step", {params, grads, sizes, count, clock, skip, maximize, dtype},
          {{squares, "squares"}, means ? mean : velocity, velocity}, RateValues{0}, [&](auto zero) {
            using R = RmsProp<decltype(zero), decltype(centered)::value, decltype(has)::value>;
            return rule<R>(alpha, 1 - alpha, eps, weight_decay);
          });
    });
  });
}

CDN_API int32_t cdn_adagrad_step(const uint32_t* params, const uint32_t* grads,
                                 const uint32_t* sums, const int64_t* sizes, int32_t count,
                                 uint32_t clock, uint32_t skip, double lr_decay, double eps,
                                 double weight_decay, int32_t maximize, int32_t dtype) {
  return step("cdn_adagrad_step", {params, grads, sizes, count, clock, skip, maximize, dtype},
              {{sums, "sums"}}, RateValues{lr_decay},
              [&](auto zero) { return rule<Adagrad<decltype(zero)>>(eps, weight_decay); });
}
