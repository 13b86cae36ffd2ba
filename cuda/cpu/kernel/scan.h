// The scan driver as loops. Included by drivers.h only.
//
// Up to WIDTH neighbouring columns walk down the axis together, which vector code can do where
// joining allows. A long axis is cut into pieces of a fixed size, so that results do not depend on
// the threads: their totals, a scan of the totals, then each piece from where the one before it
// ended.
#pragma once
#include "cpu/kernel/drivers.h"

namespace cdn {

constexpr int64_t SCAN_WIDTH = 64;

// Joins the elements [from, to) of the walk to acc[width], which starts as start() or what went
// before; with STORE each step's result is stored.
template <bool STORE, class Op, class Acc>
void scan_columns(const Op& op, int64_t base, int64_t axis, int64_t inner, bool reverse,
                  int64_t from, int64_t to, int64_t width, Acc* acc) {
  for (int64_t step = from; step < to; step++) {
    const int64_t k = reverse ? axis - 1 - step : step, at = base + k * inner;
    CDN_INDEPENDENT
    for (int64_t i = 0; i < width; i++) {
      acc[i] = op.join(acc[i], op.load(at + i, k));
      if (STORE) op.store(at + i, k, acc[i]);
    }
  }
}

// The total of one row's piece: four runs side by side, since each waits for its own last addition
// only.
template <class Op, class Acc>
Acc scan_row_total(const Op& op, int64_t base, int64_t axis, bool reverse, int64_t from,
                   int64_t to) {
  constexpr int RUNS = 4;
  const int64_t run = (to - from) / RUNS;
  Acc part[RUNS], rest = op.start();
  for (int r = 0; r < RUNS; r++) part[r] = op.start();
  auto load = [&](int64_t step) {
    const int64_t k = reverse ? axis - 1 - step : step;
    return op.load(base + k, k);
  };
  for (int64_t step = from; step < from + run; step++)
    for (int r = 0; r < RUNS; r++) part[r] = op.join(part[r], load(step + r * run));
  for (int64_t step = from + RUNS * run; step < to; step++) rest = op.join(rest, load(step));
  for (int r = RUNS - 1; r >= 0; r--) rest = op.join(part[r], rest);
  return rest;
}

template <class Op>
void scan(Call& call, int64_t outer, int64_t axis, int64_t inner, bool reverse, Op op) {
  using Acc = typename Op::Base::Acc;
  if (outer * axis * inner == 0) return;
  const int64_t tile = inner < SCAN_WIDTH ? inner : SCAN_WIDTH, tiles = (inner + tile - 1) / tile;
  int64_t piece =
      inner >= 4096 ? axis : CHUNK / inner;  // wide rows give work enough without cutting the axis
  if (piece < 1024) piece = 1024;
  const int64_t pieces = (axis + piece - 1) / piece;
  Acc* totals = pieces > 1 ? call.scratch<Acc>(outer * pieces * inner) : nullptr;
  const int64_t work = (axis < piece ? axis : piece) * tile, grain = GRAIN / 2 / work + 1;
  // A task is a tile of columns of one piece of one outer index.
  auto each_task = [&](auto body) {
    parallel_for(outer * pieces * tiles, grain, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; task++) {
        const int64_t first = task % tiles * tile, rest = task / tiles,
                      from = rest % pieces * piece;
        body(rest / pieces * axis * inner + first, from, from + piece < axis ? from + piece : axis,
             inner - first < tile ? inner - first : tile, rest * inner + first);
      }
    });
  };
  if (totals) {
    each_task([&](int64_t base, int64_t from, int64_t to, int64_t width, int64_t total) {
      Acc* acc = totals + total;
      if (inner == 1) {
        *acc = scan_row_total<Op, Acc>(op, base, axis, reverse, from, to);
      } else {
        for (int64_t i = 0; i < width; i++) acc[i] = op.start();
        scan_columns<false>(op, base, axis, inner, reverse, from, to, width, acc);
      }
    });
    for (int64_t at = 0; at < outer * pieces * inner; at++)
      if (at / inner % pieces > 0) totals[at] = op.join(totals[at - inner], totals[at]);
  }
  each_task([&](int64_t base, int64_t from, int64_t to, int64_t width, int64_t total) {
    Acc acc[SCAN_WIDTH];
    for (int64_t i = 0; i < width; i++) acc[i] = from > 0 ? totals[total - inner + i] : op.start();
    if (inner == 1)
      scan_columns<true>(op, base, axis, 1, reverse, from, to, 1, acc);
    else
      scan_columns<true>(op, base, axis, inner, reverse, from, to, width, acc);
  });
}

}  // namespace cdn
