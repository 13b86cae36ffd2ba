// Norms of x[outer, axis, inner] over axis, and their gradient.
#include "kernel/ties.h"
#include "ops/reduce/norm.h"

using namespace cdn;

namespace {

template <class T> struct Norm0 : Adding<Sum<T>> {
  CDN_FN Compute<T> term(Compute<T> x) const { return x != 0; }
  CDN_FN Sum<T> result(Sum<T> sum) const { return sum; }
};

template <class T, class Rule> struct Norm : Rule, Taking<T> {
  using Acc = typename Rule::Acc;
  T* y;
  CDN_FN auto operator()(int, const Compute<T> (&v)[1]) const { return this->term(v[0]); }
  CDN_FN void store(int64_t at, Acc acc) const { y[at] = static_cast<T>(this->result(acc)); }
};

template <class C> CDN_FN C with_sign(C size, C x) {
  return x > C(0) ? size : x < C(0) ? -size : x * C(0);
}

// dy sign(x) (|x| / y)^(p - 1); 0 where y is 0, and for p < 1 where x is.
template <class T> struct NormGrad {
  T* dx;
  const T *dy, *x, *y;
  double p;
  CDN_FN void operator()(int64_t at, int64_t from) const {
    using C = Compute<T>;
    C upstream = wide(dy[from]), value = wide(x[at]), norm = wide(y[from]), result;
    if (p == 2) {
      result = norm == C(0) ? C(0) : upstream * (value / norm);
    } else if (p == 1) {
      result = with_sign(upstream, value);
    } else if (p == 0 || norm == C(0) || value == C(0)) {
      result = C(0);
    } else {
      double ratio = static_cast<double>(value < C(0) ? -value : value) / static_cast<double>(norm);
      result =
          with_sign(static_cast<C>(static_cast<double>(upstream) * fn::pow(ratio, p - 1)), value);
    }
    dx[at] = static_cast<T>(result);
  }
};

// For p = Infinity and -Infinity: the elements of the extreme size.
struct EqualSize {
  template <class C> CDN_FN static bool ties(C x, C norm) {
    return x == norm || -x == norm || (is_nan(x) && is_nan(norm));
  }
  template <class C> CDN_FN static C grad(C share, C x) { return with_sign(share, x); }
};

void need_identity(const Sizes& n, double p) {
  if (n.axis == 0 && n.out > 0 && (p < 0 || p == std::numeric_limits<double>::infinity()))
    CDN_FAIL(CDN_BAD_ARGUMENT, "axis has no elements, so there is no norm for p = %g", p);
}

}  // namespace

CDN_API int32_t cdn_vector_norm(uint32_t y, uint32_t x, int64_t outer, int64_t axis, int64_t inner,
                                double p, int32_t dtype) {
  return run("cdn_vector_norm", Floats{}, dtype, [&]<class T>(Call& call, T) {
    Sizes n(outer, axis, inner);
    need_identity(n, p);
    T* to = call.out<T>(y, "y", n.out);
    const T* from = call.in<T>(x, "x", n.in);
    if (p == 0) return reduce(call, outer, axis, inner, Norm<T, Norm0<T>>{{}, {{{from}}}, to});
    with_norm<T>(p, [&]<class Rule>(Rule rule) {
      reduce(call, outer, axis, inner, Norm<T, Rule>{rule, {{{from}}}, to});
    });
  });
}

CDN_API int32_t cdn_vector_norm_grad(uint32_t dx, uint32_t dy, uint32_t x, uint32_t y,
                                     int64_t outer, int64_t axis, int64_t inner, double p,
                                     int32_t dtype) {
  return run("cdn_vector_norm_grad", Floats{}, dtype, [&]<class T>(Call& call, T) {
    Sizes n(outer, axis, inner);
    T* to = call.out<T>(dx, "dx", n.in);
    const T *upstream = call.in<T>(dy, "dy", n.out), *from = call.in<T>(x, "x", n.in);
    const T* norm = call.in<T>(y, "y", n.out);
    if (::fabs(p) == std::numeric_limits<double>::infinity())
      share_among_ties<EqualSize>(call, n, to, upstream, from, norm);
    else
      spread(call, outer, axis, inner, NormGrad<T>{to, upstream, from, norm, p});
  });
}
