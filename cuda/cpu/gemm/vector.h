// Vectors of the instruction set that the including file is compiled for, in GCC's and Clang's
// vector extensions, and the two things those lack: loads and stores of the first few lanes, which
// touch no memory beyond, and sums over the lanes. Included by kernel.cpp only; see there
// why all is in an anonymous namespace.
#pragma once
#if defined(__AVX__)
#include <immintrin.h>  // its functions are always inlined
#endif

#include "cpu/kernel/square.h"

namespace cdn {
namespace {

#if defined(__AVX512F__)
constexpr int VECTOR_BYTES = 64;
#elif defined(__AVX__)
constexpr int VECTOR_BYTES = 32;
#else
constexpr int VECTOR_BYTES = 16;
#endif

// Few columns take half vectors where a whole one is of AVX-512: more of these start at once.
constexpr int HALF_BYTES = VECTOR_BYTES == 64 ? 32 : VECTOR_BYTES;

template <class T, int BYTES = VECTOR_BYTES> constexpr int LANES = BYTES / sizeof(T);
template <class T, int BYTES = VECTOR_BYTES> using Vector = typename Wide<T, BYTES>::Type;

template <class V, class T> inline V load(const T* p) {
  V v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
template <class V, class T> inline void store(T* p, V v) { __builtin_memcpy(p, &v, sizeof v); }

// The first `count` lanes of a vector, 1 <= count <= LANES; the others load as 0.
template <class T, int BYTES = VECTOR_BYTES> struct Part;

#if defined(__AVX512F__)

#define CDN_PART(T, BYTES, MASK, LOAD, STORE)                                    \
  template <> struct Part<T, BYTES> {                                            \
    MASK mask;                                                                   \
    explicit Part(int64_t count) : mask(static_cast<MASK>((1u << count) - 1)) {} \
    Vector<T, BYTES> load(const T* p) const { return LOAD(mask, p); }            \
    void store(T* p, Vector<T, BYTES> v) const { STORE(p, mask, v); }            \
  };
CDN_PART(float, 64, __mmask16, _mm512_maskz_loadu_ps, _mm512_mask_storeu_ps)
CDN_PART(float, 32, __mmask8, _mm256_maskz_loadu_ps, _mm256_mask_storeu_ps)
CDN_PART(double, 64, __mmask8, _mm512_maskz_loadu_pd, _mm512_mask_storeu_pd)
CDN_PART(double, 32, __mmask8, _mm256_maskz_loadu_pd, _mm256_mask_storeu_pd)

#elif defined(__AVX2__)

template <> struct Part<float, 32> {
  __m256i mask;
  explicit Part(int64_t count)
      : mask(_mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)),
                                _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))) {}
  Vector<float> load(const float* p) const { return _mm256_maskload_ps(p, mask); }
  void store(float* p, Vector<float> v) const { _mm256_maskstore_ps(p, mask, v); }
};
template <> struct Part<double, 32> {
  __m256i mask;
  explicit Part(int64_t count)
      : mask(_mm256_cmpgt_epi64(_mm256_set1_epi64x(count), _mm256_setr_epi64x(0, 1, 2, 3))) {}
  Vector<double> load(const double* p) const { return _mm256_maskload_pd(p, mask); }
  void store(double* p, Vector<double> v) const { _mm256_maskstore_pd(p, mask, v); }
};

#else

template <class T, int BYTES> struct Part {
  int64_t count;
  explicit Part(int64_t count) : count(count) {}
  Vector<T> load(const T* p) const {
    Vector<T> v = {};
    if (count == LANES<T>)
      __builtin_memcpy(&v, p, sizeof v);
    else
      for (int64_t i = 0; i < count; i++) v[i] = p[i];
    return v;
  }
  void store(T* p, Vector<T> v) const {
    if (count == LANES<T>)
      __builtin_memcpy(p, &v, sizeof v);
    else
      for (int64_t i = 0; i < count; i++) p[i] = v[i];
  }
};

#endif

// The lanes of a vector, added up in 16 bytes.
#if defined(__AVX512F__)  // with masks of all ones: GCC warns of what its headers do without
inline Vector<float, 16> folded(Vector<float> v) {
  __m256 half = _mm512_maskz_extractf32x8_ps(0xff, v, 0) + _mm512_maskz_extractf32x8_ps(0xff, v, 1);
  return _mm256_castps256_ps128(half) + _mm256_extractf128_ps(half, 1);
}
inline Vector<double, 16> folded(Vector<double> v) {
  __m256d half = _mm512_maskz_extractf64x4_pd(0xf, v, 0) + _mm512_maskz_extractf64x4_pd(0xf, v, 1);
  return _mm256_castpd256_pd128(half) + _mm256_extractf128_pd(half, 1);
}
#elif defined(__AVX__)
inline Vector<float, 16> folded(Vector<float> v) {
  return _mm256_castps256_ps128(v) + _mm256_extractf128_ps(v, 1);
}
inline Vector<double, 16> folded(Vector<double> v) {
  return _mm256_castpd256_pd128(v) + _mm256_extractf128_pd(v, 1);
}
#else
inline Vector<float, 16> folded(Vector<float> v) { return v; }
inline Vector<double, 16> folded(Vector<double> v) { return v; }
#endif

// y[j] = the sum of the j-th vector's lanes.
template <class T> void sums_of_lanes(T* y, const Vector<T>* v) {
  auto pair = [v](int j) {  // of float: a0 + a2, b0 + b2, a1 + a3, b1 + b3
    const auto a = folded(v[j]), b = folded(v[j + 1]);
    return low(a, b) + high(a, b);
  };
  const auto ab = pair(0), cd = pair(2);
  if constexpr (sizeof(T) == sizeof(double)) {
    store(y, ab);
    store(y + 2, cd);
  } else {
    using Halves = Vector<int64_t, 16>;
    const auto first = low((Halves)ab, (Halves)cd), second = high((Halves)ab, (Halves)cd);
    store(y, (Vector<T, 16>)first + (Vector<T, 16>)second);
  }
}

}  // namespace
}  // namespace cdn
