// reduce and reduce_all as kernels: a thread has some packs of W neighbours on their way before it
// joins the first. A kernel for what other blocks have left starts while those end. Included by
// drivers.h only.
#pragma once
#include <type_traits>

#include "gpu/device/launch.h"

namespace cdn {

// Blocks that fill a device, two or four on each multiprocessor. The number depends on the sizes
// only (not on the device), so that every GPU adds in the same order.
constexpr int64_t FEW_BLOCKS = 264, BLOCKS_WANTED = 2 * FEW_BLOCKS;

template <int W, class T, int N>
__device__ __forceinline__ void load_packs(Pack<T, W> (&x)[N], const Inputs<T, N>& in, int64_t at) {
#pragma unroll
  for (int n = 0; n < N; n++) x[n] = *reinterpret_cast<const Pack<T, W>*>(in.x[n] + at);
}
template <int W, class T, int N>
__device__ __forceinline__ void lane_of(Compute<T> (&v)[N], const Pack<T, W> (&x)[N], int lane) {
#pragma unroll
  for (int n = 0; n < N; n++) v[n] = wide(x[n].v[lane]);
}

// What is loaded of W neighbours, and what op joins of one of them.
template <int W, class Op, class = void> struct Fetched {
  decltype(std::declval<Op>().load(0, 0)) value;
  __device__ __forceinline__ void fetch(const Op& op, int64_t at, int64_t k) {
    value = op.load(at, k);
  }
  __device__ __forceinline__ auto lane(const Op&, int) const { return value; }
};
template <int W, class Op> struct Fetched<W, Op, std::void_t<decltype(Op::in)>> {
  using T = typename decltype(Op::in)::Type;
  static constexpr int N = decltype(Op::in)::COUNT;
  Pack<T, W> x[N];
  decltype(std::declval<Op>().of(0)) known;
  __device__ __forceinline__ void fetch(const Op& op, int64_t at, int64_t k) {
    load_packs(x, op.in, at);
    known = op.of(k);
  }
  __device__ __forceinline__ auto lane(const Op& op, int lane) const {
    Compute<T> v[N];
    lane_of(v, x, lane);
    return op(known, v);
  }
  __device__ __forceinline__ void keep(const Op& op, int64_t at) const {
    Pack<T, W> out;
#pragma unroll
    for (int j = 0; j < W; j++) {
      Compute<T> v[N];
      lane_of(v, x, j);
      out.v[j] = static_cast<T>(op.kept_of(v));
    }
    *reinterpret_cast<Pack<T, W>*>(op.kept + at) = out;
  }
};

// The widest packs of an op, and how many a thread has on their way.
template <class Op> constexpr int pack_width() {
  if constexpr (requires(Op op) { op.in; })
    return sizeof(typename decltype(Op::in)::Type) > 1
               ? 16 / sizeof(typename decltype(Op::in)::Type)
               : 8;
  return 1;
}
template <class Op> constexpr int packs_ahead() {
  if constexpr (requires(Op op) { op.in; }) return 8 / decltype(Op::in)::COUNT;
  return 4;
}
// Whether lines of `extent` elements are of whole packs.
template <class Op> bool in_packs(const Op& op, int64_t extent) {
  bool whole = extent % pack_width<Op>() == 0;
  if constexpr (requires { op.in; })
    for (const auto* x : op.in.x) whole = whole && aligned16(x);
  if constexpr (requires { op.kept; }) whole = whole && aligned16(op.kept);
  return whole;
}

// `splits` pieces of the axis, each by its own block; more than one leave partial results, which go
// to `partial`, else null, of the kernels.
struct Split {
  int64_t outer, axis, inner, splits, piece;
};

// inner == 1: G threads stride along a row.
template <int G, int W, class Op>
__global__ void __launch_bounds__(BLOCK)
    reduce_row_kernel(Split s, Op op, typename Op::Acc* partial) {
  constexpr int ROWS = BLOCK / G, AHEAD = packs_ahead<Op>(), STEP = G * W;
  follow_previous_kernel();
  int lane = threadIdx.x % G;
  int64_t tasks = s.outer * s.splits;
  for (int64_t first = (int64_t)blockIdx.x * ROWS; first < tasks;
       first += (int64_t)gridDim.x * ROWS) {
    int64_t task = first + threadIdx.x / G;
    auto acc = op.start();
    if (task < tasks) {
      const int64_t o = quotient(task, s.splits), begin = (task - o * s.splits) * s.piece,
                    end = begin + s.piece < s.axis ? begin + s.piece : s.axis,
                    whole = end - (end > begin ? (end - begin) % W : 0), row = o * s.axis;
      for (int64_t k = begin + lane * W; k < whole; k += AHEAD * STEP) {
        Fetched<W, Op> x[AHEAD];
#pragma unroll
        for (int u = 0; u < AHEAD; u++)
          if (k + u * STEP < whole) x[u].fetch(op, row + k + u * STEP, k + u * STEP);
#pragma unroll
        for (int u = 0; u < AHEAD; u++) {
          if (k + u * STEP >= whole) break;
          if constexpr (requires { op.kept; })
            if (op.kept) x[u].keep(op, row + k + u * STEP);
#pragma unroll
          for (int j = 0; j < W; j++) acc = op.join(acc, x[u].lane(op, j));
        }
      }
      for (int64_t k = whole + lane; W > 1 && k < end; k += G)
        acc = op.join(acc, loaded(op, row + k, k));
    }
    acc = join_group<G>(acc, [&](auto a, auto b) { return op.join(a, b); });
    if (lane == 0 && task < tasks) {
      if (G == BLOCK && partial)  // an axis for smaller groups is not cut
        partial[task] = acc;
      else
        op.store(task, acc);
    }
  }
}

// inner > 1: `width` packs of columns by `down` threads. `packs` are a row; those of all of outer
// are counted through.
struct Columns {
  int64_t axis, inner, packs, count, tiles, splits, piece;
  int width, down;
};

// The results of `count` threads that are `apart` from one another, in the first of them; `place`
// is which of them this is, if any. All threads of the block must call it.
template <int W, class Acc, class Join>
__device__ __forceinline__ void join_down(Acc (&acc)[W], int place, int count, int apart, int lanes,
                                          Join join) {
  __shared__ __align__(16) char memory[sizeof(Acc) * W * BLOCK];
  Acc(*shared)[BLOCK] = reinterpret_cast<Acc(*)[BLOCK]>(memory);
  __syncthreads();  // an earlier use of the memory is over
  for (int n = count; n > 1;) {
    const int half = (n + 1) / 2;
#pragma unroll
    for (int j = 0; j < W; j++)
      if (j < lanes && place >= half && place < n) shared[j][threadIdx.x] = acc[j];
    __syncthreads();
#pragma unroll
    for (int j = 0; j < W; j++)
      if (j < lanes && place + half < n)
        acc[j] = join(acc[j], shared[j][threadIdx.x + half * apart]);
    n = half;
  }
}

template <int W, class Op>
__global__ void __launch_bounds__(BLOCK)
    reduce_column_kernel(Columns c, Op op, typename Op::Acc* partial) {
  constexpr int AHEAD = packs_ahead<Op>();
  follow_previous_kernel();
  const int down = static_cast<int>(threadIdx.x) / c.width, x = threadIdx.x - down * c.width;
  for (int64_t task = blockIdx.x; task < c.tiles * c.splits; task += gridDim.x) {
    const int64_t split = quotient(task, c.tiles), column = (task - split * c.tiles) * c.width + x,
                  o = quotient(column, c.packs),
                  from = o * c.axis * c.inner + (column - o * c.packs) * W,
                  piece_end = (split + 1) * c.piece, end = piece_end < c.axis ? piece_end : c.axis;
    const bool idle = down >= c.down || column >= c.count;
    typename Op::Acc acc[W];
#pragma unroll
    for (int j = 0; j < W; j++) acc[j] = op.start();
    for (int64_t k = split * c.piece + down; !idle && k < end; k += AHEAD * c.down) {
      Fetched<W, Op> x[AHEAD];
#pragma unroll
      for (int u = 0; u < AHEAD; u++)
        if (k + u * c.down < end) x[u].fetch(op, from + (k + u * c.down) * c.inner, k + u * c.down);
#pragma unroll
      for (int u = 0; u < AHEAD; u++) {
        if (k + u * c.down >= end) break;
#pragma unroll
        for (int j = 0; j < W; j++) acc[j] = op.join(acc[j], x[u].lane(op, j));
      }
    }
    if (c.down > 1)
      join_down(acc, down, c.down, c.width, W, [&](auto a, auto b) { return op.join(a, b); });
    if (idle || down > 0) continue;
#pragma unroll
    for (int j = 0; j < W; j++) {
      if (partial)
        partial[(split * c.count + column) * W + j] = acc[j];
      else
        op.store(column * W + j, acc[j]);
    }
  }
}

// most: the packs side by side that a block takes while it can take more of the axis instead;
// ahead: the rows on their way to a thread. The axis of partial results is not cut.
inline Columns columns_of(int64_t outer, int64_t axis, int64_t inner, int w, int most, int ahead,
                          bool cut) {
  constexpr int64_t PLENTY = 4 * BLOCKS_WANTED * BLOCK;  // threads
  Columns c{axis, inner, inner / w, outer * (inner / w)};
  const int64_t own = ceil_div(c.packs, ceil_div(c.packs, most));
  int64_t down = axis < 1 ? 1 : axis < BLOCK / own ? axis : BLOCK / own;
  while (down > 1 && c.count * down > PLENTY) down /= 2;
  const int64_t width = BLOCK / down / own * own;
  c.width = static_cast<int>(width < c.count ? width : c.count);
  c.down = static_cast<int>(down);
  c.tiles = ceil_div(c.count, c.width);
  c.splits = 1;
  const int64_t least = 2 * ahead * down;  // rows that are worth a second pass
  if (cut && c.tiles < FEW_BLOCKS && axis >= 2 * least) {
    c.splits = BLOCKS_WANTED / c.tiles;
    if (c.splits > axis / least) c.splits = axis / least;
  }
  c.piece = axis ? ceil_div(axis, c.splits) : 1;
  return c;
}

// The second pass: the same operation over the partial results of the first.
template <class Op> struct OverPartial {
  using Acc = typename Op::Acc;
  Op op;
  const Acc* partial;
  __device__ Acc start() const { return op.start(); }
  __device__ Acc load(int64_t at, int64_t) const { return partial[at]; }
  __device__ Acc join(Acc a, Acc b) const { return op.join(a, b); }
  __device__ void store(int64_t at, Acc acc) const { op.store(at, acc); }
};

template <int W, class Op>
void reduce_columns(Call& call, int64_t outer, int64_t axis, int64_t inner, const Op& op) {
  const Columns c = columns_of(outer, axis, inner, W, W > 1 ? 32 : 128, packs_ahead<Op>(), true);
  using Acc = typename Op::Acc;
  Acc* partial = c.splits > 1 ? call.scratch<Acc>(c.splits * outer * inner) : nullptr;
  launch(call, reduce_column_kernel<W, Op>, following(call, {grid_for(c.tiles * c.splits)}), c, op,
         partial);
  if (!partial) return;
  using Over = OverPartial<Op>;
  const Columns rest = columns_of(1, c.splits, outer * inner, 1, 8, packs_ahead<Over>(), false);
  launch(call, reduce_column_kernel<1, Over>, following(call, {grid_for(rest.tiles)}), rest,
         Over{op, partial}, nullptr);
}

// Of `splits` partial results for each of outer.
template <class Op>
void reduce_partial(Call& call, int64_t outer, int64_t splits, const Op& op,
                    const typename Op::Acc* partial) {
  using Over = OverPartial<Op>;
  launch(call, reduce_row_kernel<BLOCK, 1, Over>, following(call, for_groups<BLOCK>(outer)),
         Split{outer, splits, 1, 1, splits}, Over{op, partial}, nullptr);
}

// A block for each row, or for a piece of one.
template <int W, class Op>
void reduce_long_rows(Call& call, int64_t outer, int64_t axis, const Op& op) {
  constexpr int64_t LEAST = 4096;  // elements that are worth a second pass
  Split s{outer, axis, 1, 1, axis};
  if (outer < FEW_BLOCKS && axis >= 2 * LEAST) {
    s.splits = BLOCKS_WANTED / outer < axis / LEAST ? BLOCKS_WANTED / outer : axis / LEAST;
    s.piece = ceil_div(ceil_div(axis, s.splits), W) * W;
  }
  using Acc = typename Op::Acc;
  Acc* partial = s.splits > 1 ? call.scratch<Acc>(outer * s.splits) : nullptr;
  launch(call, reduce_row_kernel<BLOCK, W, Op>,
         following(call, for_groups<BLOCK>(outer * s.splits)), s, op, partial);
  if (partial) reduce_partial(call, outer, s.splits, op, partial);
}

template <int W, class Op> void reduce_rows(Call& call, int64_t outer, int64_t axis, const Op& op) {
  const Split s{outer, axis, 1, 1, axis};
  const bool many = outer >= 4096;  // warps enough, without taking a block for each row
  if (axis <= (outer * 8 >= FEW_BLOCKS * BLOCK ? 64 : 16) * W)
    launch(call, reduce_row_kernel<8, W, Op>, following(call, for_groups<8>(outer)), s, op,
           nullptr);
  else if (axis <= (many ? 4096 : 512))
    launch(call, reduce_row_kernel<32, W, Op>, following(call, for_groups<32>(outer)), s, op,
           nullptr);
  else
    reduce_long_rows<W>(call, outer, axis, op);
}

// f with the width of packs for lines of `extent` elements.
template <class Op, class F> void with_packs(const Op& op, int64_t extent, F&& f) {
  constexpr int W = pack_width<Op>();
  if (W > 1 && in_packs(op, extent))
    f(std::integral_constant<int, W>{});
  else
    f(std::integral_constant<int, 1>{});
}

template <class Op> void reduce(Call& call, int64_t outer, int64_t axis, int64_t inner, Op op) {
  if (outer * inner == 0) return;
  with_packs(op,
             inner > 1   ? inner
             : outer > 1 ? axis
                         : 0,
             [&](auto w) {
               constexpr int W = w;
               inner > 1 ? reduce_columns<W>(call, outer, axis, inner, op)
                         : reduce_rows<W>(call, outer, axis, op);
             });
}

template <class Op> void reduce_all(Call& call, int64_t n, Op op) {
  with_packs(op, 0, [&](auto w) {
    constexpr int W = w;
    reduce_long_rows<W>(call, 1, n, op);
  });
}

}  // namespace cdn
