// Windows of pooling and where they are in images.
#pragma once
#include "kernel/functions.h"
#include "kernel/strips.h"

namespace cdn {

// The largest of each 2 x 2 elements of images [n, height, width, channels], and which they are,
// unless argument is null.
void max_pool_2x2(Call& call, void* y, uint8_t* argument, const void* x, int64_t n, int64_t height,
                  int64_t width, int64_t channels, int32_t dtype);

namespace pooling {

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
  Extent by_stride;

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
  Extent rows, cols, inner;
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
          narrow(padding), narrow(dilation), Extent(stride)};
}

inline Pool Pool::read(const int64_t* numbers) {
  if (!numbers) CDN_FAIL(CDN_BAD_ARGUMENT, "sizes is null");
  PoolAxis height = read_axis("height", numbers + 2), width = read_axis("width", numbers + 8);
  int64_t images = checked_product("outer, inner", numbers[0], numbers[1]);
  checked_product("outer, inner, height, width", images, height.extent, width.extent);
  checked_product("outer, inner, rows, columns", images, height.out, width.out);
  if (numbers[1] > INT32_MAX) CDN_FAIL(CDN_BAD_ARGUMENT, "sizes: inner is too large");
  Extent channels(numbers[1]);
  return {height,
          width,
          {Extent(height.extent), Extent(width.extent), channels},
          {Extent(height.out), Extent(width.out), channels},
          numbers[0],
          numbers[1]};
}

}  // namespace pooling
}  // namespace cdn
