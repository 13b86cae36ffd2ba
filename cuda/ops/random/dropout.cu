// Dropout: y = x * scale where a random word says so, else 0. No mask is stored: the words come
// from Philox by seed and counter, so that the gradient is the same function of the gradient. A
// block of four words serves four neighbouring elements whatever their type; a thread takes them
// with one access where x and y are aligned to it.
#include "kernel/functions.h"
#include "kernel/philox.h"

using namespace cdn;

namespace {

template <class T> struct Dropout {
  static constexpr int COUNT = 4;
  using Elements = Served<T, COUNT>;
  T* y;
  const T* x;
  int64_t n;
  uint64_t threshold;  // a word below the threshold drops its element
  Compute<T> scale;
  CDN_FN T kept(uint32_t word, T value) const {
    return word < threshold ? T(Compute<T>(0)) : static_cast<T>(wide(value) * scale);
  }
  CDN_FN Elements load(int64_t block) const { return reinterpret_cast<const Elements*>(x)[block]; }
  CDN_FN void store(int64_t block, const Words& w, Elements from) const {
    for (int j = 0; j < COUNT; j++) from.v[j] = kept(w.v[j], from.v[j]);
    reinterpret_cast<Elements*>(y)[block] = from;
  }
  CDN_FN void part(int64_t block, const Words& w) const {
    int64_t first = block * COUNT;
    for (int j = 0; j < COUNT && first + j < n; j++) y[first + j] = kept(w.v[j], x[first + j]);
  }
};

}  // namespace

CDN_API int32_t cdn_dropout(uint32_t y, uint32_t x, uint32_t state, int64_t n, double p,
                            int64_t seed, int64_t offset, int32_t dtype) {
  return run("cdn_dropout", Call::IN_PLACE, [&](Call& call) {
    if (!(p >= 0 && p <= 1))
      CDN_FAIL(CDN_BAD_ARGUMENT, "p is %g; it must be a probability, in [0, 1]", p);
    with_float(dtype, [&]<class T>(T) {
      T* to = call.out<T>(y, "y", n);
      const T* from = call.in<T>(x, "x", n);
      uint64_t threshold = static_cast<uint64_t>(p * 0x1p32);  // 2^32, above every word, for p = 1
      auto scale = static_cast<Compute<T>>(p < 1 ? 1 / (1 - p) : 0);
      const RandomStream stream = random_stream(call, state, seed, offset);
      each_block(call, n, stream, Dropout<T>{to, from, n, threshold, scale}, to, from);
    });
  });
}
