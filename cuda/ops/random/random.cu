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

// F::COUNT numbers of each block of words, the last ones cut off.
template <class T, class F> struct Drawn {
  static constexpr int COUNT = F::COUNT;
  using Elements = Served<T, COUNT>;
  T* y;
  int64_t n;
  F f;
  CDN_FN Elements load(int64_t) const { return {}; }
  CDN_FN void store(int64_t block, const Words& w, Elements numbers) const {
    f(w, numbers.v);
    reinterpret_cast<Elements*>(y)[block] = numbers;
  }
  CDN_FN void part(int64_t block, const Words& w) const {
    Elements numbers;
    f(w, numbers.v);
    int64_t first = block * COUNT;
    for (int j = 0; j < COUNT && first + j < n; j++) y[first + j] = numbers.v[j];
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

// sqrt(-2 log(1 - u)), for u from 0 to below 1.
CDN_FN double radius_of(double u) { return fn::sqrt(-2 * fn::log(1 - u)); }
CDN_FN float radius_of(float u) {
#if defined(__CUDA_ARCH__)
  // lg2 is off by so much of 1 near 1, where logarithms are small. 0 has no root by rsqrt.
  float small = 0.525851488f;
  for (float c : {0.485371768f, 0.667340696f, 0.999989212f, 2.0f}) small = fn::fma(small, u, c);
  float square = u < 0.125f ? fn::fma(small, u, 1e-30f) : -1.38629436f * fn::lg2_approx(1 - u);
  return square * fn::rsqrt_approx(square);
#else
  return fn::sqrt(-2 * fn::log(1 - u));
#endif
}

// A point on the circle by the words of a uniform number.
template <class T> struct Point {
  T cosine, sine;
};
CDN_FN void place(const Words& w, int j, Point<double>& point) {
  double angle = 6.283185307179586476925286766559 * Unit<double>::draw(w, j);
  point = {cos(angle), sin(angle)};
}
// With the angle as t pi, t from -1 to 1: cos(t pi) = (1 - 4 t^2) p(t^2), sin(t pi) = t (1 - t^2)
// q(t^2), with p and q minimax polynomials that are nowhere near 0, so that nothing cancels.
CDN_FN void place(const Words& w, int j, Point<float>& point) {
  float t = static_cast<float>(static_cast<int32_t>(w.v[j] & ~255u)) * 0x1p-31f;
  float square = t * t, twice = t + t, p = -0.000401024125f, q = -0.000384373241f;
  for (float c : {0.00624631066f, -0.0572022721f, 0.319491386f, -0.934801042f, 1.0f})
    p = fn::fma(p, square, c);
  for (float c : {0.00685621798f, -0.0751837268f, 0.524034858f, -2.02611923f, 3.14159274f})
    q = fn::fma(q, square, c);
  point = {fn::fma(-twice, twice, 1.0f) * p, t * fn::fma(-t, t, 1.0f) * q};
}

// Box and Muller: two uniforms make two normals.
template <class T> struct Normal {
  using C = Compute<T>;
  static constexpr int COUNT = Unit<C>::PER_BLOCK;
  C mean, std;
  CDN_FN void operator()(const Words& w, T* y) const {
    for (int j = 0; j < COUNT; j += 2) {
      C radius = std * radius_of(Unit<C>::draw(w, j));
      Point<C> at;
      place(w, j + 1, at);
      y[j] = static_cast<T>(fn::fma(radius, at.cosine, mean));
      y[j + 1] = static_cast<T>(fn::fma(radius, at.sine, mean));
    }
  }
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
  each_block(call, n, random_stream(call, state, seed, offset), Drawn<T, F>{to, n, f}, to);
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
