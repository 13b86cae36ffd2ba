// The drivers as kernels. Included by drivers.h only.
#pragma once
#include <utility>

#include "gpu/device/launch.h"
#include "gpu/kernel/pack.h"

namespace cdn {

// f(i) for those of [0, n) that are this thread's.
template <class F> __device__ __forceinline__ void for_each_own(int64_t n, F f) {
  for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < n;
       i += (int64_t)gridDim.x * BLOCK)
    f(i);
}

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
template <class F> __global__ void __launch_bounds__(BLOCK) each_row_kernel(int64_t rows, F f) {
  for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
    const auto row = f.row(r);
    for (int64_t c = threadIdx.x; c < row.count; c += BLOCK) row(c);
  }
}

template <class F> void each_row(Call& call, int64_t rows, int64_t cols, F f) {
  bool fills_blocks = cols >= 4 * BLOCK || (cols >= BLOCK && cols % BLOCK == 0);
  if (rows >= 2 * BLOCK && fills_blocks)
    launch(call, each_row_kernel<F>, {grid_for(rows)}, rows, f);
  else
    each(call, rows * cols, RowAndColumn<F>{f, cols});
}

template <class F> struct RunsOfOne {
  F f;
  __device__ void operator()(int64_t i) const { f.template run<1>(i, 1); }
};

template <class F> void each_run(Call& call, int64_t n, F f) { each(call, n, RunsOfOne<F>{f}); }

// ---- broadcast: inputs of the same shape are mapped; others are indexed by division.

template <class F, class... X, int... J>
__device__ auto apply_at(std::integer_sequence<int, J...>, const int64_t* at, F f, const X*... x) {
  return f(wide(x[at[J]])...);
}

template <class F, class Y, class... X>
__global__ void __launch_bounds__(BLOCK) broadcast_kernel(Layout l, F f, Y* y, const X*... x) {
  constexpr int INPUTS = sizeof...(X);
  for_each_own(l.n, [&](int64_t i) {
    int64_t rest = i, at[INPUTS] = {};
    for (int d = l.rank - 1; d >= 0; d--) {
      int64_t next = d ? quotient(rest, l.extent[d]) : 0, k = rest - next * l.extent[d];
#pragma unroll
      for (int j = 0; j < INPUTS; j++) at[j] += k * l.stride[j][d];
      rest = next;
    }
    y[i] = static_cast<Y>(apply_at(std::make_integer_sequence<int, INPUTS>{}, at, f, x...));
  });
}

template <class F, class Y, class... X>
void broadcast(Call& call, const Layout& l, F f, Y* y, const X*... x) {
  if (l.n == 0) return;
  bool same = l.rank <= 1;
  for (size_t j = 0; j < sizeof...(X); j++) same = same && (l.rank == 0 || l.stride[j][0] == 1);
  if (same) return map(call, l.n, f, y, x...);
  launch(call, broadcast_kernel<F, Y, X...>, for_each_of(l.n), l, f, y, x...);
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
    constexpr int WARPS = BLOCK / 32;
    value = shared[threadIdx.x % WARPS];
#pragma unroll
    for (int mask = WARPS / 2; mask > 0; mask /= 2)
      value = join(value, shuffle_xor(value, mask, WARPS));
  }
  return value;
}

// A group for each of `count`.
template <int G> Launch for_groups(int64_t count) { return for_each_of(count * G); }

// ---- reduce

// What a block does: `splits` pieces of the axis, each by its own block; more than one leave
// partial results, which go to `partial`, else null, of the kernels.
struct Split {
  int64_t outer, axis, inner, splits, piece;
};

