// The next two steps: a tile of outputs per thread in registers, then 16-byte accesses. A block has
// a 128 x 128 tile of c, a thread 8 x 8 of it; 8 of k of both operands are in shared memory,
// [k][i]. Reads of shared memory are what limits the steps before: here a number that was read
// serves 8 multiply-adds, and then one instruction reads four.
#pragma once
#include "gpu/gemm/ladder/naive.h"

namespace cdn {

// A block computes a 128x128 tile of c and each of its 256 threads 8x8 outputs, held in registers:
// per step of k a thread reads 8 + 8 numbers from shared memory for 64 multiply-adds, where
// matmul_tiled reads 5 for 4. A thread's rows and columns lie 16 apart, so that a warp reads
// neighbouring words (no bank conflicts) and stores half lines of c.
template <class T>
__global__ void __launch_bounds__(BLOCK)
    matmul_register_tiled(Product<T> p, Batch batch, TileGrid grid) {
  constexpr int TILE = 128, DEPTH = 8, SIDE = 16, EACH = TILE / SIDE;
  static_assert(SIDE * SIDE == BLOCK, "16 x 16 threads");
  __shared__ T a[DEPTH][TILE + 4], b[DEPTH][TILE + 4];  // [k][row], [k][column]
  p.move_to(batch.layout, batch.first + blockIdx.z);
  TilePlace place = tile_place(grid, blockIdx.x);
  int64_t first_row = (int64_t)place.row * TILE, first_col = (int64_t)place.col * TILE;
  int x = threadIdx.x % SIDE, y = threadIdx.x / SIDE;
  T sum[EACH][EACH] = {};

  for (int64_t k = 0; k < p.k(); k += DEPTH) {
    load_tile<TILE, DEPTH>(a, p.a, first_row, k);
    load_tile<TILE, DEPTH>(b, p.b, first_col, k);
    __syncthreads();
#pragma unroll
    for (int kk = 0; kk < DEPTH; kk++) {
      T u[EACH], v[EACH];  // one column of a's tile, one row of b's
#pragma unroll
      for (int i = 0; i < EACH; i++) u[i] = a[kk][y + i * SIDE], v[i] = b[kk][x + i * SIDE];
#pragma unroll
      for (int i = 0; i < EACH; i++)
#pragma unroll
        for (int j = 0; j < EACH; j++) sum[i][j] = fma(u[i], v[j], sum[i][j]);
    }
    __syncthreads();
  }

#pragma unroll
  for (int i = 0; i < EACH; i++)
#pragma unroll
    for (int j = 0; j < EACH; j++) {
      int64_t row = first_row + y + i * SIDE, col = first_col + x + j * SIDE;
      if (row < p.m() && col < p.n()) p.c[row * p.n() + col] = sum[i][j];
    }
}

// load_tile with 16-byte reads of global memory. An operand that is contiguous along k is
// transposed on the way: the parts of a pack go to as many rows of shared memory. PITCH = 128 + one
// pack keeps these stores in different banks.
template <int EXTENT, int DEPTH, int PITCH, class T>
__device__ void load_tile_wide(T (*shared)[PITCH], const Operand<T>& x, int64_t first,
                               int64_t k_first) {
  constexpr int W = 16 / sizeof(T);
  static_assert(EXTENT * DEPTH % (BLOCK * W) == 0 && PITCH % W == 0,
                "every thread loads as many packs, to aligned places");
#pragma unroll
  for (int e = threadIdx.x; e < EXTENT * DEPTH / W; e += BLOCK) {
    int i = x.k_contiguous ? e / (DEPTH / W) : e % (EXTENT / W) * W;
    int kk = x.k_contiguous ? e % (DEPTH / W) * W : e / (EXTENT / W);
    Pack<T, W> pack = {};
    if (first + i < x.extent &&
        k_first + kk < x.k)  // a pack is inside or outside as a whole: ld is a multiple of W
      pack = *reinterpret_cast<const Pack<T, W>*>(
          x.data +
          (x.k_contiguous ? (first + i) * x.ld + k_first + kk : (k_first + kk) * x.ld + first + i));
    if (x.k_contiguous) {
#pragma unroll
      for (int j = 0; j < W; j++) shared[kk + j][i] = pack.v[j];
    } else {
      *reinterpret_cast<Pack<T, W>*>(&shared[kk][i]) = pack;
    }
  }
}

// matmul_register_tiled with accesses of 16 bytes: a quarter of the load instructions from global
// and from shared memory, and whole packs stored to c. For that, a thread's rows and columns come
// in packs (4 floats or 2 doubles), the packs 16 packs apart. WIDE needs aligned operands; without
// it only the copy into shared memory goes by single numbers.
template <bool WIDE, class T>
__global__ void __launch_bounds__(BLOCK)
    matmul_vectorized(Product<T> p, Batch batch, TileGrid grid, bool wide_c) {
  constexpr int TILE = 128, DEPTH = 8, SIDE = 16, EACH = TILE / SIDE, W = 16 / sizeof(T),
                PACKS = EACH / W;
  static_assert(SIDE * SIDE == BLOCK, "16 x 16 threads");
  __shared__ __align__(16) T a[DEPTH][TILE + W];  // [k][row]
  __shared__ __align__(16) T b[DEPTH][TILE + W];  // [k][column]
  p.move_to(batch.layout, batch.first + blockIdx.z);
  TilePlace place = tile_place(grid, blockIdx.x);
  int64_t first_row = (int64_t)place.row * TILE, first_col = (int64_t)place.col * TILE;
  int x = threadIdx.x % SIDE, y = threadIdx.x / SIDE;
  T sum[EACH][EACH] = {};

  for (int64_t k = 0; k < p.k(); k += DEPTH) {
    if (WIDE) {
      load_tile_wide<TILE, DEPTH>(a, p.a, first_row, k);
      load_tile_wide<TILE, DEPTH>(b, p.b, first_col, k);
    } else {
      load_tile<TILE, DEPTH>(a, p.a, first_row, k);
      load_tile<TILE, DEPTH>(b, p.b, first_col, k);
    }
    __syncthreads();
#pragma unroll
    for (int kk = 0; kk < DEPTH; kk++) {
      Pack<T, W> u[PACKS], v[PACKS];
#pragma unroll
      for (int i = 0; i < PACKS; i++) {
        u[i] = *reinterpret_cast<const Pack<T, W>*>(&a[kk][(y + i * SIDE) * W]);
        v[i] = *reinterpret_cast<const Pack<T, W>*>(&b[kk][(x + i * SIDE) * W]);
      }
#pragma unroll
      for (int i = 0; i < EACH; i++)
#pragma unroll
        for (int j = 0; j < EACH; j++)
          sum[i][j] = fma(u[i / W].v[i % W], v[j / W].v[j % W], sum[i][j]);
    }
    __syncthreads();
  }

#pragma unroll
  for (int i = 0; i < EACH; i++)
#pragma unroll
    for (int j = 0; j < PACKS; j++) {
      int64_t row = first_row + (y + i / W * SIDE) * W + i % W,
              col = first_col + (x + j * SIDE) * W;
      if (row >= p.m() || col >= p.n()) continue;
      T* c = p.c + row * p.n() + col;
      if (wide_c) {
        Pack<T, W> pack;
#pragma unroll
        for (int q = 0; q < W; q++) pack.v[q] = sum[i][j * W + q];
        *reinterpret_cast<Pack<T, W>*>(c) = pack;
      } else {
#pragma unroll
        for (int q = 0; q < W; q++)
          if (col + q < p.n()) c[q] = sum[i][j * W + q];
      }
    }
}

}  // namespace cdn
