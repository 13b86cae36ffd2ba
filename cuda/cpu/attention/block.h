// Blocks of attention's scores on the CPU. A block lies transposed, column (key) by column, each
// with up to ROWS rows (queries): so vector lanes are rows, and neither a softmax nor a product
// needs sums over lanes. Products are those of the matrix product's register tiles.
#pragma once
#include <algorithm>

#include "cpu/gemm/blocked.h"
#include "kernel/functions.h"
#include "ops/attention/attention.h"

namespace cdn {

constexpr int64_t ROWS = 64, COLUMNS = 128;
constexpr double LOG2_E = 1.4426950408889634074;

// 2^x for x that is not above 127; 0 far below, and NaN for NaN.
inline float power_of_2(float x) {
  const float magic = 0x1.8p23f, shifted = x + magic, whole = shifted - magic, f = x - whole;
  float y = 1.5353362e-4f;  // of the least relative error on [-1/2, 1/2]
  y = y * f + 1.3398875e-3f;
  y = y * f + 9.6184373e-3f;
  y = y * f + 5.5503324e-2f;
  y = y * f + 2.4022648e-1f;
  y = y * f + 6.9314720e-1f;
  y = y * f + 1.0f;
  const uint32_t exponent = (bits_as<uint32_t>(shifted) - bits_as<uint32_t>(magic) + 127) << 23;
  return x < -126.0f ? 0.0f : y * bits_as<float>(exponent);
}
inline double power_of_2(double x) { return fn::exp(x * 0.69314718055994530942); }

// Rows of features, each `step` elements behind the last.
template <class C> struct RowsOf {
  const C* data;
  int64_t step;
};

// `count` rows as C: where they lie, or without gaps in `room`.
template <class T>
RowsOf<Compute<T>> rows_of(const T* x, int64_t step, int64_t count, int64_t features,
                           Compute<T>* room) {
  if constexpr (std::is_same<T, Compute<T>>::value)
    if (step == features) return {x, step};
  for (int64_t r = 0; r < count; r++)
    for (int64_t p = 0; p < features; p++) room[r * features + p] = wide(x[r * step + p]);
  return {room, features};
}

// Rows as vectors hold them: the last ones may be none.
inline int64_t width_of(int64_t rows) { return ceil_div(rows, 16) * 16; }

// to[p * width + r] = x[r, p], and 0 from `count` on.
template <class C> void transpose_rows(C* to, const RowsOf<C>& x, int64_t count, int64_t features) {
  const int64_t width = width_of(count);
  for (int64_t p = 0; p < features; p++)
    for (int64_t r = count; r < width; r++) to[p * width + r] = 0;
  tile_kernel<C>().transpose(to, width, x.data, x.step, count, features);
}

// x times scale and log2(e), which together may overflow.
template <class C> void scale_queries(C* x, int64_t n, C scale) {
  for (int64_t i = 0; i < n; i++) x[i] = x[i] * scale * C(LOG2_E);
}

// c[m, n] (+)= a b, where element (i, p) of a is a[i * a_row + p * a_step].
template <class C>
void multiply(C* c, int64_t c_row, const C* a, int64_t a_row, int64_t a_step, const RowsOf<C>& b,
              int64_t m, int64_t n, int64_t k, bool add) {
  const TileKernel<C>& t = tile_kernel<C>();
  const int64_t height = ceil_div(m, ceil_div(m, t.rows));
  t.multiply({a, b.data, c, m, n, k, height, t.panel, height * a_row, a_row, a_step, t.panel,
              b.step, c_row, 1, add});
}

// c += a b for weights a, of which some are 0 since they are `hidden`: there b may be anything.
template <class C>
void add_weighted(C* c, const C* a, int64_t a_row, int64_t a_step, const RowsOf<C>& b, int64_t m,
                  int64_t n, int64_t k, bool hidden) {
  int special = 0;  // infinite or NaN
  for (int64_t p = 0; p < k && hidden; p++)
    for (int64_t j = 0; j < n; j++) special |= b.data[p * b.step + j] * 0 != 0;
  if (!special) return multiply(c, n, a, a_row, a_step, b, m, n, k, true);
  for (int64_t i = 0; i < m; i++)
    for (int64_t p = 0; p < k; p++)
      if (const C weight = a[i * a_row + p * a_step]; weight != 0)
        for (int64_t j = 0; j < n; j++) c[i * n + j] += weight * b.data[p * b.step + j];
}

// Rows [row, row + rows) and columns [column, column + columns) of a head.
struct BlockPlace {
  int64_t b, h, row, rows, column, columns;
};

// s += a mask times log2(e), -infinity where that is, or where a mask of uint8 is 0.
template <class M, class C>
void add_mask(C* s, const void* mask, const AttentionRules& rules, const BlockPlace& at) {
  const C hide = -std::numeric_limits<C>::infinity();
  const M* from = static_cast<const M*>(mask) + rules.mask_at(at.b, at.h, at.row) +
                  at.column * rules.mask_column;
  const int64_t width = width_of(at.rows);
  C added[ROWS * COLUMNS], turned[ROWS * COLUMNS];
  auto read = [&](int64_t step) __attribute__((always_inline)) {
    for (int64_t r = 0; r < at.rows; r++)
      for (int64_t c = 0; c < at.columns; c++) {
        const M value = from[r * rules.mask_at.row + c * step];
        if constexpr (std::is_same<M, uint8_t>::value)
          added[r * COLUMNS + c] = value ? C(0) : hide;
        else
          added[r * COLUMNS + c] = AttentionRules::scaled<C>(value);
      }
  };
  rules.mask_column == 1 ? read(1) : read(rules.mask_column);
  tile_kernel<C>().transpose(turned, width, added, COLUMNS, at.rows, at.columns);
  for (int64_t c = 0; c < at.columns; c++)
    for (int64_t r = 0; r < at.rows; r++) {
      const C more = turned[c * width + r];
      s[c * width + r] = more == hide ? hide : s[c * width + r] + more;
    }
}

// s: what softmax is of, times log2(e), and -infinity where it is hidden. qt: transposed queries
// times scale and log2(e). Returns whether any is hidden.
template <class T, class C = Compute<T>>
bool block_of_scores(C* s, const C* qt, const RowsOf<C>& k, const Attention<T>& x,
                     const BlockPlace& at) {
  const C hide = -std::numeric_limits<C>::infinity();
  const AttentionRules& rules = x.rules;
  const int64_t width = width_of(at.rows);
  multiply(s, width, k.data, k.step, 1, {qt, width}, at.columns, width, x.features, false);
  switch (rules.kind) {
    case MaskKind::NONE: break;
    case MaskKind::BOOLEAN: add_mask<uint8_t>(s, rules.mask, rules, at); break;
    case MaskKind::FLOAT32: add_mask<float>(s, rules.mask, rules, at); break;
    default: add_mask<T>(s, rules.mask, rules, at);
  }
  bool hidden = rules.kind != MaskKind::NONE;
  for (int64_t c = 0; c < at.columns; c++, s += width) {
    const Span seen = rules.rows(at.b, at.column + c, at.column + c);
    const int64_t first = std::clamp<int64_t>(seen.begin - at.row, 0, width),
                  end = std::clamp<int64_t>(seen.end - at.row, first, width);
    hidden = hidden || first > 0 || end < at.rows;
    for (int64_t r = 0; r < first; r++) s[r] = hide;
    for (int64_t r = end; r < width; r++) s[r] = hide;
  }
  return hidden;
}

// What dropout multiplies weights by: 0 or 1 / (1 - p).
template <class T, class C = Compute<T>>
void block_of_dropout(C* keep, const Attention<T>& x, const BlockPlace& at) {
  const C scale = static_cast<C>(x.rules.dropout.scale);
  const int64_t width = width_of(at.rows);
  for (int64_t c16 = 0; c16 < at.columns; c16 += 16)
    for (int64_t r16 = 0; r16 < at.rows; r16 += 16)
      for (int lane = 0; lane < 32; lane++) {
        const Words words = x.rules.dropout.random(at.b * x.heads + at.h, (at.row + r16) / 16,
                                                   (at.column + c16) / 16, lane);
        for (int e = 0; e < 8; e++) {
          const int64_t r = r16 + lane / 4 + e / 2 % 2 * 8,
                        c = c16 + lane % 4 * 2 + e % 2 + e / 4 * 8;
          keep[c * width + r] = x.rules.dropout.kept(words, e) ? scale : C(0);
        }
      }
}

// x *= keep, but 0 where that is.
template <class C> void drop(C* x, const C* keep, int64_t n) {
  for (int64_t i = 0; i < n; i++) x[i] = keep[i] == 0 ? C(0) : x[i] * keep[i];
}

}  // namespace cdn
