// Loops by channel on CPUs. What is known of the channels is a table, so that the innermost loop is
// vector code also where it runs over channels. Included by ops/norm/by_channel.h only.
#pragma once

namespace cdn {

template <class Op>
const typename Op::Known* known_of(Call& call, const ChannelShape& s, const Op& op) {
  auto* known = call.scratch<typename Op::Known>(s.channels);
  each(call, s.channels, [=](int64_t c) { known[c] = op.of(c); });
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
  const int64_t rows = last ? s.batch : s.batch * s.channels, cols = last ? s.channels : s.inner;
  parallel_for(rows, GRAIN / (cols + 1) + 1, [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      const int64_t first = r * cols;
      if (last) {
        CDN_INDEPENDENT
        for (int64_t c = 0; c < cols; c++)
          y[first + c] = static_cast<T>(at_element(op, known[c], in, first + c));
      } else {
        const auto own = known[r % s.channels];
        CDN_INDEPENDENT
        for (int64_t i = first; i < first + cols; i++)
          y[i] = static_cast<T>(at_element(op, own, in, i));
      }
    }
  });
}

// For reduce: of one channel (LAST false), or of all, side by side.
template <class Op, class T, int N, class Kept, bool LAST> struct ChannelSums {
  using Acc = typename Op::Acc;
  Op op;
  const typename Op::Known* known;
  Inputs<T, N> in;
  Kept kept;
  int64_t channels;
  Acc start() const { return op.start(); }
  CDN_FN auto load(int64_t at, int64_t k) const {
    auto part = at_element(op, known[LAST ? at - k * channels : 0], in, at);
    if constexpr (std::is_pointer<Kept>::value) kept[at] = static_cast<T>(part.second);
    return part;
  }
  template <class B> CDN_FN Acc join(Acc a, B b) const { return op.join(a, b); }
  void store(int64_t c, Acc acc) const { op.store(c, acc); }
};

template <class Op> struct OverPartial {
  using Acc = typename Op::Acc;
  Op op;
  const Acc* partial;
  Acc start() const { return op.start(); }
  CDN_FN Acc load(int64_t at, int64_t) const { return partial[at]; }
  CDN_FN Acc join(Acc a, Acc b) const { return op.join(a, b); }
  void store(int64_t c, Acc acc) const { op.store(c, acc); }
};

template <class Op, class T, int N, class Kept>
void sum_by_channel(Call& call, const ChannelShape& s, Op op, Kept kept, Inputs<T, N> in) {
  const auto* known = known_of(call, s, op);
  if (s.inner == 1 || s.n == 0)
    return reduce(call, 1, s.n ? s.batch : 0, s.channels,
                  ChannelSums<Op, T, N, Kept, true>{op, known, in, kept, s.channels});
  const int64_t chunks = ceil_div(s.inner, CHUNK), length = s.inner < CHUNK ? s.inner : CHUNK;
  auto* partial = call.scratch<typename Op::Acc>(s.batch * chunks * s.channels);
  parallel_for(
      s.batch * s.channels * chunks, GRAIN / (length + 1) + 1, [=](int64_t begin, int64_t end) {
        for (int64_t task = begin; task < end; task++) {
          const int64_t chunk = task % chunks, row = task / chunks, c = row % s.channels,
                        from = chunk * CHUNK, to = from + CHUNK < s.inner ? from + CHUNK : s.inner;
          const ChannelSums<Op, T, N, Kept, false> sums{op, known + c, in, kept, s.channels};
          partial[(row / s.channels * chunks + chunk) * s.channels + c] =
              reduce_run(sums, row * s.inner, from, to);
        }
      });
  reduce(call, 1, s.batch * chunks, s.channels, OverPartial<Op>{op, partial});
}

}  // namespace cdn
