// Attention itself: y = softmax(scale q kT) v by online softmax. The next tile's scores are queued
// before the product with v of the tile before, and made to weights while that is computed; after
// an item's last tile, the next item's first. TURNS: two groups issue products by turns, so that
// one multiplies while the other makes weights. PIECES: of the keys, whose results are float.
#pragma once
#include "gpu/attention/kernels.h"

namespace cdn {

template <class Tile_, bool TURNS, bool PIECES = false> struct ForwardPass {
  using Tile = Tile_;
#if defined(CDN_HOPPER)
  using T = typename Tile::T;
  using Item = AttentionItem<Tile>;
  static constexpr int D = Tile::D, C = Tile::C, TURN = 4;
  // Bases may lie so far below the largest score, as a power of 2, so that they seldom move. Cut
  // weights are so much larger, that the second part has its digits.
  static constexpr float SLACK = 8, LIFT = Tile::CUT ? 6 : 0;

  const AttentionWork& w;
  RowRing<Tile> q;
  ColumnRing<Tile> k, v;
  int group;
  SumPlace place;
  float base[2], total[2], shrink[2];
  KeptWeights<Tile> kept;
  float of_values;  // what the values of the tile under way are to be multiplied by

  __device__ __forceinline__ ForwardPass(const AttentionWork& work, AttentionShared<Tile>& shared,
                                         int of_group)
      : w(work), q(shared.rows), k(shared.ring[0]), v(shared.ring[1]), group(of_group) {
    if (TURNS && group == 1) give_turn();
  }
  __device__ __forceinline__ void take_turn() { hopper::named_wait<256>(TURN + group); }
  __device__ __forceinline__ void give_turn() { hopper::named_arrive<256>(TURN + 1 - group); }

  __device__ __forceinline__ void begin() {
#pragma unroll
    for (int r = 0; r < 2; r++) base[r] = -INFINITY, total[r] = 0;
  }
  // Scores to weights, not yet divided by their sum: 2^(scale s - base), where base is about the
  // largest so far, or 0 while a row has seen nothing. shrink: of what was made before.
  __device__ __forceinline__ void weigh(float (&s)[C / 2], const Item& item, int tile) {
    const int row = item.row + group * 64;
    const float scale = w.scale_log2 * row_scale(item) * column_scale(0, item, tile);
    mask_sums<Tile>(s, item.limits, row, tile, place);
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float most = -INFINITY;
#pragma unroll
      for (int i = 2 * r; i < C / 2; i += 4) most = fmaxf(most, fmaxf(s[i], s[i + 1]));
      most = fmaxf(most, __shfl_xor_sync(~0u, most, 1));
      most = fmaxf(most, __shfl_xor_sync(~0u, most, 2)) * scale;
      shrink[r] = 1;
      if (most > base[r] + SLACK) {
        shrink[r] = exp2_fast(base[r] - most);
        base[r] = most;
      }
      const float from = base[r] == -INFINITY ? 0.0f : base[r] - LIFT;
      float sum = 0;
#pragma unroll
      for (int i = 2 * r; i < C / 2; i += 4)
#pragma unroll
        for (int e = 0; e < 2; e++) {
          s[i + e] = exp2_fast(fmaf(s[i + e], scale, -from));
          sum += s[i + e];
        }
      total[r] = fmaf(total[r], shrink[r], sum);
    }
  }
  __device__ __forceinline__ void put(LeftOperand<Tile>& p, const float (&s)[C / 2],
                                      const Item& item, int tile) {
    kept.template draw<true>(w.dropout, item.batch * w.heads + item.head, item.row + group * 64,
                             tile);
#pragma unroll
    for (int i = 0; i < C / 2; i += 2) p.put(i, kept.of(i, s[i]), kept.of(i + 1, s[i + 1]));
  }
  __device__ __forceinline__ float row_scale(const Item& item) const {
    return scale_of<Tile>(w.row_scales[0], w.rows, item.batch * w.heads + item.head,
                          item.row + group * 64);
  }
  __device__ __forceinline__ float column_scale(int which, const Item& item, int tile) const {
    return scale_of<Tile>(w.column_scales[which], w.keys,
                          item.batch * (w.heads / w.group) + item.column_head, tile * C);
  }
  __device__ __forceinline__ void shrink_all(TileSums<Tile, D / 2>& y) const {
    if (!__any_sync(~0u, shrink[0] != 1 || shrink[1] != 1)) return;
#pragma unroll
    for (int i = 0; i < D / 2; i++) y.sum[i] *= shrink[i / 2 % 2];
  }
  __device__ __forceinline__ void add_values(TileSums<Tile, D / 2>& y, const LeftOperand<Tile>& p,
                                             const ItemRows& item, int tile) {
    auto& to = y.next();
    v.wait();
    if (w.lengths && (tile + 1) * C > item.keys)
      clear_lines<Tile>(v.tile(), tile, 0, item.keys, group);
    hopper::wgmma_fence();
    multiply_columns<Tile>(to, p, v.tile());
  }

