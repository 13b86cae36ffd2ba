// Loops by channel on CPUs. What is known of the channels is a table, so that the innermost loop is
// vector code also where it runs over channels. Included by ops/norm/by_channel.h only.
#pragma once

namespace cdn {

template <class Op>
const typename Op::Known* known_of(Call& call, const ChannelShape& s, const Op& op) {
  auto* known = call.scratch<typename Op::Known>(s.rows());
  each(call, s.rows(), [=](int64_t r) { known[r] = op.of(r); });
  return known;
}

template <class Op, class T, int N>
CDN_FN auto at_element(const Op& op, const typename Op::Known& known, const Inputs<T, N>& in,
                       int64_t i) {
  Compute<T> v[N];
  for (int k = 0; k < N; k++) v[k] = wide(in.x[k][i]);
  return op(known, v);
}

template <class Op, class T, int N>
void map_by_channel(Call& call, const ChannelShape& s, Op op, T* y, Inputs<T, N> in) {
  if (s.n == 0) return;
  const auto* known = known_of(call, s, op);
  const bool last = s.inner == 1;
  const int64_t lines = last ? s.batch : s.batch * s.channels,  // of an image
      cols = last ? s.channels : s.inner;
  parallel_for(s.images * lines, GRAIN / (cols + 1) + 1, [=](int64_t begin, int64_t end) {
    for (int64_t line = begin; line < end; line++) {
      const int64_t first = line * cols;
      const auto* here = known + line / lines * s.channels;
      if (last) {
        CDN_INDEPENDENT
        for (int64_t c = 0; c < cols; c++)
          y[first + c] = static_cast<T>(at_element(op, here[c], in, first + c));
      } else {
        const auto own = here[line % s.channels];
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

// Of channels side by side, from element `at` on; a function of its own, as the compiler makes
// vector code of what no closure holds.
constexpr int64_t WIDTH = 128;
template <class Op, class T, int N, class Kept>
void sum_lines(typename Op::Acc* to, int64_t lines, int64_t width, int64_t line, Op op,
               const typename Op::Known* known, Inputs<T, N> in, Kept kept, int64_t at) {
  typename Op::Acc acc[WIDTH];
  for (int64_t i = 0; i < width; i++) acc[i] = op.start();
  for (int64_t k = 0; k < lines; k++, at += line)
    for (int64_t i = 0; i < width; i++)
      acc[i] = op.join(acc[i], summand(op, known[i], in, kept, at + i));
  for (int64_t i = 0; i < width; i++) to[i] = acc[i];
}

// Pieces of the batch, or of a channel's pixels, by as many threads; then the sums of those.
template <class Op, class T, int N, class Kept>
void sum_by_channel(Call& call, const ChannelShape& s, Op op, Kept kept, Inputs<T, N> in) {
  using Acc = typename Op::Acc;
  constexpr int64_t RUN = 256;  // rounding grows with the length of a chain
  if (s.rows() == 0) return;
  const auto* known = known_of(call, s, op);
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
      const auto* here = known + image * s.channels + first;
      if (!last) {
        const int64_t line = (image * s.batch + piece / chunks) * s.channels + first;
        partial[p * s.channels + first] =
            reduce_run(ChannelSum<Op, T, N, Kept>{op, *here, in, kept}, line * s.inner, from, to);
        continue;
      }
      const int64_t width = s.channels - first < WIDTH ? s.channels - first : WIDTH;
      sum_lines(partial + p * s.channels + first, to - from, width, s.channels, op, here, in, kept,
                (image * s.batch + from) * s.channels + first);
    }
  });
  reduce(call, s.images, pieces, s.channels, OverPartial<Op>{op, partial});
}

}  // namespace cdn
