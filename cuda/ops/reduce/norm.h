// Rules for the norms (sum |x|^p)^(1/p) and their limit, for functors of reductions: `term` of each
// element, `result` of what they join to.
#pragma once
#include "kernel/sum.h"

namespace cdn {

template <class T> struct Norm1 : Adding<Sum<T>> {
  CDN_FN Compute<T> term(Compute<T> x) const { return fn::abs(x); }
  CDN_FN Sum<T> result(Sum<T> sum) const { return sum; }
};
struct Norm2 : Adding<double> {
  CDN_FN double term(double x) const { return x * x; }
  CDN_FN double result(double sum) const { return fn::sqrt(sum); }
};
struct NormP : Adding<double> {
  double p;
  CDN_FN double term(double x) const { return fn::pow(fn::abs(x), p); }
  CDN_FN double result(double sum) const { return fn::pow(sum, 1 / p); }
};
// The smallest |x| is the largest -|x|, so that one kernel finds either.
struct NormInf {
  using Acc = double;
  bool smallest;
  CDN_FN double in_order(double x) const { return smallest ? -x : x; }
  CDN_FN Acc start() const { return smallest ? -std::numeric_limits<double>::infinity() : 0; }
  CDN_FN double term(double x) const { return in_order(fn::abs(x)); }
  CDN_FN Acc join(Acc a, Acc b) const { return fn::larger(a, b); }
  CDN_FN double result(double value) const { return in_order(value); }
};

// f(the rule of p, for elements of T).
template <class T, class F> void with_norm(double p, F&& f) {
  if (p == 2) return f(Norm2{});
  if (p == 1) return f(Norm1<T>{});
  if (std::isinf(p)) return f(NormInf{p < 0});
  f(NormP{{}, p});
}

}  // namespace cdn
