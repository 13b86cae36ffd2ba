// How the sums of mma/mma.h lie in shared memory at their end, and how the blocks of a cluster add
// up theirs: by messages to the block that stores the rows, counted by a barrier there. See
// gpu/tile/store.h.
#pragma once
#include "gpu/gemm/mma/tile.h"
#include "gpu/tile/store.h"

namespace cdn {

// The layout, of one of the tile's HALVES if it has two.
template <class Tile, class PartA, class PartB> struct MmaSums {
  using Sum = float;
  static constexpr int ROWS = Tile::BM / Tile::HALVES, COLS = Tile::BN, SLICES = Tile::SLICES,
                       THREADS = Tile::THREADS;
  static_assert(ROWS % Tile::WM == 0, "a warp's part lies in one half");

  // Packs of a line are exchanged so that the rows that lanes write at once, neighbours or, where
  // a's groups are spread, fours apart, lie in different banks.
  static __device__ __forceinline__ int place(int row, int col) {
    const uint32_t line = (uint32_t)row, r = PartA::SPREAD ? line / 4 : line, c = (uint32_t)col;
    return (int)(line * COLS + (c / 4 ^ (r % 4 * 2 + r % 2)) * 4 + c % 4);
  }

  // put(row, column, pack) for a warp's sums, whose first are of this row and column: packs of 4,
  // or of 2.
  template <int M, int N, class Put>
  static __device__ __forceinline__ void each_pack(const float (&sum)[M][N][4], int row, int col,
                                                   Put&& put) {
    int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int i = 0; i < M; i++)
#pragma unroll
      for (int half = 0; half < 2; half++)
#pragma unroll
        for (int j = 0; j < N; j += PartB::SPREAD ? 4 : 1) {
          int r = row + PartA::vector(2 * i + half, g);
          if constexpr (PartB::SPREAD) {  // packs 2t and 2t + 1 of 32 columns
#pragma unroll
            for (int e = 2 * half; e < 2 * half + 2; e++)
              put(r, col + PartB::vector(j, 2 * t + e % 2),
                  Pack<float, 4>{sum[i][j][e], sum[i][j + 1][e], sum[i][j + 2][e],
                                 sum[i][j + 3][e]});
          } else {
            put(r, col + PartB::vector(j, 2 * t),
                Pack<float, 2>{sum[i][j][2 * half], sum[i][j][2 * half + 1]});
          }
        }
  }
  template <int M, int N>
  static __device__ __forceinline__ void put(float* shared, const float (&sum)[M][N][4], int slice,
                                             int row, int col) {
    each_pack(sum, row, col, [&](int r, int c, const auto& x) {
      *reinterpret_cast<std::decay_t<decltype(x)>*>(shared + slice * ROWS * COLS + place(r, c)) = x;
    });
  }
};

// Puts and stores the sums where the pieces of a tile are the blocks of a cluster, 2, 4 or 8: each
// of them stores some rows, for which all send it their sums, [block][row][COLS], to the memory's
// beginning or behind the slices. received: a barrier for one thread, elsewhere.
template <class Sums, class Output, int M, int N>
__device__ __forceinline__ void store_by_messages(const TileEpilogue<Sums, Output, BlockSync>& end,
                                                  const float (&sum)[M][N][4], int slice, int row,
                                                  int col, int blocks, int rank,
                                                  uint64_t* received) {
#if defined(CDN_HOPPER)
  auto parts = end;
  if (Sums::SLICES > 1) parts.shared += Sums::SLICES * end.SLICE;
  const int rows = Sums::ROWS / blocks, log_rows = 31 - __clz(rows), apart = rows * Sums::COLS;
  __syncthreads();  // the memory is free, and, after the cluster's blocks have met, that of all
  if (threadIdx.x == 0) hopper::barrier_expect(received, end.SLICE * sizeof(float));
  __syncwarp();
  hopper::cluster_arrive();
  auto send = [&](int r, int c, const auto& x) {
    const int block = r >> log_rows;
    const float* to = parts.shared + rank * apart + Sums::place(r & (rows - 1), c);
    hopper::send(hopper::address_in_block(to, block), hopper::address_in_block(received, block), x);
  };
  if constexpr (Sums::SLICES > 1) {
    Sums::put(end.shared, sum, slice, row, col);
    __syncthreads();
    hopper::cluster_wait();
    end.each_pack(Sums::ROWS,
                  [&](int r, int c) { send(r, c, end.sum_of_slices(Sums::place(r, c))); });
  } else {
    hopper::cluster_wait();
    Sums::each_pack(sum, row, col, send);
  }
  hopper::barrier_wait(received, 0);
  parts.template store_rows<true>(
      rank * rows, rows, 0, [&](int place) { return parts.sum_of_parts(place, blocks, apart); });
#endif
}

}  // namespace cdn
