// The end of mma/mma.h: the sums of a tile on their way from the warps' registers to c, through
// shared memory. There the slices of a block and the blocks of a cluster add up theirs, in their
// order, and lines of c are put together for stores of neighbouring numbers, of 16 bytes where c
// allows it.
#pragma once
#include "gpu/tile/hopper.h"
#include "gpu/gemm/mma/tile.h"

namespace cdn {

// Where a tile of the product goes: as float to sums or, if that is null, as T to c; both point to
// the tile's first.
template <class T> struct MmaOutput {
  T* c;
  float* sums;
  int64_t ld;
  int rows, cols;  // of the tile that are inside
  bool wide;       // lines allow stores of 4 numbers

  template <int W>
  __device__ __forceinline__ void store(int row, int col, const Pack<float, W>& x) const {
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

// All threads take part. shared: [slice][row][BN], of which nothing is used for anything else any
// more; rows are those of one of the tile's HALVES, if it has two.
template <class Tile, class PartA, class PartB> struct MmaSums {
  using Four = Pack<float, 4>;
  static constexpr int ROWS = Tile::BM / Tile::HALVES, PACKS = Tile::BN / 4,
                       SLICE = ROWS * Tile::BN;
  static_assert(ROWS % Tile::WM == 0, "a warp's part lies in one half");

  float* shared;
  MmaOutput<typename Tile::T> to;

  // A warp's sums, whose first are of this row and column.
  template <int M, int N>
  __device__ __forceinline__ void put(const float (&sum)[M][N][4], int slice, int row, int col) {
    each_pack(sum, row, col, [&](int r, int c, const auto& x) {
      *reinterpret_cast<std::decay_t<decltype(x)>*>(shared + slice * SLICE + place(r, c)) = x;
    });
  }

  // After put() by all threads. first: the row of the tile that row 0 here stands for.
  __device__ __forceinline__ void store(int first) {
    __syncthreads();
    store_rows(first, ROWS, Tile::SLICES, SLICE);
  }

  // In place of both, where the pieces of a tile are the blocks of a cluster, 2, 4 or 8: each of
  // them stores some rows, for which all send it their sums, [block][row][BN], to the memory's
  // beginning or behind the slices. received: a barrier for one thread, elsewhere.
  template <int M, int N>
  __device__ __forceinline__ void join(const float (&sum)[M][N][4], int slice, int row, int col,
                                       int blocks, int rank, uint64_t* received) {
#if defined(CDN_HOPPER)
    constexpr int PARTS = Tile::SLICES > 1 ? Tile::SLICES * SLICE : 0;
    MmaSums parts{shared + PARTS, to};
    const int rows = ROWS / blocks, log_rows = 31 - __clz(rows), apart = rows * Tile::BN;
    __syncthreads();  // the memory is free, and, after the cluster's blocks have met, that of all
    if (threadIdx.x == 0) hopper::barrier_expect(received, SLICE * sizeof(float));
    __syncwarp();
    hopper::cluster_arrive();
    auto send = [&](int r, int c, const auto& x) {
      const int block = r >> log_rows;
      const uint32_t there =
          hopper::address_in_block(parts.shared + rank * apart + place(r & (rows - 1), c), block);
      hopper::send(there, hopper::address_in_block(received, block), vector_of(x));
    };
    if constexpr (Tile::SLICES > 1) {
      put(sum, slice, row, col);
      __syncthreads();
      hopper::cluster_wait();
      for (int q = (int)threadIdx.x; q < ROWS * PACKS; q += Tile::THREADS)
        send(q / PACKS, q % PACKS * 4,
             sum_of(place(q / PACKS, q % PACKS * 4), Tile::SLICES, SLICE));
    } else {
      hopper::cluster_wait();
      each_pack(sum, row, col, send);
    }
    hopper::barrier_wait(received, 0);
    parts.store_rows(rank * rows, rows, blocks, apart);
#endif
  }

 private:
  // put(row, column, pack) for what a thread has: packs of 4, or of 2.
  template <int M, int N, class Put>
  __device__ __forceinline__ void each_pack(const float (&sum)[M][N][4], int row, int col,
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
                  Four{sum[i][j][e], sum[i][j + 1][e], sum[i][j + 2][e], sum[i][j + 3][e]});
          } else {
            put(r, col + PartB::vector(j, 2 * t),
                Pack<float, 2>{sum[i][j][2 * half], sum[i][j][2 * half + 1]});
          }
        }
  }

  // Packs of a line are exchanged so that the rows that lanes write at once, neighbours or, where
  // a's groups are spread, fours apart, lie in different banks.
  static __device__ __forceinline__ int place(int row, int col) {
    int r = PartA::SPREAD ? row / 4 : row;
    return row * Tile::BN + (col / 4 ^ (r % 4 * 2 + r % 2)) * 4 + col % 4;
  }

  __device__ __forceinline__ Four& four(int at) const {
    return *reinterpret_cast<Four*>(shared + at);
  }

  static __device__ __forceinline__ float4 vector_of(const Four& x) {
    return {x.v[0], x.v[1], x.v[2], x.v[3]};
  }
  static __device__ __forceinline__ float2 vector_of(const Pack<float, 2>& x) {
    return {x.v[0], x.v[1]};
  }

  // Of a pack and those `apart` from it, in their order.
  __device__ __forceinline__ Four sum_of(int at, int count, int apart) const {
    Four sum = four(at);
#pragma unroll 4
    for (int s = 1; s < count; s++) {
      const Four part = four(at + s * apart);
#pragma unroll
      for (int w = 0; w < 4; w++) sum.v[w] += part.v[w];
    }
    return sum;
  }

  // Adds up `count` parts of `rows` rows, which are `apart` in the memory, in their order. Where
  // lines of c don't allow packs, neighbouring threads store neighbouring numbers; the sums go back
  // to the first part for that.
  __device__ __forceinline__ void store_rows(int first, int rows, int count, int apart) {
    if (to.wide || count > 1) {
#pragma unroll 2
      for (int q = (int)threadIdx.x; q < rows * PACKS; q += Tile::THREADS) {
        const int row = q / PACKS, col = q % PACKS * 4, at = place(row, col);
        if (first + row >= to.rows || col >= to.cols) continue;
        const Four sum = sum_of(at, count, apart);
        if (to.wide)
          to.store(first + row, col, sum);
        else
          four(at) = sum;
      }
    }
    if (to.wide) return;
    if (count > 1) __syncthreads();
    constexpr int STEP = Tile::THREADS / Tile::BN;  // a thread stays in its column
    static_assert(STEP * Tile::BN == Tile::THREADS, "threads fill lines");
    const int col = (int)threadIdx.x % Tile::BN;
    if (col >= to.cols) return;
    if (rows > to.rows - first) rows = to.rows - first;
#pragma unroll 4
    for (int row = (int)threadIdx.x / Tile::BN; row < rows; row += STEP)
      to.store(first + row, col, Pack<float, 1>{shared[place(row, col)]});
  }
};

}  // namespace cdn
