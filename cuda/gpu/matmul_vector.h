// Products with one row or one column: each element of the matrix is used once, so what counts is reading it fast, with
// 16 bytes an access and enough blocks to keep the memory busy. Along k a warp or a block shares a vector; across k a
// lane has vectors of its own, and warps share k. Long sums of few vectors are cut over blocks, and their pieces added
// afterwards, in a fixed order.
#pragma once
#include "matmul_common.h"

namespace cdn {

// y[z][i] = x . (vector i of the matrix), at each place z of a batch; input: which one of the batch's layout the matrix
// is. Piece s of k, of `piece` numbers, goes to y[s][z][i].
template <class T> struct VectorProduct {
  T* y;
  Operand<T> matrix;
  const T* x;
  Layout batch;
  int input;
  int64_t piece, splits;

  struct Task {
    const T *matrix, *x;
    int64_t begin, end;  // of k
  };
  // For group i of `groups` per matrix, counted through all matrices of the batch and then all pieces.
  __device__ Task task(int64_t index, int64_t groups, int64_t* i) const {
    int64_t of_piece = groups * batch.n, s = index / of_piece;
    index -= s * of_piece;
    int64_t z = batch.n == 1 ? 0 : index / groups;
    *i = index - z * groups;
    BatchOffsets at = batch_offsets(batch, z);
    int64_t begin = s * piece;
    return {matrix.data + (input == 0 ? at.a : at.b), x + (input == 0 ? at.b : at.a), begin,
            begin + piece < matrix.k ? begin + piece : matrix.k};
  }
};

// For a matrix contiguous along k: G threads share a vector, each with packs of W neighbouring numbers and W running
// sums; the last sum goes over the group in a fixed order. WIDE needs aligned lines and pieces; without it the same
// numbers are read one by one, and added in the same order, so that alignment does not change the result.
template <int G, bool WIDE, class T> __global__ void __launch_bounds__(BLOCK) matvec_rows(VectorProduct<T> p) {
  constexpr int VECTORS = BLOCK / G, W = 16 / sizeof(T);
  using Part = Pack<T, W>;
  int lane = threadIdx.x % G;
  int64_t tasks = p.matrix.extent * p.batch.n * p.splits;
  for (int64_t first = (int64_t)blockIdx.x * VECTORS; first < tasks; first += (int64_t)gridDim.x * VECTORS) {
    int64_t index = first + threadIdx.x / G;
    Part sum = {};
    if (index < tasks) {
      int64_t i;
      auto task = p.task(index, p.matrix.extent, &i);
      const T *line = task.matrix + i * p.matrix.k, *x = task.x;
      int64_t end = task.end;
#pragma unroll 4
      for (int64_t k = task.begin + lane * W; k < end; k += G * W) {
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
    if (lane == 0 && index < tasks) p.y[index] = total;
  }
}

// The same for a matrix contiguous along i: a lane takes W neighbouring vectors, the block's 8 warps take every eighth
// k, and their sums are added through shared memory in the order of the warps.
template <int W, class T> __global__ void __launch_bounds__(BLOCK) matvec_columns(VectorProduct<T> p) {
  using Part = Pack<T, W>;
  constexpr int WARPS = BLOCK / 32;
  __shared__ __align__(16) char memory[sizeof(Part) * BLOCK];
  Part(*sums)[32] = reinterpret_cast<Part(*)[32]>(memory);  // [warp][lane]
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int64_t extent = p.matrix.extent, groups = (extent + 32 * W - 1) / (32 * W), tasks = groups * p.batch.n * p.splits;
  for (int64_t index = blockIdx.x; index < tasks; index += gridDim.x) {
    int64_t group;
    auto task = p.task(index, groups, &group);
    int64_t i = group * 32 * W + lane * W;
    Part sum = {};
    if (i < extent) {
#pragma unroll 4
      for (int64_t k = task.begin + warp; k < task.end; k += WARPS) {
        Part part = *reinterpret_cast<const Part*>(task.matrix + k * extent + i);
        T factor = task.x[k];
#pragma unroll
        for (int w = 0; w < W; w++) sum.v[w] = fma(part.v[w], factor, sum.v[w]);
      }
    }
    sums[warp][lane] = sum;
    __syncthreads();
    if (warp == 0 && i < extent) {
      for (int other = 1; other < WARPS; other++)
#pragma unroll
        for (int w = 0; w < W; w++) sum.v[w] += sums[other][lane].v[w];
#pragma unroll
      for (int w = 0; w < W; w++) p.y[index / groups * extent + i + w] = sum.v[w];
    }
    __syncthreads();
  }
}

}  // namespace cdn
