// The driver `rows` as kernels: a row is read once and kept in the registers of the threads that
// share it, 4, 8 or 32 of a warp, a block, or on Hopper a cluster of blocks. Blocks keep 16-bit
// floats as they are, two to a register, and each step makes again what those before it did: so
// they keep longer rows. What is too long for a cluster is read again for each of the steps.
// Included by drivers.h only.
#pragma once
#include "gpu/tile/hopper.h"

namespace cdn {

// Packs of an operand that a thread keeps.
template <class T, bool AS_LOADED> constexpr int ROW_PACKS = is_half<T> && !AS_LOADED ? 4 : 8;
constexpr int MAX_ROW_CLUSTER = 8;          // blocks
constexpr int64_t FULL_DEVICE = 132 * 512;  // threads, of any device: results must not differ

// What an operation's parameters by column are for elements from c on: a pack where `along` says
// that they are aligned.
template <int W, bool OF_RESULT, class Op>
__device__ __forceinline__ void load_columns(const Op& op, int64_t c, bool along,
                                             typename Op::Column (&k)[W]) {
  using T = typename Op::Element;
  if constexpr (OF_RESULT == Op::COLUMNS_OF_RESULT) {
#pragma unroll
    for (int m = 0; m < Op::COLUMNS; m++) {
      const T* from = op.columns[m];
      Pack<T, W> pack;
      if (from && along)
        pack = *reinterpret_cast<const Pack<T, W>*>(from + c);
      else if (from)
#pragma unroll
        for (int j = 0; j < W; j++) pack.v[j] = from[c + j];
#pragma unroll
      for (int j = 0; j < W; j++) k[j].v[m] = from ? wide(pack.v[j]) : Compute<T>(m == 0 ? 1 : 0);
    }
  }
}

// Row r as the threads of a group see it: `head` elements up to the first pack that is aligned,
// the packs, and what is left. A thread has every G-th pack of its block's share, and of the
// elements at both ends at most EDGES.
template <int G, int W> struct RowSpan {
  static constexpr int EDGES = W == 1 ? 0 : (2 * W - 2 + G - 1) / G;
  int64_t start, head, packs, first, cols;
  int lane, ends;

  __device__ __forceinline__ RowSpan(int64_t r, int64_t cols, bool there, int shift, int64_t first)
      : start(r * cols), first(first), cols(there ? cols : 0), lane(threadIdx.x % G) {
    head = W == 1 ? 0 : -(shift + start) & (W - 1);
    if (head > this->cols) head = this->cols;
    packs = (this->cols - head) / W;
    ends = static_cast<int>(this->cols - packs * W);
  }
  // f(element of the row, item) for the packs; those of a pack are its item's W.
  template <int PACKS, class F> __device__ __forceinline__ void each_pack(F f) const {
#pragma unroll
    for (int i = 0; i < PACKS; i++)
      if (first + i * G + lane < packs) f(head + (first + i * G + lane) * W, i);
  }
  template <class F> __device__ __forceinline__ void each_edge(F f) const {
#pragma unroll
    for (int e = 0; e < EDGES; e++) {
      const int i = e * G + lane;
      if (first == 0 && i < ends) f(i < head ? i : cols - ends + i, e);
    }
  }
};

// On a multiprocessor, without spilling.
template <class Op>
constexpr int ROW_BLOCKS_AT_ONCE = Op::INPUTS > 1 || sizeof(typename Op::Element) > 4 ? 2
                                   : Op::COLUMNS > 0                                  ? 3
                                                                                      : 4;

template <class C, int N> struct Item {
  C v[N];
};

// W neighbours of N operands: of wider floats what steps have made of them.
template <class T, int N, int W, bool AS_LOADED> struct Items {
  Item<Compute<T>, N> item[W];
  __device__ __forceinline__ void keep(int n, const Pack<T, W>& pack) {
#pragma unroll
    for (int j = 0; j < W; j++) item[j].v[n] = wide(pack.v[j]);
  }
  template <class First, class Second>
  __device__ __forceinline__ auto& at(int j, First&&, Second&&) {
    return item[j];
  }
};
template <class T, int N, int W> struct Items<T, N, W, true> {
  Pack<T, W> pack[N];
  __device__ __forceinline__ void keep(int n, const Pack<T, W>& x) { pack[n] = x; }
  // again(v): what steps have made of it since.
  template <class First, class Second>
  __device__ __forceinline__ auto at(int j, First&& first, Second&& second) {
    Item<Compute<T>, N> x;
#pragma unroll
    for (int n = 0; n < N; n++) x.v[n] = wide(pack[n].v[j]);
    first(x.v);
    second(x.v);
    return x;
  }
};

// Joins W values to a result; sums of 16-bit floats first among themselves, which is fewer
// instructions and as exact as they are.
template <int W, bool PARTS, class Acc, class F, class Join>
__device__ __forceinline__ void add_parts(Acc& acc, F f, Join join) {
  if constexpr (PARTS) {
    auto part = f(0);
#pragma unroll
    for (int j = 1; j < W; j++) part = part + f(j);
    acc = join(acc, part);
  } else {
#pragma unroll
    for (int j = 0; j < W; j++) acc = join(acc, f(j));
  }
}

// What the blocks of a cluster send one another, once for each of two joins.
struct alignas(16) Letter {
  char bytes[16];
};
struct Letters {
  Letter from[2][MAX_ROW_CLUSTER];
  uint64_t full[2];
};

// Before anything is sent; cluster_wait() is what ends it.
__device__ __forceinline__ void open_letters(Letters& letters, int cluster) {
#if defined(CDN_HOPPER)
  if (threadIdx.x == 0)
    for (uint64_t& full : letters.full) {
      hopper::barrier_init(&full, 1);
      hopper::barrier_expect(&full, cluster * sizeof(Letter));
    }
  hopper::barriers_visible();
  hopper::cluster_arrive();
#endif
}

// A value of each block, joined in the order of blocks.
template <class T, class Join>
__device__ __forceinline__ T join_cluster(Letters& letters, int which, T value, int cluster,
                                          Join join) {
#if defined(CDN_HOPPER)
  static_assert(sizeof(T) <= sizeof(Letter), "one message");
  if (which == 0) hopper::cluster_wait();
  const int block = threadIdx.x, own = blockIdx.x % cluster;
  if (block < cluster) {
    Letter letter;
    memcpy(&letter, &value, sizeof(T));
    hopper::send(hopper::address_in_block(&letters.from[which][own], block),
                 hopper::address_in_block(&letters.full[which], block), letter);
  }
  hopper::barrier_wait(&letters.full[which], 0);
  auto of = [&](int b) {
    T x;
    memcpy(&x, &letters.from[which][b], sizeof(T));
    return x;
  };
  value = of(0);
  for (int b = 1; b < cluster; b++) value = join(value, of(b));
#endif
  return value;
}

template <int G, int W, int PACKS, class Op>
__global__ void __launch_bounds__(BLOCK, ROW_BLOCKS_AT_ONCE<Op>)
    rows_kernel(int64_t rows, int64_t cols, int cluster, int shift, Op op) {
  using T = typename Op::Element;
  using C = Compute<T>;
  constexpr int N = Op::INPUTS, ROWS = BLOCK / G;
  constexpr bool PARTS = is_half<T>, AS_LOADED = is_half<T> && G == BLOCK;
  const int rank = G == BLOCK ? static_cast<int>(blockIdx.x % cluster) : 0;
  const int64_t step = static_cast<int64_t>(gridDim.x / cluster) * ROWS;
  follow_previous_kernel();
  __shared__ Letters letters;  // for the one row of a cluster
  if (cluster > 1) open_letters(letters, cluster);
  for (int64_t r0 = static_cast<int64_t>(blockIdx.x / cluster) * ROWS; r0 < rows; r0 += step) {
    const int64_t r = r0 + threadIdx.x / G;
    const bool there = r < rows;
    const RowSpan<G, W> span(r, cols, there, shift, static_cast<int64_t>(rank) * PACKS * G);
    const bool along = span.head == 0 && op.columns_aligned;
    Items<T, N, W, AS_LOADED> item[PACKS];
    Item<C, N> edge[span.EDGES + 1];
    typename Op::Column k[W], one[1];
#pragma unroll
    for (int n = 0; n < N; n++) {
      const T* x = op.in[n] + span.start;
      span.template each_pack<PACKS>(
          [&](int64_t c, int i) { item[i].keep(n, *reinterpret_cast<const Pack<T, W>*>(x + c)); });
      span.each_edge([&](int64_t c, int e) { edge[e].v[n] = wide(x[c]); });
    }
    const auto known = op.row(there ? r : 0);
    auto join = [&](int which, auto value, auto with) {
      value = join_group<G>(value, with);
      if constexpr (G == BLOCK)
        if (cluster > 1) value = join_cluster(letters, which, value, cluster, with);
      return value;
    };

    const auto untouched = [](auto&) {};
    auto r1 = op.start1();
    span.template each_pack<PACKS>([&](int64_t c, int i) {
      load_columns<W, false>(op, c, along, k);
      add_parts<W, PARTS && Op::ADDS>(
          r1,
          [&](int j) {
            auto&& x = item[i].at(j, untouched, untouched);
            return op.first(known, x.v, k[j]);
          },
          [&](auto a, auto b) { return op.join1(a, b); });
    });
    span.each_edge([&](int64_t c, int e) {
      load_columns<1, false>(op, c, false, one);
      r1 = op.join1(r1, op.first(known, edge[e].v, one[0]));
    });
    r1 = join(0, r1, [&](auto a, auto b) { return op.join1(a, b); });
    typename Op::Acc2 r2{};
    if constexpr (Op::SECOND) {
      span.template each_pack<PACKS>([&](int64_t c, int i) {
        if (AS_LOADED) load_columns<W, false>(op, c, along, k);
        add_parts<W, PARTS>(
            r2,
            [&](int j) {
              auto&& x = item[i].at(j, [&](auto& v) { op.first(known, v, k[j]); }, untouched);
              return op.second(known, r1, x.v);
            },
            [](auto a, auto b) { return a + b; });
      });
      span.each_edge([&](int64_t c, int e) { r2 = r2 + op.second(known, r1, edge[e].v); });
      r2 = join(1, r2, [](auto a, auto b) { return a + b; });
    }
    const auto all = op.all(known, r1, r2);
    if (there && rank == 0 && threadIdx.x % G == 0) op.finish(r, all);
    if (!op.y) continue;
    T* y = op.y + span.start;
    span.template each_pack<PACKS>([&](int64_t c, int i) {
      typename Op::Column of_first[W];
      if (AS_LOADED) load_columns<W, false>(op, c, along, of_first);
      load_columns<W, true>(op, c, along, k);
      Pack<T, W> pack;
#pragma unroll
      for (int j = 0; j < W; j++) {
        auto&& x = item[i].at(
            j, [&](auto& v) { op.first(known, v, of_first[j]); },
            [&](auto& v) {
              if constexpr (Op::SECOND) op.second(known, r1, v);
            });
        pack.v[j] = static_cast<T>(op.result(all, c + j, x.v, k[j]));
      }
      *reinterpret_cast<Pack<T, W>*>(y + c) = pack;
    });
    span.each_edge([&](int64_t c, int e) {
      load_columns<1, true>(op, c, false, one);
      y[c] = static_cast<T>(op.result(all, c, edge[e].v, one[0]));
    });
  }
}

// A block for each row, element by element; a step does again what those before it made of v.
template <class Op>
__global__ void __launch_bounds__(BLOCK) long_rows_kernel(int64_t rows, int64_t cols, Op op) {
  using T = typename Op::Element;
  using C = Compute<T>;
  follow_previous_kernel();
  for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
    const auto known = op.row(r);
    auto each = [&](auto f) {
#pragma unroll 4
      for (int64_t c = threadIdx.x; c < cols; c += BLOCK) {
        C v[Op::INPUTS];
#pragma unroll
        for (int n = 0; n < Op::INPUTS; n++) v[n] = wide(op.in[n][r * cols + c]);
        typename Op::Column k[1];
        load_columns<1, false>(op, c, false, k);
        const auto first = op.first(known, v, k[0]);
        f(c, v, k, first);
      }
    };
    auto r1 = op.start1();
    each([&](int64_t, C(&)[Op::INPUTS], auto&, auto first) { r1 = op.join1(r1, first); });
    r1 = join_group<BLOCK>(r1, [&](auto a, auto b) { return op.join1(a, b); });
    typename Op::Acc2 r2{};
    if constexpr (Op::SECOND) {
      each([&](int64_t, C(&v)[Op::INPUTS], auto&, auto) { r2 = r2 + op.second(known, r1, v); });
      r2 = join_group<BLOCK>(r2, [](auto a, auto b) { return a + b; });
    }
    const auto all = op.all(known, r1, r2);
    if (threadIdx.x == 0) op.finish(r, all);
    if (!op.y) continue;
    each([&](int64_t c, C(&v)[Op::INPUTS], auto& k, auto) {
      if constexpr (Op::SECOND) op.second(known, r1, v);
      load_columns<1, true>(op, c, false, k);
      op.y[r * cols + c] = static_cast<T>(op.result(all, c, v, k[0]));
    });
  }
}

