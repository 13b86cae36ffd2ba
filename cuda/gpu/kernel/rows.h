// The driver `rows` as kernels: a row is read once and kept in the registers of the threads that
// share it, 4, 8 or 32 of a warp, a block, or on Hopper a cluster of blocks. Rows too long for
// these are read again for each of the steps. Included by drivers.h only.
#pragma once
#include "gpu/tile/hopper.h"

namespace cdn {

constexpr int ROW_BYTES = 128;      // that a thread keeps of an operand, or of all of 16 bits
constexpr int MAX_ROW_CLUSTER = 8;  // blocks
constexpr int64_t FULL_DEVICE = 132 * 512;  // threads, of any device: results must not differ

// An operation's parameters by column for W elements, as they are stored.
template <int W, class Op> struct ColumnPacks {
  using T = typename Op::Element;
  Pack<T, W> of[Op::COLUMNS > 0 ? Op::COLUMNS : 1];

  // From c on, if it is the step that takes them; by packs where the vectors are aligned.
  template <bool OF_RESULT>
  __device__ __forceinline__ void load(const Op& op, int64_t c, bool packed) {
    if constexpr (OF_RESULT == Op::COLUMNS_OF_RESULT) {
#pragma unroll
      for (int m = 0; m < Op::COLUMNS; m++) {
        const T* from = op.columns[m];
        if constexpr (W > 1)
          if (from && packed) of[m] = load_across<W>(from + c, W);
        if (!from || !packed)
#pragma unroll
          for (int j = 0; j < W; j++) of[m].v[j] = from ? from[c + j] : T(m == 0 ? 1.0f : 0.0f);
      }
    }
  }
  __device__ __forceinline__ typename Op::Column operator[](int j) const {
    typename Op::Column k;
#pragma unroll
    for (int m = 0; m < Op::COLUMNS; m++) k.v[m] = wide(of[m].v[j]);
    return k;
  }
};

// Row r as the threads of a group see it: `head` elements up to the first pack that is aligned,
// the packs, and what is left. A block of a cluster has packs [first, last), of which a thread has
// every G-th, and of the elements at both ends at most EDGES.
template <int G, int W> struct RowSpan {
  static constexpr int EDGES = W == 1 ? 0 : (2 * W - 2 + G - 1) / G;
  int64_t start;
  int cols, lane, head, first, last, ends;

  __device__ __forceinline__ RowSpan(int64_t r, int64_t cols, bool there, int shift, int rank,
                                     int cluster)
      : start(r * cols), cols(there ? static_cast<int>(cols) : 0), lane(threadIdx.x % G) {
    head = W == 1 ? 0 : -(shift + static_cast<int>(start)) & (W - 1);
    if (head > this->cols) head = this->cols;
    const int packs = (this->cols - head) / W,
              share = cluster == 1 ? packs : (packs + cluster - 1) / cluster;
    first = rank * share;
    last = first + share < packs ? first + share : packs;
    ends = rank == 0 ? this->cols - packs * W : 0;
  }
  // f(element of the row, item) for the packs; those of a pack are its item's W.
  template <int PACKS, class F> __device__ __forceinline__ void each_pack(F f) const {
#pragma unroll
    for (int i = 0; i < PACKS; i++)
      if (first + i * G + lane < last) f(head + (first + i * G + lane) * W, i);
  }
  template <class F> __device__ __forceinline__ void each_edge(F f) const {
#pragma unroll
    for (int e = 0; e < EDGES; e++) {
      const int i = e * G + lane;
      if (i < ends) f(i < head ? i : cols - ends + i, e);
    }
  }
};

// On a multiprocessor, without spilling.
template <class Op>
constexpr int ROW_BLOCKS_AT_ONCE = is_half<typename Op::Element> ? (Op::COLUMNS > 0 ? 3 : 4)
                                   : Op::INPUTS > 1 || sizeof(typename Op::Element) > 4 ? 2
                                   : Op::COLUMNS > 0                                    ? 3
                                                                                        : 4;

// W neighbours of each input as they are stored. What steps make of them is kept where it has the
// same type; of 16-bit floats a step does again what those before it did, which takes fewer
// registers, so that a thread can have more on their way.
template <class Op, int W> struct Held {
  using T = typename Op::Element;
  static constexpr int N = Op::INPUTS;
  static constexpr bool AGAIN = is_half<T>;
  Pack<T, W> x[N];

  __device__ __forceinline__ void load(const Op& op, int64_t at) {
#pragma unroll
    for (int n = 0; n < N; n++) x[n] = *reinterpret_cast<const Pack<T, W>*>(op.in[n] + at);
  }
  template <class F> __device__ __forceinline__ auto at(int j, F f) {
    Compute<T> v[N];
#pragma unroll
    for (int n = 0; n < N; n++) v[n] = wide(x[n].v[j]);
    const auto value = f(v);
    if constexpr (!AGAIN)
#pragma unroll
      for (int n = 0; n < N; n++) x[n].v[j] = v[n];
    return value;
  }
};

// Joins W values to a result; sums of 16-bit floats first among themselves, which is fewer
// instructions and as exact as they are. Squares are so where their sum is far from float32's ends.
template <int W, bool PARTS, class Acc, class F, class Join>
__device__ __forceinline__ void add_parts(Acc& acc, F f, Join join) {
  constexpr bool SQUARES = PARTS && requires { f(0).root; };
  bool one_by_one = true;
  if constexpr (SQUARES) {
    float part = 0;
#pragma unroll
    for (int j = 0; j < W; j++) part = fmaf(f(j).root, f(j).root, part);
    one_by_one = !(part > 0x1p-60f && part < 0x1p100f);
    if (!one_by_one) acc = join(acc, static_cast<double>(part));
  } else if constexpr (PARTS) {
    auto part = f(0);
#pragma unroll
    for (int j = 1; j < W; j++) part = part + f(j);
    acc = join(acc, part);
  }
  if constexpr (SQUARES || !PARTS)
    if (one_by_one)
#pragma unroll
      for (int j = 0; j < W; j++) acc = join(acc, f(j));
}

// The steps for W neighbours from c on.
template <int W, class Op> struct RowSteps {
  using T = typename Op::Element;
  static constexpr bool PARTS = is_half<T>;
  const Op& op;
  bool packed;
  ColumnPacks<W, Op> k;

  template <class Known, class Acc>
  __device__ __forceinline__ void first(const Known& known, Held<Op, W>& held, int64_t c, Acc& r1) {
    k.template load<false>(op, c, packed);
    add_parts<W, PARTS && Op::ADDS>(
        r1, [&](int j) { return held.at(j, [&](auto& v) { return op.first(known, v, k[j]); }); },
        [&](auto a, auto b) { return op.join1(a, b); });
  }
  template <class Known, class Acc, class Acc2>
  __device__ __forceinline__ void second(const Known& known, Held<Op, W>& held, int64_t c,
                                         const Acc& r1, Acc2& r2) {
    if constexpr (Held<Op, W>::AGAIN) k.template load<false>(op, c, packed);
    auto of = [&](int j, auto& v) {
      if constexpr (Held<Op, W>::AGAIN) op.first(known, v, k[j]);
      return op.second(known, r1, v);
    };
    add_parts<W, PARTS>(
        r2, [&](int j) { return held.at(j, [&](auto& v) { return of(j, v); }); },
        [](auto a, auto b) { return a + b; });
  }
  template <class Known, class Acc, class All>
  __device__ __forceinline__ void result(const Known& known, Held<Op, W>& held, int64_t c,
                                         const Acc& r1, const All& all, T* y) {
    if constexpr (Held<Op, W>::AGAIN) k.template load<false>(op, c, packed);
    k.template load<true>(op, c, packed);
    Pack<T, W> pack;
#pragma unroll
    for (int j = 0; j < W; j++)
      pack.v[j] = static_cast<T>(held.at(j, [&](auto& v) {
        if constexpr (Held<Op, W>::AGAIN) {
          op.first(known, v, k[j]);
          if constexpr (Op::SECOND) op.second(known, r1, v);
        }
        return op.result(all, c + j, v, k[j]);
      }));
    *reinterpret_cast<Pack<T, W>*>(y + c) = pack;
  }
};

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
  constexpr int ROWS = BLOCK / G;
  const int rank = G == BLOCK ? static_cast<int>(blockIdx.x % cluster) : 0;
  const int64_t step = static_cast<int64_t>(gridDim.x / cluster) * ROWS;
  follow_previous_kernel();
  __shared__ Letters letters;  // for the one row of a cluster
  if (cluster > 1) open_letters(letters, cluster);
  for (int64_t r0 = static_cast<int64_t>(blockIdx.x / cluster) * ROWS; r0 < rows; r0 += step) {
    const int64_t r = r0 + threadIdx.x / G;
    const bool there = r < rows;
    const RowSpan<G, W> span(r, cols, there, shift, rank, cluster);
    Held<Op, W> held[PACKS];
    Held<Op, 1> edge[span.EDGES + 1];
    RowSteps<W, Op> steps{op, op.columns_aligned};
    RowSteps<1, Op> single{op, false};
    span.template each_pack<PACKS>([&](int c, int i) { held[i].load(op, span.start + c); });
    span.each_edge([&](int c, int e) { edge[e].load(op, span.start + c); });
    const auto known = op.row(there ? r : 0);
    auto join = [&](int which, auto value, auto with) {
      value = join_group<G>(value, with);
      if constexpr (G == BLOCK)
        if (cluster > 1) value = join_cluster(letters, which, value, cluster, with);
      return value;
    };

    auto r1 = op.start1();
    span.template each_pack<PACKS>([&](int c, int i) { steps.first(known, held[i], c, r1); });
    span.each_edge([&](int c, int e) { single.first(known, edge[e], c, r1); });
    r1 = join(0, r1, [&](auto a, auto b) { return op.join1(a, b); });
    typename Op::Acc2 r2{};
    if constexpr (Op::SECOND) {
      span.template each_pack<PACKS>(
          [&](int c, int i) { steps.second(known, held[i], c, r1, r2); });
      span.each_edge([&](int c, int e) { single.second(known, edge[e], c, r1, r2); });
      r2 = join(1, r2, [](auto a, auto b) { return a + b; });
    }
    const auto all = op.all(known, r1, r2);
    if (there && rank == 0 && threadIdx.x % G == 0) op.finish(r, all);
    if (!op.y) continue;
    auto* y = op.y + span.start;
    span.template each_pack<PACKS>(
        [&](int c, int i) { steps.result(known, held[i], c, r1, all, y); });
    span.each_edge([&](int c, int e) { single.result(known, edge[e], c, r1, all, y); });
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
        ColumnPacks<1, Op> k;
        k.template load<false>(op, c, false);
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
      k.template load<true>(op, c, false);
      op.y[r * cols + c] = static_cast<T>(op.result(all, c, v, k[0]));
    });
  }
}

