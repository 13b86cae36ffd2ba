// How the sums of simt's kernels lie in shared memory at their end: see gpu/tile/store.h.
#pragma once
#include "gpu/gemm/simt/tile.h"
#include "gpu/tile/store.h"

namespace cdn {

template <class Tile> struct SimtSums {
  using Sum = typename Tile::T;
  static constexpr int W = Tile::W, ROWS = Tile::BM, COLS = Tile::BN, SLICES = Tile::SLICES,
                       THREADS = Tile::THREADS;
  static constexpr int BYTES = SLICES * ROWS * COLS * (int)sizeof(Sum);
  static_assert(COLS / W % 8 == 0, "packs are exchanged within eights");

  // Packs of a line are exchanged, so that the lanes of a warp, which hold packs below one another,
  // write to different banks.
  static __device__ __forceinline__ int place(int row, int col) {
    return row * COLS + (col / W ^ row / W % 8) * W + col % W;
  }
};

// A thread's sums to shared memory, and all sums from there to c, each slice and each of the
// cluster's `blocks` in its order.
template <class Tile, class Sync>
__device__ __forceinline__ void store_sums(
    const TileEpilogue<SimtSums<Tile>, TileOutput<typename Tile::T>, Sync>& end,
    const typename Tile::T (&sum)[Tile::TM][Tile::TN], const TileThread<Tile>& own, int rank,
    int blocks) {
  using Sums = SimtSums<Tile>;
  constexpr int W = Tile::W;
  // By single numbers, which leaves the compiler free to place the sums in any registers: it finds
  // places with fewer conflicts then.
#pragma unroll
  for (int i = 0; i < Tile::TM; i++)
#pragma unroll
    for (int j = 0; j < Tile::TN; j += W) {
      const int at = own.slice * end.SLICE + Sums::place(own.row_of(i), own.col_of(j));
#pragma unroll
      for (int w = 0; w < W; w++)
        *const_cast<volatile typename Tile::T*>(end.shared + at + w) = sum[i][j + w];
    }
  end.sync();
  if (blocks == 1) return end.store();
#if defined(CDN_HOPPER)
  if (Tile::SLICES > 1)
    end.each_pack(Tile::BM, [&](int row, int col) {
      const int place = Sums::place(row, col);
      end.part(place) = end.sum_of_slices(place);
    });
  __syncwarp();  // the cluster's barriers want whole warps
  hopper::cluster_sync_all();
  end.store_share(rank, blocks);
  __syncwarp();
  hopper::cluster_sync();  // a block must not leave while others read from it
#endif
}

}  // namespace cdn
