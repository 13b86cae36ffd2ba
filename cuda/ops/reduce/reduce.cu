// Reductions of x[outer, axis, inner] over axis.
#include "kernel/functions.h"
#include "kernel/ties.h"

using namespace cdn;

namespace {

// Sums run in float64 (int32: int64), so that a mean over millions of float32 keeps its digits.
template <class T> struct Wide {
  using type = double;
};
template <> struct Wide<int32_t> {
  using type = int64_t;
};

template <class T> struct Sum {
  using Acc = typename Wide<T>::type;
  const T* x;
  T* y;
  Acc divisor;
  CDN_FN Acc start() const { return Acc(0); }
  CDN_FN Acc load(int64_t at, int64_t) const { return static_cast<Acc>(x[at]); }
  CDN_FN Acc join(Acc a, Acc b) const { return a + b; }
  CDN_FN void store(int64_t at, Acc sum) const { y[at] = static_cast<T>(sum / divisor); }
};

// The minimum is the maximum in the opposite order, so that one kernel finds either: floats change
// their sign, integers all bits.
template <class T> struct Extremum {
  using Acc = Compute<T>;
  using Bits = typename std::conditional<sizeof(Acc) == 8, uint64_t, uint32_t>::type;
  const T* x;
  T* y;
  Bits flipped;
  Extremum(const T* x, T* y, bool smallest) : x(x), y(y), flipped(0) {
    if (smallest)
      flipped = is_real<T> ? Bits(1) << (8 * sizeof(Acc) - 1) : static_cast<Bits>(~Bits(0));
  }
  CDN_FN Acc in_order(Acc value) const { return bits_as<Acc>(bits_as<Bits>(value) ^ flipped); }
  CDN_FN Acc start() const {
    using Limits = std::numeric_limits<Acc>;
    return Limits::has_infinity ? -Limits::infinity() : Limits::lowest();
  }
  CDN_FN Acc load(int64_t at, int64_t) const { return in_order(wide(x[at])); }
  CDN_FN Acc join(Acc a, Acc b) const { return fn::larger(a, b); }
  CDN_FN void store(int64_t at, Acc value) const { y[at] = static_cast<T>(in_order(value)); }
};

template <class T> struct Candidate {
  int64_t index;  // -1: none yet
  T value;
};

template <bool SMALLEST, class T> struct ArgExtremum {
  using C = Compute<T>;
  using Acc = Candidate<C>;
  const T* x;
  int32_t* y;
  CDN_FN static bool beats(C a, C b) {
    return (SMALLEST ? a < b : a > b) || (is_nan(a) && !is_nan(b));
  }
  CDN_FN Acc start() const { return {-1, C(0)}; }
  CDN_FN Acc load(int64_t at, int64_t k) const { return {k, wide(x[at])}; }
  CDN_FN Acc join(Acc a, Acc b) const {
    if (a.index < 0) return b;
    if (b.index < 0) return a;
    if (beats(b.value, a.value)) return b;
    if (beats(a.value, b.value)) return a;
    return a.index <= b.index ? a : b;
  }
  CDN_FN void store(int64_t at, Acc best) const { y[at] = static_cast<int32_t>(best.index); }
};

// The elements equal to the maximum or minimum; a NaN is one where there is any.
struct Equal {
  template <class C> CDN_FN static bool ties(C x, C y) {
    return x == y || (is_nan(x) && is_nan(y));
  }
  template <class C> CDN_FN static C grad(C share, C) { return share; }
};

template <class T>
void sum(Call& call, uint32_t y, uint32_t x, int64_t outer, int64_t axis, int64_t inner,
         bool mean) {
  Sizes n(outer, axis, inner);
  T* to = call.out<T>(y, "y", n.out);
  const T* from = call.in<T>(x, "x", n.in);
  using Acc = typename Sum<T>::Acc;
  reduce(call, outer, axis, inner,
         Sum<T>{from, to, static_cast<Acc>(mean ? axis : 1)});  // an empty mean is 0 / 0
}

void need_elements(int64_t outer, int64_t axis, int64_t inner) {
  if (axis == 0 && outer * inner > 0)
    CDN_FAIL(CDN_BAD_ARGUMENT, "axis has no elements, so there is no extremum");
}

int32_t extremum(const char* op, bool smallest, uint32_t y, uint32_t x, int64_t outer, int64_t axis,
                 int64_t inner, int32_t dtype) {
  return run(op, [&](Call& call) {
    Sizes n(outer, axis, inner);
    need_elements(outer, axis, inner);
    with_number(dtype, [&](auto zero) {
      using T = decltype(zero);
      T* to = call.out<T>(y, "y", n.out);
      const T* from = call.in<T>(x, "x", n.in);
      reduce(call, outer, axis, inner, Extremum<T>(from, to, smallest));
    });
  });
}

template <bool SMALLEST>
int32_t arg_extremum(const char* op, uint32_t y, uint32_t x, int64_t outer, int64_t axis,
                     int64_t inner, int32_t dtype) {
  return run(op, [&](Call& call) {
    Sizes n(outer, axis, inner);
    need_elements(outer, axis, inner);
    if (axis > INT32_MAX)
      CDN_FAIL(CDN_UNSUPPORTED, "axis is %lld; an index must fit int32", (long long)axis);
    with_number(dtype, [&](auto zero) {
      using T = decltype(zero);
      int32_t* to = call.out<int32_t>(y, "y", n.out);
      const T* from = call.in<T>(x, "x", n.in);
      reduce(call, outer, axis, inner, ArgExtremum<SMALLEST, T>{from, to});
    });
  });
}

}  // namespace