  // To the next item whose rows see anything; to the others' go zeros.
  __device__ __forceinline__ bool advance(Item& item) {
    while (item.next(w)) {
      if (item.span.count() > 0) return true;
      const float nothing[D / 2] = {}, none[2] = {}, low[2] = {};
      store(nothing, none, low, item);
    }
    return false;
  }

  __device__ __forceinline__ void run() {
    using namespace hopper;
    Item item;
    if (!advance(item)) return;
    TileSums<Tile, D / 2> y;
    float s[C / 2];
    LeftOperand<Tile> p;
    y.clear();
    begin();
    int tile = item.span.first;
    q.wait();
    k.wait();
    wgmma_fence();
    multiply_features<Tile>(s, q.tile(0) + group * 64 * 64, k.tile());
    wgmma_wait<0>();
    k.release();
    if (item.span.count() == 1) q.release();
    weigh(s, item, tile);
    put(p, s, item, tile);
    of_values = column_scale(1, item, tile);
    ItemRows of;
    while (true) {
      const bool last = tile + 1 == item.span.last;
      of = item;
      if (last) {
        if (!advance(item)) break;
        q.wait();
      }
      k.wait();
      if (TURNS) take_turn();
      wgmma_fence();
      multiply_features<Tile>(s, q.tile(0) + group * 64 * 64, k.tile());
      add_values(y, p, of, tile++);
      if (TURNS) give_turn();
      wgmma_wait<1>();
      k.release();
      if (last) {
        wgmma_wait<0>();
        y.add(of_values);
        store(y.sum, total, base, of);
        y.clear();
        begin();
        tile = item.span.first;
      }
      if (tile + 1 == item.span.last) q.release();
      weigh(s, item, tile);
      wgmma_wait<0>();
      v.release();
      if (!last) y.add(of_values);
      shrink_all(y);
      put(p, s, item, tile);
      of_values = column_scale(1, item, tile);
    }
    add_values(y, p, of, tile);
    wgmma_wait<0>();
    v.release();
    y.add(of_values);
    store(y.sum, total, base, of);
  }

  __device__ __forceinline__ void store(const float (&y)[D / 2], const float (&sums)[2],
                                        const float (&low)[2], const ItemRows& item) {
    const int row = item.row + group * 64 + place.row;
    float factor[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float sum = sums[r];
      sum += __shfl_xor_sync(~0u, sum, 1);
      sum += __shfl_xor_sync(~0u, sum, 2);
      factor[r] = sum == 0 ? 0.0f : (Tile::DROPS ? (float)w.dropout.scale : 1.0f) / sum;
      if (w.lse && threadIdx.x % 4 == 0 && row + 8 * r < w.rows)
        w.lse[((int64_t)item.out_batch(w) * w.heads + item.head) * w.rows + row + 8 * r] =
            sum == 0 ? INFINITY : low[r] - LIFT + log2f(sum);
    }
    const int batch = item.out_batch(w);
    using Out = std::conditional_t<PIECES, float, typename Tile::Out>;
    store_sums<Out>(y, factor, w.out[0], batch, item.head, row, w.rows);
  }
#endif
};

template <class Tile, bool TURNS, bool PIECES> AttentionKernel forward_of() {
  return {reinterpret_cast<const void*>(attention_pass<ForwardPass<Tile, TURNS, PIECES>>),
          Tile::ROWS, Tile::C, Tile::THREADS, Tile::SHARED_BYTES};
}

}  // namespace cdn
