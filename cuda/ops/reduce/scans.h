// What products join by, and where scans put their results.
#pragma once
#include "kernel/sum.h"

namespace cdn {

// The part of a functor for reduce or scan that multiplies elements of T.
template <class T> struct Multiplying {
  using Acc = typename std::conditional<is_real<T>, double, uint64_t>::type;
  CDN_FN Acc start() const { return 1; }
  CDN_FN Acc join(Acc a, Acc b) const { return a * b; }
};

// Each result at its own element or, exclusive, at the next one of the walk, and `start` at the
// first.
template <class T> struct ScanOutput {
  T* y;
  int64_t shift, first, last;

  ScanOutput(T* y, int64_t axis, int64_t inner, bool reverse, bool exclusive)
      : y(y),
        shift(!exclusive ? 0
              : reverse  ? -inner
                         : inner),
        first(reverse ? axis - 1 : 0),
        last(reverse ? 0 : axis - 1) {}
  template <class A> CDN_FN void put(int64_t at, int64_t k, A value, A start) const {
    if (shift != 0 && k == first) y[at] = static_cast<T>(start);
    if (shift == 0 || k != last) y[at + shift] = static_cast<T>(value);
  }
};

}  // namespace cdn
