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

// y from a stream: F::COUNT numbers of each block of words, the last ones cut off.
template <class T, class F> struct Drawn {
  T* y;
  int64_t n;
  RandomStream stream;
  F f;
  CDN_FN void operator()(int64_t block) const {
    T value[F::COUNT];
    f(stream.block(block), value);
    for (int j = 0; j < F::COUNT; j++) {
      int64_t i = block * F::COUNT + j;
      if (i < n) y[i] = value[j];
    }
  }
};

template <class T> struct Uniform {
  using C = Compute<T>;
  static constexpr int COUNT = Unit<C>::PER_BLOCK;
  C low, high, last;
  CDN_FN void operator()(const Words& w, T* y) const {
    for (int j = 0; j < COUNT; j++) {
      // fma: the same on every device
      C value = wide(static_cast<T>(fn::fma(high - low, Unit<C>::draw(w, j), low)));
      y[j] = static_cast<T>(value < last ? value : last);  // rounding must not reach high
    }
  }
};

// Box and Muller: two uniforms make two normals.
template <class T> struct Normal {
  using C = Compute<T>;
  static constexpr int COUNT = Unit<C>::PER_BLOCK;
  C mean, std;
  CDN_FN void operator()(const Words& w, T* y) const {
    for (int j = 0; j < COUNT; j += 2) {
      C radius = fn::sqrt(C(-2) * fn::log(C(1) - Unit<C>::draw(w, j)));
      C angle = C(6.283185307179586476925286766559) * Unit<C>::draw(w, j + 1);
      y[j] = static_cast<T>(mean + std * (radius * cosine(angle)));
      y[j + 1] = static_cast<T>(mean + std * (radius * sine(angle)));
    }
  }
  CDN_FN static float cosine(float x) { return cosf(x); }
  CDN_FN static double cosine(double x) { return cos(x); }
  CDN_FN static float sine(float x) { return sinf(x); }
  CDN_FN static double sine(double x) { return sin(x); }
};

// Scaling by the high half of a product: no division, a bias below range / 2^32.
struct RandInt {
  static constexpr int COUNT = 4;
  int32_t low;
  uint32_t range;
  CDN_FN void operator()(const Words& w, int32_t* y) const {
    for (int j = 0; j < COUNT; j++) {
      uint32_t step = static_cast<uint32_t>(static_cast<uint64_t>(w.v[j]) * range >> 32);
      y[j] = static_cast<int32_t>(static_cast<uint32_t>(low) + step);
    }
  }
};

template <class T, class F>
void draw(Call& call, uint32_t y, uint32_t state, int64_t n, int64_t seed, int64_t offset, F f) {
  T* to = call.out<T>(y, "y", n);
  const RandomStream stream = random_stream(call, state, seed, offset);
  each(call, n / F::COUNT + (n % F::COUNT != 0), Drawn<T, F>{to, n, stream, f});
}

struct Forward {
  uint64_t *state, blocks;
  CDN_FN void operator()(int64_t) const { state[1] += blocks; }
};

template <class C> C need_finite(const char* name, C value) {
  if (!std::isfinite(value))
    CDN_FAIL(CDN_BAD_ARGUMENT, "%s is %g; it must be finite", name, static_cast<double>(value));
  return value;
}

}  // namespace

CDN_API int32_t cdn_uniform(uint32_t y, uint32_t state, int64_t n, double low, double high,
                            int64_t seed, int64_t offset, int32_t dtype) {
  return run("cdn_uniform", [&](Call& call) {
    if (low > high) CDN_FAIL(CDN_BAD_ARGUMENT, "low is %g, above high, %g", low, high);
    with_float(dtype, [&]<class T>(T) {
      auto from = need_finite("low", wide(static_cast<T>(low)));
      auto end = need_finite("high", wide(static_cast<T>(high)));
      need_finite("high - low", end - from);
      auto last = from < end ? wide(below(static_cast<T>(high))) : from;
      draw<T>(call, y, state, n, seed, offset, Uniform<T>{from, end, last});
    });
  });
}

CDN_API int32_t cdn_normal(uint32_t y, uint32_t state, int64_t n, double mean, double std,
                           int64_t seed, int64_t offset, int32_t dtype) {
  return run("cdn_normal", [&](Call& call) {
    if (std < 0) CDN_FAIL(CDN_BAD_ARGUMENT, "std is %g; it must not be negative", std);
    with_float(dtype, [&]<class T>(T) {
      auto centre = need_finite("mean", wide(static_cast<T>(mean)));
      auto deviation = need_finite("std", wide(static_cast<T>(std)));
      draw<T>(call, y, state, n, seed, offset, Normal<T>{centre, deviation});
    });
  });
}

CDN_API int32_t cdn_randint(uint32_t y, uint32_t state, int64_t n, int32_t low, int32_t high,
                            int64_t seed, int64_t offset) {
  return run("cdn_randint", [&](Call& call) {
    if (low >= high) CDN_FAIL(CDN_BAD_ARGUMENT, "low is %d; it must be below high, %d", low, high);
    uint32_t range = static_cast<uint32_t>(high) - static_cast<uint32_t>(low);
    draw<int32_t>(call, y, state, n, seed, offset, RandInt{low, range});
  });
}

CDN_API int32_t cdn_random_advance(uint32_t state, int64_t blocks) {
  return run("cdn_random_advance", [&](Call& call) {
    uint64_t* to = call.out<uint64_t>(state, "state", 2);
    each(call, 1, Forward{to, static_cast<uint64_t>(blocks)});
  });
}
