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

// A power of 2 by which |x| comes to less than 2^15.
__device__ __forceinline__ float fitting(float x) {
  const int exponent = (__float_as_int(fabsf(x)) >> 23) - 126;  // |x| < 2^that
  return __int_as_float((min(14 - exponent, 100) + 127) << 23);
}

// Of cut tensors: ds is as it is, if not cut, else times `lift`, which keeps it within float16, and
// so is delta; what of dy vT has been made is `sum`.
template <class Tile> struct Slopes {
  float sum = 1, lift = 1;
  // scale: of the sums of dy and v; delta: the largest.
  __device__ __forceinline__ Slopes(float scale, float delta) {
    if constexpr (Tile::CUT) {
      constexpr float WORST = 0x1p18f * Tile::D;  // of a sum over 2^15, with room for dropout
      lift = fminf(1 / (WORST * scale), fitting(delta));
      sum = lift * scale;
    }
  }
};
#endif

// dq = scale ds k, for rows of q, dy and y; and delta, for the other pass. Of cut tensors delta is
// there already.
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
  float lse[2], delta[2], back[2];  // back: of what the tile under way makes

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
      if constexpr (Tile::CUT)
        delta[r] = inside ? w.delta[first + row] : 0;
      else
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
  __device__ __forceinline__ float row_scale(int which, const Item& item) const {
    return scale_of<Tile>(w.row_scales[which], w.rows, item.batch * w.heads + item.head,
                          item.row + group * 64);
  }
  __device__ __forceinline__ float column_scale(int which, const Item& item, int tile) const {
    return scale_of<Tile>(w.column_scales[which], w.keys,
                          item.batch * (w.heads / w.group) + item.column_head, tile * C);
  }
  // Scores to weights.
  __device__ __forceinline__ void weigh(float (&s)[C / 2], const Item& item, int row, int tile) {
    const float scale = w.scale_log2 * row_scale(0, item) * column_scale(0, item, tile);
    mask_sums<Tile>(s, item.limits, row, tile, place);
#pragma unroll
    for (int i = 0; i < C / 2; i++) s[i] = exp2_fast(fmaf(s[i], scale, -lse[i / 2 % 2]));
  }
  // And these to ds, as a left operand.
  __device__ __forceinline__ void finish(LeftOperand<Tile>& p, const float (&s)[C / 2],
                                         const float (&ds)[C / 2], const Item& item, int tile) {
    const float scale = row_scale(1, item) * column_scale(1, item, tile),
                of_keys = column_scale(0, item, tile);
    hopper::wgmma_wait<0>();
    v.release();
    KeptWeights<Tile> kept;
    kept.template draw<true>(w.dropout, item.batch * w.heads + item.head, item.row + group * 64,
                             tile);
#pragma unroll
    for (int r = 0; r < 2; r++) {
      const Slopes<Tile> slopes(scale, delta[r]);
      const float shift = delta[r] * slopes.lift,
                  of_sum = Tile::DROPS ? slopes.sum * (float)w.dropout.scale : slopes.sum;
      back[r] = of_keys / slopes.lift;
#pragma unroll
      for (int i = 2 * r; i < C / 2; i += 4)
        p.put(i, s[i] * (kept.of(i, ds[i] * of_sum) - shift),
              s[i + 1] * (kept.of(i + 1, ds[i + 1] * of_sum) - shift));
    }
  }

  __device__ __forceinline__ void run() {
    for (Item item; item.next(w);) consume(item);
  }
  __device__ __forceinline__ void consume(const Item& item) {
    using namespace hopper;
    const int row = item.row + group * 64;
    TileSums<Tile, D / 2> dq;
    dq.clear();
    if (item.span.count() > 0) {
      float s[C / 2], ds[C / 2];
      LeftOperand<Tile> p;
      int tile = item.span.first;
      rows.wait();
      read_rows(item);
      multiply_rows(s, ds, k, item, tile);
      wgmma_wait<1>();
      weigh(s, item, row, tile);
      finish(p, s, ds, item, tile);
      while (++tile < item.span.last) {
        ColumnRing<Tile> next = k;
        next.next();
        auto& to = dq.next();
        wgmma_fence();
        multiply_columns<Tile>(to, p, k.tile());
        multiply_rows(s, ds, next, item, tile);
        wgmma_wait<1>();
        k.release();
        dq.add(back);
        weigh(s, item, row, tile);
        finish(p, s, ds, item, tile);
      }
      rows.release();
      auto& to = dq.next();
      wgmma_fence();
      multiply_columns<Tile>(to, p, k.tile());
      wgmma_wait<0>();
      k.release();
      dq.add(back);
#pragma unroll
      for (int i = 0; i < D / 2; i++)
        if (sees_nothing(i / 2 % 2)) dq.sum[i] = 0;
    } else {
      read_rows(item);
    }
    const float factor[2] = {w.scale, w.scale};
    store_sums<typename Tile::Out>(dq.sum, factor, w.out[0], item.batch, item.head, row + place.row,
                                   w.rows);
  }
#endif
};

