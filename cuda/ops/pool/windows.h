// The functors that go over windows. Those of common shapes have kernels whose threads slide down
// strips of an image, and a functor serves the rest; both join the places of a row of a window,
// then the rows, so that it is the same sum. What is done with the places, and how a result's
// gradient is shared out, says an Op:
//
// - STRIPS, whether it has such kernels; Acc: start(first), the window's first place; take(x, k)
//   its place k, join(acc of a row, k of the row's first place)
// - OUTSIDE, which changes nothing; store(pool, acc, at, i, j), of neighbours
// - of a gradient, read(pool, row, i, parts): what the results of a row of windows give; and
//   Part::of(k): to place k of a window
#pragma once
#include "ops/pool/pool.h"

namespace cdn {
namespace pooling {

// The results of any windows, one after another, of W channels.
template <class Op, int W> struct EachResult {
  using T = typename Op::T;
  Pool pool;
  Op op;
  const T* x;
  CDN_FN void operator()(int64_t at) const {
    const Place p = pool.y.place(at);
    const Window rows = pool.height.window(p.i), cols = pool.width.window(p.j);
    const int32_t across = pool.width.width(), left = cols.begin + cols.first * pool.width.dilation;
    typename Op::Acc result[1][W];
    for (auto& acc : result[0]) acc.start(rows.first * across + cols.first);
    for (int32_t i = rows.first; i < rows.end; i++) {
      int64_t offset = pool.x.at(p, rows.begin + i * pool.height.dilation, left) * W;
      typename Op::Acc line[W];
      for (auto& acc : line) acc.start(0);
      for (int32_t j = cols.first; j < cols.end; j++) {
        const auto found = *reinterpret_cast<const Neighbours<T, W>*>(x + offset);
        for (int c = 0; c < W; c++) line[c].take(wide(found.v[c]), j);
        offset += int64_t{pool.width.dilation} * pool.x.inner.by * W;
      }
      for (int c = 0; c < W; c++) result[0][c].join(line[c], i * across);
    }
    op.store(pool, result, at * W, p.i, p.j);
  }
};

// Each element of dx gathers from the windows that see it.
template <class Op, int W> struct EachGradient {
  using T = typename Op::T;
  Pool pool;
  Op op;
  T* dx;
  CDN_FN void operator()(int64_t at) const {
    const Place p = pool.x.place(at);
    const Windows rows = pool.height.covering(p.i), cols = pool.width.covering(p.j);
    Compute<T> sum[W] = {};
    CDN_ROLLED
    for (int32_t i = rows.first; i < rows.end; i++) {
      const int32_t down = pool.height.offset(pool.height.begin(i), p.i);
      if (down < 0) continue;
      CDN_ROLLED
      for (int32_t j = cols.first; j < cols.end; j++) {
        const int32_t k = pool.width.offset(pool.width.begin(j), p.j);
        if (k < 0) continue;
        typename Op::Part parts[1][W];
        const RowWindow<1, 0, 1, W> row{pool.y.at(p, i, 0) * W, int64_t{pool.y.inner.by} * W, j,
                                        pool.width.out, true};
        op.read(pool, row, i, parts);
        for (int c = 0; c < W; c++) sum[c] += parts[0][c].of(down * pool.width.width() + k);
      }
    }
    put<W>(dx + at * W, [&](int c) { return static_cast<T>(sum[c]); });
  }
};

// The results of a strip with windows of K x K, S apart, and a padding of PAD. Rows of x that two
// results see are joined once.
template <class Op, int K, int S, int PAD, int A, int CH> struct StripOfResults {
  using T = typename Op::T;
  Pool pool;
  Op op;
  const T* x;
  Strips strips;
  struct Line {
    typename Op::Acc at[A][CH];
  };

  CDN_FN Line line(const Strips::Strip& s, int64_t image, int32_t h) const {
    constexpr int N = (A - 1) * S + K;
    const int64_t inner = pool.inner, pitch = pool.width.extent * inner;
    const RowWindow<N, PAD, A, CH> row{image + h * pitch, inner, s.across * (A * S) - PAD,
                                       pool.width.extent, h >= 0 && h < pool.height.extent};
    T found[N][CH];
    row.read(x, static_cast<T>(Op::OUTSIDE), found);
    Line line;
    CDN_UNROLLED
    for (int e = 0; e < A * CH; e++) {
      line.at[e / CH][e % CH].start(0);
      CDN_UNROLLED
      for (int b = 0; b < K; b++)
        line.at[e / CH][e % CH].take(wide(found[e / CH * S + b][e % CH]), b);
    }
    return line;
  }
  CDN_FN void operator()(int64_t at) const {
    const Strips::Strip s = strips.strip(at);
    const int64_t image =
        (s.image * pool.height.extent * pool.width.extent) * pool.inner + int64_t{s.pack} * CH;
    const int32_t j = s.across * A, before = j * S < PAD ? PAD - j * S : 0;
    Line lines[K] = {};
    CDN_UNROLLED
    for (int a = 0; a < K - S; a++) lines[a + S] = line(s, image, s.first * S - PAD + a);
    CDN_ROLLED
    for (int32_t i = s.first; i < s.end; i++) {
      CDN_UNROLLED
      for (int a = 0; a < K; a++)
        lines[a] = a < K - S ? lines[a + S] : line(s, image, i * S - PAD + a);
      const int32_t above = i * S < PAD ? PAD - i * S : 0;
      typename Op::Acc result[A][CH];
      CDN_UNROLLED
      for (int e = 0; e < A * CH; e++) {
        auto& acc = result[e / CH][e % CH];
        acc.start(above * K + (e < CH ? before : 0));
        CDN_UNROLLED
        for (int a = 0; a < K; a++) acc.join(lines[a].at[e / CH][e % CH], a * K);
      }
      const int64_t row = (s.image * pool.height.out + i) * pool.width.out + j;
      op.store(pool, result, row * pool.inner + int64_t{s.pack} * CH, i, j);
    }
  }
};

// dx of a strip: A * S pixels of a row, S rows for each of y's.
template <class Op, int K, int S, int PAD, int A, int CH> struct StripOfGradients {
  using T = typename Op::T;
  // The results that see a pixel are from LOW before its own, which it is by its place / S, to HIGH
  // after.
  static constexpr int LOW = (K - 1 - PAD) / S, HIGH = (S - 1 + PAD) / S, D = LOW + HIGH + 1,
                       N = A + LOW + HIGH;
  Pool pool;
  Op op;
  T* dx;
  Strips strips;
  struct Line {
    typename Op::Part at[N][CH];
  };

  CDN_FN Line line(const Strips::Strip& s, int32_t i) const {
    const int64_t row = (s.image * pool.height.out + i) * pool.width.out;
    const RowWindow<N, LOW, A, CH> window{row * pool.inner + int64_t{s.pack} * CH, pool.inner,
                                          s.across * A - LOW, pool.width.out,
                                          i >= 0 && i < pool.height.out};
    Line line;
    op.read(pool, window, i, line.at);
    return line;
  }
  CDN_FN void operator()(int64_t at) const {
    const Strips::Strip s = strips.strip(at);
    Line lines[D] = {};
    CDN_UNROLLED
    for (int m = 0; m < D - 1; m++) lines[m + 1] = line(s, s.first - LOW + m);
    CDN_ROLLED
    for (int32_t u = s.first; u < s.end; u++) {
      CDN_UNROLLED
      for (int m = 0; m < D; m++) lines[m] = m < D - 1 ? lines[m + 1] : line(s, u + HIGH);
      CDN_UNROLLED
      for (int e = 0; e < S; e++)
        if (u * S + e < pool.height.extent) row(s, lines, u * S + e, e);
    }
  }
  CDN_FN void row(const Strips::Strip& s, const Line (&lines)[D], int32_t h, int e) const {
    const int64_t line = (s.image * pool.height.extent + h) * pool.width.extent;
    CDN_UNROLLED
    for (int q = 0; q < S; q++) {
      const int32_t column = (s.across * S + q) * A;
      if (column >= pool.width.extent) break;
      put<A * CH>(dx + (line + column) * pool.inner + int64_t{s.pack} * CH, [&](int i) {
        const int c = i % CH, f = q * A + i / CH;
        Compute<T> sum(0);
        CDN_UNROLLED
        for (int m = 0; m < D; m++) {
          const int a = e + PAD - S * (m - LOW);
          CDN_UNROLLED
          for (int n = 0; n < N; n++) {
            const int b = f + PAD - S * (n - LOW);
            if (a >= 0 && a < K && b >= 0 && b < K) sum += lines[m].at[n][c].of(a * K + b);
          }
        }
        return static_cast<T>(sum);
      });
    }
  }
};

// The results of op's windows of x, or with GRAD the gradient that op's results give x. Where there
// are no strips, a thread has as many channels as 16 bytes hold, and one where they do not come in
// such packs.
template <bool GRAD, class Op, class X>
void pooled(Call& call, Pool pool, const Op& op, X* x,
            std::initializer_list<const void*> operands) {
  constexpr int W = NEIGHBOURS<typename Op::T>;
  const bool aligned = aligned_neighbours(operands), packs = aligned && pool.inner % W == 0,
             along = aligned && pool.inner == 1 && pool.width.extent % W == 0 &&
                     pool.width.out % W == 0;
  auto in_strips = [&]<int K, int S, int PAD>() {
    for (const PoolAxis& axis : {pool.height, pool.width})
      if (axis.kernel != K || axis.stride != S || axis.padding != PAD || axis.dilation != 1)
        return false;
    auto of = [&]<int A, int CH>() {
      using Strip = std::conditional_t<GRAD, StripOfGradients<Op, K, S, PAD, A, CH>,
                                       StripOfResults<Op, K, S, PAD, A, CH>>;
      auto count = [](const PoolAxis& axis) {
        return GRAD ? ceil_div(axis.extent, S) : int64_t{axis.out};
      };
      const Strips strips(pool.outer, count(pool.height), count(pool.width), pool.inner, A, CH);
      each(call, strips.count, Strip{pool, op, x, strips});
    };
    packs   ? of.template operator()<1, W>()
    : along ? of.template operator()<W, 1>()
            : of.template operator()<1, 1>();
    return true;
  };
  if constexpr (Op::STRIPS)
    if (in_strips.template operator()<2, 2, 0>() || in_strips.template operator()<3, 2, 1>() ||
        in_strips.template operator()<3, 1, 1>())
      return;
  auto by = [&]<int CH>() {
    pool.inner /= CH;
    pool.x.inner = pool.y.inner = Extent(pool.inner);
    using Each = std::conditional_t<GRAD, EachGradient<Op, CH>, EachResult<Op, CH>>;
    each(call, GRAD ? pool.x_size() : pool.y_size(), Each{pool, op, x});
  };
  packs ? by.template operator()<W>() : by.template operator()<1>();
}

}  // namespace pooling
}  // namespace cdn
