// The scan driver as kernels. Included by drivers.h only.
//
// Along rows (inner is 1) a group of G threads takes tiles of a few neighbouring elements a thread:
// a thread scans its own, the group scans the threads' totals by shuffles, and a running total goes
// from tile to tile. What neighbours in memory are comes and goes by neighbouring threads, and
// changes hands in shared memory, unless it comes and goes by packs. Otherwise a thread walks down
// a column, so that neighbours read neighbours. Where that is too little work for the device the
// axis is cut into pieces: their totals, the scan of the totals, which along rows each block does
// for itself, then each piece from where the one before it ended. Reading twice keeps the order of
// joining fixed, which a chain of blocks that wait for one another does not.
#pragma once
#include "gpu/kernel/drivers.h"

namespace cdn {

template <class Acc> constexpr int SCAN_ITEMS = sizeof(Acc) > 8 ? 4 : 8;  // of a thread in a tile

template <class T> __device__ T shuffle_up(T value, int delta, int width) {
  return shuffled(value, [=](int w) { return __shfl_up_sync(0xffffffffu, w, delta, width); });
}

template <class T> __device__ T shuffle_from(T value, int lane, int width) {
  return shuffled(value, [=](int w) { return __shfl_sync(0xffffffffu, w, lane, width); });
}

// The join of the values of the threads before this one in its group, and that of all. All threads
// of the block must call it.
template <int G, class Join, class Acc>
__device__ Acc scan_group(const Join& op, Acc value, Acc* all) {
  constexpr int WIDTH = G < 32 ? G : 32;
  int lane = threadIdx.x % WIDTH;
#pragma unroll
  for (int delta = 1; delta < WIDTH; delta *= 2) {
    Acc earlier = shuffle_up(value, delta, WIDTH);
    if (lane >= delta) value = op.join(earlier, value);
  }
  Acc before = shuffle_up(value, 1, WIDTH);
  if (lane == 0) before = op.start();
  if (G <= 32) {
    *all = shuffle_from(value, WIDTH - 1, WIDTH);
    return before;
  }
  __shared__ __align__(16) char memory[sizeof(Acc) * (BLOCK / 32)];
  Acc* shared = reinterpret_cast<Acc*>(memory);
  int warp = threadIdx.x / 32;
  __syncthreads();  // an earlier use of the memory is over
  if (lane == 31) shared[warp] = value;
  __syncthreads();
  Acc ahead = op.start(), total = op.start();
  for (int w = 0; w < BLOCK / 32; w++) {
    if (w == warp) ahead = total;
    total = op.join(total, shared[w]);
  }
  *all = total;
  return op.join(ahead, before);
}

// Sums and products of one tensor, which may be joined in any order, and whose results lie where
// the elements do: they are read and written by packs of W.
template <class Op> constexpr bool KNOWS_X = requires(Op op) { op.x, op.y.last; };

// ITEMS of a thread from k along the axis, or, backwards, up to it: packs as they are on their way.
template <int W, int ITEMS, class Op> struct ScanPacks {
  using T = std::decay_t<decltype(*std::declval<Op>().x)>;
  Pack<T, W> pack[ITEMS / W];

  // `begun` is where the first lies, and `count` how many there are; whole packs.
  __device__ __forceinline__ void fetch(const Op& op, int64_t begun, int64_t count,
                                        bool backwards) {
#pragma unroll
    for (int j = 0; j < ITEMS; j += W)
      if (j < count) {
        const int64_t at = backwards ? begun - j - (W - 1) : begun + j;
        pack[j / W] = *reinterpret_cast<const Pack<T, W>*>(op.x + at);
      }
  }
  template <class Acc>
  __device__ __forceinline__ void items(const Op& op, Acc* item, int64_t count,
                                        bool backwards) const {
#pragma unroll
    for (int j = 0; j < ITEMS; j++) {
      const auto& from = pack[j / W].v[backwards ? W - 1 - j % W : j % W];
      item[j] = j < count ? static_cast<Acc>(wide(from)) : op.start();
    }
  }
};

// stores: the results, from the totals of the pieces where there are several. Otherwise: those
// totals, of pieces for whole blocks.
template <int G, int W, class Op, class Acc>
__global__ void __launch_bounds__(BLOCK, W == 2 || W == 4 || sizeof(Acc) > 8 ? 3 : 4)
    scan_row_kernel(Split s, bool reverse, bool stores, Op op, Acc* totals) {
  constexpr int ROWS = BLOCK / G, ITEMS = SCAN_ITEMS<Acc>, WIDTH = G < 32 ? G : 32;
  // A place between those of neighbours keeps them in different banks.
  __shared__ __align__(16) char memory[W > 1 ? 16 : sizeof(Acc) * BLOCK * (ITEMS + 1)];
  follow_previous_kernel();
  Acc* stage = reinterpret_cast<Acc*>(memory) + threadIdx.x / WIDTH * WIDTH * (ITEMS + 1);
  if (G < BLOCK) stores = true;
  int lane = threadIdx.x % G, nth = threadIdx.x % WIDTH;
  int64_t tasks = s.outer * s.splits;
  for (int64_t first = (int64_t)blockIdx.x * ROWS; first < tasks;
       first += (int64_t)gridDim.x * ROWS) {
    int64_t task = first + threadIdx.x / G;
    bool there = task < tasks;
    // Backwards, so that what the totals' pass has read last is found in the cache.
    if (G == BLOCK && stores && totals) task = tasks - 1 - task;
    int64_t o = task / s.splits, piece = task - o * s.splits, begin = piece * s.piece;
    int64_t end = begin + s.piece < s.axis ? begin + s.piece : s.axis;
    if (!there) end = begin;
    Acc carry = op.start();
    if (G == BLOCK && stores && totals && piece > 0) {
      const int64_t share = ceil_div(piece, BLOCK), to = (threadIdx.x + 1) * share;
      Acc own = op.start();
#pragma unroll 4
      for (int64_t t = to - share; t < (to < piece ? to : piece); t++)
        own = op.join(own, totals[task - piece + t]);
      scan_group<G>(op, own, &carry);
    }
    // Where the thread's items of a step begin, and how many there are.
    auto first_of = [&](int64_t step) { return begin + step + lane * ITEMS; };
    auto place_of = [&](int64_t from) { return o * s.axis + (reverse ? s.axis - 1 - from : from); };
    if constexpr (W > 1) {
      if (!stores) {  // only totals, for which packs of several steps are on their way
        constexpr int AHEAD = sizeof(*op.x) > 4 ? 1 : 2;
        for (int64_t step = 0; step < s.piece; step += AHEAD * G * ITEMS) {
          ScanPacks<W, ITEMS, Op> packs[AHEAD];
#pragma unroll
          for (int u = 0; u < AHEAD; u++) {
            const int64_t from = first_of(step + u * G * ITEMS);
            packs[u].fetch(op, place_of(from), end - from, reverse);
          }
#pragma unroll
          for (int u = 0; u < AHEAD; u++) {
            Acc item[ITEMS];
            packs[u].items(op, item, end - first_of(step + u * G * ITEMS), reverse);
#pragma unroll
            for (int j = 1; j < ITEMS; j++) item[0] = op.join(item[0], item[j]);
            carry = op.join(carry, item[0]);
          }
        }
        carry = join_group<G>(carry, [&](Acc a, Acc b) { return op.join(a, b); });
        if (lane == 0 && there) totals[task] = carry;
        continue;
      }
    }
    std::conditional_t<(W > 1), ScanPacks<W, ITEMS, Op>, char> next;
    if constexpr (W > 1) next.fetch(op, place_of(first_of(0)), end - first_of(0), reverse);
    // All groups of a block take as many steps: they meet in shuffles and at barriers.
    for (int64_t step = 0; step < s.piece; step += G * ITEMS) {
      const int64_t from = first_of(step);
      Acc item[ITEMS], total;
      if constexpr (W > 1) {
        next.items(op, item, end - from, reverse);
        const int64_t then = first_of(step + G * ITEMS);
        next.fetch(op, place_of(then), end - then, reverse);
      } else {
#pragma unroll
        for (int j = 0; j < ITEMS; j++) {
          const int64_t k = reverse ? s.axis - 1 - (from + j) : from + j;
          item[j] = from + j < end ? op.load(o * s.axis + k, k) : op.start();
        }
      }
#pragma unroll
      for (int j = 1; j < ITEMS; j++) item[j] = op.join(item[j - 1], item[j]);
      Acc before = op.join(carry, scan_group<G>(op, item[ITEMS - 1], &total));
#pragma unroll
      for (int j = 0; j < ITEMS; j++) item[j] = op.join(before, item[j]);
      if constexpr (W > 1) {
        using T = std::decay_t<decltype(*op.x)>;
#pragma unroll
        for (int j = 0; j < ITEMS; j += W) {
          int64_t i = from + j;
          Pack<T, W> out;
#pragma unroll
          for (int w = 0; w < W; w++)
            out.v[w] = static_cast<T>(reverse ? item[j + W - 1 - w] : item[j + w]);
          T* to = op.y.y + o * s.axis + (reverse ? s.axis - W - i : i);
          if (i < end) *reinterpret_cast<Pack<T, W>*>(to) = out;
        }
      } else if (stores) {
        __syncwarp();  // the step before is out
#pragma unroll
        for (int j = 0; j < ITEMS; j++) stage[nth * (ITEMS + 1) + j] = item[j];
        __syncwarp();
#pragma unroll
        for (int j = 0; j < ITEMS; j++) {
          int at = j * WIDTH + nth;
          int64_t i = from - nth * ITEMS + at, k = reverse ? s.axis - 1 - i : i;
          if (i < end) op.store(o * s.axis + k, k, stage[at + at / ITEMS]);
        }
      }
      carry = op.join(carry, total);
    }
    if (!stores && lane == 0 && there) totals[task] = carry;
  }
}

template <bool STORE, class Op, class Acc>
__global__ void __launch_bounds__(BLOCK)
    scan_column_kernel(Split s, bool reverse, Op op, Acc* totals) {
  constexpr int AHEAD = 8;  // loads under way at a time
  int64_t columns = s.outer * s.splits * s.inner;
  for (int64_t c = (int64_t)blockIdx.x * BLOCK + threadIdx.x; c < columns;
       c += (int64_t)gridDim.x * BLOCK) {
    int64_t task = c / s.inner, i = c - task * s.inner, o = task / s.splits,
            piece = task - o * s.splits;
    int64_t begin = piece * s.piece, end = begin + s.piece < s.axis ? begin + s.piece : s.axis;
    Acc carry = op.start();
    if (STORE && totals && piece > 0) carry = totals[c - s.inner];
    for (int64_t from = begin; from < end; from += AHEAD) {
      Acc item[AHEAD];
#pragma unroll
      for (int j = 0; j < AHEAD; j++) {
        int64_t k = reverse ? s.axis - 1 - (from + j) : from + j;
        if (from + j < end) item[j] = op.load((o * s.axis + k) * s.inner + i, k);
      }
#pragma unroll
      for (int j = 0; j < AHEAD; j++) {
        int64_t k = reverse ? s.axis - 1 - (from + j) : from + j;
        if (from + j >= end) break;
        carry = op.join(carry, item[j]);
        if (STORE) op.store((o * s.axis + k) * s.inner + i, k, carry);
      }
    }
    if (!STORE) totals[c] = carry;
  }
}

// The totals of the pieces, scanned in place.
template <class Join> struct ScanTotals : Join {
  using Base = Join;
  using Acc = typename Join::Acc;
  Acc* totals;
  __device__ Acc load(int64_t at, int64_t) const { return totals[at]; }
  __device__ void store(int64_t at, int64_t, Acc acc) const { totals[at] = acc; }
};

template <bool STORE, int W, class Op, class Acc>
void launch_rows(Call& call, const Split& s, bool reverse, Op op, Acc* totals) {
  int64_t tasks = s.outer * s.splits;
  auto by = [&]<int G>(std::integral_constant<int, G>) {
    launch(call, scan_row_kernel<G, W, Op, Acc>, following(call, for_groups<G>(tasks)), s, reverse,
           STORE, op, totals);
  };
  if constexpr (STORE) {
    if (s.piece <= 64) return by(std::integral_constant<int, 8>{});
    if (s.piece <= (tasks < 2048 ? 256 : 1024)) return by(std::integral_constant<int, 32>{});
  }
  by(std::integral_constant<int, BLOCK>{});
}

template <bool STORE, class Op, class Acc>
void launch_scan(Call& call, const Split& s, bool reverse, Op op, Acc* totals) {
  if (s.inner > 1)
    return launch(call, scan_column_kernel<STORE, Op, Acc>,
                  for_each_of(s.outer * s.splits * s.inner), s, reverse, op, totals);
  if constexpr (KNOWS_X<Op>) {
    constexpr int W = 16 / sizeof(*op.x);
    if (s.axis % W == 0 && aligned16(op.x) && aligned16(op.y.y) && op.y.last < 0)
      return launch_rows<STORE, W>(call, s, reverse, op, totals);
  }
  launch_rows<STORE, 1>(call, s, reverse, op, totals);
}

template <class Op>
void scan(Call& call, int64_t outer, int64_t axis, int64_t inner, bool reverse, Op op) {
  if (outer * axis * inner == 0) return;
  // As many pieces as fill the device, by the sizes alone: blocks along rows, threads down columns.
  constexpr int64_t ENOUGH_BLOCKS = 512, ENOUGH_THREADS = ENOUGH_BLOCKS * BLOCK / 2;
  int64_t natural = outer * inner, enough = inner > 1 ? ENOUGH_THREADS : ENOUGH_BLOCKS, splits = 1;
  int64_t wanted = (inner > 1 ? 2 : 4) * enough, least = inner > 1 ? 64 : 2048;  // of a piece
  if (natural <= enough && axis >= (inner > 1 ? 4 : 8) * least) {
    splits = (wanted + natural - 1) / natural;
    if (splits > axis / least) splits = axis / least;
  }
  int64_t piece = ceil_div(ceil_div(axis, splits), 8) * 8;  // whole packs
  splits = ceil_div(axis, piece);
  Split s{outer, axis, inner, splits, piece};
  using Join = typename Op::Base;
  using Acc = typename Join::Acc;
  if (splits == 1) return launch_scan<true, Op, Acc>(call, s, reverse, op, nullptr);
  Acc* totals = call.scratch<Acc>(outer * splits * inner);
  launch_scan<false>(call, s, reverse, op, totals);
  if (inner > 1) {
    ScanTotals<Join> over;
    static_cast<Join&>(over) = op;
    over.totals = totals;
    scan(call, outer, splits, inner, false, over);
  }
  launch_scan<true>(call, s, reverse, op, totals);
}

}  // namespace cdn
