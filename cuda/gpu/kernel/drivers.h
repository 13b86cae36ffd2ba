// The drivers as kernels. Included by drivers.h only.
#pragma once
#include <utility>

#include "gpu/device/launch.h"

namespace cdn {

// f(i) for those of [0, n) that are this thread's.
template <class F> __device__ __forceinline__ void for_each_own(int64_t n, F f) {
  for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < n;
       i += (int64_t)gridDim.x * BLOCK)
    f(i);
}

// ---- map: a thread takes W neighbouring elements, a pack, with one access of up to 16 bytes per
// operand. What is left after the packs, or all where operands are not aligned, comes one by one.

template <class Y, int W, class F, class... X>
__device__ __forceinline__ Pack<Y, W> mapped(F f, const Pack<X, W>... in) {
  Pack<Y, W> out;
#pragma unroll
  for (int j = 0; j < W; j++) out.v[j] = static_cast<Y>(f(wide(in.v[j])...));
  return out;
}

template <int W, class F, class Y, class... X>
__global__ void __launch_bounds__(BLOCK)
    map_kernel(int64_t n, int64_t packs, F f, Y* y, const X*... x) {
  follow_previous_kernel();
  const int64_t first = (int64_t)blockIdx.x * BLOCK + threadIdx.x,
                stride = (int64_t)gridDim.x * BLOCK;
  for (int64_t i = first; i < packs; i += stride)
    reinterpret_cast<Pack<Y, W>*>(y)[i] =
        mapped<Y, W>(f, reinterpret_cast<const Pack<X, W>*>(x)[i]...);
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
  launch(call, map_kernel<W, F, Y, X...>, following(call, for_each_of(threads)), n, packs, f, y,
         x...);
}

// The same with two results.
template <int W, class F, class Y, class... X>
__device__ __forceinline__ void store_pairs(int64_t i, F f, Y* first, Y* second, const X*... x) {
  Pack<Y, W> a, b;
  auto each = [&](const Pack<X, W>... in) {
#pragma unroll
    for (int j = 0; j < W; j++) {
      const auto both = f(wide(in.v[j])...);
      a.v[j] = static_cast<Y>(both.first), b.v[j] = static_cast<Y>(both.second);
    }
  };
  each(reinterpret_cast<const Pack<X, W>*>(x)[i]...);
  reinterpret_cast<Pack<Y, W>*>(first)[i] = a;
  reinterpret_cast<Pack<Y, W>*>(second)[i] = b;
}
template <int W, class F, class Y, class... X>
__global__ void __launch_bounds__(BLOCK)
    map_pair_kernel(int64_t n, int64_t packs, F f, Y* first, Y* second, const X*... x) {
  follow_previous_kernel();
  for_each_own(packs, [&](int64_t i) { store_pairs<W>(i, f, first, second, x...); });
  for_each_own(n - packs * W,
               [&](int64_t i) { store_pairs<1>(packs * W + i, f, first, second, x...); });
}
template <class F, class Y, class... X>
void map_pair(Call& call, int64_t n, F f, Y* first, Y* second, const X*... x) {
  if (n == 0) return;
  constexpr int W = 16 / largest_size<Y, X...>();
  const bool wide = aligned16(first) && aligned16(second) && (aligned16(x) && ...);
  const int64_t packs = wide ? n / W : 0;
  launch(call, map_pair_kernel<W, F, Y, X...>, following(call, for_each_of(packs ? packs : n)), n,
         packs, f, first, second, x...);
}

// ---- each

template <class F> __global__ void __launch_bounds__(BLOCK) each_kernel(int64_t n, F f) {
  follow_previous_kernel();
  for_each_own(n, f);
}

template <class F> void each(Call& call, int64_t n, F f) {
  if (n > 0) launch(call, each_kernel<F>, following(call, for_each_of(n)), n, f);
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
// The first of it are packs, where a row knows some. One row a block keeps those under way side by
// side in memory.
template <class F> __global__ void __launch_bounds__(BLOCK) each_row_kernel(int64_t rows, F f) {
  follow_previous_kernel();
  for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
    const auto row = f.row(r);
    int64_t c = threadIdx.x;
    if constexpr (requires { row.packs; }) {
      for (int64_t i = c; i < row.packs; i += BLOCK) row.pack(i);
      c += row.packs * row.WIDTH;
    }
    for (; c < row.count; c += BLOCK) row(c);
  }
}

