// The next two steps: a tile of outputs per thread in registers, then 16-byte accesses. A block has
// a 128 x 128 tile of c, a thread 8 x 8 of it; 8 of k of both operands are in shared memory,
// [k][i]. Reads of shared memory are what limits the steps before: here a number that was read
// serves 8 multiply-adds, and then one instruction reads four.
#pragma once
#include "gpu/gemm/ladder/naive.h"

namespace cdn {

// The block's tile, of which 16 x 16 threads have EACH rows by EACH columns: in packs of W, the
// packs SIDE packs apart, so that a warp reads neighbouring words (no bank conflicts) and stores
// neighbouring parts of lines.
constexpr int REGISTER_TILE = 128, REGISTER_DEPTH = 8, SIDE = 16, EACH = REGISTER_TILE / SIDE;
static_assert(SIDE * SIDE == BLOCK, "16 x 16 threads");

// Adds the products of a tile of a, [k][row], and one of b, [k][column]: for each k a thread reads
// EACH + EACH numbers from shared memory for EACH * EACH multiply-adds.
template <int W, int PITCH, class T>
__device__ __forceinline__ void multiply_tiles(T (&sum)[EACH][EACH], const T (*a)[PITCH],
                                               const T (*b)[PITCH], int x, int y) {
#pragma unroll
  for (int kk = 0; kk < REGISTER_DEPTH; kk++) {
    Pack<T, W> u[EACH / W], v[EACH / W];  // of one column of a's tile, of one row of b's
#pragma unroll
    for (int i = 0; i < EACH / W; i++) {
      u[i] = *reinterpret_cast<const Pack<T, W>*>(&a[kk][(y + i * SIDE) * W]);
      v[i] = *reinterpret_cast<const Pack<T, W>*>(&b[kk][(x + i * SIDE) * W]);
    }
#pragma unroll
    for (int i = 0; i < EACH; i++)
#pragma unroll
      for (int j = 0; j < EACH; j++)
        sum[i][j] = fma(u[i / W].v[i % W], v[j / W].v[j % W], sum[i][j]);
  }
}

// Stores the sums, as whole packs where c's lines are aligned (wide).
template <int W, class T>
__device__ __forceinline__ void store_sums(const Product<T>& p, const T (&sum)[EACH][EACH],
                                           int64_t first_row, int64_t first_col, bool wide) {
#pragma unroll
  for (int i = 0; i < EACH; i++)
#pragma unroll
    for (int j = 0; j < EACH; j += W) {
      int64_t row = first_row + i / W * SIDE * W + i % W, col = first_col + j * SIDE;
      if (row >= p.m() || col >= p.n()) continue;
      T* c = p.c + row * p.n() + col;
      if (wide) {
        Pack<T, W> pack;
#pragma unroll
        for (int q = 0; q < W; q++) pack.v[q] = sum[i][j + q];
        *reinterpret_cast<Pack<T, W>*>(c) = pack;
      } else {
#pragma unroll
        for (int q = 0; q < W; q++)
          if (col + q < p.n()) c[q] = sum[i][j + q];
      }
    }
}

// A block computes a 128x128 tile of c and each of its 256 threads 8x8 outputs, held in registers:
// per step of k a thread reads 8 + 8 numbers from shared memory for 64 multiply-adds, where
// matmul_tiled reads 5 for 4.
template <class T>
__global__ void __launch_bounds__(BLOCK)
    matmul_register_tiled(Product<T> p, Batch batch, TileGrid grid) {
  constexpr int TILE = REGISTER_TILE, DEPTH = REGISTER_DEPTH;
  __shared__ T a[DEPTH][TILE + 4], b[DEPTH][TILE + 4];  // [k][row], [k][column]
  p.move_to(batch.layout, batch.first + blockIdx.z);
  TilePlace place = tile_place(grid, blockIdx.x);
  int64_t first_row = (int64_t)place.row * TILE, first_col = (int64_t)place.col * TILE;
  int x = threadIdx.x % SIDE, y = threadIdx.x / SIDE;
  T sum[EACH][EACH] = {};

  for (int64_t k = 0; k < p.k(); k += DEPTH) {
    load_tile<TILE, DEPTH, 1>(a, p.a, first_row, k);
    load_tile<TILE, DEPTH, 1>(b, p.b, first_col, k);
    __syncthreads();
    multiply_tiles<1>(sum, a, b, x, y);
    __syncthreads();
  }
  store_sums<1>(p, sum, first_row + y, first_col + x, false);
}

// matmul_register_tiled with accesses of 16 bytes: a quarter of the load instructions from global
// and from shared memory, and whole packs stored to c. For that, a thread's rows and columns come
// in packs (4 floats or 2 doubles). WIDE needs aligned operands; without it only the copy into
// shared memory goes by single numbers. A pitch of 128 + one pack keeps the transposing stores of
// load_tile in different banks.
template <bool WIDE, class T>
__global__ void __launch_bounds__(BLOCK)
    matmul_vectorized(Product<T> p, Batch batch, TileGrid grid, bool wide_c) {
  constexpr int TILE = REGISTER_TILE, DEPTH = REGISTER_DEPTH, W = 16 / sizeof(T);
  __shared__ __align__(16) T a[DEPTH][TILE + W];  // [k][row]
  __shared__ __align__(16) T b[DEPTH][TILE + W];  // [k][column]
  p.move_to(batch.layout, batch.first + blockIdx.z);
  TilePlace place = tile_place(grid, blockIdx.x);
  int64_t first_row = (int64_t)place.row * TILE, first_col = (int64_t)place.col * TILE;
  int x = threadIdx.x % SIDE, y = threadIdx.x / SIDE;
  T sum[EACH][EACH] = {};

  for (int64_t k = 0; k < p.k(); k += DEPTH) {
    load_tile<TILE, DEPTH, WIDE ? W : 1>(a, p.a, first_row, k);
    load_tile<TILE, DEPTH, WIDE ? W : 1>(b, p.b, first_col, k);
    __syncthreads();
    multiply_tiles<W>(sum, a, b, x, y);
    __syncthreads();
  }
  store_sums<W>(p, sum, first_row + y * W, first_col + x * W, wide_c);
}

}  // namespace cdn
