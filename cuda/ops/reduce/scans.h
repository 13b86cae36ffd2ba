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

// Each result at its own element or, exclusive, at the next one of the walk. There is none after
// the last, whose turn puts `start` at the first: one store either way, so that loops become vector
// code.
template <class T> struct ScanOutput {
  T* y;
  int64_t shift = 0, back = 0, last = -1;

  ScanOutput(T* y, int64_t axis, int64_t inner, bool reverse, bool exclusive) : y(y) {
    if (!exclusive) return;
    shift = reverse ? -inner : inner;
    back = -shift * (axis - 1);
    last = reverse ? 0 : axis - 1;
  }
  template <class A> CDN_FN void put(int64_t at, int64_t k, A value, A start) const {
    y[at + (k == last ? back : shift)] = static_cast<T>(k == last ? start : value);
  }
};

}  // namespace cdn
