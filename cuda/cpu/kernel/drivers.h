// The drivers as loops over threads and vector lanes. Included by drivers.h only.
#pragma once
#include <type_traits>
#include <utility>

#include "cpu/device/threads.h"

// Elements of an elementwise loop are independent even where the output is one of the inputs.
#if defined(__clang__)
#define CDN_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define CDN_INDEPENDENT _Pragma("GCC ivdep")
#endif

#include "cpu/kernel/joined.h"

namespace cdn {

constexpr int64_t PIECE = 4096;   // elements of a row or a tensor that one thread takes at least
constexpr int64_t GRAIN = 32768;  // elements below which a second thread costs more than it brings

template <class F, class Y, class... X> void map(Call&, int64_t n, F f, Y* y, const X*... x) {
  // Whole runs of PIECE, so that it depends on n alone which elements the vector code takes: its
  // exp and the scalar one may differ in the last bit.
  parallel_for((n + PIECE - 1) / PIECE, GRAIN / PIECE, [=](int64_t begin, int64_t end) {
    const int64_t last = end * PIECE < n ? end * PIECE : n;
    CDN_INDEPENDENT
    for (int64_t i = begin * PIECE; i < last; i++) y[i] = static_cast<Y>(f(wide(x[i])...));
  });
}

template <class F, class Y, class... X>
void map_pair(Call&, int64_t n, F f, Y* first, Y* second, const X*... x) {
  parallel_for((n + PIECE - 1) / PIECE, GRAIN / PIECE, [=](int64_t begin, int64_t end) {
    const int64_t last = end * PIECE < n ? end * PIECE : n;
    CDN_INDEPENDENT
    for (int64_t i = begin * PIECE; i < last; i++) {
      const auto both = f(wide(x[i])...);
      first[i] = static_cast<Y>(both.first), second[i] = static_cast<Y>(both.second);
    }
  });
}

template <class F> void each(Call&, int64_t n, F f) {
  parallel_for(n, GRAIN / 4, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) f(i);
  });
}

template <class F> void each_row(Call&, int64_t rows, int64_t cols, F f) {
  if (cols == 0) return;  // there may be more empty rows than anyone can count through
  parallel_for(rows, GRAIN / (cols + 1) + 1, [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      const auto row = f.row(r);
      CDN_INDEPENDENT
      for (int64_t c = 0; c < row.count; c++) row(c);
    }
  });
}

template <class F> void each_run(Call&, int64_t n, F f) {
  constexpr int RUN = 256;
  parallel_for((n + RUN - 1) / RUN, GRAIN / 4 / RUN, [=](int64_t begin, int64_t end) {
    const int64_t last = end * RUN < n ? end * RUN : n;
    for (int64_t i = begin * RUN; i < last; i += RUN)
      f.template run<RUN>(i, static_cast<int>(last - i < RUN ? last - i : RUN));
  });
}

// ---- broadcast: the innermost extent is a plain loop, with its strides of 0 and 1 known to the
// compiler where all are 1 or one of two is 0.

template <bool... STEP, class F, class Y, class... X>
void broadcast_row(int64_t n, F f, Y* y, const X*... x) {
  CDN_INDEPENDENT
  for (int64_t i = 0; i < n; i++) y[i] = static_cast<Y>(f(wide(x[STEP ? i : 0])...));
}

template <class F, class Y, class... X, int... J>
void broadcast_rows(std::integer_sequence<int, J...>, const Layout& l, F f, Y* y, const X*... x) {
  constexpr int INPUTS = sizeof...(X);
  const int32_t last = l.rank - 1;
  const int64_t width = l.rank ? l.extent[last] : 1;
  const int64_t step[] = {(l.rank ? l.stride[J][last] : 1)...};
  const bool ones = ((step[J] == 1) && ...);
  // Elements [i, i + n) of one row.
  auto part = [&](int64_t i, int64_t n, int64_t column) {
    int64_t rest = i / width, at[] = {(column * step[J])...};
    for (int32_t d = last - 1; d >= 0; d--) {
      int64_t k = rest % l.extent[d];
      rest /= l.extent[d];
      ((at[J] += k * l.stride[J][d]), ...);
    }
    if (ones) return broadcast_row<(J >= 0)...>(n, f, y + i, (x + at[J])...);
    if constexpr (INPUTS == 2) {
      if (step[0] == 1 && step[1] == 0)
        return broadcast_row<true, false>(n, f, y + i, (x + at[J])...);
      if (step[0] == 0 && step[1] == 1)
        return broadcast_row<false, true>(n, f, y + i, (x + at[J])...);
    }
    for (int64_t j = 0; j < n; j++) y[i + j] = static_cast<Y>(f(wide(x[at[J] + j * step[J]])...));
  };
  const int64_t pieces = (width + PIECE - 1) / PIECE, work = width < PIECE ? width : PIECE;
  parallel_for(l.n / width * pieces, GRAIN / work, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; task++) {
      int64_t column = task % pieces * PIECE, n = width - column < PIECE ? width - column : PIECE;
      part(task / pieces * width + column, n, column);
    }
  });
}

template <class F, class Y, class... X>
void broadcast(Call&, const Layout& l, F f, Y* y, const X*... x) {
  if (l.n > 0) broadcast_rows(std::make_integer_sequence<int, sizeof...(X)>{}, l, f, y, x...);
}

