// Images cut into strips, for functors of each() whose threads slide down the rows: what one has
// made of a row serves several results. Images lie as [outer, height, width, inner]: row-major ones
// have their channels in outer, and inner is 1; where the channels of a pixel lie side by side they
// are inner. A strip has neighbours in memory, which come in one access: A pixels of a row, or CH
// channels of one.
#pragma once
#include "kernel/divisor.h"
#include "kernel/drivers.h"

// Arrays stay in registers where loops over them are unrolled.
#if defined(__CUDA_ARCH__)
#define CDN_UNROLLED _Pragma("unroll")
#define CDN_ROLLED _Pragma("unroll 1")
#else
#define CDN_UNROLLED
#define CDN_ROLLED
#endif

namespace cdn {

template <class T, int W> struct alignas(sizeof(T) * W) Neighbours {
  T v[W];
};
template <class T> constexpr int NEIGHBOURS = 16 / static_cast<int>(sizeof(T));

// Whether such accesses can start there, also of int32 beside 16-bit floats.
inline bool aligned_neighbours(std::initializer_list<const void*> operands) {
  for (const void* p : operands)
    if (reinterpret_cast<uintptr_t>(p) % 32 != 0) return false;
  return true;
}

// W neighbours at once, value(i) being the i-th.
template <int W, class T, class F> CDN_FN void put(T* to, F value) {
  Neighbours<T, W> all;
  CDN_UNROLLED
  for (int i = 0; i < W; i++) all.v[i] = value(i);
  *reinterpret_cast<Neighbours<T, W>*>(to) = all;
}

// N pixels of a row, CH channels of each, from one on that is HEAD before a multiple of A: A pixels
// from such a multiple on come in one access, and the width is a multiple of A too.
template <int N, int HEAD, int A, int CH> struct RowWindow {
  int64_t row;    // where it begins, and the channels
  int64_t inner;  // from one pixel to the next
  int32_t first, width;
  bool there;  // in the image

  CDN_FN bool has(int j) const {
    return there && static_cast<uint32_t>(first + j) < static_cast<uint32_t>(width);
  }
  template <class T> CDN_FN void read(const T* from, T outside, T (&v)[N][CH]) const {
    constexpr int END = HEAD + (N - HEAD) / A * A;
    CDN_UNROLLED
    for (int j = 0; j < N; j++)
      if (j < HEAD || j >= END)
        some<1>(from, outside, v, j);
      else if ((j - HEAD) % A == 0)
        some<A>(from, outside, v, j);
  }

 private:
  template <int COUNT, class T>
  CDN_FN void some(const T* from, T outside, T (&v)[N][CH], int j) const {
    Neighbours<T, COUNT * CH> found;
    CDN_UNROLLED
    for (int i = 0; i < COUNT * CH; i++) found.v[i] = outside;
    if (has(j))
      found = *reinterpret_cast<const Neighbours<T, COUNT * CH>*>(from + row + (first + j) * inner);
    CDN_UNROLLED
    for (int i = 0; i < COUNT * CH; i++) v[j + i / CH][i % CH] = found.v[i];
  }
};

// How results are shared out: a thread has `rows` rows of a strip.
struct Strips {
  Extent packs, across, down;  // packs of a pixel's channels, strips side by side, and below
  int32_t height, rows;
  int64_t count;

  // Of images in which a strip has `pixels` of a row and `channels`: as long as there are many.
  Strips(int64_t outer, int64_t height, int64_t width, int64_t inner, int pixels, int channels)
      : packs(inner / channels), across(ceil_div(width, pixels)), height((int32_t)height) {
    constexpr int64_t MANY = 1 << 18;
    for (rows = 16;; rows /= 2) {
      count = outer * (inner / channels) * across.by * ceil_div(height, rows);
      if (rows == 1 || count >= MANY) break;
    }
    down = Extent(ceil_div(height, rows));
  }

  struct Strip {
    int64_t image;
    int32_t first, end, across, pack;
  };
  CDN_FN Strip strip(int64_t at) const {
    const int64_t pixel = packs.quotient(at), line = across.quotient(pixel),
                  image = down.quotient(line), first = (line - image * down.by) * rows;
    return {image, static_cast<int32_t>(first),
            static_cast<int32_t>(first + rows < height ? first + rows : height),
            static_cast<int32_t>(pixel - line * across.by),
            static_cast<int32_t>(at - pixel * packs.by)};
  }
};

}  // namespace cdn