template <class Op> void rows(Call& call, int64_t rows, int64_t cols, Op op) {
  using T = typename Op::Element;
  constexpr int W = 16 / sizeof(T),
                PACKS = is_half<T> ? ROW_BYTES / 16 / Op::INPUTS : ROW_BYTES / 16,
                FEW = is_half<T> && Op::INPUTS == 1 ? 4 : 8, MANY = 4 * FEW;  // threads of a warp
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
    return cols <= threads * MOST && (rows * threads >= FULL_DEVICE || cols <= threads * W);
  };
  auto start = [&](auto* kernel, Launch how, int cluster) {
    how.cluster = cluster;
    launch(call, kernel, following(call, how), rows, cols, cluster, shift, op);
  };
  if (alike && holds(FEW)) return start(rows_kernel<FEW, W, PACKS, Op>, for_groups<FEW>(rows), 1);
  if (alike && holds(MANY))
    return start(rows_kernel<MANY, W, PACKS, Op>, for_groups<MANY>(rows), 1);
  int cluster = 1;
  while (cluster < MAX_ROW_CLUSTER && cluster * MOST * BLOCK < cols) cluster *= 2;
  const int64_t blocks = rows * cluster;
  if (alike && cols <= cluster * MOST * BLOCK &&
      (cluster == 1 || (hopper_device(call) && blocks <= INT32_MAX)))
    return start(rows_kernel<BLOCK, W, PACKS, Op>, {grid_for(blocks)}, cluster);
  launch(call, long_rows_kernel<Op>, following(call, {grid_for(rows)}), rows, cols, op);
}

}  // namespace cdn