// ---- reduce

constexpr int64_t CHUNK =
    65536;  // elements of a partial result; fixed, so that results do not depend on the threads

// What of each element is kept besides.
template <class Op> void keep(const Op& op, int64_t at, int64_t count) {
  using T = typename decltype(Op::in)::Type;
  CDN_INDEPENDENT
  for (int64_t i = at; i < at + count; i++) {
    Compute<T> v[decltype(Op::in)::COUNT];
    op.in.load(i, v);
    op.kept[i] = static_cast<T>(op.kept_of(v));
  }
}

template <class Op>
typename Op::Acc reduce_run(const Op& op, int64_t at, int64_t begin, int64_t end) {
  using Acc = typename Op::Acc;
  const auto value = [&](int64_t i) { return loaded<false>(op, at + begin + i, begin + i); };
  const auto join = [&](Acc a, auto b) { return op.join(a, b); };
  if constexpr (requires { op.kept; }) {
    if (op.kept) keep(op, at + begin, end - begin);
  }
  return joined(op.start(), end - begin, value, join);
}

template <class Op> void reduce_rows(Call& call, int64_t outer, int64_t axis, const Op& op) {
  using Acc = typename Op::Acc;
  const int64_t chunks = (axis + CHUNK - 1) / CHUNK;
  if (chunks <= 1) {
    parallel_for(outer, GRAIN / (axis + 1) + 1, [&](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; o++) op.store(o, reduce_run(op, o * axis, 0, axis));
    });
    return;
  }
  Acc* partial = call.scratch<Acc>(outer * chunks);
  parallel_for(outer * chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; task++) {
      int64_t from = task % chunks * CHUNK, to = from + CHUNK < axis ? from + CHUNK : axis;
      partial[task] = reduce_run(op, task / chunks * axis, from, to);
    }
  });
  for (int64_t o = 0; o < outer; o++) {
    Acc result = partial[o * chunks];
    for (int64_t c = 1; c < chunks; c++) result = op.join(result, partial[o * chunks + c]);
    op.store(o, result);
  }
}

// Rows of `inner` columns added up in pieces of the axis; WIDTH columns at a time.
template <class Op>
void reduce_columns(Call& call, int64_t outer, int64_t axis, int64_t inner, const Op& op) {
  using Acc = typename Op::Acc;
  constexpr int64_t WIDTH = 128, RUN = 256;
  const int64_t tiles = (inner + WIDTH - 1) / WIDTH;
  int64_t piece =
      inner >= 4096 ? axis : CHUNK / inner;  // wide rows give work enough without cutting the axis
  if (piece < 1) piece = 1;
  const int64_t pieces = axis > piece ? (axis + piece - 1) / piece : 1;
  Acc* partial = pieces > 1 ? call.scratch<Acc>(outer * pieces * inner) : nullptr;
  int64_t work = (axis < piece ? axis : piece) * (inner < WIDTH ? inner : WIDTH);
  parallel_for(outer * pieces * tiles, GRAIN / (work + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; task++) {
      int64_t first = task % tiles * WIDTH, rest = task / tiles, o = rest / pieces,
              from = rest % pieces * piece;
      int64_t width = inner - first < WIDTH ? inner - first : WIDTH,
              to = from + piece < axis ? from + piece : axis;
      Acc acc[WIDTH], part[WIDTH];
      for (int64_t i = 0; i < width; i++) acc[i] = op.start();
      for (int64_t k = from;
           k < to;) {  // in runs, since the rounding of a sum grows with the length of its chain
        for (int64_t i = 0; i < width; i++) part[i] = op.start();
        for (int64_t end = k + RUN < to ? k + RUN : to; k < end; k++) {
          int64_t at = (o * axis + k) * inner + first;
          for (int64_t i = 0; i < width; i++) part[i] = op.join(part[i], loaded(op, at + i, k));
        }
        for (int64_t i = 0; i < width; i++) acc[i] = op.join(acc[i], part[i]);
      }
      for (int64_t i = 0; i < width; i++) {
        if (partial)
          partial[rest * inner + first + i] = acc[i];
        else
          op.store(o * inner + first + i, acc[i]);
      }
    }
  });
  if (!partial) return;
  for (int64_t o = 0; o < outer; o++)
    for (int64_t i = 0; i < inner; i++) {
      Acc result = partial[o * pieces * inner + i];
      for (int64_t p = 1; p < pieces; p++)
        result = op.join(result, partial[(o * pieces + p) * inner + i]);
      op.store(o * inner + i, result);
    }
}

template <class Op> void reduce(Call& call, int64_t outer, int64_t axis, int64_t inner, Op op) {
  if (outer * inner == 0) return;
  if (inner == 1)
    reduce_rows(call, outer, axis, op);
  else
    reduce_columns(call, outer, axis, inner, op);
}

template <class Op> void reduce_all(Call& call, int64_t n, Op op) { reduce_rows(call, 1, n, op); }

// ---- reduce_each

template <class Op> void reduce_each(Call&, int64_t rows, Op op) {
  using Acc = typename Op::Acc;
  parallel_for(rows, 1, [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      const auto row = op.row(r);
      const Acc result = joined(
          op.start(), row.count, [&](int64_t c) { return row.load(c); },
          [&](Acc a, auto b) { return op.join(a, b); });
      op.store(r, result);
    }
  });
}

}  // namespace cdn
