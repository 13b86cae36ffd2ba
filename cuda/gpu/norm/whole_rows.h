// Normalises rows of neighbours that fit into the registers of a block, or of a cluster of them: x
// is read once. For sm_90a.
//
// whole_rows(call, rows, cols, op), with x of rows by cols at op.x: a row's Moments about its first
// element go to known = op.statistics(row, first element, sums, whether to write them down), and
// op.normalized(known, row, column, v) turns packs of elements from a column on into those of op.y.
// False, and nothing was done, where rows are too long, too short, too few, or not aligned.
#pragma once
#include "gpu/tile/hopper.h"
#include "kernel/sum.h"

namespace cdn {

constexpr int64_t ROW_BLOCKS = 132;  // that are worth it

template <int PACKS, class T, class Op>
__global__ void __launch_bounds__(BLOCK, 2) whole_rows_kernel(int64_t packs, int cluster, Op op) {
#if defined(CDN_HOPPER)
  constexpr int W = 16 / sizeof(T);
  const int64_t row = quotient(blockIdx.x, cluster);
  const int rank = static_cast<int>(blockIdx.x - row * cluster);
  const auto* x = reinterpret_cast<const Pack<T, W>*>(op.x) + row * packs;
  auto* y = reinterpret_cast<Pack<T, W>*>(op.y) + row * packs;
  const auto first = wide(x[0].v[0]);
  const int64_t begin = static_cast<int64_t>(rank) * PACKS * BLOCK + threadIdx.x;
  Pack<T, W> v[PACKS];
#pragma unroll
  for (int i = 0; i < PACKS; i++)
    if (begin + i * BLOCK < packs) v[i] = x[begin + i * BLOCK];
  Moments sums{0, 0};
#pragma unroll
  for (int i = 0; i < PACKS; i++)
    if (begin + i * BLOCK < packs)
#pragma unroll
      for (int j = 0; j < W; j++) sums = sums + moments(wide(v[i].v[j]), first);
  const auto add = [](Moments a, Moments b) { return a + b; };
  sums = join_group<BLOCK>(sums, add);
  if (cluster > 1) {
    __shared__ __align__(16) Moments own;
    if (threadIdx.x == 0) own = sums;
    hopper::cluster_sync_all();
    sums = {0, 0};
    for (int r = 0; r < cluster; r++) sums = sums + hopper::read_block(own, r);
    hopper::cluster_arrive();
  }
  const auto known = op.statistics(row, first, sums, rank == 0 && threadIdx.x == 0);
#pragma unroll
  for (int i = 0; i < PACKS; i++)
    if (begin + i * BLOCK < packs)
      y[begin + i * BLOCK] = op.normalized(known, row, (begin + i * BLOCK) * W, v[i]);
  if (cluster > 1) hopper::cluster_wait();  // others may still read from here
#endif
}

template <class T, class Op> bool whole_rows(Call& call, int64_t rows, int64_t cols, const Op& op) {
  constexpr int W = 16 / sizeof(T), FEW = 4, MANY = 16;
  const int64_t packs = cols / W;
  if (!hopper_device(call) || cols % W != 0 || !aligned16(op.x) || !aligned16(op.y)) return false;
  int cluster = 1;
  while (cluster < MAX_ROW_CLUSTER && cluster * MANY * BLOCK < packs) cluster *= 2;
  const int64_t blocks = rows * cluster;
  if (packs < BLOCK || cluster * MANY * BLOCK < packs || blocks < ROW_BLOCKS || blocks > INT32_MAX)
    return false;
  auto* kernel =
      packs <= FEW * BLOCK ? whole_rows_kernel<FEW, T, Op> : whole_rows_kernel<MANY, T, Op>;
  launch(call, kernel, {grid_for(blocks), BLOCK, 0, cluster}, packs, cluster, op);
  return true;
}

}  // namespace cdn
