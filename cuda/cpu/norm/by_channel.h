// Loops by channel on CPUs. What is known of the channels is a table, so that the innermost loop is
// vector code also where it runs over channels. Included by ops/norm/by_channel.h only.
#pragma once

namespace cdn {

// What is known of the rows, each part of it in an array of its own, which vectors load.
template <class Op> class Table {
  using Known = typename Op::Known;
  using C = typename Op::C;
  static constexpr int PARTS = sizeof(Known) / sizeof(C);
  using Parts = std::make_integer_sequence<int, PARTS>;
  C* parts_;
  int64_t rows_;
  template <int... J> CDN_FN Known at(int64_t r, std::integer_sequence<int, J...>) const {
    return Known{parts_[J * rows_ + r]...};
  }

 public:
  Table(Call& call, int64_t rows, const Op& op)
      : parts_(call.scratch<C>(PARTS * rows)), rows_(rows) {
    each(call, rows, [=, parts = parts_](int64_t r) {
      const Known known = op.of(r);
      C own[PARTS];
      memcpy(own, &known, sizeof own);
      for (int j = 0; j < PARTS; j++) parts[j * rows + r] = own[j];
    });
  }
  CDN_FN Known operator[](int64_t r) const { return at(r, Parts{}); }
};

template <class Op, class T, int N>
CDN_FN auto at_element(const Op& op, const typename Op::Known& known, const Inputs<T, N>& in,
                       int64_t i) {
  Compute<T> v[N];
  in.load(i, v);
  return op(known, v);
}

template <class Op, class T, int N>
void map_by_channel(Call& call, const ChannelShape& s, Op op, T* y, Inputs<T, N> in) {
  if (s.n == 0) return;
  const Table<Op> known(call, s.rows(), op);
  const bool last = s.inner == 1;
  const int64_t lines = last ? s.batch : s.batch * s.channels,  // of an image
      cols = last ? s.channels : s.inner;
  parallel_for(s.images * lines, GRAIN / (cols + 1) + 1, [=](int64_t begin, int64_t end) {
    for (int64_t line = begin; line < end; line++) {
      const int64_t first = line * cols;
      const int64_t here = line / lines * s.channels;
      if (last) {
        CDN_INDEPENDENT
        for (int64_t c = 0; c < cols; c++)
          y[first + c] = static_cast<T>(at_element(op, known[here + c], in, first + c));
      } else {
        const auto own = known[here + line % s.channels];
        CDN_INDEPENDENT
        for (int64_t i = first; i < first + cols; i++)
          y[i] = static_cast<T>(at_element(op, own, in, i));
      }
    }
  });
}

template <class Op, class T, int N, class Kept>
CDN_FN auto summand(const Op& op, const typename Op::Known& known, const Inputs<T, N>& in,
                    Kept kept, int64_t i) {
  auto part = at_element(op, known, in, i);
  if constexpr (std::is_pointer<Kept>::value) kept[i] = static_cast<T>(part.second);
  return part;
}

// For reduce_run, of one channel.
template <class Op, class T, int N, class Kept> struct ChannelSum : Op {
  typename Op::Known known;
  Inputs<T, N> from;
  Kept to;
  CDN_FN auto load(int64_t at, int64_t) const {
    return summand(static_cast<const Op&>(*this), known, from, to, at);
  }
};

template <class Op> struct OverPartial : Op {
  const typename Op::Acc* partial;
  CDN_FN typename Op::Acc load(int64_t at, int64_t) const { return partial[at]; }
};

// Of channels side by side, r and on, from element `at` on; a few lines are added up before they
// are joined to the sums. A function of its own, as the compiler makes vector code of what no
// closure holds.
constexpr int64_t WIDTH = 128;
template <class Op, class T, int N, class Kept>
void sum_lines(typename Op::Acc* to, int64_t lines, int64_t width, int64_t line, Op op,
               Table<Op> known, int64_t r, Inputs<T, N> in, Kept kept, int64_t at) {
  constexpr int64_t FEW = 4;
  Lanes<typename Op::Acc, WIDTH> acc;
  for (int64_t i = 0; i < width; i++) acc.set(i, op.start());
  int64_t k = 0;
  for (; k + FEW <= lines; k += FEW, at += FEW * line) {
    CDN_INDEPENDENT
    for (int64_t i = 0; i < width; i++) {
      auto part = summand(op, known[r + i], in, kept, at + i);
      for (int64_t j = 1; j < FEW; j++)
        part = part + summand(op, known[r + i], in, kept, at + j * line + i);
      acc.set(i, op.join(acc.get(i), part));
    }
  }
  for (; k < lines; k++, at += line) {
    CDN_INDEPENDENT
    for (int64_t i = 0; i < width; i++)
      acc.set(i, op.join(acc.get(i), summand(op, known[r + i], in, kept, at + i)));
  }
  for (int64_t i = 0; i < width; i++) to[i] = acc.get(i);
}

// Pieces of the batch, or of a channel's pixels, by as many threads; then the sums of those.
template <class Op, class T, int N, class Kept>
void sum_by_channel(Call& call, const ChannelShape& s, Op op, Kept kept, Inputs<T, N> in) {
  using Acc = typename Op::Acc;
  constexpr int64_t RUN = 256;  // rounding grows with the length of a chain
  if (s.rows() == 0) return;
  const Table<Op> known(call, s.rows(), op);
  const bool last = s.inner == 1;
  const int64_t axis = last ? s.batch : s.inner, length = last ? RUN : CHUNK,
                chunks = ceil_div(axis, length), pieces = last ? chunks : s.batch * chunks,
                tiles = last ? ceil_div(s.channels, WIDTH) : s.channels,
                work = (axis < length ? axis : length) * (!last                ? 1
                                                          : s.channels < WIDTH ? s.channels
                                                                               : WIDTH);
  auto* partial = call.scratch<Acc>(s.images * pieces * s.channels);
  parallel_for(s.images * pieces * tiles, GRAIN / (work + 1) + 1, [=](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; task++) {
      const int64_t tile = task % tiles, p = task / tiles, image = p / pieces, piece = p % pieces,
                    from = piece % chunks * length,
                    to = from + length < axis ? from + length : axis,
                    first = last ? tile * WIDTH : tile;
      const int64_t here = image * s.channels + first;
      if (!last) {
        const int64_t line = (image * s.batch + piece / chunks) * s.channels + first;
        partial[p * s.channels + first] = reduce_run(
            ChannelSum<Op, T, N, Kept>{op, known[here], in, kept}, line * s.inner, from, to);
        continue;
      }
      const int64_t width = s.channels - first < WIDTH ? s.channels - first : WIDTH;
      sum_lines(partial + p * s.channels + first, to - from, width, s.channels, op, known, here, in,
                kept, (image * s.batch + from) * s.channels + first);
    }
  });
  reduce(call, s.images, pieces, s.channels, OverPartial<Op>{op, partial});
}

}  // namespace cdn