CDN_API int32_t cdn_sum(uint32_t y, uint32_t x, int64_t outer, int64_t axis, int64_t inner,
                        int32_t dtype) {
  return run("cdn_sum", [&](Call& call) {
    with_number(dtype,
                [&](auto zero) { sum<decltype(zero)>(call, y, x, outer, axis, inner, false); });
  });
}
CDN_API int32_t cdn_mean(uint32_t y, uint32_t x, int64_t outer, int64_t axis, int64_t inner,
                         int32_t dtype) {
  return run("cdn_mean", [&](Call& call) {
    with_float(dtype,
               [&](auto zero) { sum<decltype(zero)>(call, y, x, outer, axis, inner, true); });
  });
}
CDN_API int32_t cdn_max(uint32_t y, uint32_t x, int64_t outer, int64_t axis, int64_t inner,
                        int32_t dtype) {
  return extremum("cdn_max", false, y, x, outer, axis, inner, dtype);
}
CDN_API int32_t cdn_min(uint32_t y, uint32_t x, int64_t outer, int64_t axis, int64_t inner,
                        int32_t dtype) {
  return extremum("cdn_min", true, y, x, outer, axis, inner, dtype);
}
CDN_API int32_t cdn_argmax(uint32_t y, uint32_t x, int64_t outer, int64_t axis, int64_t inner,
                           int32_t dtype) {
  return arg_extremum<false>("cdn_argmax", y, x, outer, axis, inner, dtype);
}
CDN_API int32_t cdn_argmin(uint32_t y, uint32_t x, int64_t outer, int64_t axis, int64_t inner,
                           int32_t dtype) {
  return arg_extremum<true>("cdn_argmin", y, x, outer, axis, inner, dtype);
}

CDN_API int32_t cdn_max_grad(uint32_t dx, uint32_t dy, uint32_t x, uint32_t y, int64_t outer,
                             int64_t axis, int64_t inner, int32_t dtype) {
  return run("cdn_max_grad", [&](Call& call) {
    Sizes n(outer, axis, inner);
    with_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      T* to = call.out<T>(dx, "dx", n.in);
      const T* upstream = call.in<T>(dy, "dy", n.out);
      const T* from = call.in<T>(x, "x", n.in);
      const T* best = call.in<T>(y, "y", n.out);
      share_among_ties<Equal>(call, n, to, upstream, from, best);
    });
  });
}
