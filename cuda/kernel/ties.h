// The gradient of an extremum of x[outer, axis, inner] over axis: shared evenly by the elements
// that tie for it. Rule: ties(x, y), whether x is the extremum y; grad(share, x), an element's
// gradient from its share.
#pragma once
#include "kernel/spread.h"

namespace cdn {

template <class Rule, class T> struct CountTies {
  using Acc = int64_t;
  const T *x, *y;
  Compute<T>* count;
  int64_t axis, inner;
  CDN_FN Acc start() const { return 0; }
  CDN_FN Acc load(int64_t at, int64_t k) const {
    int64_t first = at - k * inner;  // of its row or column
    return Rule::ties(wide(x[at]),
                      wide(y[first - quotient(first, axis * inner) * (axis - 1) * inner]));
  }
  CDN_FN Acc join(Acc a, Acc b) const { return a + b; }
  CDN_FN void store(int64_t at, Acc ties) const { count[at] = static_cast<Compute<T>>(ties); }
};

template <class Rule, class T> struct ShareGrad {
  T* dx;
  const T *dy, *x, *y;
  const Compute<T>* count;
  CDN_FN void operator()(int64_t at, int64_t from) const {
    Compute<T> value = wide(x[at]);
    dx[at] = Rule::ties(value, wide(y[from]))
                 ? static_cast<T>(Rule::grad(wide(dy[from]) / count[from], value))
                 : T(0);
  }
};

template <class Rule, class T>
void share_among_ties(Call& call, const Sizes& n, T* dx, const T* dy, const T* x, const T* y) {
  if (n.in == 0) return;
  Compute<T>* count = call.scratch<Compute<T>>(n.out);
  reduce(call, n.outer, n.axis, n.inner, CountTies<Rule, T>{x, y, count, n.axis, n.inner});
  spread(call, n.outer, n.axis, n.inner, ShareGrad<Rule, T>{dx, dy, x, y, count});
}

}  // namespace cdn
