// The end of every kernel that computes tiles: sums on their way from the threads' registers to c,
// through shared memory. There the slices of a block and the blocks of a cluster add up theirs, in
// their order, and lines are put together for stores of neighbouring numbers, of 16 bytes where c
// allows it. A family of kernels brings its layout, which says where a sum lies in shared memory,
// swizzled to suit how its threads hold the sums, and puts them there.
#pragma once
#include "gpu/tile/hopper.h"

namespace cdn {

// Where a tile goes: as sums or, if that is null, as T to c, for 16-bit T; both point to the tile's
// first.
template <class T> struct TileOutput {
  using Sum = Compute<T>;
  static constexpr int AT_ONCE = 2;
  T* c;
  Sum* sums;
  int64_t ld;
  int rows, cols;  // of the tile that are inside
  bool wide;       // lines allow stores of 16 bytes of sums, or of as many T

  template <int W>
  __device__ __forceinline__ void store(int row, int col, const Pack<Sum, W>& x) const {
    int64_t at = row * ld + col;
    if (is_half<T> && !sums) {
      Pack<T, W> y;
#pragma unroll
      for (int w = 0; w < W; w++) y.v[w] = static_cast<T>(x.v[w]);
      *reinterpret_cast<Pack<T, W>*>(c + at) = y;
    } else {
      *reinterpret_cast<Pack<Sum, W>*>(sums + at) = x;
    }
  }
};

// The same where a functor takes a run of sums, their place in c and the column there, and stores
// what it makes of them: `first` and first_col are those of the tile's first.
template <class Finish> struct FinishOutput {
  static constexpr int AT_ONCE = 1;
  static constexpr bool wide = true;
  Finish finish;
  int64_t first, first_col;
  int rows, cols;

  template <int W> __device__ __forceinline__ void store(int row, int col, Pack<float, W> x) const {
    const int64_t place = first + row * finish.cols + col, j = first_col + col;
    if constexpr (W == Finish::PACK)
      if (finish.packs) return finish(x.v, place, j, finish.others(place));
    if (cols - col >= W)
      finish(x.v, place, j, W);
    else
      for (int e = 0; e < cols - col; e++) finish(x.v[e], place + e, j + e);
  }
};

// How much of LIMIT is left.
template <int LIMIT> __device__ __forceinline__ int clipped(int64_t left) {
  return left < 0 ? 0 : left < LIMIT ? static_cast<int>(left) : LIMIT;
}

// f(the number of blocks in a cluster, 2, 4 or 8, as a constant).
template <class F> __device__ __forceinline__ auto with_blocks(int blocks, F&& f) {
  switch (blocks) {
    case 2: return f(std::integral_constant<int, 2>{});
    case 4: return f(std::integral_constant<int, 4>{});
    default: return f(std::integral_constant<int, 8>{});
  }
}

struct BlockSync {
  __device__ __forceinline__ void operator()() const { __syncthreads(); }
};

// Layout has the type Sum, SLICES tiles of ROWS x COLS, and place(row, col) in one of them; packs
// of 16 bytes stay together. Output is TileOutput or like it; AT_ONCE: how many packs a thread has
// on their way. All of Layout::THREADS take part; thread is the place among them, and sync() makes
// them wait for one another. Nothing else uses the memory at `shared` any more.
template <class Layout, class Output, class Sync> struct TileEpilogue {
  using Sum = typename Layout::Sum;
  static constexpr int W = 16 / sizeof(Sum), PACKS = Layout::COLS / W, THREADS = Layout::THREADS,
                       SLICES = Layout::SLICES, SLICE = Layout::ROWS * Layout::COLS;
  using Part = Pack<Sum, W>;

  Sum* shared;
  Output to;
  int thread;
  Sync sync = {};

  __device__ __forceinline__ Part& part(int place) const {
    return *reinterpret_cast<Part*>(shared + place);
  }

  // Of parts 0 to COUNT - 1, read(s) each, in that order.
  template <int COUNT, class Read> static __device__ __forceinline__ Part sum_of(Read&& read) {
    Part v[COUNT];
#pragma unroll
    for (int s = 0; s < COUNT; s++) v[s] = read(s);
#pragma unroll
    for (int s = 1; s < COUNT; s++)
#pragma unroll
      for (int w = 0; w < W; w++) v[0].v[w] += v[s].v[w];
    return v[0];
  }
  __device__ __forceinline__ Part sum_of_slices(int place) const {
    return sum_of<SLICES>([&](int s) { return part(place + s * SLICE); });
  }
  // Of a pack and those `apart` from it.
  __device__ __forceinline__ Part sum_of_parts(int place, int count, int apart) const {
    Part sum = part(place);
#pragma unroll 4
    for (int s = 1; s < count; s++)
#pragma unroll
      for (int w = 0; w < W; w++) sum.v[w] += part(place + s * apart).v[w];
    return sum;
  }

  // f(row, column) for all packs of the first `rows` rows.
  template <class F> __device__ __forceinline__ void each_pack(int rows, F&& f) const {
#pragma unroll(Output::AT_ONCE)
    for (int q = thread; q < rows * PACKS; q += THREADS) f(q / PACKS, q % PACKS * W);
  }

  // Stores `rows` rows, the tile's from `first` on, which are in shared memory from row `here` on.
  // add(place) gives the sum of a pack; ADDS: it is not just what lies there. Where lines of c
  // don't allow packs, neighbouring threads store neighbouring numbers; the sums go back to shared
  // memory for that.
  template <bool ADDS, class Add>
  __device__ __forceinline__ void store_rows(int first, int rows, int here, Add&& add) const {
    rows = min(rows, to.rows - first);
    if (to.wide || ADDS)
      each_pack(rows, [&](int row, int col) {
        const int place = Layout::place(here + row, col);
        const Part sum = add(place);
        if (!to.wide)
          part(place) = sum;
        else if (col < to.cols)
          to.store(first + row, col, sum);
      });
    if (to.wide) return;
    if (ADDS) sync();
    constexpr int STEP = THREADS / Layout::COLS;  // a thread stays in its column
    static_assert(STEP * Layout::COLS == THREADS, "threads fill lines");
    const int col = thread % Layout::COLS;
    if (col >= to.cols) return;
#pragma unroll 4
    for (int row = thread / Layout::COLS; row < rows; row += STEP)
      to.store(first + row, col, Pack<Sum, 1>{shared[Layout::place(here + row, col)]});
  }

  // The block's own sums, once all have put theirs: rows of the tile from `first` on.
  __device__ __forceinline__ void store(int first = 0) const {
    store_rows<(SLICES > 1)>(first, Layout::ROWS, 0,
                             [&](int place) { return sum_of_slices(place); });
  }

#if defined(CDN_HOPPER)
  // Of the same pack in all blocks of a cluster. What takes long is the way there: its parts come
  // at once.
  template <int BLOCKS> __device__ __forceinline__ Part sum_of_blocks(int place) const {
    return sum_of<BLOCKS>([&](int r) { return hopper::read_block(part(place), r); });
  }
  __device__ __forceinline__ Part sum_of_blocks(int place, int blocks) const {
    return with_blocks(blocks,
                       [&](auto count) { return sum_of_blocks<decltype(count)::value>(place); });
  }
  // The sums of all blocks of a cluster, each block a share of the rows, read from the others'
  // shared memory: between cluster_sync_all() and cluster_sync().
  __device__ __forceinline__ void store_share(int rank, int blocks) const {
    with_blocks(blocks, [&](auto count) {
      constexpr int BLOCKS = decltype(count)::value, SHARE = Layout::ROWS / BLOCKS;
      static_assert(Layout::ROWS % BLOCKS == 0, "whole rows");
      store_rows<true>(rank * SHARE, SHARE, rank * SHARE,
                       [&](int place) { return sum_of_blocks<BLOCKS>(place); });
    });
  }
#endif
};

}  // namespace cdn
