// Optimizer steps over many parameters in one launch (lists.h). A rule is the formula for one
// element: from the parameter, its gradient and up to three numbers of state to their new values,
// computed and, but for the parameter, kept in Compute<T>: a mean stored in 16 bits would stand
// still or vanish. What depends on the number of the step comes in as a scalar, so the kernels need
// no counters.
#include "kernel/lists.h"

using namespace cdn;

namespace {

constexpr int64_t CHUNK_SIZE = 1024;  // small, since layers have many tensors of few elements

template <class T, class Rule> struct Step {
  static constexpr int LISTS = 2 + Rule::STATES;
  Tensors<LISTS> table;
  Rule rule;
  bool maximize;

  struct Row {
    Chunk<LISTS> chunk;
    int64_t count;
    Rule rule;
    bool maximize;
    CDN_FN void operator()(int64_t i) const {
      using C = Compute<T>;
      T* param = chunk.template list<T>(0);
      C p = wide(param[i]), g = wide(chunk.template list<T>(1)[i]), s[LISTS];  // LISTS: never empty
      for (int k = 0; k < Rule::STATES; k++) s[k] = chunk.template list<C>(2 + k)[i];
      rule(p, maximize ? -g : g, s);
      for (int k = 0; k < Rule::STATES; k++) chunk.template list<C>(2 + k)[i] = s[k];
      param[i] = static_cast<T>(p);
    }
  };
  CDN_FN Row row(int64_t c) const {
    Chunk<LISTS> chunk = chunk_of<CHUNK_SIZE>(table, c);
    return {chunk, chunk.count, rule, maximize};
  }
};

// The gradient with the coupled weight decay, an L2 penalty. Not computed where it is 0, or an
// infinite p would give NaN.
template <class C> CDN_FN C decayed(C g, C p, C weight_decay) {
  return weight_decay != C(0) ? g + weight_decay * p : g;
}

template <class C, bool MOMENTUM> struct Sgd {
  static constexpr int STATES = MOMENTUM ? 1 : 0;
  C lr, momentum, undamped, weight_decay;
  bool nesterov, first;
  CDN_FN void operator()(C& p, C g, C* s) const {
    g = decayed(g, p, weight_decay);
    if (MOMENTUM) {
      s[0] = first ? g : momentum * s[0] + undamped * g;
      g = nesterov ? g + momentum * s[0] : s[0];
    }
    p -= lr * g;
  }
};

// The running means that Adam and NAdam share.
template <class C> struct Moments {
  C beta1, beta2, rest1, rest2;
  CDN_FN void operator()(C g, C* s) const {
    s[0] = beta1 * s[0] + rest1 * g;
    s[1] = beta2 * s[1] + rest2 * g * g;
  }
};
template <class C> Moments<C> moments(double beta1, double beta2) {
  return {static_cast<C>(beta1), static_cast<C>(beta2), static_cast<C>(1 - beta1),
          static_cast<C>(1 - beta2)};
}

template <class C, bool AMSGRAD> struct Adam {
  static constexpr int STATES = AMSGRAD ? 3 : 2;
  Moments<C> moments;
  C rate, root_correction, eps, weight_decay, shrink;
  CDN_FN void operator()(C& p, C g, C* s) const {
    p *= shrink;
    moments(decayed(g, p, weight_decay), s);
    if (AMSGRAD) s[2] = fn::larger(s[2], s[1]);
    p -= rate * (s[0] / (fn::sqrt(s[AMSGRAD ? 2 : 1]) / root_correction + eps));
  }
};

template <class C> struct NAdam {
  static constexpr int STATES = 2;
  Moments<C> moments;
  C grad_rate, momentum_rate, correction, eps, weight_decay, shrink;
  CDN_FN void operator()(C& p, C g, C* s) const {
    p *= shrink;
    g = decayed(g, p, weight_decay);
    moments(g, s);
    C scale = fn::sqrt(s[1] / correction) + eps;
    p -= grad_rate * (g / scale);
    p -= momentum_rate * (s[0] / scale);
  }
};

// States: the mean square, then the mean (CENTERED), then the velocity (MOMENTUM).
template <class C, bool CENTERED, bool MOMENTUM> struct RmsProp {
  static constexpr int STATES = 1 + CENTERED + MOMENTUM;
  C lr, alpha, rest, eps, weight_decay, momentum;
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

template <class C> struct Adagrad {
  static constexpr int STATES = 1;
  C rate, eps, weight_decay;
  CDN_FN void operator()(C& p, C g, C* s) const {
    g = decayed(g, p, weight_decay);
    s[0] += g * g;
    p -= rate * (g / (fn::sqrt(s[0]) + eps));
  }
};

// Of Muon only the end: its updates were made orthogonal by matrix products before.
template <class C> struct Muon {
  static constexpr int STATES = 0;
  C rate, shrink;
  CDN_FN void operator()(C& p, C update, C*) const { p = p * shrink - rate * update; }
};

// What all steps have in common of their arguments.
struct Parameters {
  const uint32_t *params, *grads;
  const int64_t* sizes;
  int32_t count, maximize, dtype;
};

constexpr int MAX_STATES = 3;

// make(zero) gives the rule in the type of `zero`; states are the lists that it needs, in its
// order.
template <class Make>
void step(Call& call, const Parameters& with, const List (&states)[MAX_STATES], Make make) {
  with_float(with.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto rule = make(Compute<T>{});
    using Rule = std::decay_t<decltype(rule)>;
    List lists[2 + Rule::STATES] = {{with.params, "params", true, false},
                                    {with.grads, "grads", false, false}};
    for (int k = 0; k < Rule::STATES; k++) lists[2 + k] = states[k];
    static_assert(sizeof(Step<T, Rule>) <= 4096 - 64, "a kernel's arguments take at most 4 KiB");
    for (const auto& table : read_lists<CHUNK_SIZE, T>(call, lists, with.sizes, with.count))
      each_row(call, table.chunks(), CHUNK_SIZE, Step<T, Rule>{table, rule, with.maximize != 0});
  });
}

}  // namespace

