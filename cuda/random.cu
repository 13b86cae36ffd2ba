// Random numbers from a counter: Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
// 1, 2, 3", 2011). A block of four words depends on seed and counter alone, so every device draws the same bits.
#include "functions.h"

using namespace cdn;

namespace {

struct Words {
  uint32_t v[4];
};

CDN_FN Words philox(uint64_t seed, uint64_t counter) {
  uint32_t key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
  Words w{{static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), 0, 0}};
  for (int round = 0; round < 10; round++) {
    uint64_t p0 = uint64_t{0xD2511F53u} * w.v[0], p1 = uint64_t{0xCD9E8D57u} * w.v[2];
    w = Words{{static_cast<uint32_t>(p1 >> 32) ^ w.v[1] ^ key0, static_cast<uint32_t>(p1),
               static_cast<uint32_t>(p0 >> 32) ^ w.v[3] ^ key1, static_cast<uint32_t>(p0)}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return w;
}

// [0, 1) with all the bits the type has.
template <class T> struct Unit;
template <> struct Unit<float> {
  static constexpr int PER_BLOCK = 4;
  CDN_FN static float draw(const Words& w, int j) { return static_cast<float>(w.v[j] >> 8) * 0x1p-24f; }
};
template <> struct Unit<double> {
  static constexpr int PER_BLOCK = 2;
  CDN_FN static double draw(const Words& w, int j) {
    uint64_t bits = (static_cast<uint64_t>(w.v[2 * j]) << 32 | w.v[2 * j + 1]) >> 11;
    return static_cast<double>(bits) * 0x1p-53;
  }
};

template <class T> struct Uniform {
  T* y;
  int64_t n;
  uint64_t seed, offset;
  T low, high;
  CDN_FN void operator()(int64_t block) const {
    constexpr int PER = Unit<T>::PER_BLOCK;
    Words w = philox(seed, offset + static_cast<uint64_t>(block));
    for (int j = 0; j < PER; j++) {
      int64_t i = block * PER + j;
      if (i >= n) return;
      T value = fn::fma(high - low, Unit<T>::draw(w, j), low);  // one rounding, the same on every device
      y[i] = value < high || !(low < high) ? value : low;       // rounding must not reach high
    }
  }
};

// Box and Muller: two uniforms make two normals.
template <class T> struct Normal {
  T* y;
  int64_t n;
  uint64_t seed, offset;
  T mean, std;
  CDN_FN void operator()(int64_t block) const {
    constexpr int PER = Unit<T>::PER_BLOCK;
    Words w = philox(seed, offset + static_cast<uint64_t>(block));
    for (int j = 0; j < PER; j += 2) {
      T radius = fn::sqrt(T(-2) * fn::log(T(1) - Unit<T>::draw(w, j)));
      T angle = T(6.283185307179586476925286766559) * Unit<T>::draw(w, j + 1);
      int64_t i = block * PER + j;
      if (i < n) y[i] = mean + std * (radius * cosine(angle));
      if (i + 1 < n) y[i + 1] = mean + std * (radius * sine(angle));
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
  uint64_t seed, offset;
  int32_t low;
  uint32_t range;
  CDN_FN void operator()(int64_t block) const {
    Words w = philox(seed, offset + static_cast<uint64_t>(block));
    for (int j = 0; j < 4; j++) {
      int64_t i = block * 4 + j;
      if (i >= n) return;
      uint32_t step = static_cast<uint32_t>(static_cast<uint64_t>(w.v[j]) * range >> 32);
      y[i] = static_cast<int32_t>(static_cast<uint32_t>(low) + step);
    }
  }
};

void need_finite(const char* name, double value) {
  if (!std::isfinite(value)) CDN_FAIL(CDN_BAD_ARGUMENT, "%s is %g; it must be finite", name, value);
}

}  // namespace

CDN_API int32_t cdn_uniform(uint32_t y, int64_t n, double low, double high, int64_t seed, int64_t offset,
                            int32_t dtype) {
  return run("cdn_uniform", [&](Call& call) {
    if (low > high) CDN_FAIL(CDN_BAD_ARGUMENT, "low is %g, above high, %g", low, high);
    with_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      need_finite("low", static_cast<T>(low));
      need_finite("high", static_cast<T>(high));
      need_finite("high - low", static_cast<T>(high) - static_cast<T>(low));
      T* to = call.out<T>(y, "y", n);
      int64_t blocks = n / Unit<T>::PER_BLOCK + (n % Unit<T>::PER_BLOCK != 0);
      each(call, blocks,
           Uniform<T>{to, n, static_cast<uint64_t>(seed), static_cast<uint64_t>(offset), static_cast<T>(low),
                      static_cast<T>(high)});
    });
  });
}

CDN_API int32_t cdn_normal(uint32_t y, int64_t n, double mean, double std, int64_t seed, int64_t offset,
                           int32_t dtype) {
  return run("cdn_normal", [&](Call& call) {
    if (std < 0) CDN_FAIL(CDN_BAD_ARGUMENT, "std is %g; it must not be negative", std);
    with_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      need_finite("mean", static_cast<T>(mean));
      need_finite("std", static_cast<T>(std));
      T* to = call.out<T>(y, "y", n);
      int64_t blocks = n / Unit<T>::PER_BLOCK + (n % Unit<T>::PER_BLOCK != 0);
      each(call, blocks,
           Normal<T>{to, n, static_cast<uint64_t>(seed), static_cast<uint64_t>(offset), static_cast<T>(mean),
                     static_cast<T>(std)});
    });
  });
}

CDN_API int32_t cdn_randint(uint32_t y, int64_t n, int32_t low, int32_t high, int64_t seed, int64_t offset) {
  return run("cdn_randint", [&](Call& call) {
    if (low >= high) CDN_FAIL(CDN_BAD_ARGUMENT, "low is %d; it must be below high, %d", low, high);
    int32_t* to = call.out<int32_t>(y, "y", n);
    uint32_t range = static_cast<uint32_t>(high) - static_cast<uint32_t>(low);
    each(call, n / 4 + (n % 4 != 0),
         RandInt{to, n, static_cast<uint64_t>(seed), static_cast<uint64_t>(offset), low, range});
  });
}
