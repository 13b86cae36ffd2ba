// The input's gradient with a stride: pixels of x that lie a stride apart meet the same taps, and
// no others do. Each such class of pixels is a convolution with a stride of 1.
#pragma once
#include "ops/conv/geometry.h"

namespace cdn {

// Of 0 to all - 1, those that are i modulo the stride, and how many have a smaller rest.
struct Rest {
  int64_t count, before;
  CDN_FN Rest(int64_t i, int64_t all, int64_t stride) {
    const int64_t each = quotient(all, stride), more = all - each * stride;
    count = each + (i < more);
    before = i * each + (i < more ? i : more);
  }
};
// One axis of the class of the pixels from `at` on.
struct StrideClass {
  int64_t at, tap;  // tap: the first that it meets
  Rest taps, places;
  int64_t first;  // where in y that tap of its first pixel is
};
CDN_FN StrideClass class_of(int64_t at, int64_t extent, int64_t all, int64_t stride, int64_t pad) {
  const int64_t first = quotient(at + pad, stride), tap = at + pad - first * stride;
  return {at, tap, Rest(tap, all, stride), Rest(at, extent, stride), first};
}
CDN_FN StrideClass rows_of_class(const ConvGeometry& g, int64_t a) {
  return class_of(a, g.h, g.r, g.stride_h, g.pad_h);
}
CDN_FN StrideClass columns_of_class(const ConvGeometry& g, int64_t b) {
  return class_of(b, g.w, g.s, g.stride_w, g.pad_w);
}

// Whether the pixels form such classes; with a stride of 1 there is one.
inline bool has_classes(const ConvGeometry& g) {
  constexpr int64_t MOST = 8;
  return (g.stride_h == 1 && g.stride_w == 1) ||
         (g.dilation_h == 1 && g.dilation_w == 1 && g.pad_h >= 0 && g.pad_w >= 0 &&
          g.stride_h <= MOST && g.stride_w <= MOST);
}

// f(convolution, rows, columns) of those that are not empty.
template <class F> void each_class(const ConvGeometry& g, F&& f) {
  for (int64_t a = 0; a < g.stride_h; a++)
    for (int64_t b = 0; b < g.stride_w; b++) {
      const StrideClass rows = rows_of_class(g, a), columns = columns_of_class(g, b);
      ConvGeometry own = g;
      own.r = rows.taps.count, own.h = rows.places.count, own.pad_h = rows.first, own.stride_h = 1;
      own.s = columns.taps.count, own.w = columns.places.count, own.pad_w = columns.first,
      own.stride_w = 1;
      if (own.taps() * own.h * own.w > 0) f(own, rows, columns);
    }
}

}  // namespace cdn
