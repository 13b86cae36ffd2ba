// spread(call, outer, axis, inner, f): f(at, from) for each element of x[outer, axis, inner],
// `from` being the place in y[outer, inner] of the result that it went into. What gradients of
// reductions walk by: no division an element on the CPU, two narrow ones on the GPU. Rows are cut
// into pieces, so that a single long one is work for many threads.
#pragma once
#include "kernel/drivers.h"

namespace cdn {

// The element counts of x and of y, checked.
struct Sizes {
  int64_t outer, axis, inner, in, out;
  Sizes(int64_t outer, int64_t axis, int64_t inner)
      : outer(outer),
        axis(axis),
        inner(inner),
        in(checked_product("outer, axis, inner", outer, axis, inner)),
        out(checked_product("outer, inner", outer, inner)) {}
};

// COLUMNS: a row of y goes to each row along the axis. Else inner is 1, and a number of y goes to a
// row, of which there are pieces of WIDTH.
template <class F, bool COLUMNS> struct Spread {
  static constexpr int64_t WIDTH = 16384;
  F f;
  int64_t axis, inner, pieces;
  struct Row {
    F f;
    int64_t at, from, count;
    CDN_FN void operator()(int64_t c) const { f(at + c, COLUMNS ? from + c : from); }
  };
  CDN_FN Row row(int64_t r) const {
    if constexpr (COLUMNS) return {f, r * inner, quotient(r, axis) * inner, inner};
    int64_t o = quotient(r, pieces), begin = (r - o * pieces) * WIDTH, left = axis - begin;
    return {f, o * axis + begin, o, left < WIDTH ? left : WIDTH};
  }
};

template <class F> void spread(Call& call, int64_t outer, int64_t axis, int64_t inner, F f) {
  if (outer * axis * inner == 0) return;
  if (inner > 1) return each_row(call, outer * axis, inner, Spread<F, true>{f, axis, inner, 1});
  constexpr int64_t WIDTH = Spread<F, false>::WIDTH;
  const int64_t pieces = ceil_div(axis, WIDTH);
  each_row(call, outer * pieces, axis < WIDTH ? axis : WIDTH,
           Spread<F, false>{f, axis, inner, pieces});
}

}  // namespace cdn
