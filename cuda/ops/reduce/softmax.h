// What softmax, log-softmax and cross-entropy along the rows of x[rows, cols] begin with: the row's
// maximum, whose subtraction keeps exp from overflowing, and the sum of e^(x - maximum), which
// suits vector lanes as well as warps. One of e^x is 1, so log1p of the others
// keeps the digits of a logarithm near 0, that of a class which is almost certain.
#pragma once
#include "kernel/sum.h"

namespace cdn {

template <class T> struct MaxThenSumExp {
  using Acc = Compute<T>;
  using Acc2 = Sum<T>;
  static constexpr bool SECOND = true;
  const T* x;
  int64_t cols;
  CDN_FN Acc start1() const { return -std::numeric_limits<Acc>::infinity(); }
  CDN_FN Acc load1(int64_t r, int64_t c) const { return wide(x[r * cols + c]); }
  CDN_FN Acc join1(Acc a, Acc b) const { return fn::larger(a, b); }
  CDN_FN Acc load2(int64_t r, int64_t c, Acc max) const {
    return fn::exp(wide(x[r * cols + c]) - max);
  }
  CDN_FN static Acc log_of(Acc2 sum) { return fn::log1p(static_cast<Acc>(sum + Acc(-1))); }
  CDN_FN bool maps() const { return true; }
  CDN_FN void finish(int64_t, Acc, Acc2) const {}
};

}  // namespace cdn
