// The sums of a tile on their way from the threads' registers to c, through shared memory: there
// the slices of a block and the blocks of a cluster add up theirs, and lines of c are put together
// for stores of neighbouring numbers.
#pragma once
#include "gpu/tile/hopper.h"
#include "gpu/gemm/simt/tile.h"

namespace cdn {

// All THREADS that computed the tile take part; thread is the place among them, and sync() makes
// them wait for one another. `shared` has room for NUMBERS numbers, which nothing else uses any
// more.
template <class Tile> struct TileSums {
  using T = typename Tile::T;
  static constexpr int W = Tile::W, TM = Tile::TM, TN = Tile::TN, THREADS = Tile::THREADS;
  static constexpr int PACKS = Tile::BN / W, SLICE = Tile::BM * Tile::BN;
  static constexpr int NUMBERS = Tile::SLICES * SLICE;
  static_assert(PACKS % 8 == 0, "packs are exchanged within eights");
  using Part = Pack<T, W>;

  const Product<T>& p;
  const BlockPart<Tile>& at;
  T *c, *shared;
  int thread, joined;
  bool wide;

  // By single numbers, which leaves the compiler free to place the sums in any registers: it finds
  // places with fewer conflicts then.
  __device__ __forceinline__ void put(const T (&sum)[TM][TN], const TileThread<Tile>& own) const {
    T* to = shared + own.slice * SLICE;
#pragma unroll
    for (int i = 0; i < TM; i++)
#pragma unroll
      for (int j = 0; j < TN; j += W) {
        T* place = to + place_of(own.row_of(i), own.col_of(j) / W);
#pragma unroll
        for (int w = 0; w < W; w++) *const_cast<volatile T*>(place + w) = sum[i][j + w];
      }
  }

  // After put(): adds up the slices in their order, then the cluster's blocks in theirs, and
  // stores.
  template <class Sync> __device__ __forceinline__ void store(Sync sync) const {
    sync();
    if (joined == 1) {
      for (int q = thread; q < Tile::BM * PACKS; q += THREADS)
        store_part(q, sum_of_slices(place_of(q)));
      store_lines(sync, 0, Tile::BM);
      return;
    }
#if defined(CDN_HOPPER)
    if (Tile::SLICES > 1)
      for (int q = thread; q < Tile::BM * PACKS; q += THREADS)
        *reinterpret_cast<Part*>(shared + place_of(q)) = sum_of_slices(place_of(q));
    __syncwarp();  // the cluster's barriers want whole warps
    hopper::cluster_sync_all();
    switch (joined) {  // each block adds up, and stores, a part of the rows
      case 2: store_rows<2>(); break;
      case 4: store_rows<4>(); break;
      default: store_rows<8>(); break;
    }
    const int rows = Tile::BM / joined;
    store_lines(sync, at.piece * rows, (at.piece + 1) * rows);
    __syncwarp();
    hopper::cluster_sync();  // a block must not leave while others read from it
#endif
  }

 private:
  // Packs of a line are exchanged, so that the lanes of a warp, which hold packs below one another,
  // write to different banks.
  static __device__ __forceinline__ int place_of(int row, int pack) {
    return row * Tile::BN + (pack ^ row / W % 8) * W;
  }
  static __device__ __forceinline__ int place_of(int q) { return place_of(q / PACKS, q % PACKS); }

  __device__ __forceinline__ Part sum_of_slices(int place) const {
    Part v[Tile::SLICES];
#pragma unroll
    for (int s = 0; s < Tile::SLICES; s++)
      v[s] = *reinterpret_cast<const Part*>(shared + s * SLICE + place);
#pragma unroll
    for (int s = 1; s < Tile::SLICES; s++)
#pragma unroll
      for (int w = 0; w < W; w++) v[0].v[w] += v[s].v[w];
    return v[0];
  }

  // q: of the tile's packs, row by row. Where lines of c do not allow packs, they wait for
  // store_lines().
  __device__ __forceinline__ void store_part(int q, const Part& part) const {
    int64_t r = at.first_row + q / PACKS, j = at.first_col + q % PACKS * W;
    if (!wide)
      *reinterpret_cast<Part*>(shared + place_of(q)) = part;
    else if (r < p.m() && j < p.n())
      *reinterpret_cast<Part*>(c + r * p.n() + j) = part;
  }

  // Neighbouring threads store neighbouring numbers; a thread stays in its column.
  template <class Sync>
  __device__ __forceinline__ void store_lines(Sync sync, int first, int last) const {
    constexpr int STEP = THREADS / Tile::BN;
    static_assert(STEP * Tile::BN == THREADS, "threads fill lines");
    if (wide) return;
    sync();
    const int col = thread % Tile::BN;
    const int64_t left = p.m() - at.first_row, apart = STEP * p.n();
    if (at.first_col + col >= p.n()) return;
    if (left < last) last = static_cast<int>(left);
    int row = first + thread / Tile::BN;
    T* to = c + (at.first_row + row) * p.n() + at.first_col + col;
#pragma unroll 4
    for (; row < last; row += STEP, to += apart) *to = shared[place_of(row, col / W) + col % W];
  }

#if defined(CDN_HOPPER)
  // The parts of a pack come from all blocks at once, and two packs at a time: what takes long is
  // the way there.
  template <int BLOCKS> __device__ __forceinline__ void store_rows() const {
    constexpr int SHARE = Tile::BM / BLOCKS * PACKS;
    static_assert(Tile::BM % BLOCKS == 0, "whole rows");
#pragma unroll 2
    for (int q = at.piece * SHARE + thread; q < (at.piece + 1) * SHARE; q += THREADS) {
      float4 four[BLOCKS];
#pragma unroll
      for (int r = 0; r < BLOCKS; r++)
        four[r] = hopper::read_four(hopper::address_in_block(shared + place_of(q), r));
      Part sum, part;
      memcpy(&sum, &four[0], sizeof(Part));
#pragma unroll
      for (int r = 1; r < BLOCKS; r++) {
        memcpy(&part, &four[r], sizeof(Part));
#pragma unroll
        for (int w = 0; w < W; w++) sum.v[w] += part.v[w];
      }
      store_part(q, sum);
    }
  }
#endif
};

}  // namespace cdn
