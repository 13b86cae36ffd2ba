// What a random word each decides. Dropout: y = x * scale where the word says so, else 0. No mask
// is stored: the words come from Philox by seed and counter, so that the gradient is the same
// function of the gradient. A block of four words serves four neighbouring elements whatever their
// type; a thread takes them with one access where x and y are aligned to it.
#include "kernel/functions.h"
#include "kernel/philox.h"

using namespace cdn;

namespace {

// y = f(word, x[0], …), where an x that is null is 0.
template <class T, class F, int N = 1> struct Decided {
  static constexpr int COUNT = 4;
  using Served4 = Served<T, COUNT>;
  struct Elements {
    Served4 of[N];
  };
  T* y;
  Inputs<T, N> in;
  int64_t n;
  F f;
  CDN_FN T decided(uint32_t word, const T (&x)[N]) const {
    if constexpr (N == 1)
      return static_cast<T>(f(word, wide(x[0])));
    else
      return static_cast<T>(f(word, wide(x[0]), wide(x[1])));
  }
  CDN_FN Elements load(int64_t block) const {
    Elements from{};
    for (int k = 0; k < N; k++)
      if (in.x[k]) from.of[k] = reinterpret_cast<const Served4*>(in.x[k])[block];
    return from;
  }
  CDN_FN void store(int64_t block, const Words& w, const Elements& from) const {
    Served4 to;
    for (int j = 0; j < COUNT; j++) {
      T x[N];
      for (int k = 0; k < N; k++) x[k] = from.of[k].v[j];
      to.v[j] = decided(w.v[j], x);
    }
    reinterpret_cast<Served4*>(y)[block] = to;
  }
  CDN_FN void part(int64_t block, const Words& w) const {
    for (int64_t i = block * COUNT, j = 0; j < COUNT && i + j < n; j++) {
      T x[N];
      for (int k = 0; k < N; k++) x[k] = in.x[k] ? in.x[k][i + j] : T{};
      y[i + j] = decided(w.v[j], x);
    }
  }
};

// The words below it are a share p of all: none for NaN, and for 1 all, as it is 2^32.
template <class C> CDN_FN uint64_t threshold_of(C p) {
  return p > C(0) ? static_cast<uint64_t>((p < C(1) ? p : C(1)) * C(0x1p32)) : 0;
}

template <class C> struct Dropped {
  uint64_t threshold;
  C scale;
  CDN_FN C operator()(uint32_t word, C x) const { return word < threshold ? C(0) : x * scale; }
  CDN_FN C operator()(uint32_t word, C x, C residual) const { return (*this)(word, x) + residual; }
};
template <class C> struct Chosen {
  uint64_t threshold;
  CDN_FN C operator()(uint32_t word, C) const { return C(word < threshold); }
};
template <class C> struct ChosenByEach {
  CDN_FN C operator()(uint32_t word, C p) const { return C(word < threshold_of(p)); }
};

template <class F, class T, class... X>
void decide(Call& call, int64_t n, const RandomStream& stream, F f, T* y, const X*... x) {
  using Of = Decided<T, F, sizeof...(X)>;
  each_block(call, n, stream, Of{y, Inputs{x...}, n, f}, y, x...);
}

void need_probability(double p) {
  if (!(p >= 0 && p <= 1))
    CDN_FAIL(CDN_BAD_ARGUMENT, "p is %g; it must be a probability, in [0, 1]", p);
}

}  // namespace

CDN_API int32_t cdn_dropout(uint32_t y, uint32_t x, uint32_t residual, uint32_t state, int64_t n,
                            double p, int64_t seed, int64_t offset, int32_t dtype) {
  return run("cdn_dropout", Call::IN_PLACE, Floats{}, dtype, [&]<class T>(Call& call, T) {
    need_probability(p);
    T* to = call.out<T>(y, "y", n);
    const T *from = call.in<T>(x, "x", n), *more = call.optional<T>(residual, "residual", n);
    const Dropped<Compute<T>> f{threshold_of(p), static_cast<Compute<T>>(p < 1 ? 1 / (1 - p) : 0)};
    const RandomStream stream = random_stream(call, state, seed, offset);
    more ? decide(call, n, stream, f, to, from, more) : decide(call, n, stream, f, to, from);
  });
}

CDN_API int32_t cdn_bernoulli(uint32_t y, uint32_t x, uint32_t state, int64_t n, double p,
                              int64_t seed, int64_t offset, int32_t dtype) {
  return run("cdn_bernoulli", Call::IN_PLACE, Floats{}, dtype, [&]<class T>(Call& call, T) {
    need_probability(p);
    T* to = call.out<T>(y, "y", n);
    const T* from = call.optional<T>(x, "x", n);
    const RandomStream stream = random_stream(call, state, seed, offset);
    if (from)
      decide(call, n, stream, ChosenByEach<Compute<T>>{}, to, from);
    else
      decide(call, n, stream, Chosen<Compute<T>>{threshold_of(p)}, to, from);
  });
}
