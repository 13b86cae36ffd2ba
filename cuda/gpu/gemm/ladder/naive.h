// The first two steps: a thread per output, then tiles in shared memory. The first reads each
// number from the caches m or n times; the second brings a 32 x 32 tile of both operands to shared
// memory, [k][i], and reads it there, so that global memory is asked a 32nd as often.
#pragma once
#include "gpu/gemm/product.h"

namespace cdn {

// One thread computes one output: k multiply-adds, each with two loads. Neighbouring threads take
// neighbouring columns, so that the loads of b (when it is not transposed) and the stores of c are
// coalesced, and the loads of a are the same address for the whole warp. Every input element is
// read from the caches m or n times: that is what the later kernels avoid. The outputs of a whole
// batch are counted through: with matrices smaller than a tile no thread is idle.
template <class T>
__global__ void __launch_bounds__(BLOCK) matmul_naive(Product<T> p, Layout batch) {
  int64_t count = batch.n * p.size();
  for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < count;
       i += (int64_t)gridDim.x * BLOCK) {
    int64_t z = batch.n == 1 ? 0 : i / p.size(), in_matrix = i - z * p.size();
    int64_t row = in_matrix / p.n(), col = in_matrix - row * p.n();
    Product<T> x = p;
    x.move_to(batch, z);
    T sum = T(0);
    for (int64_t kk = 0; kk < p.k(); kk++) sum = fma(x.a.at(row, kk), x.b.at(col, kk), sum);
    p.c[i] = sum;
  }
}

// Copies `EXTENT` vectors by `DEPTH` of an operand into shared memory as shared[k][i], with zeros
// outside the operand. Neighbouring threads read along the direction that is contiguous in memory,
// W numbers each: 1 here, a pack in the last step, whose operands' lines hold whole packs. An
// operand that is contiguous along k is transposed on the way: the parts of a pack go to as many
// rows of shared memory. PITCH is odd or padded by the caller.
template <int EXTENT, int DEPTH, int W, int PITCH, class T>
__device__ void load_tile(T (*shared)[PITCH], const Operand<T>& x, int64_t first, int64_t k_first) {
  static_assert(EXTENT * DEPTH % (BLOCK * W) == 0 && PITCH >= EXTENT && PITCH % W == 0,
                "every thread loads as many packs, to aligned places");
#pragma unroll
  for (int e = threadIdx.x; e < EXTENT * DEPTH / W; e += BLOCK) {
    int i = x.k_contiguous ? e / (DEPTH / W) : e % (EXTENT / W) * W;
    int kk = x.k_contiguous ? e % (DEPTH / W) * W : e / (EXTENT / W);
    int64_t from =
        x.k_contiguous ? (first + i) * x.ld + k_first + kk : (k_first + kk) * x.ld + first + i;
    Pack<T, W> pack = {};
    if (first + i < x.extent && k_first + kk < x.k)
      pack = *reinterpret_cast<const Pack<T, W>*>(x.data + from);
    if (x.k_contiguous) {
#pragma unroll
      for (int j = 0; j < W; j++) shared[kk + j][i] = pack.v[j];
    } else {
      *reinterpret_cast<Pack<T, W>*>(&shared[kk][i]) = pack;
    }
  }
}

// A block computes a 32x32 tile of c. It walks along k in steps of 32: all threads copy a tile of a
// and one of b into shared memory, wait, and take their dot products from there, so that each
// element is read from global memory once per tile instead of once per output. A thread has 4 rows
// of one column. The pitch of 33 keeps the transposing stores of load_tile free of bank conflicts.
template <class T>
__global__ void __launch_bounds__(BLOCK) matmul_tiled(Product<T> p, Batch batch, TileGrid grid) {
  constexpr int TILE = 32, ROWS = TILE * TILE / BLOCK;
  __shared__ T a[TILE][TILE + 1], b[TILE][TILE + 1];  // [k][row], [k][column]
  p.move_to(batch.layout, batch.first + blockIdx.z);
  TilePlace place = tile_place(grid, blockIdx.x);
  int64_t first_row = (int64_t)place.row * TILE, first_col = (int64_t)place.col * TILE;
  int x = threadIdx.x % TILE, y = threadIdx.x / TILE;
  T sum[ROWS] = {};  // rows y, y + 8, y + 16, y + 24

  for (int64_t k = 0; k < p.k(); k += TILE) {
    load_tile<TILE, TILE, 1>(a, p.a, first_row, k);
    load_tile<TILE, TILE, 1>(b, p.b, first_col, k);
    __syncthreads();
#pragma unroll
    for (int kk = 0; kk < TILE; kk++)
#pragma unroll
      for (int r = 0; r < ROWS; r++) sum[r] = fma(a[kk][y + r * (BLOCK / TILE)], b[kk][x], sum[r]);
    __syncthreads();
  }

#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    int64_t row = first_row + y + r * (BLOCK / TILE), col = first_col + x;
    if (row < p.m() && col < p.n()) p.c[row * p.n() + col] = sum[r];
  }
}

}  // namespace cdn
