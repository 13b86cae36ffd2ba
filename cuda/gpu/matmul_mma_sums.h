// The end of matmul_mma.h: the sums of a tile on their way from the warps' registers to c, through shared memory. There
// the slices of a block and the blocks of a cluster add up theirs, in their order, and lines of c are put together for
// stores of neighbouring numbers, of 16 bytes where c allows it.
#pragma once
#include "hopper.h"
#include "matmul_mma_tile.h"

namespace cdn {

// Where a tile of the product goes: as float to sums or, if that is null, as T to c; both point to the tile's first.
template <class T> struct MmaOutput {
  T* c;
  float* sums;
  int64_t ld;
  int rows, cols;  // of the tile that are inside
  bool wide;       // lines allow stores of 4 numbers

  template <int W> __device__ __forceinline__ void store(int row, int col, const Pack<float, W>& x) const {
    int64_t at = row * ld + col;
    if (is_half<T> && !sums) {
      Pack<T, W> y;
#pragma unroll
      for (int w = 0; w < W; w++) y.v[w] = static_cast<T>(x.v[w]);
      *reinterpret_cast<Pack<T, W>*>(c + at) = y;
    } else {
      *reinterpret_cast<Pack<float, W>*>(sums + at) = x;
    }
  }
};

// All threads take part. shared: [slice][row][BN], of which nothing is used for anything else any more; rows are those
// of one of the tile's HALVES, if it has two.
template <class Tile, class PartA, class PartB> struct MmaSums {
  using Four = Pack<float, 4>;
  static constexpr int ROWS = Tile::BM / Tile::HALVES, PACKS = Tile::BN / 4, SLICE = ROWS * Tile::BN;
  static_assert(ROWS % Tile::WM == 0, "a warp's part lies in one half");

  float* shared;
  MmaOutput<typename Tile::T> to;

  // A warp's sums, whose first are of this row and column.
  template <int M, int N>
  __device__ __forceinline__ void put(const float (&sum)[M][N][4], int slice, int row, int col) {
    int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    float* slot = shared + slice * SLICE;
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
              *reinterpret_cast<Four*>(slot + place(r, (col + PartB::vector(j, 2 * t + e % 2)) / 4)) = {
                  sum[i][j][e], sum[i][j + 1][e], sum[i][j + 2][e], sum[i][j + 3][e]};
          } else {
            int q = col + PartB::vector(j, 2 * t);
            *reinterpret_cast<Pack<float, 2>*>(slot + place(r, q / 4) + q % 4) = {sum[i][j][2 * half],
                                                                                  sum[i][j][2 * half + 1]};
          }
        }
  }

  // After put() by all threads. first: the row of the tile that row 0 here stands for. Each of the joined blocks adds
  // up, and stores, a part of the rows.
  __device__ __forceinline__ void store(int first, int joined, int rank) {
    __syncthreads();
    int share = ROWS;
    if (joined == 1) {
      if (to.wide || Tile::SLICES > 1) store_packs<1>(first, 0);
    } else {
#if defined(CDN_HOPPER)
      if (Tile::SLICES > 1)
        for (int q = threadIdx.x; q < ROWS * PACKS; q += Tile::THREADS)
          *reinterpret_cast<Four*>(shared + place(q)) = sum_of_slices(place(q));
      __syncwarp();  // the cluster's barriers want whole warps
      hopper::cluster_sync_all();
      switch (joined) {
        case 2: store_packs<2>(first, rank), share = ROWS / 2; break;
        case 4: store_packs<4>(first, rank), share = ROWS / 4; break;
        default: store_packs<8>(first, rank), share = ROWS / 8; break;
      }
#endif
    }
    if (!to.wide) {
      if (joined > 1 || Tile::SLICES > 1) __syncthreads();
      store_numbers(first, rank * share, share);
    }
#if defined(CDN_HOPPER)
    if (joined == 1) return;
    __syncwarp();
    hopper::cluster_sync();  // a block must not leave, or use its memory, while others read from it
#endif
  }

 private:
  // Packs of a line are exchanged so that the rows that lanes write at once, neighbours or, where a's groups are
  // spread, fours apart, lie in different banks.
  static __device__ __forceinline__ int place(int row, int pack) {
    int r = PartA::SPREAD ? row / 4 : row;
    return row * Tile::BN + (pack ^ (r % 4 * 2 + r % 2)) * 4;
  }
  static __device__ __forceinline__ int place(int q) { return place(q / PACKS, q % PACKS); }

  __device__ __forceinline__ Four sum_of_slices(int at) const {
    Four v[Tile::SLICES];
#pragma unroll
    for (int s = 0; s < Tile::SLICES; s++) v[s] = *reinterpret_cast<const Four*>(shared + s * SLICE + at);
#pragma unroll
    for (int s = 1; s < Tile::SLICES; s++) add(v[0], v[s]);
    return v[0];
  }
  static __device__ __forceinline__ void add(Four& x, const Four& y) {
#pragma unroll
    for (int w = 0; w < 4; w++) x.v[w] += y.v[w];
  }

  // The parts of a pack come from all blocks at once: what takes long is the way there.
  template <int BLOCKS> __device__ __forceinline__ Four sum_of_all(int at) const {
#if defined(CDN_HOPPER)
    if constexpr (BLOCKS > 1) {
      float4 v = hopper::sum_of_blocks<BLOCKS>(shared + at);
      return {v.x, v.y, v.z, v.w};
    }
#endif
    return sum_of_slices(at);
  }

  // Where lines of c don't allow packs, the sums go back to where no other block reads, for store_numbers().
  template <int BLOCKS> __device__ __forceinline__ void store_packs(int first, int rank) {
    constexpr int SHARE = ROWS / BLOCKS;
    const int begin = rank * SHARE;
#pragma unroll 2
    for (int q = begin * PACKS + (int)threadIdx.x; q < (begin + SHARE) * PACKS; q += Tile::THREADS) {
      int row = first + q / PACKS, col = q % PACKS * 4;
      if (row >= to.rows || col >= to.cols) continue;
      Four sum = sum_of_all<BLOCKS>(place(q));
      if (to.wide)
        to.store(row, col, sum);
      else
        *reinterpret_cast<Four*>(shared + place(q)) = sum;
    }
  }

  // Neighbouring threads store neighbouring numbers.
  __device__ __forceinline__ void store_numbers(int first, int begin, int share) {
#pragma unroll 4
    for (int e = begin * Tile::BN + (int)threadIdx.x; e < (begin + share) * Tile::BN; e += Tile::THREADS) {
      int r = e / Tile::BN, col = e % Tile::BN;
      if (first + r < to.rows && col < to.cols)
        to.store(first + r, col, Pack<float, 1>{shared[place(r, col / 4) + col % 4]});
    }
  }
};

}  // namespace cdn