// dv = pT dy and dk = scale dsT q, for rows of k and v: products are transposed, so that weights
// and ds are left operands. The heads of q that share k and v follow one another. DK, DV: which of
// them, where registers do not suffice for both.
template <class Tile_, bool DK = true, bool DV = true> struct KeyGradPass {
  using Tile = Tile_;
#if defined(CDN_HOPPER)
  using T = typename Tile::T;
  using Item = AttentionItem<Tile>;
  static constexpr int D = Tile::D, C = Tile::C;
  // Cut weights are so much larger, as a power of 2.
  static constexpr float LIFT = Tile::CUT ? 14 : 0, LIFTED = Tile::CUT ? 0x1p-14f : 1.0f;

  const AttentionWork& w;
  RowRing<Tile> rows;
  ColumnRing<Tile> q, dy;
  int group;
  SumPlace place;

  __device__ __forceinline__ KeyGradPass(const AttentionWork& work, AttentionShared<Tile>& shared,
                                         int of_group)
      : w(work), rows(shared.rows), q(shared.ring[0]), dy(shared.ring[1]), group(of_group) {}

  __device__ __forceinline__ float row_scale(int which, const Item& item) const {
    return scale_of<Tile>(w.row_scales[which], w.rows, item.batch * w.heads + item.head,
                          item.row + group * 64);
  }
  __device__ __forceinline__ float column_scale(int which, const Item& item, int head,
                                                int tile) const {
    return scale_of<Tile>(w.column_scales[which], w.queries, item.batch * w.heads * w.group + head,
                          tile * C);
  }

  // One tile of queries of a head.
  __device__ __forceinline__ void add_tile(TileSums<Tile, D / 2>& dk, TileSums<Tile, D / 2>& dv,
                                           const Item& item, int row, int head, int tile) {
    using namespace hopper;
    float s[C / 2], ds[C / 2];
    LeftOperand<Tile> p, dp;
    const float of_q = column_scale(0, item, head, tile), of_dy = column_scale(1, item, head, tile),
                scale = w.scale_log2 * row_scale(0, item) * of_q;
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
    if (DK) multiply_features<Tile>(ds, rows.tile(1) + group * 64 * 64, dy.tile());
    wgmma_wait<DK ? 1 : 0>();
    mask_sums<Tile>(s, item.limits, row, tile, place);
#pragma unroll
    for (int i = 0; i < C / 2; i += 4) {
      const float2 lse = stats[i];
#pragma unroll
      for (int e = 0; e < 4; e++)
        s[i + e] = exp2_fast(fmaf(s[i + e], scale, LIFT - (e % 2 ? lse.y : lse.x)));
    }
    wgmma_wait<0>();
    float back = 1;
    KeptWeights<Tile> kept;
    kept.template draw<false>(w.dropout, item.batch * w.heads * w.group + head, row, tile);
    if (DV) {
#pragma unroll
      for (int i = 0; i < C / 2; i += 2) p.put(i, kept.of(i, s[i]), kept.of(i + 1, s[i + 1]));
    }
    if (DK) {
      float most = 0;
#pragma unroll
      for (int i = 0; Tile::CUT && i < C / 2; i += 4) {
        const float2 delta = stats[C / 2 + i];
        most = fmaxf(most, fmaxf(fabsf(delta.x), fabsf(delta.y)));
      }
      if (Tile::CUT) {
        most = fmaxf(most, __shfl_xor_sync(~0u, most, 1));
        most = fmaxf(most, __shfl_xor_sync(~0u, most, 2));
      }
      const Slopes<Tile> slopes(row_scale(1, item) * of_dy, most);
      const float of_sum = slopes.sum * (Tile::DROPS ? (float)w.dropout.scale * LIFTED : LIFTED),
                  of_delta = slopes.lift * LIFTED;
      back = of_q / slopes.lift;
#pragma unroll
      for (int i = 0; i < C / 2; i += 2) {
        const float2 delta = stats[C / 2 + i / 4 * 4];
        dp.put(i, s[i] * (kept.of(i, ds[i] * of_sum) - delta.x * of_delta),
               s[i + 1] * (kept.of(i + 1, ds[i + 1] * of_sum) - delta.y * of_delta));
      }
    }
    if (DV) {
      auto& of_dv = dv.next();
      wgmma_fence();
      multiply_columns<Tile>(of_dv, p, dy.tile());
    }
    if (DK) {
      auto& of_dk = dk.next();
      wgmma_fence();
      multiply_columns<Tile>(of_dk, dp, q.tile());
    }
    wgmma_wait<0>();
    q.release();
    dy.release();
    if (DV) dv.add(LIFTED * of_dy);
    if (DK) dk.add(back);
  }

  __device__ __forceinline__ void run() {
    for (Item item; item.next(w);) consume(item);
  }
  __device__ __forceinline__ void consume(const Item& item) {
    using namespace hopper;
    const int row = item.row + group * 64;
    TileSums<Tile, D / 2> dk, dv;
    dk.clear();
    dv.clear();
    if (item.span.count() > 0) {
      rows.wait();
      for (int h = 0; h < item.column_heads; h++)
        for (int tile = item.span.first; tile < item.span.last; tile++)
          add_tile(dk, dv, item, row, item.column_head + h, tile);
      rows.release();
    }
    // Keys that are hidden may have been anything.
    if (row + 64 > item.end) {
#pragma unroll
      for (int i = 0; i < D / 2; i++)
        if (row + place.row + i / 2 % 2 * 8 >= item.end) dk.sum[i] = dv.sum[i] = 0;
    }
    const float of_dv = Tile::DROPS ? (float)w.dropout.scale : 1.0f, left[2] = {of_dv, of_dv},
                factor[2] = {w.scale, w.scale};
    using Out = typename Tile::Out;
    const int first = row + place.row;
    if (DK) store_sums<Out>(dk.sum, factor, w.out[0], item.batch, item.head, first, w.rows);
    if (DV) store_sums<Out>(dv.sum, left, w.out[1], item.batch, item.head, first, w.rows);
  }
#endif
};

}  // namespace cdn