CDN_API int32_t cdn_sgd_step(const uint32_t* params, const uint32_t* grads,
                             const uint32_t* velocities, const int64_t* sizes, int32_t count,
                             double lr, double momentum, double dampening, double weight_decay,
                             int32_t nesterov, int32_t first, int32_t maximize, int32_t dtype) {
  return run("cdn_sgd_step", Call::UNCHECKED, [&](Call& call) {
    auto with = [&](auto has_momentum) {
      step(call, {params, grads, sizes, count, maximize, dtype},
           {{velocities, "velocities", true, true}}, [&](auto zero) {
             using C = decltype(zero);
             return Sgd<C, decltype(has_momentum)::value>{static_cast<C>(lr),
                                                          static_cast<C>(momentum),
                                                          static_cast<C>(1 - dampening),
                                                          static_cast<C>(weight_decay),
                                                          nesterov != 0,
                                                          first != 0};
           });
    };
    if (momentum != 0)
      with(std::true_type{});
    else
      with(std::false_type{});
  });
}

CDN_API int32_t cdn_adam_step(const uint32_t* params, const uint32_t* grads, const uint32_t* means,
                              const uint32_t* squares, const uint32_t* largest,
                              const int64_t* sizes, int32_t count, double rate, double beta1,
                              double beta2, double root_correction, double eps, double weight_decay,
                              double shrink, int32_t maximize, int32_t dtype) {
  return run("cdn_adam_step", Call::UNCHECKED, [&](Call& call) {
    auto with = [&](auto amsgrad) {
      const List states[MAX_STATES] = {{means, "means", true, true},
                                       {squares, "squares", true, true},
                                       {largest, "largest", true, true}};
      step(call, {params, grads, sizes, count, maximize, dtype}, states, [&](auto zero) {
        using C = decltype(zero);
        return Adam<C, decltype(amsgrad)::value>{
            moments<C>(beta1, beta2), static_cast<C>(rate),         static_cast<C>(root_correction),
            static_cast<C>(eps),      static_cast<C>(weight_decay), static_cast<C>(shrink)};
      });
    };
    if (largest)
      with(std::true_type{});
    else
      with(std::false_type{});
  });
}

