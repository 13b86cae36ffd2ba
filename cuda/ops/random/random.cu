// Tensors of random numbers.
#include "kernel/functions.h"
#include "kernel/philox.h"

using namespace cdn;

namespace {

// The next number of T below x.
template <class T> T below(T x) {
  if constexpr (is_half<T>) {
    x.bits = static_cast<uint16_t>(x.bits == 0       ? 0x8001
                                   : x.bits & 0x8000 ? x.bits + 1
                                                     : x.bits - 1);
    return x;
  } else {
    return std::nextafter(x, -std::numeric_limits<T>::infinity());
  }
}

template <class T> struct Uniform {
  using C = Compute<T>;
  T* y;
  int64_t n;
  RandomStream stream;
  C low, high, last;
  CDN_FN void operator()(int64_t block) const {
    constexpr int PER = Unit<C>::PER_BLOCK;
    Words w = stream.block(block);
    for (int j = 0; j < PER; j++) {
      int64_t i = block * PER + j;
      if (i >= n) return;
      C value = wide(static_cast<T>(
          fn::fma(high - low, Unit<C>::draw(w, j), low)));  // the same on every device
      y[i] = static_cast<T>(value < last ? value : last);   // rounding must not reach high
    }
  }
};

// Box and Muller: two uniforms make two normals.
template <class T> struct Normal {
  using C = Compute<T>;
  T* y;
  int64_t n;
  RandomStream stream;
  C mean, std;
  CDN_FN void operator()(int64_t block) const {
    constexpr int PER = Unit<C>::PER_BLOCK;
    Words w = stream.block(block);
    for (int j = 0; j < PER; j += 2) {
      C radius = fn::sqrt(C(-2) * fn::log(C(1) - Unit<C>::draw(w, j)));
      C angle = C(6.283185307179586476925286766559) * Unit<C>::draw(w, j + 1);
      int64_t i = block * PER + j;
      if (i < n) y[i] = static_cast<T>(mean + std * (radius * cosine(angle)));
      if (i + 1 < n) y[i + 1] = static_cast<T>(mean + std * (radius * sine(angle)));
    }
  }
  CDN_FN static float cosine(float x) { return cosf(x); }
  CDN_FN static double cosine(double x) { return cos(x); }
  CDN_FN static float sine(float x) { return sinf(x); }
  CDN_FN static double sine(double x) { return sin(x); }
};

// Scaling by the high half of a product: no division, a bias below range / 2^32.
struct RandInt {
  int32_t* y;
  int64_t n;
  RandomStream stream;
  int32_t low;
  uint32_t range;
  CDN_FN void operator()(int64_t block) const {
    Words w = stream.block(block);
    for (int j = 0; j < 4; j++) {
      int64_t i = block * 4 + j;
      if (i >= n) return;
      uint32_t step = static_cast<uint32_t>(static_cast<uint64_t>(w.v[j]) * range >> 32);
      y[i] = static_cast<int32_t>(static_cast<uint32_t>(low) + step);
    }
  }
};

struct Forward {
  uint64_t *state, blocks;
  CDN_FN void operator()(int64_t) const { state[1] += blocks; }
};

void need_finite(const char* name, double value) {
  if (!std::isfinite(value)) CDN_FAIL(CDN_BAD_ARGUMENT, "%s is %g; it must be finite", name, value);
}

}  // namespace

CDN_API int32_t cdn_uniform(uint32_t y, uint32_t state, int64_t n, double low, double high,
                            int64_t seed, int64_t offset, int32_t dtype) {
  return run("cdn_uniform", [&](Call& call) {
    if (low > high) CDN_FAIL(CDN_BAD_ARGUMENT, "low is %g, above high, %g", low, high);
    with_float(dtype, [&]<class T>(T) {
      using C = Compute<T>;
      need_finite("low", static_cast<C>(static_cast<T>(low)));
      need_finite("high", static_cast<C>(static_cast<T>(high)));
      need_finite("high - low",
                  static_cast<C>(static_cast<T>(high)) - static_cast<C>(static_cast<T>(low)));
      T* to = call.out<T>(y, "y", n);
      const RandomStream stream = random_stream(call, state, seed, offset);
      int64_t blocks = n / Unit<C>::PER_BLOCK + (n % Unit<C>::PER_BLOCK != 0);
      C from = wide(static_cast<T>(low)), end = wide(static_cast<T>(high));
      C last = from < end ? wide(below(static_cast<T>(high))) : from;
      each(call, blocks, Uniform<T>{to, n, stream, from, end, last});
    });
  });
}

CDN_API int32_t cdn_normal(uint32_t y, uint32_t state, int64_t n, double mean, double std,
                           int64_t seed, int64_t offset, int32_t dtype) {
  return run("cdn_normal", [&](Call& call) {
    if (std < 0) CDN_FAIL(CDN_BAD_ARGUMENT, "std is %g; it must not be negative", std);
    with_float(dtype, [&]<class T>(T) {
      using C = Compute<T>;
      need_finite("mean", static_cast<C>(static_cast<T>(mean)));
      need_finite("std", static_cast<C>(static_cast<T>(std)));
      T* to = call.out<T>(y, "y", n);
      const RandomStream stream = random_stream(call, state, seed, offset);
      int64_t blocks = n / Unit<C>::PER_BLOCK + (n % Unit<C>::PER_BLOCK != 0);
      each(call, blocks,
           Normal<T>{to, n, stream, static_cast<C>(static_cast<T>(mean)),
                     static_cast<C>(static_cast<T>(std))});
    });
  });
}

CDN_API int32_t cdn_randint(uint32_t y, uint32_t state, int64_t n, int32_t low, int32_t high,
                            int64_t seed, int64_t offset) {
  return run("cdn_randint", [&](Call& call) {
    if (low >= high) CDN_FAIL(CDN_BAD_ARGUMENT, "low is %d; it must be below high, %d", low, high);
    int32_t* to = call.out<int32_t>(y, "y", n);
    const RandomStream stream = random_stream(call, state, seed, offset);
    uint32_t range = static_cast<uint32_t>(high) - static_cast<uint32_t>(low);
    each(call, n / 4 + (n % 4 != 0), RandInt{to, n, stream, low, range});
  });
}

CDN_API int32_t cdn_random_advance(uint32_t state, int64_t blocks) {
  return run("cdn_random_advance", [&](Call& call) {
    uint64_t* to = call.out<uint64_t>(state, "state", 2);
    each(call, 1, Forward{to, static_cast<uint64_t>(blocks)});
  });
}
