// Products with one row or one column: each element of the matrix is used once, so what counts is reading it fast.
#pragma once
#include "matmul_common.h"

namespace cdn {

// y[i] = x . (vector i of the matrix), for a matrix contiguous along k: G threads share a vector, each with packs of W
// neighbouring numbers and W running sums; the last sum goes over the group in a fixed order. Piece s of k goes to
// y[s][extent]. WIDE needs aligned lines and pieces; without it the same numbers are read one by one, and added in the
// same order, so that alignment does not change the result.
template <int G, bool WIDE, class T>
__global__ void __launch_bounds__(BLOCK)
    matvec_rows(T* y, Operand<T> matrix, const T* x, int64_t piece, int64_t splits) {
  constexpr int VECTORS = BLOCK / G, W = 16 / sizeof(T);
  using Part = Pack<T, W>;
  int lane = threadIdx.x % G;
  int64_t tasks = matrix.extent * splits;
  for (int64_t first = (int64_t)blockIdx.x * VECTORS; first < tasks; first += (int64_t)gridDim.x * VECTORS) {
    int64_t task = first + threadIdx.x / G;
    Part sum = {};
    if (task < tasks) {
      int64_t s = task / matrix.extent, i = task - s * matrix.extent, begin = s * piece;
      int64_t end = begin + piece < matrix.k ? begin + piece : matrix.k;
      const T* line = matrix.data + i * matrix.k;
#pragma unroll 4
      for (int64_t k = begin + lane * W; k < end; k += G * W) {
        Part u = {}, v = {};
        if (WIDE) {  // end is a multiple of W: a pack never crosses it
          u = *reinterpret_cast<const Part*>(line + k);
          v = *reinterpret_cast<const Part*>(x + k);
        } else {
#pragma unroll
          for (int w = 0; w < W; w++)
            if (k + w < end) u.v[w] = line[k + w], v.v[w] = x[k + w];
        }
#pragma unroll
        for (int w = 0; w < W; w++) sum.v[w] = fma(u.v[w], v.v[w], sum.v[w]);
      }
    }
    T total = sum.v[0];
#pragma unroll
    for (int w = 1; w < W; w++) total += sum.v[w];
    total = join_group<G>(total, Add{});
    if (lane == 0 && task < tasks) y[task] = total;
  }
}

// The same for a matrix contiguous along i: a lane takes W neighbouring vectors, the block's 8 warps take every eighth
// k, and their sums are added through shared memory in the order of the warps.
template <int W, class T>
__global__ void __launch_bounds__(BLOCK)
    matvec_columns(T* y, Operand<T> matrix, const T* x, int64_t piece, int64_t splits) {
  using Part = Pack<T, W>;
  constexpr int WARPS = BLOCK / 32;
  __shared__ __align__(16) char memory[sizeof(Part) * BLOCK];
  Part(*sums)[32] = reinterpret_cast<Part(*)[32]>(memory);  // [warp][lane]
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int64_t groups = (matrix.extent + 32 * W - 1) / (32 * W), tasks = groups * splits;
  for (int64_t task = blockIdx.x; task < tasks; task += gridDim.x) {
    int64_t s = task / groups, i = (task - s * groups) * 32 * W + lane * W, begin = s * piece;
    int64_t end = begin + piece < matrix.k ? begin + piece : matrix.k;
    Part sum = {};
    if (i < matrix.extent) {
#pragma unroll 4
      for (int64_t k = begin + warp; k < end; k += WARPS) {
        Part part = *reinterpret_cast<const Part*>(matrix.data + k * matrix.extent + i);
        T factor = x[k];
#pragma unroll
        for (int w = 0; w < W; w++) sum.v[w] = fma(part.v[w], factor, sum.v[w]);
      }
    }
    sums[warp][lane] = sum;
    __syncthreads();
    if (warp == 0 && i < matrix.extent) {
      for (int other = 1; other < WARPS; other++)
#pragma unroll
        for (int w = 0; w < W; w++) sum.v[w] += sums[other][lane].v[w];
#pragma unroll
      for (int w = 0; w < W; w++) y[s * matrix.extent + i + w] = sum.v[w];
    }
    __syncthreads();
  }
}

}  // namespace cdn
