// The loops behind every operation of cuda/ops. An operation is a small named functor; a driver
// runs it: as a kernel when nvcc compiles this, as a loop over threads and vector lanes when a C++
// compiler does. Same names, same meaning:
//
// - map(call, n, f, y, x...): y[i] = f(wide(x[i])...)
// - map_pair(call, n, f, y, z, x...): y[i] and z[i] are first and second of f(wide(x[i])...)
// - broadcast(call, layout, f, y, a, b, …): y[i] = f(wide(a[..]), wide(b[..]), …) by strides
// - each(call, n, f): f(i)
// - each_run(call, n, f): f.run<N>(i, count), count <= N, for runs of [0, n); N = 1 on GPUs
// - each_row(call, rows, cols, f): row = f.row(r); row(c) for c < row.count <= cols; on GPUs, where
// there is row.packs, first row.pack(i) for i < row.packs, of row.WIDTH each
// - reduce_each(call, rows, op): row = op.row(r); op.store(r) of row.load(c) joined over c
// - reduce(call, outer, axis, inner, op): op.store(o, i) of op.load(o, k, i) joined over k
// - reduce_all(call, n, op): reduce(call, 1, n, 1, op)
// - rows(call, rows, cols, op): reduce, reduce again, and map along rows, which are read once
// - scan(call, outer, axis, inner, reverse, op): op.store(o, k, …) of op.load(o, 0…k, …) joined,
// for each k
//
// map and broadcast turn 16-bit floats into float (half.h) and round the result to the type of y;
// other functors do so themselves, by wide() and static_cast.
//
// reduce's op: Acc, start(), load(offset, k), join(a, b), store(offset, acc); reduce_each's has
// row(r) for load. load may give what join takes as its b. Instead of load, reduce's op may have
// `in`, tensors that lie alike, known = op.of(k), and op(known, v) of the elements v[] at one
// place: GPUs load packs of those. Where inner is 1 there may be `kept`, too, to which
// op.kept_of(v) goes unless it is null. Joining must not depend on grouping but for rounding; each
// backend groups in an order fixed by the sizes alone, so results repeat bit by bit.
//
// rows's op is a RowOperands (sum.h): y, in[INPUTS] and columns[COLUMNS], of which an element's v[]
// and k.v[] are. The steps along a row: known = row(r); r1, of start1(), joined by join1 with
// first(known, v, k); if SECOND, r2, an Acc2, the sum of second(known, r1, v); all = all(known, r1,
// r2); finish(r, all); then, unless y is null, y = result(all, c, v, k). What a step makes of v is
// what the next ones get. y may be an input; so what comes after row() must not read inputs.
//
// scan's op: Base, the base class with Acc, start(), join(a, b), where a comes before b: the order
// is kept, so joining need not commute, and start() must change nothing. load(offset, k) and
// store(offset, k, acc), which comes after all loads of the same offset. With reverse the axis is
// walked from its end.
#pragma once
#include <cmath>
#include <cstdint>
#include <limits>

#include "kernel/divisor.h"
#include "runtime/call.h"

namespace cdn {

// Extents and strides of up to three inputs, outermost first; neighbours that can be walked as one
// are merged.
constexpr int MAX_INPUTS = 3;
struct Layout {
  int32_t rank = 0;
  int64_t extent[MAX_RANK] = {};
  int64_t stride[MAX_INPUTS][MAX_RANK] = {};
  int64_t n = 1;
};

// The largest and smallest element offset that strides reach, so that a call can ask for a buffer
// long enough.
struct Reach {
  int64_t low = 0, high = 0;
};

// numbers: rank times (extent, a stride for each input). reach: one for each input.
Layout read_layout(const int64_t* numbers, int32_t rank, int32_t inputs, Reach* reach);

// For the places of an output, as input 0: two elements written to one place would make the result
// depend on the order of threads. They are apart for certain where each stride goes further than
// all smaller ones together.
void check_apart(const Layout& layout);

CDN_FN void report_fault(volatile Fault* fault, FaultOp op, int64_t index, int64_t limit) {
#if defined(__CUDA_ARCH__)
  fault->index = index;
  fault->limit = limit;
  __threadfence_system();
  fault->op = op;
#else  // threads of a loop may meet bad indices at once
  __atomic_store_n(&fault->index, index, __ATOMIC_RELAXED);
  __atomic_store_n(&fault->limit, limit, __ATOMIC_RELAXED);
  __atomic_store_n(&fault->op, op, __ATOMIC_RELAXED);
#endif
}

template <class T> CDN_FN bool is_nan(T x) { return x != x; }

// a / b for a >= 0 and b > 0; in 32 bits where that serves, since a GPU's 64-bit division is
// far slower.
CDN_FN int64_t quotient(int64_t a, int64_t b) {
  if ((a | b) >> 31 == 0)
    return static_cast<int64_t>(static_cast<uint32_t>(a) / static_cast<uint32_t>(b));
  return a / b;
}

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// N tensors of one type.
template <class T, int N> struct Inputs {
  using Type = T;
  static constexpr int COUNT = N;
  const T* x[N];
  CDN_FN void load(int64_t i, Compute<T> (&v)[N]) const {
    for (int n = 0; n < N; n++) v[n] = wide(x[n][i]);
  }
};
template <class T, class... Rest> Inputs(const T*, Rest...) -> Inputs<T, 1 + sizeof...(Rest)>;

// The part of a functor for reduce that takes elements which share nothing.
template <class T, int N = 1> struct Taking {
  Inputs<T, N> in;
  CDN_FN int of(int64_t) const { return 0; }
};

// What a functor for reduce joins of the element at `at`, number k along the axis.
template <bool KEEP = true, class Op> CDN_FN auto loaded(const Op& op, int64_t at, int64_t k) {
  if constexpr (requires { op.in; }) {
    Compute<typename decltype(Op::in)::Type> v[decltype(Op::in)::COUNT];
    op.in.load(at, v);
    if constexpr (requires { op.kept; } && KEEP)
      if (op.kept) op.kept[at] = static_cast<typename decltype(Op::in)::Type>(op.kept_of(v));
    return op(op.of(k), v);
  } else {
    return op.load(at, k);
  }
}

}  // namespace cdn

#if defined(__CUDACC__)
#include "gpu/kernel/drivers.h"
#include "gpu/kernel/reduce.h"
#include "gpu/kernel/rows.h"
#include "gpu/kernel/scan.h"
#else
#include "cpu/kernel/drivers.h"
#include "cpu/kernel/rows.h"
#include "cpu/kernel/scan.h"
#endif
