// Reductions of x[outer, axis, inner] over axis.
#include "kernel/ties.h"
#include "ops/reduce/scans.h"

using namespace cdn;

namespace {

// Y is T, or float64 for a total that goes on to another pass.
template <class T, class Y> struct Total : Adding<Sum<T>>, Taking<T> {
  using C = Compute<T>;
  Y* y;
  double divisor;  // the number of elements for their mean, else 1
  CDN_FN C operator()(int, const C (&v)[1]) const { return v[0]; }
  CDN_FN void store(int64_t at, Sum<T> sum) const {
    y[at] = static_cast<Y>(sum);
    if constexpr (is_real<T>)
      if (divisor != 1) y[at] = static_cast<Y>(static_cast<double>(sum) / divisor);
  }
};

// Products in float64; of whole numbers modulo 2^64, of which the result has the lowest bits.
template <class T> struct Product : Multiplying<T> {
  using A = typename Multiplying<T>::Acc;
  using Y = typename std::conditional<is_real<T>, T, int32_t>::type;
  const T* x;
  Y* y;
  CDN_FN A load(int64_t at, int64_t) const { return static_cast<A>(wide(x[at])); }
  CDN_FN void store(int64_t at, A product) const { y[at] = static_cast<Y>(product); }
};

// The minimum is the maximum in the opposite order, so that one kernel finds either: floats change
// their sign, integers all bits.
template <class T> struct Extremum : Taking<T> {
  using Acc = typename std::conditional<is_real<T>, Compute<T>, int32_t>::type;
  using Bits = typename std::conditional<sizeof(Acc) == 8, uint64_t, uint32_t>::type;
  T* y;
  Bits flipped;
  Extremum(const T* x, T* y, bool smallest) : Taking<T>{{{x}}}, y(y), flipped(0) {
    if (smallest)
      flipped = is_real<T> ? Bits(1) << (8 * sizeof(Acc) - 1) : static_cast<Bits>(~Bits(0));
  }
  CDN_FN Acc in_order(Acc value) const { return bits_as<Acc>(bits_as<Bits>(value) ^ flipped); }
  CDN_FN Acc start() const {
    using Limits = std::numeric_limits<Acc>;
    return Limits::has_infinity ? -Limits::infinity() : Limits::lowest();
  }
  CDN_FN Acc operator()(int, const Compute<T> (&v)[1]) const { return in_order(v[0]); }
  CDN_FN Acc join(Acc a, Acc b) const { return fn::larger(a, b); }
  CDN_FN void store(int64_t at, Acc value) const { y[at] = static_cast<T>(in_order(value)); }
};

template <class T> struct Candidate {
  int64_t index;  // -1: none yet
  T value;
};

template <bool SMALLEST, class T> struct ArgExtremum {
  using C = typename std::conditional<is_real<T>, Compute<T>, int32_t>::type;
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

template <class DTypes>
int32_t total(const char* op, DTypes with_dtype, uint32_t y, uint32_t x, int64_t outer,
              int64_t axis, int64_t inner, double divisor, int32_t y_dtype, int32_t x_dtype) {
  return run(op, with_dtype, x_dtype, [&]<class T>(Call& call, T) {
    Sizes n(outer, axis, inner);
    auto add = [&]<class Y>(Y) {
      Total<T, Y> sum;
      sum.y = call.out<Y>(y, "y", n.out);
      sum.in = {{call.in<T>(x, "x", n.in)}};
      sum.divisor = divisor;
      reduce(call, outer, axis, inner, sum);
    };
    using Same = typename std::conditional<is_real<T>, T, int32_t>::type;
    if (y_dtype == (x_dtype == CDN_UINT8 ? CDN_INT32 : x_dtype)) return add(Same{});
    if constexpr (is_real<T>)
      if (y_dtype == CDN_FLOAT64) return add(double{});
    CDN_FAIL(CDN_UNSUPPORTED,
             "y_dtype is %s; it must be x's, or float64 where that is a float, int32 for uint8",
             dtype_name(y_dtype));
  });
}

void need_elements(int64_t outer, int64_t axis, int64_t inner) {
  if (axis == 0 && outer * inner > 0)
    CDN_FAIL(CDN_BAD_ARGUMENT, "axis has no elements, so there is no extremum");
}

template <bool SMALLEST>
int32_t extremum(const char* op, uint32_t y, uint32_t x, int64_t outer, int64_t axis, int64_t inner,
                 int32_t dtype) {
  return run(op, Any{}, dtype, [&]<class T>(Call& call, T) {
    Sizes n(outer, axis, inner);
    need_elements(outer, axis, inner);
    T* to = call.out<T>(y, "y", n.out);
    reduce(call, outer, axis, inner, Extremum<T>(call.in<T>(x, "x", n.in), to, SMALLEST));
  });
}

template <bool SMALLEST>
int32_t arg_extremum(const char* op, uint32_t y, uint32_t x, int64_t outer, int64_t axis,
                     int64_t inner, int32_t dtype) {
  return run(op, Any{}, dtype, [&]<class T>(Call& call, T) {
    Sizes n(outer, axis, inner);
    need_elements(outer, axis, inner);
    if (axis > INT32_MAX)
      CDN_FAIL(CDN_UNSUPPORTED, "axis is %lld; an index must fit int32", (long long)axis);
    int32_t* to = call.out<int32_t>(y, "y", n.out);
    reduce(call, outer, axis, inner, ArgExtremum<SMALLEST, T>{call.in<T>(x, "x", n.in), to});
  });
}

}  // namespace

CDN_API int32_t cdn_sum(uint32_t y, uint32_t x, int64_t outer, int64_t axis, int64_t inner,
                        int32_t y_dtype, int32_t x_dtype) {
  return total("cdn_sum", Any{}, y, x, outer, axis, inner, 1, y_dtype, x_dtype);
}
CDN_API int32_t cdn_mean(uint32_t y, uint32_t x, int64_t outer, int64_t axis, int64_t inner,
                         int32_t y_dtype, int32_t x_dtype) {  // an empty mean is 0 / 0
  return total("cdn_mean", Floats{}, y, x, outer, axis, inner, static_cast<double>(axis), y_dtype,
               x_dtype);
}
CDN_API int32_t cdn_prod(uint32_t y, uint32_t x, int64_t outer, int64_t axis, int64_t inner,
                         int32_t dtype) {
  return run("cdn_prod", Any{}, dtype, [&]<class T>(Call& call, T) {
    Sizes n(outer, axis, inner);
    Product<T> product;
    product.y = call.out<typename Product<T>::Y>(y, "y", n.out);
    product.x = call.in<T>(x, "x", n.in);
    reduce(call, outer, axis, inner, product);
  });
}
#define CDN_EXTREMUM(name, find)                                                                 \
  CDN_API int32_t cdn_##name(uint32_t y, uint32_t x, int64_t outer, int64_t axis, int64_t inner, \
                             int32_t dtype) {                                                    \
    return find("cdn_" #name, y, x, outer, axis, inner, dtype);                                  \
  }
CDN_EXTREMUM(max, extremum<false>)
CDN_EXTREMUM(min, extremum<true>)
CDN_EXTREMUM(argmax, arg_extremum<false>)
CDN_EXTREMUM(argmin, arg_extremum<true>)

CDN_API int32_t cdn_max_grad(uint32_t dx, uint32_t dy, uint32_t x, uint32_t y, int64_t outer,
                             int64_t axis, int64_t inner, int32_t dtype) {
  return run("cdn_max_grad", Floats{}, dtype, [&]<class T>(Call& call, T) {
    Sizes n(outer, axis, inner);
    T* to = call.out<T>(dx, "dx", n.in);
    const T *upstream = call.in<T>(dy, "dy", n.out), *from = call.in<T>(x, "x", n.in);
    share_among_ties<Equal>(call, n, to, upstream, from, call.in<T>(y, "y", n.out));
  });
}
