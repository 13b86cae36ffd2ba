// Attention itself: y = softmax(scale q kT) v by online softmax. The next tile's scores are queued
// before the product with v of the tile before, and made to weights while that is computed. TURNS:
// two groups issue products by turns, so that one multiplies while the other makes weights.
#pragma once
#include "gpu/attention/pass.h"

namespace cdn {

template <class Tile_, bool TURNS> struct ForwardPass {
  using Tile = Tile_;
#if defined(CDN_HOPPER)
  using T = typename Tile::T;
  using Item = AttentionItem<Tile>;
  static constexpr int D = Tile::D, C = Tile::C, TURN = 4;

  const AttentionWork& w;
  ColumnRing<Tile> k, v;
  uint64_t *row_full, *row_empty;
  const T* q;
  int group;
  uint32_t phase = 0;
  SumPlace place;
  float largest[2], total[2], shrink[2];

  __device__ __forceinline__ ForwardPass(const AttentionWork& work, AttentionShared<Tile>& shared,
                                         int of_group)
      : w(work),
        k(shared.ring[0]),
        v(shared.ring[1]),
        row_full(shared.row_full),
        row_empty(shared.row_empty),
        q(shared.rows + of_group * 64 * 64),
        group(of_group) {
    if (TURNS && group == 1) give_turn();
  }
  __device__ __forceinline__ void take_turn() { hopper::named_wait<256>(TURN + group); }
  __device__ __forceinline__ void give_turn() { hopper::named_arrive<256>(TURN + 1 - group); }

  // Scores to weights, not yet divided by their sum: 2^(scale s - base), where base is the largest
  // so far, or 0 while a row has seen nothing. shrink: of what was made before.
  __device__ __forceinline__ void weigh(float (&s)[C / 2], const Item& item, int row, int tile) {
    if (item.masked(row, tile)) mask_sums(s, item.limits, row + place.row, tile * C + place.column);
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float most = -INFINITY;
#pragma unroll
      for (int i = 2 * r; i < C / 2; i += 4) most = fmaxf(most, fmaxf(s[i], s[i + 1]));
      most = fmaxf(most, __shfl_xor_sync(~0u, most, 1));
      most = fmaxf(most, __shfl_xor_sync(~0u, most, 2));
      most = fmaxf(largest[r], most * w.scale_log2);
      const float base = most == -INFINITY ? 0.0f : most;
      shrink[r] = exp2_fast(largest[r] - base);
      largest[r] = most;
      float sum = 0;
#pragma unroll
      for (int i = 2 * r; i < C / 2; i += 4)
#pragma unroll
        for (int e = 0; e < 2; e++) {
          s[i + e] = exp2_fast(fmaf(s[i + e], w.scale_log2, -base));
          sum += s[i + e];
        }
      total[r] = fmaf(total[r], shrink[r], sum);
    }
  }
  __device__ __forceinline__ void add_values(float (&y)[D / 2], const uint32_t (&p)[C / 4],
                                             const Item& item, int tile) {
    v.wait();
    if (w.lengths && (tile + 1) * C > item.keys)
      clear_lines<Tile>(v.tile(), item.keys - tile * C, group);
    hopper::wgmma_fence();
    multiply_columns<Tile>(y, p, v.tile());
  }

  __device__ __forceinline__ void consume(const Item& item) {
    using namespace hopper;
    const int row = item.row + group * 64;
    float y[D / 2];
#pragma unroll
    for (int i = 0; i < D / 2; i++) y[i] = 0;
#pragma unroll
    for (int r = 0; r < 2; r++) largest[r] = -INFINITY, total[r] = 0;
    if (item.span.count() > 0) {
      // By turns both groups take all tiles; else a group leaves out what its own rows don't see.
      TileSpan own = TURNS ? item.span : item.tiles_of(row, min(row + 64, item.end));
      if (own.count() == 0) own = {item.span.last, item.span.last};
      k.skip(own.first - item.span.first);
      v.skip(own.first - item.span.first);
      barrier_wait(row_full, phase);
      phase ^= 1;
      if (own.count() > 0) {
        float s[C / 2];
        uint32_t p[C / 4];
        k.wait();
        wgmma_fence();
        multiply_features<Tile>(s, q, k.tile());
        wgmma_wait<0>();
        k.release();
        weigh(s, item, row, own.first);
        pack_sums<T>(p, s);
        for (int tile = own.first; tile < own.last - 1; tile++) {
          k.wait();
          if (TURNS) take_turn();
          wgmma_fence();
          multiply_features<Tile>(s, q, k.tile());
          add_values(y, p, item, tile);
          if (TURNS) give_turn();
          wgmma_wait<1>();
          k.release();
          weigh(s, item, row, tile + 1);
          wgmma_wait<0>();
          v.release();
#pragma unroll
          for (int i = 0; i < D / 2; i++) y[i] *= shrink[i / 2 % 2];
          pack_sums<T>(p, s);
        }
        if (threadIdx.x % 128 == 0) barrier_arrive(row_empty);
        add_values(y, p, item, own.last - 1);
        wgmma_wait<0>();
        v.release();
      } else if (threadIdx.x % 128 == 0) {
        barrier_arrive(row_empty);
      }
      k.skip(item.span.last - own.last);
      v.skip(item.span.last - own.last);
    }
    store(y, item, row + place.row);
  }

  __device__ __forceinline__ void store(const float (&y)[D / 2], const Item& item, int row) {
    float factor[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float sum = total[r];
      sum += __shfl_xor_sync(~0u, sum, 1);
      sum += __shfl_xor_sync(~0u, sum, 2);
      factor[r] = sum == 0 ? 0.0f : 1 / sum;
      if (w.lse && threadIdx.x % 4 == 0 && row + 8 * r < w.rows)
        w.lse[((int64_t)item.batch * w.heads + item.head) * w.rows + row + 8 * r] =
            sum == 0 ? INFINITY : largest[r] + log2f(sum);
    }
    store_sums<T>(y, factor, w.out[0], item.batch, item.head, row, w.rows);
  }
#endif
};

}  // namespace cdn
