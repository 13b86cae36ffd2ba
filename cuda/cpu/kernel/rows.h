// The driver `rows` as loops. A piece of a row is kept in a buffer from one step to the next;
// longer rows are read again for each. Included by drivers.h only.
#pragma once

namespace cdn {

constexpr int64_t ROOM = 4096;  // elements of a piece

// What a thread keeps of each operand, and of what goes with columns.
template <class Op> struct RowBuffer {
  using T = typename Op::Element;
  using C = Compute<T>;
  alignas(64) C v[Op::INPUTS][ROOM];
  alignas(64) C k[Op::COLUMNS + 1][ROOM];

  void load_columns(const Op& op, int64_t from, int64_t count) {
    for (int m = 0; m < Op::COLUMNS; m++)
      for (int64_t c = 0; c < count; c++)
        k[m][c] = op.columns[m] ? wide(op.columns[m][from + c]) : Compute<T>(m == 0 ? 1 : 0);
  }
  void load(const Op& op, int64_t at, int64_t count) {
    for (int n = 0; n < Op::INPUTS; n++)
      for (int64_t c = 0; c < count; c++) v[n][c] = wide(op.in[n][at + c]);
  }
  // f(v, k) of element c, which may change v.
  template <class F> auto at(int64_t c, F f) {
    C own[Op::INPUTS];
    typename Op::Column column;
    for (int n = 0; n < Op::INPUTS; n++) own[n] = v[n][c];
    for (int m = 0; m < Op::COLUMNS; m++) column.v[m] = k[m][c];
    const auto value = f(own, column);
    for (int n = 0; n < Op::INPUTS; n++) v[n][c] = own[n];
    return value;
  }
  // joined with join(result, f(v, k)) of each, in vector lanes.
  template <class A, class F, class Join>
  A joined(A result, A start, int64_t count, F f, Join join) {
    A lanes[LANES];
    int64_t c = 0;
    const int64_t whole = count - count % LANES;
    if (whole) {
      for (int l = 0; l < LANES; l++) lanes[l] = start;
      for (; c < whole; c += LANES) {
        CDN_INDEPENDENT
        for (int l = 0; l < LANES; l++) lanes[l] = join(lanes[l], at(c + l, f));
      }
      for (int l = 0; l < LANES; l++) result = join(result, lanes[l]);
    }
    decltype(at(c, f)) rest[LANES];  // fewer: computed as vectors, then joined
    CDN_INDEPENDENT
    for (int64_t i = c; i < count; i++) rest[i - c] = at(i, f);
    for (int64_t i = c; i < count; i++) result = join(result, rest[i - c]);
    return result;
  }
};

template <class Op> void rows(Call&, int64_t rows, int64_t cols, Op op) {
  parallel_for(rows, GRAIN / 4 / (cols + 1) + 1, [&](int64_t begin, int64_t end) {
    RowBuffer<Op> b;
    const bool whole = cols <= ROOM;
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
        for (int64_t c = 0; c < cols; c += ROOM) {
          const int64_t count = cols - c < ROOM ? cols - c : ROOM;
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
        r1 =
            b.joined(r1, op.start1(), count, first, [&](auto a, auto x) { return op.join1(a, x); });
      });
      if constexpr (Op::SECOND)
        each_piece(true, false, [&](int64_t, int64_t count) {
          r2 = b.joined(r2, typename Op::Acc2{}, count, second,
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
  });
}

}  // namespace cdn
