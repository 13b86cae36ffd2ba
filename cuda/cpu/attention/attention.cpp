// Attention on the CPU, in blocks of 64 rows and 128 columns. The sums of each result are added up
// in an order that sizes alone fix.
#include "cpu/attention/block.h"

#include "cpu/device/threads.h"

namespace cdn {
namespace {

// Memory of a thread, taken piece by piece.
template <class C> struct Room {
  C* next;
  C* take(int64_t count) { return std::exchange(next, next + count); }
};

// task(i, its thread's memory of `size` elements) for each i < tasks, of about `work`
// multiply-adds. Pieces, `most` at most, take tasks in turns: where rows see more than those before
// them, all get some of each.
template <class C, class F>
void share(Call& call, int64_t tasks, int64_t work, int64_t size, F&& task,
           int64_t most = std::numeric_limits<int64_t>::max()) {
  const bool serial = threads::count() == 1 || work * tasks < 500000;
  const int64_t pieces = serial ? 1 : std::min<int64_t>({tasks, most, 4 * threads::count()});
  C* memory = call.scratch<C>(pieces * size);
  parallel_for(pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t piece = begin; piece < end; piece++)
      for (int64_t i = piece; i < tasks; i += pieces) task(i, Room<C>{memory + piece * size});
  });
}

// f(first, count) for blocks of the columns [begin, end), at multiples of their size.
template <class F> void each_block(Span span, int64_t limit, int64_t size, F&& f) {
  for (int64_t i = span.begin / size * size; i < span.end; i += size)
    f(i, std::min(size, limit - i));
}

// ---- Forward

template <class T>
void forward(const Attention<T>& x, int64_t b, int64_t h, int64_t row, Room<Compute<T>> room) {
  using C = Compute<T>;
  const int64_t rows = std::min(ROWS, x.queries - row), width = width_of(rows), d = x.features,
                dv = x.out_features;
  const C none = -std::numeric_limits<C>::infinity();
  C *q = room.take(ROWS * d), *qt = room.take(ROWS * d), *k = room.take(COLUMNS * d),
    *v = room.take(COLUMNS * dv), *s = room.take(COLUMNS * ROWS), *keep = room.take(COLUMNS * ROWS),
    *sums = room.take(ROWS * dv);
  C largest[ROWS], sum[ROWS];
  std::fill_n(largest, ROWS, none);
  std::fill_n(sum, ROWS, C(0));
  std::fill_n(sums, ROWS * dv, C(0));
  transpose_rows(qt, rows_of(x.q + x.q_at(b, h, row), x.q_at.row, rows, d, q), rows, d);
  scale_queries(qt, width * d, x.scale);

  each_block(x.rules.columns(b, row, row + rows - 1), x.keys, COLUMNS, [&](int64_t c, int64_t n) {
    const BlockPlace at{b, h, row, rows, c, n};
    const int64_t kv = x.kv_head(h);
    const RowsOf<C> keys = rows_of(x.k + x.k_at(b, kv, c), x.k_at.row, n, d, k),
                    values = rows_of(x.v + x.v_at(b, kv, c), x.v_at.row, n, dv, v);
    const bool hidden = block_of_scores(s, qt, keys, x, at);
    C base[ROWS], shrink[ROWS];
    std::copy_n(largest, ROWS, base);
    for (int64_t i = 0; i < n; i++)
      for (int64_t r = 0; r < width; r++)
        base[r] = base[r] > s[i * width + r] ? base[r] : s[i * width + r];
    bool moved = false;
    for (int64_t r = 0; r < width; r++) {
      const C from = base[r] == none ? C(0) : base[r];  // a row that has seen nothing yet
      shrink[r] = power_of_2(largest[r] - from);
      moved = moved || shrink[r] != 1;
      largest[r] = base[r];
      base[r] = from;
      sum[r] *= shrink[r];
    }
    for (int64_t i = 0; i < n; i++)
      for (int64_t r = 0; r < width; r++) {
        const C weight = power_of_2(s[i * width + r] - base[r]);
        s[i * width + r] = weight;
        sum[r] += weight;
      }
    if (x.rules.dropout.threshold) {
      block_of_dropout(keep, x, at);
      drop(s, keep, n * width);
    }
    for (int64_t r = 0; r < rows && moved; r++)
      for (int64_t j = 0; j < dv; j++) sums[r * dv + j] *= shrink[r];
    add_weighted(sums, s, 1, width, values, rows, dv, n, hidden);
  });

  for (int64_t r = 0; r < rows; r++) {
    const C factor = sum[r] == 0 ? C(0) : 1 / sum[r];
    T* y = x.y + x.y_at(b, h, row + r);
    for (int64_t j = 0; j < dv; j++) y[j] = static_cast<T>(sums[r * dv + j] * factor);
    if (!x.lse) continue;
    const int64_t at = x.lse_at(b, h, row + r);
    const C base = sum[r] == 0 ? C(0) : largest[r], log = sum[r] == 0 ? -none : std::log2(sum[r]);
    x.lse[at] = x.base() ? log : base + log;
    if (x.base()) x.base()[at] = base;
  }
}

