// Windows of pooling and where they are in images. Images lie as [outer, height, width, inner]:
// row-major ones have their channels in outer, and inner is 1; where the channels of a pixel lie
// side by side they are inner, and neighbouring threads take neighbouring packs of W channels. So
// one functor serves both, and the results lie as the images do.
#pragma once
#include <initializer_list>

#include "kernel/functions.h"

// For loops of few turns: unrolled they would only take registers.
#if defined(__CUDA_ARCH__)
#define CDN_ROLLED _Pragma("unroll 1")
#else
#define CDN_ROLLED
#endif

namespace cdn {
namespace pooling {

// Division by a number that the host knows, as a product, which is far less work for a GPU. Exact
// for dividends below 2^31; others are divided.
struct Divisor {
  uint32_t by, multiplier, shift = 0;
  explicit Divisor(int64_t number) : by(static_cast<uint32_t>(number)) {
    while (uint64_t{1} << shift < by) shift++;
    multiplier = static_cast<uint32_t>((((uint64_t{1} << shift) - by) << 32) / (by ? by : 1) + 1);
  }
  CDN_FN int64_t quotient(int64_t a) const {
    if (a >> 31) return a / by;
    uint32_t n = static_cast<uint32_t>(a);
    return ((static_cast<uint64_t>(n) * multiplier >> 32) + n) >> shift;
  }
};

// The window of one result along an axis: places begin + k * dilation of the image, for first <= k
// < end, which leaves out those in the padding.
struct Window {
  int32_t begin, first, end;
};

// Those that may see a place: first <= o < end.
struct Windows {
  int32_t first, end;
};

// One of both axes of an image. A kernel of 0 stands for adaptive windows, which are as equal as
// can be, and overlap by at most one place.
struct PoolAxis {
  int32_t extent, out, kernel, stride, padding, dilation;
  Divisor by_stride;

  CDN_FN int32_t begin(int32_t o) const {
    return kernel ? o * stride - padding : static_cast<int32_t>(quotient(int64_t{o} * extent, out));
  }
  CDN_FN Window window(int32_t o) const {
    int32_t from = begin(o);
    if (kernel == 0) {
      int64_t end = quotient((int64_t{o} + 1) * extent + out - 1, out);
      return {from, 0, static_cast<int32_t>(end - from)};
    }
    int32_t most = steps(extent - 1 - from) + 1;
    return {from, from < 0 ? steps(dilation - 1 - from) : 0, most < kernel ? most : kernel};
  }
  CDN_FN Windows covering(int32_t at) const {
    if (kernel == 0)
      return {static_cast<int32_t>(quotient(int64_t{at} * out, extent)),
              static_cast<int32_t>(quotient((int64_t{at} + 1) * out + extent - 1, extent))};
    int32_t from = at + padding - (kernel - 1) * dilation,
            end = static_cast<int32_t>(by_stride.quotient(at + padding)) + 1;
    return {from <= 0 ? 0 : static_cast<int32_t>(by_stride.quotient(from + stride - 1)),
            end < out ? end : out};
  }
  // Which k of the window that begins there a place of the image is, or -1.
  CDN_FN int32_t offset(int32_t begin, int32_t at) const {
    int32_t k = at < begin ? -1 : steps(at - begin);
    return begin + k * dilation == at && (kernel == 0 || k < kernel) ? k : -1;
  }
  // Places of a window, as an average counts them: with the padding, if asked.
  CDN_FN int32_t count(int32_t o, bool padded) const {
    Window w = window(o);
    if (!padded || kernel == 0) return w.end - w.first;
    int32_t most = extent + padding - w.begin;
    return kernel < most ? kernel : most;
  }
  // The most places that a window has.
  CDN_FN int32_t width() const { return kernel ? kernel : (extent + out - 1) / out + 1; }
  bool apart() const { return kernel && stride > (kernel - 1) * dilation; }

 private:
  CDN_FN int32_t steps(int32_t distance) const {
    return dilation == 1 ? distance : distance / dilation;
  }
};

// What an element is, of images of which one kind of extents is known. k: its (pack of) channels.
struct Place {
  int64_t image;
  int32_t i, j;
  int64_t k;
};
struct Images {
  Divisor rows, cols, inner;
  CDN_FN Place place(int64_t at) const {
    int64_t pixel = inner.quotient(at), row = cols.quotient(pixel), image = rows.quotient(row);
    return {image, static_cast<int32_t>(row - image * rows.by),
            static_cast<int32_t>(pixel - row * cols.by), at - pixel * inner.by};
  }
  // An element of the same image and channels.
  CDN_FN int64_t at(const Place& p, int32_t i, int32_t j) const {
    return ((p.image * rows.by + i) * cols.by + j) * inner.by + p.k;
  }
};

struct Pool {
  PoolAxis height, width;
  Images x, y;
  int64_t outer, inner;

  // numbers: outer, inner, and for each axis extent, out, kernel, stride, padding, dilation.
  static Pool read(const int64_t* numbers);
  int64_t x_size() const { return outer * inner * height.extent * width.extent; }
  int64_t y_size() const { return outer * inner * height.out * width.out; }

