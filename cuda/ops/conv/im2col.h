// Convolution as a product: im2col writes, for each pixel of y, all that its sums are of as a row
// of a matrix, and col2im adds up what a gradient of such a matrix means for x. The rows of each
// group lie together: [group][pixel][r, s, c / groups].
#pragma once
#include "ops/conv/direct.h"

namespace cdn {

// For each_row, a row for each run of memory: of one tap, or, where the taps of a filter's row lie
// side by side in x, of all of them.
template <class T> struct Im2Col {
  ConvGeometry g;
  T* col;
  const T* x;
  int64_t together;  // taps of a run

  Im2Col(const ConvGeometry& g, T* col, const T* x)
      : g(g), col(col), x(x), together(g.groups == 1 && g.dilation_w == 1 ? g.s : 1) {}
  int64_t rows() const { return g.groups * g.n * g.pixels() * g.r * (g.s / together); }
  int64_t cols() const { return together * g.group_c(); }

  struct Row {
    T* to;
    const T* from;
    int64_t count, low, high;  // of them are inside
    CDN_FN void operator()(int64_t i) const { to[i] = i >= low && i < high ? from[i] : T(0.0f); }
  };
  CDN_FN Row row(int64_t run) const {
    const int64_t runs = quotient(g.s, together), channels = g.group_c();
    const int64_t row = quotient(run, runs), s = (run - row * runs) * together,
                  pixel = quotient(row, g.r), r = row - pixel * g.r;
    const int64_t per_group = g.n * g.pixels(), group = quotient(pixel, per_group),
                  in_group = pixel - group * per_group, line = quotient(in_group, g.q),
                  q = in_group - line * g.q, n = quotient(line, g.p), p = line - n * g.p;
    const int64_t h = p * g.stride_h - g.pad_h + r * g.dilation_h,
                  column = q * g.stride_w - g.pad_w + s * g.dilation_w;
    Row out;
    out.to = col + run * together * channels;
    out.from = x + ((n * g.h + h) * g.w + column) * g.c + group * channels;
    out.count = together * channels;
    out.low = column < 0 ? -column * channels : 0;
    out.high = h < 0 || h >= g.h ? 0 : (g.w - column) * channels;
    return out;
  }
};

// dx from the gradient of the matrix, in a fixed order of taps.
template <class T> struct Col2Im {
  using C = Compute<T>;
  ConvGeometry g;
  T* dx;
  const C* col;
  template <int N> CDN_FN void run(int64_t i, int count) const {
    C sum[N] = {};
    const int64_t channels = g.group_c(), depth = g.group_depth(), pixels = g.n * g.pixels();
    each_pixel_of_run(
        i, count, g.h, g.w * g.groups, channels,
        [&](int64_t n, int64_t h, int64_t place, int64_t c, int at, int length) {
          const int64_t column = quotient(place, g.groups), group = place - column * g.groups;
          each_tap<true>(g, h, column, [&](int64_t r, int64_t s, int64_t p, int64_t q) {
            const C* from = col + (group * pixels + (n * g.p + p) * g.q + q) * depth +
                            (r * g.s + s) * channels + c;
            for (int t = 0; t < length; t++) sum[at + t] += from[t];
          });
        });
    for (int t = 0; t < count; t++) dx[i + t] = static_cast<T>(sum[t]);
  }
};

}  // namespace cdn
