// The 16-bit floating-point types. They are for storage: operations compute in Compute<T>, which is
// float for them and T itself for all others, and round once, to nearest even, when they store.
#pragma once
#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__CUDACC__)
#define CDN_FN __host__ __device__ __forceinline__
#else
#define CDN_FN inline __attribute__((always_inline))
#endif

namespace cdn {

template <class To, class From> CDN_FN To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From), "the same bits");
  To to;
  memcpy(&to, &from, sizeof(To));
  return to;
}

// The float next to x whose last bit is 1, unless x is a float: rounding that to fewer bits gives
// what rounding x itself would, where by way of the nearest float a number just off the middle of
// two would be taken for the middle.
CDN_FN float odd_float(double x) {
  float near = static_cast<float>(x);
  double back = static_cast<double>(near);
  uint32_t bits = bits_as<uint32_t>(near),
           away = (back < 0 ? -back : back) > (x < 0 ? -x : x) ? ~0u : 1u;
  return bits_as<float>(back == x || bits & 1 ? bits : bits + away);
}

// IEEE 754 binary16: 5 bits of exponent, 10 of fraction. The portable conversions have no branches,
// so that loops over them become vector code.
struct float16 {
  uint16_t bits;

  float16() = default;
  CDN_FN explicit float16(float x) : bits(encode(x)) {}
  CDN_FN explicit float16(double x) : bits(encode(odd_float(x))) {}
  CDN_FN explicit float16(int32_t x) : float16(static_cast<double>(x)) {}
  CDN_FN operator float() const { return decode(bits); }

 private:
  CDN_FN static float decode(uint16_t bits) {
#if defined(__CUDA_ARCH__)
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
#else
    // The fields at a float's places; a product with a power of two mends the exponent, also of
    // denormals.
    uint32_t magnitude = static_cast<uint32_t>(bits & 0x7fffu) << 13,
             sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
    uint32_t finite = bits_as<uint32_t>(bits_as<float>(magnitude) * 0x1p112f);
    return bits_as<float>(sign | (magnitude >= 0x0f800000u ? magnitude | 0x7f800000u : finite));
#endif
  }
  CDN_FN static uint16_t encode(float x) {
#if defined(__CUDA_ARCH__)
    uint16_t bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
#else
    uint32_t bits = bits_as<uint32_t>(x), magnitude = bits & 0x7fffffffu;
    // Normal results: move the exponent, add just under half of the last place (and half for odd
    // ones), cut.
    uint32_t normal = (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1)) >> 13;
    // Below 2^-14: adding 1/2 makes the float's own rounding cut at the right bit.
    uint32_t small = bits_as<uint32_t>(bits_as<float>(magnitude) + 0.5f) - 0x3f000000u;
    uint32_t special = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
    uint32_t result = magnitude >= 0x477ff000u ? special : magnitude < 0x38800000u ? small : normal;
    return static_cast<uint16_t>((bits >> 16 & 0x8000u) | result);
#endif
  }
};

// The upper half of a float: 8 bits of exponent, 7 of fraction.
struct bfloat16 {
  uint16_t bits;

  bfloat16() = default;
  CDN_FN explicit bfloat16(float x) : bits(encode(x)) {}
  CDN_FN explicit bfloat16(double x) : bits(encode(odd_float(x))) {}
  CDN_FN explicit bfloat16(int32_t x) : bfloat16(static_cast<double>(x)) {}
  CDN_FN operator float() const { return bits_as<float>(static_cast<uint32_t>(bits) << 16); }

 private:
  CDN_FN static uint16_t encode(float x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    uint16_t bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
#else
    uint32_t bits = bits_as<uint32_t>(x);
    uint32_t rounded = bits + 0x7fffu + (bits >> 16 & 1);
    return static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? bits >> 16 | 0x40u
                                                                    : rounded >> 16);
#endif
  }
};

template <class T>
constexpr bool is_half = std::is_same<T, float16>::value || std::is_same<T, bfloat16>::value;
template <class T> constexpr bool is_real = std::is_floating_point<T>::value || is_half<T>;

// What operations on a stored type compute in.
template <class T> using Compute = typename std::conditional<is_half<T>, float, T>::type;

// A stored element as operations take it.
template <class T> CDN_FN Compute<T> wide(T x) { return static_cast<Compute<T>>(x); }

// Neighbours that one access takes.
template <class T, int W> struct alignas(sizeof(T) * W) Pack {
  T v[W];
};

inline bool aligned16(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

}  // namespace cdn