template <class Op> void rows(Call& call, int64_t rows, int64_t cols, Op op) {
  using T = typename Op::Element;
  constexpr int W = 16 / sizeof(T), PACKS = ROW_PACKS<T, true>, FEW = ROW_PACKS<T, false>;
  if (rows == 0) return;
  if (cols <= 32)
    return launch(call, rows_kernel<4, 1, 8, Op>, following(call, for_groups<4>(rows)), rows, cols,
                  1, 0, op);
  // Elements by which what is read and written lies behind a multiple of 16 bytes.
  auto behind = [](const T* p) {
    return static_cast<int>(reinterpret_cast<uintptr_t>(p) / sizeof(T) % W);
  };
  const int shift = behind(op.in[0]);
  bool alike = !op.y || behind(op.y) == shift;
  for (const T* x : op.in) alike = alike && behind(x) == shift;
  op.columns_aligned = true;
  for (const T* x : op.columns) op.columns_aligned = op.columns_aligned && aligned16(x);
  // The fewest threads that hold a row, more where that would leave much of a device idle.
  constexpr int64_t MOST = PACKS * W;
  auto holds = [&](int64_t threads) {
    return cols <= threads * FEW * W && (rows * threads >= FULL_DEVICE || cols <= threads * W);
  };
  auto start = [&](auto* kernel, Launch how, int cluster) {
    how.cluster = cluster;
    launch(call, kernel, following(call, how), rows, cols, cluster, shift, op);
  };
  if (alike && holds(8)) return start(rows_kernel<8, W, FEW, Op>, for_groups<8>(rows), 1);
  if (alike && holds(32)) return start(rows_kernel<32, W, FEW, Op>, for_groups<32>(rows), 1);
  int cluster = 1;
  while (cluster < MAX_ROW_CLUSTER && cluster * MOST * BLOCK < cols) cluster *= 2;
  const int64_t blocks = rows * cluster;
  if (alike && cols <= cluster * MOST * BLOCK &&
      (cluster == 1 || (hopper_device(call) && blocks <= INT32_MAX)))
    return start(rows_kernel<BLOCK, W, PACKS, Op>, {grid_for(blocks)}, cluster);
  launch(call, long_rows_kernel<Op>, following(call, {grid_for(rows)}), rows, cols, op);
}

}  // namespace cdn