template <class T> void attend(Call& call, const Attention<T>& x) {
  const int64_t blocks = ceil_div(x.queries, ROWS), d = x.features, dv = x.out_features;
  const int64_t size = (2 * ROWS + COLUMNS) * (d + dv) + 2 * COLUMNS * ROWS;
  share<Compute<T>>(call, x.batch * x.heads * blocks, ROWS * x.keys * (d + dv), size,
                    [&](int64_t i, Room<Compute<T>> room) {
                      const int64_t head = i / blocks;
                      forward(x, head / x.heads, head % x.heads, i % blocks * ROWS, room);
                    });
}

// ---- Backward

// 64 rows of a head, as its blocks need them.
template <class T> struct GradRows {
  using C = Compute<T>;
  const AttentionGrad<T>& x;
  int64_t b, h, row, rows;
  C *qt, *dyt;
  RowsOf<C> q, dy;
  C lse[ROWS], base[ROWS], inner[ROWS];  // inner: of dy and y

  GradRows(const AttentionGrad<T>& x, int64_t b, int64_t h, int64_t row, Room<C> room)
      : x(x), b(b), h(h), row(row), rows(std::min(ROWS, x.queries - row)) {
    const int64_t d = x.features, dv = x.out_features;
    qt = room.take(ROWS * d), dyt = room.take(ROWS * dv);
    q = rows_of(x.q + x.q_at(b, h, row), x.q_at.row, rows, d, room.take(ROWS * d));
    dy = rows_of(x.dy + x.dy_at(b, h, row), x.dy_at.row, rows, dv, room.take(ROWS * dv));
    transpose_rows(qt, q, rows, d);
    transpose_rows(dyt, dy, rows, dv);
    scale_queries(qt, width_of(rows) * d, x.scale);
    for (int64_t r = 0; r < ROWS; r++) {
      const int64_t at = x.lse_at(b, h, row + r);
      lse[r] = r < rows ? x.lse[at] : std::numeric_limits<C>::infinity();
      base[r] = r < rows && x.base() ? x.base()[at] : C(0);
      double sum = 0;
      for (int64_t j = 0; j < dv && r < rows; j++)
        sum += static_cast<double>(dy.data[r * dy.step + j]) *
               static_cast<double>(wide(x.y[x.y_at(b, h, row + r) + j]));
      inner[r] = static_cast<C>(sum);
    }
  }
  static int64_t size(const Attention<T>& x) { return 2 * ROWS * (x.features + x.out_features); }
};

