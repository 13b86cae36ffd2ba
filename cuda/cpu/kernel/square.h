// Squares of elements, transposed in registers, in GCC's and Clang's vector extensions. All is in
// an anonymous namespace, without library headers, since it is compiled for several instruction
// sets: see gemm/kernel.h.
#pragma once
#include <stdint.h>

namespace cdn {
namespace {

typedef uint8_t Byte16 __attribute__((vector_size(16)));
typedef uint16_t Short8 __attribute__((vector_size(16)));
typedef uint32_t Word4 __attribute__((vector_size(16)));
typedef uint64_t Long2 __attribute__((vector_size(16)));

#if defined(__clang__)
#define CDN_SHUFFLE(Places, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define CDN_SHUFFLE(Places, a, b, ...) __builtin_shuffle(a, b, Places{__VA_ARGS__})
#endif

// The first halves, or the second halves, of two vectors of 16 bytes, element by element in turn.
template <class V> V low(V a, V b) {
  constexpr int ELEMENTS = sizeof(V) / sizeof(a[0]);
  if constexpr (ELEMENTS == 16)
    return CDN_SHUFFLE(Byte16, a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  else if constexpr (ELEMENTS == 8)
    return CDN_SHUFFLE(Short8, a, b, 0, 8, 1, 9, 2, 10, 3, 11);
  else if constexpr (ELEMENTS == 4)
    return CDN_SHUFFLE(Word4, a, b, 0, 4, 1, 5);
  else
    return CDN_SHUFFLE(Long2, a, b, 0, 2);
}
template <class V> V high(V a, V b) {
  constexpr int ELEMENTS = sizeof(V) / sizeof(a[0]);
  if constexpr (ELEMENTS == 16)
    return CDN_SHUFFLE(Byte16, a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  else if constexpr (ELEMENTS == 8)
    return CDN_SHUFFLE(Short8, a, b, 4, 12, 5, 13, 6, 14, 7, 15);
  else if constexpr (ELEMENTS == 4)
    return CDN_SHUFFLE(Word4, a, b, 2, 6, 3, 7);
  else
    return CDN_SHUFFLE(Long2, a, b, 1, 3);
}

template <class T, int BYTES> struct Wide {
  typedef T Type __attribute__((vector_size(BYTES)));
};
template <class T> constexpr int SIDE = 16 / sizeof(T);

// SIDE rows of one vector each: y[c * y_row + r] = x[r * x_row + c]. A round interleaves row i with
// row i + SIDE / 2; log2(SIDE) rounds transpose.
template <class T> void transpose_square(T* y, int64_t y_row, const T* x, int64_t x_row) {
  using V = typename Wide<T, 16>::Type;
  V rows[SIDE<T>], next[SIDE<T>];
#pragma GCC unroll 16
  for (int i = 0; i < SIDE<T>; i++) __builtin_memcpy(&rows[i], x + i * x_row, sizeof(V));
#pragma GCC unroll 4
  for (int round = 1; round < SIDE<T>; round *= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < SIDE<T> / 2; i++) {
      next[2 * i] = low(rows[i], rows[i + SIDE<T> / 2]);
      next[2 * i + 1] = high(rows[i], rows[i + SIDE<T> / 2]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < SIDE<T>; i++) rows[i] = next[i];
  }
#pragma GCC unroll 16
  for (int i = 0; i < SIDE<T>; i++) __builtin_memcpy(y + i * y_row, &rows[i], sizeof(V));
}

}  // namespace
}  // namespace cdn
