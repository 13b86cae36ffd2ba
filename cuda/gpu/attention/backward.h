// The gradients of attention in two passes, which make the weights p = 2^(scale s - lse) once more
// each: ds = p (dy vT - delta), where delta = sum of dy y over a row, is the gradient of the scaled
// scores.
#pragma once
#include "gpu/attention/pass.h"

namespace cdn {

#if defined(CDN_HOPPER)
// The sum of a b over features of line `row` of tiles of rows, four lanes a row.
template <class Tile>
__device__ __forceinline__ float row_dot(const typename Tile::T* a, const typename Tile::T* b,
                                         int row) {
  using P = Pack<typename Tile::T, 8>;
  float sum = 0;
#pragma unroll
  for (int i = 0; i < Tile::D; i += 32) {
    const int piece = i % 64 / 8 + (int)threadIdx.x % 4,
              at = i / 64 * 64 * Tile::ROWS + row * 64 + (piece ^ row % 8) * 8;
    const P x = *reinterpret_cast<const P*>(a + at), y = *reinterpret_cast<const P*>(b + at);
#pragma unroll
    for (int e = 0; e < 8; e++) sum = fmaf((float)x.v[e], (float)y.v[e], sum);
  }
  sum += __shfl_xor_sync(~0u, sum, 1);
  return sum + __shfl_xor_sync(~0u, sum, 2);
}
#endif

// dq = scale ds k, for rows of q, dy and y; and delta, for the other pass.
template <class Tile_> struct QueryGradPass {
  using Tile = Tile_;
#if defined(CDN_HOPPER)
  using T = typename Tile::T;
  using Item = AttentionItem<Tile>;
  static constexpr int D = Tile::D, C = Tile::C;

  const AttentionWork& w;
  RowRing<Tile> rows;
  ColumnRing<Tile> k, v;
  int group;
  SumPlace place;
  float lse[2], delta[2];

  __device__ __forceinline__ QueryGradPass(const AttentionWork& work, AttentionShared<Tile>& shared,
                                           int of_group)
      : w(work), rows(shared.rows), k(shared.ring[0]), v(shared.ring[1]), group(of_group) {}

  __device__ __forceinline__ void read_rows(const Item& item) {
    const int64_t first = ((int64_t)item.batch * w.heads + item.head) * w.rows;
#pragma unroll
    for (int r = 0; r < 2; r++) {
      const int in_tile = group * 64 + place.row + 8 * r, row = item.row + in_tile;
      const bool inside = row < w.rows;
      lse[r] = inside ? w.lse[first + row] : 0;
      delta[r] = item.span.count() > 0 ? row_dot<Tile>(rows.tile(1), rows.tile(2), in_tile) : 0;
      if (sees_nothing(r)) delta[r] = 0;
      if (inside && threadIdx.x % 4 == 0) w.delta[first + row] = delta[r];
    }
  }
  // Such a row's dy may be anything.
  __device__ __forceinline__ bool sees_nothing(int r) const { return lse[r] == INFINITY; }
  // Of a tile, queued: scores, and the gradients of weights.
  __device__ __forceinline__ void multiply_rows(float (&s)[C / 2], float (&ds)[C / 2],
                                                const ColumnRing<Tile>& of_k, const Item& item,
                                                int tile) {
    of_k.wait();
    v.wait();
    if (w.lengths && (tile + 1) * C > item.keys) {
      clear_lines<Tile>(of_k.tile(), tile, 0, item.keys, group);
      clear_lines<Tile>(v.tile(), tile, 0, item.keys, group);
    }
    hopper::wgmma_fence();
    multiply_features<Tile>(s, rows.tile(0) + group * 64 * 64, of_k.tile());
    multiply_features<Tile>(ds, rows.tile(1) + group * 64 * 64, v.tile());
  }
  // Scores to weights.
  __device__ __forceinline__ void weigh(float (&s)[C / 2], const Item& item, int row, int tile) {
    mask_sums<Tile>(s, item.limits, row, tile, place);
#pragma unroll
    for (int i = 0; i < C / 2; i++) s[i] = exp2_fast(fmaf(s[i], w.scale_log2, -lse[i / 2 % 2]));
  }
  // And these to ds, as a left operand.
  __device__ __forceinline__ void finish(uint32_t (&p)[C / 4], float (&s)[C / 2],
                                         const float (&ds)[C / 2]) {
    hopper::wgmma_wait<0>();
    v.release();
#pragma unroll
    for (int i = 0; i < C / 2; i += 2) {
      const float shift = delta[i / 2 % 2];
      p[i / 2] = pack<T>(s[i] * (ds[i] - shift), s[i + 1] * (ds[i + 1] - shift));
    }
  }

  __device__ __forceinline__ void run() {
    for (Item item; item.next(w);) consume(item);
  }
  __device__ __forceinline__ void consume(const Item& item) {
    using namespace hopper;
    const int row = item.row + group * 64;
    float dq[D / 2];
#pragma unroll
    for (int i = 0; i < D / 2; i++) dq[i] = 0;
    if (item.span.count() > 0) {
      float s[C / 2], ds[C / 2];
      uint32_t p[C / 4];
      int tile = item.span.first;
      rows.wait();
      read_rows(item);
      multiply_rows(s, ds, k, item, tile);
      wgmma_wait<1>();
      weigh(s, item, row, tile);
      finish(p, s, ds);
      while (++tile < item.span.last) {
        ColumnRing<Tile> next = k;
        next.next();
        wgmma_fence();
        multiply_columns<Tile>(dq, p, k.tile());
        multiply_rows(s, ds, next, item, tile);
        wgmma_wait<1>();
        k.release();
        weigh(s, item, row, tile);
        finish(p, s, ds);
      }
      rows.release();
      wgmma_fence();
      multiply_columns<Tile>(dq, p, k.tile());
      wgmma_wait<0>();
      k.release();
#pragma unroll
      for (int i = 0; i < D / 2; i++)
        if (sees_nothing(i / 2 % 2)) dq[i] = 0;
    } else {
      read_rows(item);
    }
    const float factor[2] = {w.scale, w.scale};
    store_sums<T>(dq, factor, w.out[0], item.batch, item.head, row + place.row, w.rows);
  }
#endif
};

// dv = pT dy and dk = scale dsT q, for rows of k and v: products are transposed, so that weights
// and ds are left operands. The heads of q that share k and v follow one another.
template <class Tile_> struct KeyGradPass {
  using Tile = Tile_;
#if defined(CDN_HOPPER)
  using T = typename Tile::T;
  using Item = AttentionItem<Tile>;
  static constexpr int D = Tile::D, C = Tile::C;

  const AttentionWork& w;
  RowRing<Tile> rows;
  ColumnRing<Tile> q, dy;
  int group;
  SumPlace place;

  __device__ __forceinline__ KeyGradPass(const AttentionWork& work, AttentionShared<Tile>& shared,
                                         int of_group)
      : w(work), rows(shared.rows), q(shared.ring[0]), dy(shared.ring[1]), group(of_group) {}

  // One tile of queries.
  __device__ __forceinline__ void add_tile(float (&dk)[D / 2], float (&dv)[D / 2], const Item& item,
                                           int row, int tile) {
    using namespace hopper;
    float s[C / 2], ds[C / 2];
    uint32_t p[C / 4], dp[C / 4];
    q.wait();
    dy.wait();
    const float2* const stats = reinterpret_cast<const float2*>(q.stat() + place.column);
    // Of queries that see nothing, which come before or after the others, both may be anything.
    const int from = item.limits.low, to = item.end + item.limits.high - 1;
    if (from > tile * C || to < (tile + 1) * C) {
      clear_lines<Tile>(q.tile(), tile, from, to, group);
      clear_lines<Tile>(dy.tile(), tile, from, to, group);
    }
    wgmma_fence();
    multiply_features<Tile>(s, rows.tile(0) + group * 64 * 64, q.tile());
    multiply_features<Tile>(ds, rows.tile(1) + group * 64 * 64, dy.tile());
    wgmma_wait<1>();
    mask_sums<Tile>(s, item.limits, row, tile, place);
#pragma unroll
    for (int i = 0; i < C / 2; i += 4) {
      const float2 lse = stats[i];
#pragma unroll
      for (int e = 0; e < 4; e++)
        s[i + e] = exp2_fast(fmaf(s[i + e], w.scale_log2, e % 2 ? -lse.y : -lse.x));
    }
    wgmma_wait<0>();
#pragma unroll
    for (int i = 0; i < C / 2; i += 2) {
      const float2 delta = stats[C / 2 + i / 4 * 4];
      p[i / 2] = pack<T>(s[i], s[i + 1]);
      dp[i / 2] = pack<T>(s[i] * (ds[i] - delta.x), s[i + 1] * (ds[i + 1] - delta.y));
    }
    wgmma_fence();
    multiply_columns<Tile>(dv, p, dy.tile());
    multiply_columns<Tile>(dk, dp, q.tile());
    wgmma_wait<0>();
    q.release();
    dy.release();
  }

  __device__ __forceinline__ void run() {
    for (Item item; item.next(w);) consume(item);
  }
  __device__ __forceinline__ void consume(const Item& item) {
    using namespace hopper;
    const int row = item.row + group * 64;
    float dk[D / 2], dv[D / 2];
#pragma unroll
    for (int i = 0; i < D / 2; i++) dk[i] = dv[i] = 0;
    if (item.span.count() > 0) {
      rows.wait();
      for (int h = 0; h < item.column_heads; h++)
        for (int tile = item.span.first; tile < item.span.last; tile++)
          add_tile(dk, dv, item, row, tile);
      rows.release();
    }
    // Keys that are hidden may have been anything.
    if (row + 64 > item.end) {
#pragma unroll
      for (int i = 0; i < D / 2; i++)
        if (row + place.row + i / 2 % 2 * 8 >= item.end) dk[i] = dv[i] = 0;
    }
    const float one[2] = {1, 1}, factor[2] = {w.scale, w.scale};
    store_sums<T>(dk, factor, w.out[0], item.batch, item.head, row + place.row, w.rows);
    store_sums<T>(dv, one, w.out[1], item.batch, item.head, row + place.row, w.rows);
  }
#endif
};

}  // namespace cdn
