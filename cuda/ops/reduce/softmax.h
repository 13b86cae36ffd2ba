// What softmax, log-softmax and cross-entropy along the rows of x[rows, cols] begin with: the row's
// maximum, whose subtraction keeps exp from overflowing, and the sum of e^(x - maximum), which
// suits vector lanes as well as warps. One of e^x is 1, so log1p of the others
// keeps the digits of a logarithm near 0, that of a class which is almost certain.
#pragma once
#include "kernel/sum.h"

namespace cdn {

template <class T, int N = 1> struct MaxThenSumExp : RowOperands<T, N> {
  using C = Compute<T>;
  using Acc = C;
  using Acc2 = Sum<T>;
  static constexpr bool SECOND = true;
  CDN_FN Acc start1() const { return -std::numeric_limits<Acc>::infinity(); }
  CDN_FN Acc join1(Acc a, Acc b) const { return fn::larger(a, b); }
  template <class Known, class Column>
  CDN_FN C first(const Known&, const C (&v)[N], const Column&) const {
    return v[N - 1];
  }
  CDN_FN static C log_of(Acc2 sum) { return fn::log1p(static_cast<C>(sum + C(-1))); }
};

}  // namespace cdn