  // f(offset in x, k) for the places of a result's window, row by row; k numbers them as if none
  // were in the padding.
  template <class F> CDN_FN void each_place(const Place& p, F f) const {
    Window rows = height.window(p.i), cols = width.window(p.j);
    const int64_t step = int64_t{width.dilation} * x.inner.by;
    const int32_t across = width.width(), left = cols.begin + cols.first * width.dilation;
    for (int32_t i = rows.first; i < rows.end; i++) {
      int64_t offset = x.at(p, rows.begin + i * height.dilation, left);
      for (int32_t j = cols.first; j < cols.end; j++, offset += step) f(offset, i * across + j);
    }
  }
  // f(offset in y, k, i, j) for the results i, j that see an element of x as their window's place
  // k.
  template <class F> CDN_FN void each_window(const Place& p, F f) const {
    Windows rows = height.covering(p.i), cols = width.covering(p.j);
    int32_t across = width.width();
    CDN_ROLLED
    for (int32_t i = rows.first; i < rows.end; i++) {
      int32_t down = height.offset(height.begin(i), p.i);
      if (down < 0) continue;
      int64_t offset = y.at(p, i, cols.first);
      CDN_ROLLED
      for (int32_t j = cols.first; j < cols.end; j++, offset += y.inner.by) {
        int32_t k = width.offset(width.begin(j), p.j);
        if (k >= 0) f(offset, down * across + k, i, j);
      }
    }
  }
  // f(offset in x, k) for what of x is a result's own where windows are apart: its window and what
  // follows up to the next one, for which k is -1.
  template <class F> CDN_FN void each_own(const Place& p, F f) const {
    int32_t top = height.begin(p.i), left = width.begin(p.j);
    Windows down = own(height, p.i), across = own(width, p.j);
    for (int32_t i = down.first; i < down.end; i++) {
      int32_t row = height.offset(top, i);
      for (int32_t j = across.first; j < across.end; j++) {
        int32_t k = width.offset(left, j);
        f(x.at(p, i, j), row < 0 || k < 0 ? -1 : row * width.width() + k);
      }
    }
  }
  // Whether each result writes its own part of a gradient: if there is little of it.
  bool pushes() const {
    return height.apart() && width.apart() && int64_t{height.stride} * width.stride <= 16;
  }

 private:
  CDN_FN static Windows own(const PoolAxis& axis, int32_t o) {
    int32_t begin = axis.begin(o);
    return {o == 0 ? 0 : begin, o == axis.out - 1 ? axis.extent : begin + axis.stride};
  }
};

inline PoolAxis read_axis(const char* name, const int64_t* numbers) {
  constexpr int64_t LIMIT = int64_t{1} << 29;  // so that places are 32-bit numbers
  auto [extent, out, kernel, stride, padding, dilation] =
      *reinterpret_cast<const int64_t (*)[6]>(numbers);
  for (int64_t number : {extent, out, kernel, stride, padding, dilation})
    if (number < 0 || number > LIMIT)
      CDN_FAIL(CDN_BAD_ARGUMENT, "sizes: %s has %lld; it must be 0 to 2^29", name,
               (long long)number);
  if (extent == 0 || out == 0 || stride == 0 || dilation == 0)
    CDN_FAIL(CDN_BAD_ARGUMENT, "sizes: extent, out, stride or dilation of %s is 0", name);
  if (kernel ? 2 * padding > kernel || (kernel - 1) * dilation > LIMIT
             : padding > 0 || dilation > 1)
    CDN_FAIL(CDN_BAD_ARGUMENT, "sizes: the windows along %s are of %lld places and %lld of padding",
             name, (long long)kernel, (long long)padding);
  if (kernel && (out - 1) * stride - padding >= extent)
    CDN_FAIL(CDN_BAD_ARGUMENT, "sizes: the last window along %s begins after its %lld places", name,
             (long long)extent);
  auto narrow = [](int64_t number) { return static_cast<int32_t>(number); };
  return {narrow(extent),  narrow(out),      narrow(kernel), narrow(stride),
          narrow(padding), narrow(dilation), Divisor(stride)};
}

inline Pool Pool::read(const int64_t* numbers) {
  if (!numbers) CDN_FAIL(CDN_BAD_ARGUMENT, "sizes is null");
  PoolAxis height = read_axis("height", numbers + 2), width = read_axis("width", numbers + 8);
  int64_t images = checked_product("outer, inner", numbers[0], numbers[1]);
  checked_product("outer, inner, height, width", images, height.extent, width.extent);
  checked_product("outer, inner, rows, columns", images, height.out, width.out);
  if (numbers[1] > INT32_MAX) CDN_FAIL(CDN_BAD_ARGUMENT, "sizes: inner is too large");
  Divisor channels(numbers[1]);
  return {height,
          width,
          {Divisor(height.extent), Divisor(width.extent), channels},
          {Divisor(height.out), Divisor(width.out), channels},
          numbers[0],
          numbers[1]};
}

// W neighbouring channels, in one access.
template <class T, int W> struct alignas(sizeof(T) * W) Channels {
  T v[W];
};
template <int W, class T> Channels<T, W>* packed(T* p) {
  return reinterpret_cast<Channels<T, W>*>(p);
}
template <int W, class T> const Channels<T, W>* packed(const T* p) {
  return reinterpret_cast<const Channels<T, W>*>(p);
}

// f(pool, W) with W, a constant, as many channels as 16 bytes hold, and the pool's inner counting
// packs of them; one by one where they do not come in packs, or those are not aligned: the widest
// are of int32 beside 16-bit floats.
template <class T, class F>
void in_packs(Pool pool, std::initializer_list<const void*> operands, F f) {
  constexpr int W = 16 / sizeof(T);
  bool whole = pool.inner % W == 0;
  for (const void* p : operands) whole = whole && reinterpret_cast<uintptr_t>(p) % 32 == 0;
  if (!whole) return f(pool, std::integral_constant<int, 1>{});
  pool.inner /= W;
  pool.x.inner = pool.y.inner = Divisor(pool.inner);
  f(pool, std::integral_constant<int, W>{});
}

}  // namespace pooling
}  // namespace cdn
