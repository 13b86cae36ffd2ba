// What optimizers need of lists of gradients and parameters beside a step: the norm of all, limits,
// zeroing, an exponential moving average, and taking out the scale of a loss. A factor that was
// computed is read from device memory by the kernel that needs it, so that nothing has to wait for
// it.
#include "ops/optim/elements.h"
#include "ops/reduce/norm.h"

using namespace cdn;

namespace {

// Elements of a partial sum; fixed, so that sums do not depend on the device.
constexpr int64_t PARTIAL_SIZE = 16384;

// ---- the norm: a sum for each chunk, then the sum of those and its root

template <class T, class Rule> struct PartialSums : Rule {
  Tensors<1> table;
  double* partial;

  struct Row {
    const T* x;
    int64_t count;
    Rule rule;
    CDN_FN double load(int64_t i) const { return rule.term(static_cast<double>(wide(x[i]))); }
  };
  CDN_FN Row row(int64_t c) const {
    Chunk<1> chunk = chunk_of<PARTIAL_SIZE>(table, c);
    return {chunk.template list<T>(0), chunk.count, *this};
  }
  CDN_FN void store(int64_t c, double sum) const { partial[c] = sum; }
};

template <class Rule> struct TotalNorm : Rule {
  const double* partial;
  double* y;
  CDN_FN double load(int64_t at, int64_t) const { return partial[at]; }
  CDN_FN void store(int64_t, double sum) const { *y = this->result(sum); }
};

// ---- element by element

struct Always {
  CDN_FN bool begin() const { return true; }
};

template <class C> struct Clip : Always {
  C low, high;
  CDN_FN C operator()(const C* x) const {
    return x[0] < low ? low : x[0] > high ? high : x[0];
  }  // NaN stays
};

// Gradients within the limit, the usual case, are not even read. The factor may be less than a
// float holds.
template <class C> struct ClipNorm {
  const double* norm;
  double limit, factor;
  CDN_FN bool begin() {
    factor = limit / (*norm + 1e-6);
    return !(factor >= 1);
  }
  CDN_FN double operator()(const C* x) const { return static_cast<double>(x[0]) * factor; }
};

struct Zero : Always {
  template <class C> CDN_FN C operator()(const C*) const { return C(0); }
};

// At the clock's first step by `first`, where there is a clock.
struct LerpValues {
  double weight, first;
  CDN_FN void operator()(Clock& c) const { c.value[0] = c.step == 1 ? first : weight; }
};

// From the nearer end, so that a weight of 1 gives the other number exactly.
template <class C> struct Lerp {
  const Clock* clock;
  const double* skip;
  C weight, rest;
  CDN_FN bool begin() {
    if (!clock) return !(skip && *skip != 0);
    weight = static_cast<C>(clock->value[0]);
    rest = static_cast<C>(1 - clock->value[0]);
    return clock->runs != 0;
  }
  CDN_FN C operator()(const C* x) const {
    C way = x[1] - x[0];
    return weight < C(0.5) ? x[0] + weight * way : x[1] - way * rest;
  }
};

template <class C> struct Unscale {
  const double* scale;
  volatile double* found;  // all threads that write it write a 1
  C factor;
  CDN_FN bool begin() {
    factor = static_cast<C>(1 / *scale);
    return true;
  }
  CDN_FN C operator()(const C* x) const {
    if (is_nan(x[0] - x[0])) *found = 1;  // infinity, NaN
    return x[0] * factor;
  }
};

// One thread joins the flags and clears them, then moves the scale.
struct UpdateScale {
  Tensors<1> flags;
  double *state, growth, backoff, interval;
  bool first, last;
  CDN_FN void operator()(int64_t) const {
    double &scale = state[0], &good = state[1], &bad = state[2];
    if (first) bad = 0;
    for (int i = 0; i < flags.count; i++) {
      double& flag = *static_cast<double*>(flags.at[0][i]);
      if (flag != 0) bad = 1;
      flag = 0;
    }
    if (!last) return;
    if (bad != 0) scale *= backoff;
    good = bad != 0 ? 0 : good + 1;
    if (good < interval) return;
    good = 0;
    if (scale * growth <= 0x1.fffffep127) scale *= growth;  // no further than float32 could hold
  }
};

// make(zero) gives the functor in the type of `zero`. WIDE: the first list is.
template <bool WIDE = false, int LISTS, class Make>
void elements(Call& call, const List (&lists)[LISTS], const int64_t* sizes, int32_t count,
              int32_t dtype, Make make, const Advance<LerpValues>& advance = {}) {
  with_float(dtype, [&]<class T>(T) {
    using Y = typename std::conditional<WIDE, Compute<T>, T>::type;
    each_element<T, Y>(call, lists, sizes, count, make(Compute<T>{}), advance);
  });
}

}  // namespace