template <class F> void each_row(Call& call, int64_t rows, int64_t cols, F f) {
  bool fills_blocks = cols >= 4 * BLOCK || (cols >= BLOCK && cols % BLOCK == 0);
  if (rows >= 2 * BLOCK && fills_blocks)
    launch(call, each_row_kernel<F>, following(call, {grid_for(rows)}), rows, f);
  else
    each(call, rows * cols, RowAndColumn<F>{f, cols});
}

template <class F> struct RunsOfOne {
  F f;
  __device__ void operator()(int64_t i) const { f.template run<1>(i, 1); }
};

template <class F> void each_run(Call& call, int64_t n, F f) { each(call, n, RunsOfOne<F>{f}); }

// ---- broadcast: inputs of the same shape are mapped; others are indexed by division. A thread
// has several elements on their way, or a pack of y, which lies in one line.

// Neighbours along a line: where they are a pack, by one access.
template <int W, class X>
__device__ __forceinline__ Pack<X, W> along(const X* x, int64_t step, bool pack) {
  if (W > 1 && pack) return *reinterpret_cast<const Pack<X, W>*>(x);
  Pack<X, W> in;
#pragma unroll
  for (int j = 0; j < W; j++) in.v[j] = x[j * step];
  return in;
}
template <class Y, int W, class F, class... X, int... J>
__device__ __forceinline__ Pack<Y, W> pack_at(std::integer_sequence<int, J...>, const Layout& l,
                                              const int64_t* at, uint32_t packed, F f,
                                              const X*... x) {
  return mapped<Y, W>(f, along<W>(x + at[J], l.stride[J][l.rank - 1], (packed >> J & 1) != 0)...);
}

// Of a layout of less than 2^31 elements.
struct Divisors {
  Divisor by[MAX_RANK];
};

// packed: a bit for each input, whether it has packs where y has them.
template <int W, int AHEAD, class F, class Y, class... X>
__global__ void __launch_bounds__(BLOCK)
    broadcast_kernel(Layout l, const __grid_constant__ Divisors divisors, uint32_t packed, F f,
                     Y* y, const X*... x) {
  constexpr int INPUTS = sizeof...(X);
  constexpr auto EACH = std::make_integer_sequence<int, INPUTS>{};
  const int64_t count = l.n / W;
  for (int64_t first = (int64_t)blockIdx.x * AHEAD * BLOCK + threadIdx.x; first < count;
       first += (int64_t)gridDim.x * AHEAD * BLOCK) {
    int64_t rest[AHEAD], at[AHEAD][INPUTS] = {};
#pragma unroll
    for (int u = 0; u < AHEAD; u++)
      rest[u] = (first + u * BLOCK < count ? first + u * BLOCK : first) * W;
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
    Pack<Y, W> value[AHEAD];
#pragma unroll
    for (int u = 0; u < AHEAD; u++) value[u] = pack_at<Y, W>(EACH, l, at[u], packed, f, x...);
#pragma unroll
    for (int u = 0; u < AHEAD; u++)
      if (first + u * BLOCK < count) reinterpret_cast<Pack<Y, W>*>(y)[first + u * BLOCK] = value[u];
  }
}

template <class F, class Y, class... X>
void broadcast(Call& call, const Layout& l, F f, Y* y, const X*... x) {
  if (l.n == 0) return;
  const void* const inputs[] = {x...};
  bool same = l.rank <= 1;
  for (size_t j = 0; j < sizeof...(X); j++) same = same && (l.rank == 0 || l.stride[j][0] == 1);
  if (same) return map(call, l.n, f, y, x...);
  Divisors divisors;
  for (int d = 0; d < l.rank && l.n >> 31 == 0; d++)
    divisors.by[d] = Divisor(static_cast<uint32_t>(l.extent[d]));
  constexpr int W = 16 / largest_size<Y, X...>();
  const int last = l.rank - 1;
  bool lines = l.extent[last] % W == 0 && aligned16(y);
  uint32_t packed = 0;
  for (size_t j = 0; j < sizeof...(X); j++) {
    const int64_t* stride = l.stride[j];
    bool whole = stride[last] == 1 && aligned16(inputs[j]);
    for (int d = 0; d < last; d++) whole = whole && stride[d] % W == 0;
    packed |= static_cast<uint32_t>(whole) << j;
    lines = lines && stride[last] >= -2 && stride[last] <= 2;  // of others each is a line of memory
  }
  if (lines)
    launch(call, broadcast_kernel<W, 1, F, Y, X...>, for_each_of(l.n / W), l, divisors, packed, f,
           y, x...);
  else
    launch(call, broadcast_kernel<1, 4, F, Y, X...>, for_each_of(ceil_div(l.n, 4)), l, divisors, 0,
           f, y, x...);
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
