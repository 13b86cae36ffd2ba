// The driver `rows` as loops. A piece of a row is kept in a buffer from one step to the next;
// longer rows are read again for each. Included by drivers.h only.
#pragma once

namespace cdn {

constexpr int64_t ROOM = 4096, WIDE = 65536;  // elements of a piece, also of long rows

// What a thread keeps of each operand, and of what goes with columns, `room` elements each.
template <class Op> struct RowBuffer {
  using T = typename Op::Element;
  using C = Compute<T>;
  static constexpr int PARTS = Op::INPUTS + Op::COLUMNS;
  C* of;
  int64_t room;

  void load_columns(const Op& op, int64_t from, int64_t count) const {
    for (int m = 0; m < Op::COLUMNS; m++) {
      C* k = of + (Op::INPUTS + m) * room;
      for (int64_t c = 0; c < count; c++)
        k[c] = op.columns[m] ? wide(op.columns[m][from + c]) : C(m == 0 ? 1 : 0);
    }
  }
  void load(const Op& op, int64_t at, int64_t count) const {
    for (int n = 0; n < Op::INPUTS; n++) {
      C* v = of + n * room;
      for (int64_t c = 0; c < count; c++) v[c] = wide(op.in[n][at + c]);
    }
  }
  // f(v, k) of element c, which may change v.
  template <class F> CDN_FN auto at(int64_t c, F f) const {
    C own[Op::INPUTS];
    typename Op::Column column;
    for (int n = 0; n < Op::INPUTS; n++) own[n] = of[n * room + c];
    for (int m = 0; m < Op::COLUMNS; m++) column.v[m] = of[(Op::INPUTS + m) * room + c];
    const auto value = f(own, column);
    for (int n = 0; n < Op::INPUTS; n++) of[n * room + c] = own[n];
    return value;
  }
};

// Rows [begin, end) by way of b.
template <class Op>
void take_rows(const Op& op, int64_t begin, int64_t end, int64_t cols, const RowBuffer<Op>& b) {
  const bool whole = cols <= b.room;
  if (whole) b.load_columns(op, 0, cols);
  for (int64_t r = begin; r < end; r++) {
    const auto known = op.row(r);
    auto r1 = op.start1();
    typename Op::Acc2 r2{};
    const auto first = [&](auto& v, auto& k) { return op.first(known, v, k); };
    const auto second = [&](auto& v, auto&) {
      if constexpr (Op::SECOND)
        return op.second(known, r1, v);
      else
        return 0;
    };
    // f(column, count) for each piece, of which what steps before this made is there.
    const auto each_piece = [&](bool after_first, bool after_second, auto f) {
      for (int64_t c = 0; c < cols; c += b.room) {
        const int64_t count = cols - c < b.room ? cols - c : b.room;
        if (!whole || !after_first) b.load(op, r * cols + c, count);
        if (!whole) {
          b.load_columns(op, c, count);
          for (int64_t i = 0; after_first && i < count; i++) b.at(i, first);
          for (int64_t i = 0; after_second && i < count; i++) b.at(i, second);
        }
        f(c, count);
      }
    };
    each_piece(false, false, [&](int64_t, int64_t count) {
      const auto join = [&](auto a, auto x) { return op.join1(a, x); };
      r1 = join(r1, joined(op.start1(), count, [&](int64_t c) { return b.at(c, first); }, join));
    });
    if constexpr (Op::SECOND)
      each_piece(true, false, [&](int64_t, int64_t count) {
        constexpr int64_t FEW = std::is_same_v<decltype(b.at(0, second)), double> ? LANES / 2 : 4;
        r2 = r2 + joined<FEW>(
                      typename Op::Acc2{}, count, [&](int64_t c) { return b.at(c, second); },
                      [](auto a, auto x) { return a + x; });
      });
    const auto all = op.all(known, r1, r2);
    op.finish(r, all);
    if (!op.y) continue;
    each_piece(true, Op::SECOND, [&](int64_t c, int64_t count) {
      auto* y = op.y + r * cols + c;
      CDN_INDEPENDENT
      for (int64_t i = 0; i < count; i++)
        y[i] = static_cast<typename Op::Element>(
            b.at(i, [&](auto& v, auto& k) { return op.result(all, c + i, v, k); }));
    });
  }
}

template <class Op> void rows(Call& call, int64_t rows, int64_t cols, Op op) {
  using Buffer = RowBuffer<Op>;
  using C = typename Buffer::C;
  if (cols <= ROOM || cols > WIDE)
    return parallel_for(rows, GRAIN / 4 / (cols + 1) + 1, [&](int64_t begin, int64_t end) {
      alignas(64) C space[Buffer::PARTS * ROOM];
      take_rows(op, begin, end, cols, Buffer{space, ROOM});
    });
  const int64_t threads = 2 * threads::count(), pieces = rows < threads ? rows : threads,
                room = ceil_div(cols, 16) * 16, part = Buffer::PARTS * room;
  C* space = call.scratch<C>(pieces * part);
  parallel_each(pieces, 1, [&](int64_t p) {
    take_rows(op, rows * p / pieces, rows * (p + 1) / pieces, cols, Buffer{space + p * part, room});
  });
}

}  // namespace cdn