CDN_API int32_t cdn_nadam_step(const uint32_t* params, const uint32_t* grads, const uint32_t* means,
                               const uint32_t* squares, const int64_t* sizes, int32_t count,
                               double grad_rate, double momentum_rate, double beta1, double beta2,
                               double correction, double eps, double weight_decay, double shrink,
                               int32_t maximize, int32_t dtype) {
  return run("cdn_nadam_step", Call::UNCHECKED, [&](Call& call) {
    const List states[MAX_STATES] = {{means, "means", true, true},
                                     {squares, "squares", true, true}};
    step(call, {params, grads, sizes, count, maximize, dtype}, states, [&](auto zero) {
      using C = decltype(zero);
      return NAdam<C>{moments<C>(beta1, beta2),      static_cast<C>(grad_rate),
                      static_cast<C>(momentum_rate), static_cast<C>(correction),
                      static_cast<C>(eps),           static_cast<C>(weight_decay),
                      static_cast<C>(shrink)};
    });
  });
}

CDN_API int32_t cdn_rmsprop_step(const uint32_t* params, const uint32_t* grads,
                                 const uint32_t* squares, const uint32_t* means,
                                 const uint32_t* velocities, const int64_t* sizes, int32_t count,
                                 double lr, double alpha, double eps, double weight_decay,
                                 double momentum, int32_t maximize, int32_t dtype) {
  return run("cdn_rmsprop_step", Call::UNCHECKED, [&](Call& call) {
    auto with = [&](auto centered, auto has_momentum) {
      const List velocity{velocities, "velocities", true, true};
      const List states[MAX_STATES] = {{squares, "squares", true, true},
                                       means ? List{means, "means", true, true} : velocity,
                                       velocity};
      step(call, {params, grads, sizes, count, maximize, dtype}, states, [&](auto zero) {
        using C = decltype(zero);
        return RmsProp<C, decltype(centered)::value, decltype(has_momentum)::value>{
            static_cast<C>(lr),  static_cast<C>(alpha),        static_cast<C>(1 - alpha),
            static_cast<C>(eps), static_cast<C>(weight_decay), static_cast<C>(momentum)};
      });
    };
    if (means && velocities)
      with(std::true_type{}, std::true_type{});
    else if (means)
      with(std::true_type{}, std::false_type{});
    else if (velocities)
      with(std::false_type{}, std::true_type{});
    else
      with(std::false_type{}, std::false_type{});
  });
}

CDN_API int32_t cdn_adagrad_step(const uint32_t* params, const uint32_t* grads,
                                 const uint32_t* sums, const int64_t* sizes, int32_t count,
                                 double rate, double eps, double weight_decay, int32_t maximize,
                                 int32_t dtype) {
  return run("cdn_adagrad_step", Call::UNCHECKED, [&](Call& call) {
    step(call, {params, grads, sizes, count, maximize, dtype}, {{sums, "sums", true, true}},
         [&](auto zero) {
           using C = decltype(zero);
           return Adagrad<C>{static_cast<C>(rate), static_cast<C>(eps),
                             static_cast<C>(weight_decay)};
         });
  });
}

CDN_API int32_t cdn_muon_step(const uint32_t* params, const uint32_t* updates, const int64_t* sizes,
                              int32_t count, double rate, double shrink, int32_t dtype) {
  return run("cdn_muon_step", Call::UNCHECKED, [&](Call& call) {
    step(call, {params, updates, sizes, count, 0, dtype}, {}, [&](auto zero) {
      using C = decltype(zero);
      return Muon<C>{static_cast<C>(rate), static_cast<C>(shrink)};
    });
  });
}