template <class T> class Backward {
 public:
  using C = Compute<T>;
  Backward(const AttentionGrad<T>& x) : x_(x) {}

  void run(Call& call) const {
    const int64_t groups = x_.batch * x_.kv_heads, wide = x_.features + x_.out_features;
    const int64_t shared = heads_of_group(), size = room_size();
    const int64_t row_blocks = ceil_div(x_.queries, ROWS), blocks = ceil_div(x_.keys, COLUMNS);
    // Where there are heads for all threads, and memory for as many heads' sums, a block's scores
    // serve all three gradients.
    const int64_t sums = x_.keys * wide,
                  fit = MOST_BYTES / (static_cast<int64_t>(sizeof(C)) * (size + sums));
    if (std::min(groups, fit) >= threads::count() || x_.keys == 0) {
      const int64_t work = shared * x_.queries * x_.keys * wide;
      share<C>(
          call, groups, work, size + sums,
          [&](int64_t i, Room<C> room) { whole(i / x_.kv_heads, i % x_.kv_heads, room); },
          std::max<int64_t>(fit, 1));
      return;
    }
    share<C>(call, groups * shared * row_blocks, ROWS * x_.keys * wide, size,
             [&](int64_t i, Room<C> room) {
               const int64_t head = i / row_blocks;
               rows(head / x_.heads, head % x_.heads, i % row_blocks * ROWS, room, nullptr,
                    nullptr);
             });
    share<C>(call, groups * blocks, COLUMNS * shared * x_.queries * wide, size,
             [&](int64_t i, Room<C> room) {
               const int64_t group = i / blocks;
               columns(group / x_.kv_heads, group % x_.kv_heads, i % blocks * COLUMNS, room);
             });
  }

 private:
  static constexpr int64_t MOST_BYTES = int64_t{1} << 30;  // of whole heads' sums
  int64_t heads_of_group() const { return x_.heads / x_.kv_heads; }
  int64_t room_size() const {
    return GradRows<T>::size(x_) + (ROWS + 2 * COLUMNS) * (x_.features + x_.out_features) +
           3 * COLUMNS * ROWS;
  }

  // One block: adds to dq [rows, features] without its scale, and to dk and dv, of those that are
  // not null.
  void block(const GradRows<T>& at, int64_t c, int64_t n, Room<C> room, C* dq, C* dk, C* dv) const {
    const int64_t d = x_.features, out = x_.out_features, kv = x_.kv_head(at.h),
                  width = width_of(at.rows);
    C *s = room.take(COLUMNS * ROWS), *ds = room.take(COLUMNS * ROWS),
      *keep = room.take(COLUMNS * ROWS);
    const RowsOf<C> keys = rows_of(x_.k + x_.k_at(at.b, kv, c), x_.k_at.row, n, d,
                                   room.take(COLUMNS * d)),
                    values = rows_of(x_.v + x_.v_at(at.b, kv, c), x_.v_at.row, n, out,
                                     room.take(COLUMNS * out));
    const BlockPlace place{at.b, at.h, at.row, at.rows, c, n};
    const bool hidden = block_of_scores(s, at.qt, keys, x_, place);
    for (int64_t i = 0; i < n && x_.base(); i++)
      for (int64_t r = 0; r < width; r++) s[i * width + r] -= at.base[r];
    multiply(ds, width, values.data, values.step, 1, {at.dyt, width}, n, width, out, false);
    const bool dropped = x_.rules.dropout.threshold > 0;
    const C none = -std::numeric_limits<C>::infinity();
    if (dropped) {
      block_of_dropout(keep, x_, place);
      drop(ds, keep, n * width);
    }
    for (int64_t i = 0; i < n; i++)
      for (int64_t r = 0; r < width; r++) {
        const C score = s[i * width + r], power = power_of_2(score - at.lse[r]),
                weight = score == none ? C(0) : power,
                slope = weight * (ds[i * width + r] - at.inner[r]);
        s[i * width + r] = weight;
        ds[i * width + r] = weight == 0 ? C(0) : slope;
      }
    if (dq) {
      add_weighted(dq, ds, 1, width, keys, at.rows, d, n, hidden);
      if (x_.dscores)
        for (int64_t r = 0; r < at.rows; r++)
          for (int64_t i = 0; i < n; i++)
            x_.dscores[x_.lse_at(at.b, at.h, at.row + r) * x_.keys + c + i] = ds[i * width + r];
    }
    if (!dk) return;
    if (dropped) drop(s, keep, n * width);
    add_weighted(dk, ds, width, 1, at.q, n, d, at.rows, hidden);
    add_weighted(dv, s, width, 1, at.dy, n, out, at.rows, hidden);
  }

  // Of 64 rows of a head: dq, and what they add to all keys' dk and dv.
  void rows(int64_t b, int64_t h, int64_t row, Room<C> room, C* dk, C* dv) const {
    const int64_t d = x_.features;
    const GradRows<T> at(x_, b, h, row, Room<C>{room.take(GradRows<T>::size(x_))});
    C* dq = room.take(ROWS * d);
    std::fill_n(dq, ROWS * d, C(0));
    each_block(x_.rules.columns(b, row, row + at.rows - 1), x_.keys, COLUMNS,
               [&](int64_t c, int64_t n) {
                 block(at, c, n, room, dq, dk ? dk + c * d : nullptr,
                       dv ? dv + c * x_.out_features : nullptr);
               });
    put(x_.dq + x_.dq_at(b, h, row), x_.dq_at.row, dq, at.rows, d, x_.scale);
  }

  // Of a block of keys: dk and dv.
  void columns(int64_t b, int64_t kv, int64_t c, Room<C> room) const {
    const int64_t d = x_.features, out = x_.out_features, n = std::min(COLUMNS, x_.keys - c);
    C *dk = room.take(COLUMNS * d), *dv = room.take(COLUMNS * out);
    std::fill_n(dk, COLUMNS * (d + out), C(0));
    const Room<C> of_rows{room.take(GradRows<T>::size(x_))};
    for (int64_t h = kv * heads_of_group(); h < (kv + 1) * heads_of_group(); h++)
      each_block(x_.rules.rows(b, c, c + n - 1), x_.queries, ROWS, [&](int64_t row, int64_t) {
        const GradRows<T> at(x_, b, h, row, of_rows);
        block(at, c, n, room, nullptr, dk, dv);
      });
    put_columns(b, kv, c, n, dk, dv);
  }

  // All of the heads that share keys.
  void whole(int64_t b, int64_t kv, Room<C> room) const {
    const int64_t d = x_.features, out = x_.out_features;
    C *dk = room.take(x_.keys * d), *dv = room.take(x_.keys * out);
    std::fill_n(dk, x_.keys * (d + out), C(0));
    for (int64_t h = kv * heads_of_group(); h < (kv + 1) * heads_of_group(); h++)
      for (int64_t row = 0; row < x_.queries; row += ROWS) rows(b, h, row, room, dk, dv);
    put_columns(b, kv, 0, x_.keys, dk, dv);
  }

  void put_columns(int64_t b, int64_t kv, int64_t c, int64_t n, const C* dk, const C* dv) const {
    put(x_.dk + x_.dk_at(b, kv, c), x_.dk_at.row, dk, n, x_.features, x_.scale);
    put(x_.dv + x_.dv_at(b, kv, c), x_.dv_at.row, dv, n, x_.out_features, C(1));
  }
  static void put(T* y, int64_t step, const C* x, int64_t rows, int64_t features, C scale) {
    for (int64_t r = 0; r < rows; r++)
      for (int64_t j = 0; j < features; j++)
        y[r * step + j] = static_cast<T>(x[r * features + j] * scale);
  }

  const AttentionGrad<T>& x_;
};

}  // namespace

namespace backend {

void attention(Call& call, const Attention<float>& x) { attend(call, x); }
void attention(Call& call, const Attention<double>& x) { attend(call, x); }
void attention(Call& call, const Attention<float16>& x) { attend(call, x); }
void attention(Call& call, const Attention<bfloat16>& x) { attend(call, x); }
void attention_grad(Call& call, const AttentionGrad<float>& x) { Backward(x).run(call); }
void attention_grad(Call& call, const AttentionGrad<double>& x) { Backward(x).run(call); }
void attention_grad(Call& call, const AttentionGrad<float16>& x) { Backward(x).run(call); }
void attention_grad(Call& call, const AttentionGrad<bfloat16>& x) { Backward(x).run(call); }

}  // namespace backend
}  // namespace cdn
