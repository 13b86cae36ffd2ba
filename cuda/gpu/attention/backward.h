// The gradients of attention in two passes, which make the weights p = 2^(scale s - lse) once more
// each: ds = p (dy vT - delta), where delta = sum of dy y over a row, is the gradient of the scaled
// scores.
#pragma once
#include "gpu/attention/pass.h"

namespace cdn {

#if defined(CDN_HOPPER)
// The sum of a b over a row's features, four lanes a row.
template <class T>
__device__ __forceinline__ float row_dot(const T* a, const T* b, int features, bool inside) {
  float sum = 0;
  if (inside)
    for (int i = (int)threadIdx.x % 4 * 8; i < features; i += 32) {
      const Pack<T, 8> x = *reinterpret_cast<const Pack<T, 8>*>(a + i),
                       y = *reinterpret_cast<const Pack<T, 8>*>(b + i);
#pragma unroll
      for (int e = 0; e < 8; e++) sum = fmaf((float)x.v[e], (float)y.v[e], sum);
    }
  sum += __shfl_xor_sync(~0u, sum, 1);
  return sum + __shfl_xor_sync(~0u, sum, 2);
}
#endif

// dq = scale ds k, for rows of q and dy; and delta, for the other pass.
template <class Tile_> struct QueryGradPass {
  using Tile = Tile_;
#if defined(CDN_HOPPER)
  using T = typename Tile::T;
  using Item = AttentionItem<Tile>;
  static constexpr int D = Tile::D, C = Tile::C;

  const AttentionWork& w;
  ColumnRing<Tile> k, v;
  uint64_t *row_full, *row_empty;
  const T* q;
  int group;
  uint32_t phase = 0;
  SumPlace place;
  float lse[2], delta[2];

  __device__ __forceinline__ QueryGradPass(const AttentionWork& work, AttentionShared<Tile>& shared,
                                           int of_group)
      : w(work),
        k(shared.ring[0]),
        v(shared.ring[1]),
        row_full(shared.row_full),
        row_empty(shared.row_empty),
        q(shared.rows + of_group * 64 * 64),
        group(of_group) {}

  __device__ __forceinline__ void read_rows(const Item& item, int row) {
    const int64_t first = ((int64_t)item.batch * w.heads + item.head) * w.rows;
#pragma unroll
    for (int r = 0; r < 2; r++) {
      const int i = row + 8 * r;
      const bool inside = i < w.rows;
      delta[r] = row_dot(w.dy.line<T>(item.batch, item.head, i),
                         w.y.line<T>(item.batch, item.head, i), w.y.features, inside);
      lse[r] = inside ? w.lse[first + i] : 0;
      if (inside && threadIdx.x % 4 == 0) w.delta[first + i] = delta[r];
    }
  }
  // Of a tile, queued: scores, and the gradients of weights.
  __device__ __forceinline__ void multiply_rows(float (&s)[C / 2], float (&ds)[C / 2],
                                                const ColumnRing<Tile>& of_k, const Item& item,
                                                int tile) {
    of_k.wait();
    v.wait();
    if (w.lengths && (tile + 1) * C > item.keys) {
      clear_lines<Tile>(of_k.tile(), item.keys - tile * C, group);
      clear_lines<Tile>(v.tile(), item.keys - tile * C, group);
    }
    hopper::wgmma_fence();
    multiply_features<Tile>(s, q, of_k.tile());
    multiply_features<Tile>(ds, q + Tile::ROW_ELEMENTS, v.tile());
  }
  // Scores to weights.
  __device__ __forceinline__ void weigh(float (&s)[C / 2], const Item& item, int row, int tile) {
    if (item.masked(row, tile)) mask_sums(s, item.limits, row + place.row, tile * C + place.column);
#pragma unroll
    for (int i = 0; i < C / 2; i++) s[i] = exp2_fast(fmaf(s[i], w.scale_log2, -lse[i / 2 % 2]));
  }
  // And these to ds, as a left operand.
  __device__ __forceinline__ void finish(uint32_t (&p)[C / 4], float (&s)[C / 2],
                                         const float (&ds)[C / 2]) {
    hopper::wgmma_wait<0>();
    v.release();
#pragma unroll
    for (int i = 0; i < C / 2; i++) s[i] *= ds[i] - delta[i / 2 % 2];
    pack_sums<T>(p, s);
  }

  __device__ __forceinline__ void consume(const Item& item) {
    using namespace hopper;
    const int row = item.row + group * 64;
    float dq[D / 2];
#pragma unroll
    for (int i = 0; i < D / 2; i++) dq[i] = 0;
    read_rows(item, row + place.row);
    if (item.span.count() > 0) {
      TileSpan own = item.tiles_of(row, min(row + 64, item.end));
      if (own.count() == 0) own = {item.span.last, item.span.last};
      k.skip(own.first - item.span.first);
      v.skip(own.first - item.span.first);
      barrier_wait(row_full, phase);
      phase ^= 1;
      if (own.count() > 0) {
        float s[C / 2], ds[C / 2];
        uint32_t p[C / 4];
        multiply_rows(s, ds, k, item, own.first);
        wgmma_wait<1>();
        weigh(s, item, row, own.first);
        finish(p, s, ds);
        for (int tile = own.first; tile < own.last - 1; tile++) {
          ColumnRing<Tile> next = k;
          next.next();
          wgmma_fence();
          multiply_columns<Tile>(dq, p, k.tile());
          multiply_rows(s, ds, next, item, tile + 1);
          wgmma_wait<1>();
          k.release();
          weigh(s, item, row, tile + 1);
          finish(p, s, ds);
        }
        wgmma_fence();
        multiply_columns<Tile>(dq, p, k.tile());
        wgmma_wait<0>();
        k.release();
      }
      if (threadIdx.x % 128 == 0) barrier_arrive(row_empty);
      k.skip(item.span.last - own.last);
      v.skip(item.span.last - own.last);
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
  ColumnRing<Tile> q, dy;
  uint64_t *row_full, *row_empty;
  const T* k;
  int group;
  uint32_t phase = 0;
  SumPlace place;

  __device__ __forceinline__ KeyGradPass(const AttentionWork& work, AttentionShared<Tile>& shared,
                                         int of_group)
      : w(work),
        q(shared.ring[0]),
        dy(shared.ring[1]),
        row_full(shared.row_full),
        row_empty(shared.row_empty),
        k(shared.rows + of_group * 64 * 64),
        group(of_group) {}

  // One tile of queries.
  __device__ __forceinline__ void add_tile(float (&dk)[D / 2], float (&dv)[D / 2], const Item& item,
                                           int row, int tile) {
    using namespace hopper;
    float s[C / 2], ds[C / 2];
    uint32_t p[C / 4], dp[C / 4];
    q.wait();
    dy.wait();
    const float2* const stats = reinterpret_cast<const float2*>(q.stat() + place.column);
    wgmma_fence();
    multiply_features<Tile>(s, k, q.tile());
    multiply_features<Tile>(ds, k + Tile::ROW_ELEMENTS, dy.tile());
    wgmma_wait<1>();
    if (item.masked(row, tile)) mask_sums(s, item.limits, row + place.row, tile * C + place.column);
#pragma unroll
    for (int i = 0; i < C / 2; i += 4) {
      const float2 lse = stats[i];
#pragma unroll
      for (int e = 0; e < 4; e++)
        s[i + e] = exp2_fast(fmaf(s[i + e], w.scale_log2, e % 2 ? -lse.y : -lse.x));
    }
    wgmma_wait<0>();
    pack_sums<T>(p, s);
#pragma unroll
    for (int i = 0; i < C / 2; i += 4) {
      const float2 delta = stats[C / 2 + i];
#pragma unroll
      for (int e = 0; e < 4; e++) s[i + e] *= ds[i + e] - (e % 2 ? delta.y : delta.x);
    }
    pack_sums<T>(dp, s);
    wgmma_fence();
    multiply_columns<Tile>(dv, p, dy.tile());
    multiply_columns<Tile>(dk, dp, q.tile());
    wgmma_wait<0>();
    q.release();
    dy.release();
  }

  __device__ __forceinline__ void consume(const Item& item) {
    using namespace hopper;
    const int row = item.row + group * 64;
    float dk[D / 2], dv[D / 2];
#pragma unroll
    for (int i = 0; i < D / 2; i++) dk[i] = dv[i] = 0;
    if (item.span.count() > 0) {
      TileSpan own = item.tiles_of(row, min(row + 64, item.end));
      if (own.count() == 0) own = {item.span.last, item.span.last};
      barrier_wait(row_full, phase);
      phase ^= 1;
      for (int h = 0; h < item.column_heads; h++) {
        q.skip(own.first - item.span.first);
        dy.skip(own.first - item.span.first);
        for (int tile = own.first; tile < own.last; tile++) add_tile(dk, dv, item, row, tile);
        q.skip(item.span.last - own.last);
        dy.skip(item.span.last - own.last);
      }
      if (threadIdx.x % 128 == 0) barrier_arrive(row_empty);
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
