// The drivers as kernels. Included by drivers.h only.
#pragma once
#include <type_traits>
#include <utility>

#include "gpu/tile/hopper.h"

namespace cdn {

// Blocks that fill a device, two or four on each multiprocessor. The number depends on the sizes
// only (not on the device), so that every GPU adds in the same order.
constexpr int64_t FEW_BLOCKS = 264, BLOCKS_WANTED = 2 * FEW_BLOCKS;

// f(i) for those of [0, n) that are this thread's.
template <class F> __device__ __forceinline__ void for_each_own(int64_t n, F f) {
  for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < n;
       i += (int64_t)gridDim.x * BLOCK)
    f(i);
}

inline bool aligned16(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

// ---- map: a thread takes W neighbouring elements, a pack, with one access of up to 16 bytes per
// operand. What is left after the packs, or all where operands are not aligned, comes one by one.

template <int W, class F, class Y, class... X>
__global__ void __launch_bounds__(BLOCK)
    map_kernel(int64_t n, int64_t packs, F f, Y* y, const X*... x) {
  const int64_t first = (int64_t)blockIdx.x * BLOCK + threadIdx.x,
                stride = (int64_t)gridDim.x * BLOCK;
  for (int64_t i = first; i < packs; i += stride) {
    auto apply = [&](const Pack<X, W>... in) {
      Pack<Y, W> out;
#pragma unroll
      for (int j = 0; j < W; j++) out.v[j] = static_cast<Y>(f(wide(in.v[j])...));
      reinterpret_cast<Pack<Y, W>*>(y)[i] = out;
    };
    apply(reinterpret_cast<const Pack<X, W>*>(x)[i]...);
  }
#pragma unroll 1
  for (int64_t i = packs * W + first; i < n; i += stride) y[i] = static_cast<Y>(f(wide(x[i])...));
}

template <class T> constexpr int largest_size() { return sizeof(T); }
template <class T, class U, class... Rest> constexpr int largest_size() {
  return largest_size<U, Rest...>() > (int)sizeof(T) ? largest_size<U, Rest...>() : (int)sizeof(T);
}

template <class F, class Y, class... X> void map(Call& call, int64_t n, F f, Y* y, const X*... x) {
  if (n == 0) return;
  constexpr int W = 16 / largest_size<Y, X...>();
  bool wide = aligned16(y);
  for (bool aligned : {true, aligned16(x)...}) wide = wide && aligned;
  int64_t packs = wide ? n / W : 0, threads = wide ? packs + 1 : n;
  launch(call, map_kernel<W, F, Y, X...>, for_each_of(threads), n, packs, f, y, x...);
}

// ---- each

template <class F> __global__ void __launch_bounds__(BLOCK) each_kernel(int64_t n, F f) {
  for_each_own(n, f);
}

template <class F> void each(Call& call, int64_t n, F f) {
  if (n > 0) launch(call, each_kernel<F>, for_each_of(n), n, f);
}

template <class F> struct RowAndColumn {
  F f;
  int64_t cols;
  __device__ void operator()(int64_t i) const {
    int64_t r = quotient(i, cols), c = i - r * cols;
    auto row = f.row(r);
    if (c < row.count) row(c);
  }
};

// A block for each row: what row() works out is worked out once for all that a thread does there.
// The first of it are packs, where a row knows some; then a block has several rows, so that not
// each waits for what row() reads.
template <class F> constexpr bool KNOWS_PACKS = requires(F f) { f.row(0).packs; };

template <class F> __global__ void __launch_bounds__(BLOCK) each_row_kernel(int64_t rows, F f) {
  for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
    const auto row = f.row(r);
    int64_t c = threadIdx.x;
    if constexpr (KNOWS_PACKS<F>) {
      for (int64_t i = c; i < row.packs; i += BLOCK) row.pack(i);
      c += row.packs * row.WIDTH;
    }
    for (; c < row.count; c += BLOCK) row(c);
  }
}

template <class F> void each_row(Call& call, int64_t rows, int64_t cols, F f) {
  constexpr int64_t SEVERAL = KNOWS_PACKS<F> ? 8 : 1;
  bool fills_blocks = cols >= 4 * BLOCK || (cols >= BLOCK && cols % BLOCK == 0);
  if (rows >= 2 * BLOCK && fills_blocks)
    launch(call, each_row_kernel<F>, {grid_for(ceil_div(rows, SEVERAL))}, rows, f);
  else
    each(call, rows * cols, RowAndColumn<F>{f, cols});
}

