// The elements of a layout as rows along its innermost extent, cut into pieces so that a single
// long row is work for many threads: what functors of each_row that index by strides start from.
// The divisions come once a row on the CPU.
#pragma once
#include "kernel/spread.h"

namespace cdn {

// What is contiguous along whole 16 bytes is moved by those. Whether that is so of memory by the
// strides of the first input, with others that step 0 along the innermost extent; then the layout
// counts in them.
using Words = Pack<uint32_t, 4>;
template <class T>
bool in_words(Layout* l, const T* dense, const T* strided, int64_t* further = nullptr) {
  constexpr int64_t W = sizeof(Words) / sizeof(T);
  const int32_t last = l->rank - 1;
  bool whole = l->rank > 1 && l->stride[0][last] == 1 && aligned16(dense) && aligned16(strided) &&
               l->extent[last] % W == 0 && (!further || *further % W == 0);
  for (int32_t d = 0; d < last; d++) whole = whole && l->stride[0][d] % W == 0;
  if (!whole) return false;
  for (int32_t d = 0; d < last; d++) l->stride[0][d] /= W;
  l->extent[last] /= W;
  l->n /= W;
  if (further) *further /= W;
  return true;
}

struct RowWalk {
  static constexpr int64_t WIDTH = 4096;
  Layout l;
  int64_t width, pieces;

  explicit RowWalk(const Layout& layout)
      : l(layout),
        width(layout.rank ? layout.extent[layout.rank - 1] : 1),
        pieces((width + WIDTH - 1) / WIDTH) {}
  int64_t rows() const { return l.n / width * pieces; }
  int64_t cols() const { return width < WIDTH ? width : WIDTH; }

  // The first element of row r and how many there are; of input j, where it is read and how far the
  // next one is.
  template <int INPUTS> struct Start {
    int64_t i, count, at[INPUTS], step[INPUTS];
  };
  template <int INPUTS> CDN_FN Start<INPUTS> start(int64_t r) const {
    Start<INPUTS> out;
    int64_t rest = pieces == 1 ? r : quotient(r, pieces), begin = (r - rest * pieces) * WIDTH,
            left = width - begin;
    out.i = rest * width + begin;
    out.count = left < WIDTH ? left : WIDTH;
    for (int j = 0; j < INPUTS; j++) {
      out.step[j] = l.rank ? l.stride[j][l.rank - 1] : 0;
      out.at[j] = begin * out.step[j];
    }
    for (int d = MAX_RANK - 2; d >= 0; d--) {  // a fixed count is unrolled: l stays in registers
      if (d >= l.rank - 1) continue;
      int64_t next = d ? quotient(rest, l.extent[d]) : 0, k = rest - next * l.extent[d];
      for (int j = 0; j < INPUTS; j++) out.at[j] += k * l.stride[j][d];
      rest = next;
    }
    return out;
  }
};

// An axis that is indexed, also from its end if `from_end` says so.
struct IndexedAxis {
  int64_t extent, stride;
  FaultOp op;
  volatile Fault* fault;
  bool from_end = false;
  // The place that an index names; -1 for a bad one, which is reported.
  CDN_FN int64_t place(int64_t i) const {
    int64_t at = from_end && i < 0 ? i + extent : i;
    if (at >= 0 && at < extent) return at;
    report_fault(fault, op, i, from_end ? -extent : extent);
    return -1;
  }
  // The elements from the first to the last of the axis.
  int64_t reach() const {
    checked_size("extent", extent);
    checked_size("stride", stride);
    return extent > 0 ? checked_product("extent, stride", extent - 1, stride) + 1 : 0;
  }
};

// A functor of each_row: f.store(i, at, along, f.load(i, at, along)) for each element i of a
// layout, `at` being its place by the strides of the first input, and `along` what its index adds
// to that; -1 where the index is bad. The index lies by the strides of the second input, or in
// order where there is but one.
template <int INPUTS, class F> struct IndexedRows {
  F f;
  const int32_t* index;
  RowWalk walk;
  IndexedAxis axis;
  struct Row {
    F f;
    const int32_t* index;
    IndexedAxis axis;
    int64_t i, at, step, index_step, count;
    CDN_FN void operator()(int64_t c) const {
      int64_t chosen = axis.place(index[INPUTS == 1 ? c : c * index_step]);
      const int64_t along = chosen < 0 ? -1 : chosen * axis.stride;
      f.store(i + c, at + c * step, along, f.load(i + c, at + c * step, along));
    }
  };
  CDN_FN Row row(int64_t r) const {
    auto s = walk.template start<INPUTS>(r);
    constexpr int LAST = INPUTS - 1;
    return {f,      index + (LAST ? s.at[LAST] : s.i), axis, s.i, s.at[0], s.step[0], s.step[LAST],
            s.count};
  }
};

#if defined(__CUDACC__)
// The same on one line: a functor of each, for as many threads as `apart`. A thread has several
// elements under way, that far from one another.
constexpr int AHEAD = 4;
template <class F> struct IndexedLine {
  F f;
  const int32_t* index;
  IndexedAxis axis;
  int64_t n, apart, step, index_step;
  CDN_FN void operator()(int64_t first) const {
    int64_t along[AHEAD];
    decltype(f.load(0, 0, 0)) value[AHEAD];
    for (int u = 0; u < AHEAD; u++) {
      const int64_t i = first + u * apart;
      along[u] = index[(i < n ? i : first) * index_step];
    }
    for (int u = 0; u < AHEAD; u++) {
      const int64_t i = first + u * apart < n ? first + u * apart : first,
                    chosen = axis.place(along[u]);
      along[u] = chosen < 0 ? -1 : chosen * axis.stride;
      value[u] = f.load(i, i * step, along[u]);
    }
    for (int u = 0; u < AHEAD; u++) {
      const int64_t i = first + u * apart;
      if (i < n) f.store(i, i * step, along[u], value[u]);
    }
  }
};
#endif

template <int INPUTS, class F>
void each_indexed(Call& call, const Layout& l, const int32_t* index, const IndexedAxis& axis, F f) {
#if defined(__CUDACC__)
  if (l.rank <= 1) {
    const int64_t apart = ceil_div(l.n, AHEAD), step = l.rank ? l.stride[0][0] : 0,
                  index_step = INPUTS == 1 ? 1
                               : l.rank    ? l.stride[1][0]
                                           : 0;
    return each(call, apart, IndexedLine<F>{f, index, axis, l.n, apart, step, index_step});
  }
#endif
  RowWalk walk(l);
  each_row(call, walk.rows(), walk.cols(), IndexedRows<INPUTS, F>{f, index, walk, axis});
}

}  // namespace cdn