// inner == 1: G threads stride along a row.
template <int G, class Op>
__global__ void __launch_bounds__(BLOCK)
    reduce_row_kernel(Split s, Op op, typename Op::Acc* partial) {
  constexpr int ROWS = BLOCK / G;
  int lane = threadIdx.x % G;
  int64_t tasks = s.outer * s.splits;
  for (int64_t first = (int64_t)blockIdx.x * ROWS; first < tasks;
       first += (int64_t)gridDim.x * ROWS) {
    int64_t task = first + threadIdx.x / G;
    auto acc = op.start();
    if (task < tasks) {
      int64_t o = task / s.splits, begin = task % s.splits * s.piece;
      int64_t end = begin + s.piece < s.axis ? begin + s.piece : s.axis;
      for (int64_t k = begin + lane; k < end; k += G)
        acc = op.join(acc, op.load(o * s.axis + k, k));
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

// inner > 1: 32 neighbouring columns by 8 threads down the axis.
template <class Op>
__global__ void __launch_bounds__(BLOCK)
    reduce_column_kernel(Split s, Op op, typename Op::Acc* partial) {
  using Acc = typename Op::Acc;
  __shared__ __align__(16) char memory[sizeof(Acc) * BLOCK];
  Acc(*shared)[32] = reinterpret_cast<Acc(*)[32]>(memory);
  int x = threadIdx.x % 32, down = threadIdx.x / 32;
  int64_t tiles = (s.inner + 31) / 32, tasks = s.outer * s.splits * tiles;
  for (int64_t task = blockIdx.x; task < tasks; task += gridDim.x) {
    int64_t i = task % tiles * 32 + x, rest = task / tiles, o = rest / s.splits,
            begin = rest % s.splits * s.piece;
    int64_t end = begin + s.piece < s.axis ? begin + s.piece : s.axis;
    Acc acc = op.start();
    if (i < s.inner)
      for (int64_t k = begin + down; k < end; k += BLOCK / 32)
        acc = op.join(acc, op.load((o * s.axis + k) * s.inner + i, k));
    shared[down][x] = acc;
    __syncthreads();
    if (down == 0 && i < s.inner) {
      for (int d = 1; d < BLOCK / 32; d++) acc = op.join(acc, shared[d][x]);
      if (partial)
        partial[rest * s.inner + i] = acc;
      else
        op.store(rest * s.inner + i, acc);
    }
    __syncthreads();
  }
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

// Blocks for columns, or for rows with G threads each.
template <int G, class Op>
void launch_reduce(Call& call, const Split& s, Op op, typename Op::Acc* partial = nullptr) {
  int64_t tasks = s.outer * s.splits;
  if (s.inner > 1)
    launch(call, reduce_column_kernel<Op>, {grid_for(tasks * ((s.inner + 31) / 32))}, s, op,
           partial);
  else
    launch(call, reduce_row_kernel<G, Op>, for_groups<G>(tasks), s, op, partial);
}

template <class Op> void reduce(Call& call, int64_t outer, int64_t axis, int64_t inner, Op op) {
  if (outer * inner == 0) return;
  // Enough blocks to fill the device, each with enough of the axis to be worth a second pass. The
  // number depends on the sizes only (not on the device), so that every GPU adds in the same order.
  constexpr int64_t BLOCKS_WANTED = 1024;
  int64_t natural = inner > 1 ? outer * ((inner + 31) / 32) : outer;
  int64_t least = inner > 1 ? 64 : 4096, splits = 1;
  if (natural < BLOCKS_WANTED / 2 && axis >= 2 * least) {
    splits = (BLOCKS_WANTED + natural - 1) / natural;
    if (splits > axis / least) splits = axis / least;
  }
  int64_t piece = axis ? (axis + splits - 1) / splits : 1;
  Split s{outer, axis, inner, splits, piece};
  if (splits == 1) {
    if (axis <= 16) return launch_reduce<8>(call, s, op);
    bool many = outer >= 4096;  // warps enough, without taking a block for each row
    if (axis <= (many ? 4096 : 512)) return launch_reduce<32>(call, s, op);
    return launch_reduce<BLOCK>(call, s, op);
  }
  using Acc = typename Op::Acc;
  Acc* partial = call.scratch<Acc>(outer * splits * inner);
  launch_reduce<BLOCK>(call, s, op, partial);
  launch_reduce<32>(call, Split{outer, splits, inner, 1, splits}, OverPartial<Op>{op, partial});
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

}  // namespace cdn