template <class F> struct RunsOfOne {
  F f;
  __device__ void operator()(int64_t i) const { f.template run<1>(i, 1); }
};

template <class F> void each_run(Call& call, int64_t n, F f) { each(call, n, RunsOfOne<F>{f}); }

// ---- broadcast: inputs of the same shape are mapped; others are indexed by division. A thread
// has several elements on their way.

template <class F, class... X, int... J>
__device__ __forceinline__ auto apply_at(std::integer_sequence<int, J...>, const int64_t* at, F f,
                                         const X*... x) {
  return f(wide(x[at[J]])...);
}

// Of a layout of less than 2^31 elements.
struct Divisors {
  Divisor by[MAX_RANK];
};

template <class F, class Y, class... X>
__global__ void __launch_bounds__(BLOCK)
    broadcast_kernel(Layout l, const __grid_constant__ Divisors divisors, F f, Y* y,
                     const X*... x) {
  constexpr int INPUTS = sizeof...(X), AHEAD = 4;
  constexpr auto EACH = std::make_integer_sequence<int, INPUTS>{};
  for (int64_t first = (int64_t)blockIdx.x * AHEAD * BLOCK + threadIdx.x; first < l.n;
       first += (int64_t)gridDim.x * AHEAD * BLOCK) {
    int64_t rest[AHEAD], at[AHEAD][INPUTS] = {};
#pragma unroll
    for (int u = 0; u < AHEAD; u++) rest[u] = first + u * BLOCK < l.n ? first + u * BLOCK : first;
    for (int d = l.rank - 1; d >= 0; d--) {
#pragma unroll
      for (int u = 0; u < AHEAD; u++) {
        const int64_t next = d == 0      ? 0
                             : l.n >> 31 ? quotient(rest[u], l.extent[d])
                                         : divisors.by[d](static_cast<uint32_t>(rest[u])),
                      k = rest[u] - next * l.extent[d];
#pragma unroll
        for (int j = 0; j < INPUTS; j++) at[u][j] += k * l.stride[j][d];
        rest[u] = next;
      }
    }
    decltype(apply_at(EACH, at[0], f, x...)) value[AHEAD];
#pragma unroll
    for (int u = 0; u < AHEAD; u++) value[u] = apply_at(EACH, at[u], f, x...);
#pragma unroll
    for (int u = 0; u < AHEAD; u++)
      if (first + u * BLOCK < l.n) y[first + u * BLOCK] = static_cast<Y>(value[u]);
  }
}

template <class F, class Y, class... X>
void broadcast(Call& call, const Layout& l, F f, Y* y, const X*... x) {
  if (l.n == 0) return;
  bool same = l.rank <= 1;
  for (size_t j = 0; j < sizeof...(X); j++) same = same && (l.rank == 0 || l.stride[j][0] == 1);
  if (same) return map(call, l.n, f, y, x...);
  Divisors divisors;
  for (int d = 0; d < l.rank && l.n >> 31 == 0; d++)
    divisors.by[d] = Divisor(static_cast<uint32_t>(l.extent[d]));
  launch(call, broadcast_kernel<F, Y, X...>, for_each_of(ceil_div(l.n, 4)), l, divisors, f, y,
         x...);
}

// ---- Groups of G threads (a part of a warp, a warp, or the block) that work on one row.

// A value by way of the shuffles of its words.
template <class T, class Shuffle> __device__ T shuffled(T value, Shuffle shuffle) {
  static_assert(sizeof(T) % 4 == 0, "shuffles move words");
  int words[sizeof(T) / 4];
  memcpy(words, &value, sizeof(T));
#pragma unroll
  for (int i = 0; i < (int)(sizeof(T) / 4); i++) words[i] = shuffle(words[i]);
  memcpy(&value, words, sizeof(T));
  return value;
}

template <class T> __device__ T shuffle_xor(T value, int mask, int width) {
  return shuffled(value, [=](int w) { return __shfl_xor_sync(0xffffffffu, w, mask, width); });
}