CDN_API int32_t cdn_list_norm(uint32_t y, const uint32_t* xs, const int64_t* sizes, int32_t count,
                              double p, int32_t dtype) {
  return run("cdn_list_norm", Call::UNCHECKED, [&](Call& call) {
    if (!(p > 0)) CDN_FAIL(CDN_BAD_ARGUMENT, "p is %g; it must be above 0, or infinity", p);
    double* to = call.out<double>(y, "y", 1);
    with_float(dtype, [&]<class T>(T) {
      const List lists[] = {{xs, "xs", false, false}};
      const auto tables = read_lists<PARTIAL_SIZE, T>(call, lists, sizes, count);
      int64_t chunks = 0, first = 0;
      for (const auto& table : tables) chunks += table.chunks();
      double* partial = call.scratch<double>(chunks);
      with_norm<double>(p, [&]<class Rule>(Rule rule) {
        for (const auto& table : tables) {
          reduce_each(call, table.chunks(), PartialSums<T, Rule>{rule, table, partial + first});
          first += table.chunks();
        }
        reduce_all(call, chunks, TotalNorm<Rule>{rule, partial, to});
      });
    });
  });
}

CDN_API int32_t cdn_list_clip_norm(const uint32_t* xs, uint32_t norm, const int64_t* sizes,
                                   int32_t count, double limit, int32_t dtype) {
  return run("cdn_list_clip_norm", Call::UNCHECKED, [&](Call& call) {
    const double* found = call.in<double>(norm, "norm", 1);
    elements(call, {{xs, "xs", true, false}}, sizes, count, dtype,
             [&](auto zero) { return ClipNorm<decltype(zero)>{found, limit, 0}; });
  });
}

CDN_API int32_t cdn_list_clip(const uint32_t* xs, const int64_t* sizes, int32_t count, double low,
                              double high, int32_t dtype) {
  return run("cdn_list_clip", Call::UNCHECKED, [&](Call& call) {
    elements(call, {{xs, "xs", true, false}}, sizes, count, dtype,
             [&]<class C>(C) { return Clip<C>{{}, static_cast<C>(low), static_cast<C>(high)}; });
  });
}

CDN_API int32_t cdn_list_zero(const uint32_t* xs, const int64_t* sizes, int32_t count,
                              int32_t dtype) {
  return run("cdn_list_zero", Call::UNCHECKED, [&](Call& call) {
    elements(call, {{xs, "xs", true, false}}, sizes, count, dtype, [](auto) { return Zero{}; });
  });
}

CDN_API int32_t cdn_list_lerp(const uint32_t* ys, const uint32_t* xs, const int64_t* sizes,
                              int32_t count, uint32_t clock, uint32_t skip, double weight,
                              double first, int32_t dtype) {
  return run("cdn_list_lerp", Call::UNCHECKED, [&](Call& call) {
    const Advance<LerpValues> advance{
        clock ? clock_of(call, clock) : nullptr, skip_of(call, skip), {weight, first}};
    elements<true>(
        call, {{ys, "ys"}, {xs, "xs", false, false}}, sizes, count, dtype,
        [&]<class C>(C) {
          return Lerp<C>{advance.clock, advance.skip, static_cast<C>(weight),
                         static_cast<C>(1 - weight)};
        },
        advance);
  });
}

CDN_API int32_t cdn_list_unscale(const uint32_t* xs, uint32_t found, uint32_t scale,
                                 const int64_t* sizes, int32_t count, int32_t dtype) {
  return run("cdn_list_unscale", Call::UNCHECKED, [&](Call& call) {
    double* flag = call.out<double>(found, "found", 1);
    const double* by = call.in<double>(scale, "scale", 1);
    elements(call, {{xs, "xs", true, false}}, sizes, count, dtype,
             [&](auto zero) { return Unscale<decltype(zero)>{by, flag, {}}; });
  });
}

CDN_API int32_t cdn_scale_update(uint32_t state, const uint32_t* found, int32_t count,
                                 double growth, double backoff, double interval) {
  return run("cdn_scale_update", Call::UNCHECKED, [&](Call& call) {
    double* to = call.out<double>(state, "state", 3);
    const std::vector<int64_t> ones(static_cast<size_t>(count > 0 ? count : 0), 1);
    const List lists[] = {{found, "found", true, false}};
    auto tables = read_lists<1, double>(call, lists, ones.data(), count);
    if (tables.empty()) tables.resize(1);
    for (const auto& table : tables)
      each(call, 1,
           UpdateScale{table, to, growth, backoff, interval, &table == &tables.front(),
                       &table == &tables.back()});
  });
}
