// What a random word each decides. Dropout: y = x * scale where the word says so, else 0. No mask
// is stored: the words come from Philox by seed and counter, so that the gradient is the same
// function of the gradient. A block of four words serves four neighbouring elements whatever their
// type; a thread takes them with one access where x and y are aligned to it.
#include "kernel/functions.h"
#include "kernel/philox.h"

using namespace cdn;

namespace {

// y = f(word, x), or f(word, 0) where x is null.
template <class T, class F> struct Decided {
  static constexpr int COUNT = 4;
  using Elements = Served<T, COUNT>;
  T* y;
  const T* x;
  int64_t n;
  F f;
  CDN_FN Elements load(int64_t block) const {
    return x ? reinterpret_cast<const Elements*>(x)[block] : Elements{};
  }
  CDN_FN void store(int64_t block, const Words& w, Elements from) const {
    for (int j = 0; j < COUNT; j++) from.v[j] = static_cast<T>(f(w.v[j], wide(from.v[j])));
    reinterpret_cast<Elements*>(y)[block] = from;
  }
  CDN_FN void part(int64_t block, const Words& w) const {
    int64_t first = block * COUNT;
    for (int j = 0; j < COUNT && first + j < n; j++)
      y[first + j] = static_cast<T>(f(w.v[j], x ? wide(x[first + j]) : Compute<T>(0)));
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
};
template <class C> struct Chosen {
  uint64_t threshold;
  CDN_FN C operator()(uint32_t word, C) const { return C(word < threshold); }
};
template <class C> struct ChosenByEach {
  CDN_FN C operator()(uint32_t word, C p) const { return C(word < threshold_of(p)); }
};

void need_probability(double p) {
  if (!(p >= 0 && p <= 1))
    CDN_FAIL(CDN_BAD_ARGUMENT, "p is %g; it must be a probability, in [0, 1]", p);
}

}  // namespace

CDN_API int32_t cdn_dropout(uint32_t y, uint32_t x, uint32_t state, int64_t n, double p,
                            int64_t seed, int64_t offset, int32_t dtype) {
  return run("cdn_dropout", Call::IN_PLACE, Floats{}, dtype, [&]<class T>(Call& call, T) {
    need_probability(p);
    T* to = call.out<T>(y, "y", n);
    const T* from = call.in<T>(x, "x", n);
    Dropped<Compute<T>> f{threshold_of(p), static_cast<Compute<T>>(p < 1 ? 1 / (1 - p) : 0)};
    const RandomStream stream = random_stream(call, state, seed, offset);
    each_block(call, n, stream, Decided<T, decltype(f)>{to, from, n, f}, to, from);
  });
}

CDN_API int32_t cdn_bernoulli(uint32_t y, uint32_t x, uint32_t state, int64_t n, double p,
                              int64_t seed, int64_t offset, int32_t dtype) {
  return run("cdn_bernoulli", Call::IN_PLACE, Floats{}, dtype, [&]<class T>(Call& call, T) {
    need_probability(p);
    T* to = call.out<T>(y, "y", n);
    const T* from = call.optional<T>(x, "x", n);
    const RandomStream stream = random_stream(call, state, seed, offset);
    auto choose = [&](auto f) {
      each_block(call, n, stream, Decided<T, decltype(f)>{to, from, n, f}, to, from);
    };
    from ? choose(ChosenByEach<Compute<T>>{}) : choose(Chosen<Compute<T>>{threshold_of(p)});
  });
}