// Every thread of the group gets the joined value. All threads of the block must call it.
template <int G, class T, class Join> __device__ T join_group(T value, Join join) {
  constexpr int WIDTH = G < 32 ? G : 32;
#pragma unroll
  for (int mask = WIDTH / 2; mask > 0; mask /= 2)
    value = join(value, shuffle_xor(value, mask, WIDTH));
  if (G > 32) {
    __shared__ __align__(16) char memory[sizeof(T) * (BLOCK / 32)];
    T* shared = reinterpret_cast<T*>(memory);
    __syncthreads();  // an earlier use of the memory is over
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
    __syncthreads();
    value = shared[0];
    for (int w = 1; w < BLOCK / 32; w++) value = join(value, shared[w]);
  }
  return value;
}

// A group for each of `count`.
template <int G> Launch for_groups(int64_t count) { return for_each_of(count * G); }

// ---- reduce: a thread has some packs of W neighbours on their way before it joins the first. A
// kernel for what other blocks have left starts while those end.

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

__device__ __forceinline__ void follow_previous_kernel() {
#if defined(CDN_HOPPER)
  hopper::let_next_kernel_start();
  hopper::wait_for_previous_kernel();
#endif
}
inline Launch following(const Call& call, Launch how) {
  how.pdl = hopper_device(call);
  return how;
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
  launch(call, reduce_column_kernel<W, Op>, {grid_for(c.tiles * c.splits)}, c, op, partial);
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
  launch(call, reduce_row_kernel<BLOCK, W, Op>, for_groups<BLOCK>(outer * s.splits), s, op,
         partial);
  if (partial) reduce_partial(call, outer, s.splits, op, partial);
}

template <int W, class Op> void reduce_rows(Call& call, int64_t outer, int64_t axis, const Op& op) {
  const Split s{outer, axis, 1, 1, axis};
  const bool many = outer >= 4096;  // warps enough, without taking a block for each row
  if (axis <= 16 * W)
    launch(call, reduce_row_kernel<8, W, Op>, for_groups<8>(outer), s, op, nullptr);
  else if (axis <= (many ? 4096 : 512))
    launch(call, reduce_row_kernel<32, W, Op>, for_groups<32>(outer), s, op, nullptr);
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

// ---- reduce_each: a block for each row.

template <class Op>
__global__ void __launch_bounds__(BLOCK) reduce_each_kernel(int64_t rows, Op op) {
  for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
    const auto row = op.row(r);
    auto acc = op.start();
    for (int64_t c = threadIdx.x; c < row.count; c += BLOCK) acc = op.join(acc, row.load(c));
    acc = join_group<BLOCK>(acc, [&](auto a, auto b) { return op.join(a, b); });
    if (threadIdx.x == 0) op.store(r, acc);
  }
}

template <class Op> void reduce_each(Call& call, int64_t rows, Op op) {
  if (rows > 0) launch(call, reduce_each_kernel<Op>, {grid_for(rows)}, rows, op);
}

// ---- rows

template <int G, class Op>
__global__ void __launch_bounds__(BLOCK) rows_kernel(int64_t rows, int64_t cols, Op op) {
  using T = typename Op::Acc;
  constexpr int ROWS = BLOCK / G;
  int lane = threadIdx.x % G;
  for (int64_t first = (int64_t)blockIdx.x * ROWS; first < rows;
       first += (int64_t)gridDim.x * ROWS) {
    int64_t r = first + threadIdx.x / G;
    int64_t width = r < rows ? cols : 0;
    T r1 = op.start1();
    typename Op::Acc2 r2{};
    for (int64_t c = lane; c < width; c += G) r1 = op.join1(r1, op.load1(r, c));
    r1 = join_group<G>(r1, [op](auto a, auto b) { return op.join1(a, b); });
    if (Op::SECOND) {
      for (int64_t c = lane; c < width; c += G) r2 = r2 + op.load2(r, c, r1);
      r2 = join_group<G>(r2, [](auto a, auto b) { return a + b; });
    }
    if (op.maps())
      for (int64_t c = lane; c < width; c += G) op.store(r, c, r1, r2);
    if (lane == 0 && r < rows) op.finish(r, r1, r2);
  }
}

template <class Op> void rows(Call& call, int64_t rows, int64_t cols, Op op) {
  if (rows == 0) return;
  if (cols <= 16) return launch(call, rows_kernel<8, Op>, for_groups<8>(rows), rows, cols, op);
  if (cols <= 1024) return launch(call, rows_kernel<32, Op>, for_groups<32>(rows), rows, cols, op);
  launch(call, rows_kernel<BLOCK, Op>, for_groups<BLOCK>(rows), rows, cols, op);
}

}  // namespace cdn
