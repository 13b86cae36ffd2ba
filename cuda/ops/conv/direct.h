// Convolutions computed where they are defined, without a copy of what meets the filters: a sum for
// each output, of each channel for itself where every channel has a filter of its own (depthwise).
#pragma once
#include "kernel/sum.h"
#include "ops/conv/geometry.h"

namespace cdn {

// y[n, p, q, k], of type Y: the sum over the taps and the group's channels.
template <class T, class Y> struct ConvNaive {
  using C = Compute<T>;
  ConvGeometry g;
  Y* y;
  const T *x, *w;
  CDN_FN C sum(int64_t i) const {
    const int64_t pixel = quotient(i, g.k), k = i - pixel * g.k, row = quotient(pixel, g.q),
                  q = pixel - row * g.q, n = quotient(row, g.p), p = row - n * g.p;
    const int64_t channels = g.group_c(), first = quotient(k, g.group_k()) * channels;
    C sum = 0;
    for (int64_t r = 0; r < g.r; r++) {
      const int64_t h = p * g.stride_h - g.pad_h + r * g.dilation_h;
      if (h < 0 || h >= g.h) continue;
      for (int64_t s = 0; s < g.s; s++) {
        const int64_t column = q * g.stride_w - g.pad_w + s * g.dilation_w;
        if (column < 0 || column >= g.w) continue;
        const T* from = x + ((n * g.h + h) * g.w + column) * g.c + first;
        const T* filter = w + ((k * g.r + r) * g.s + s) * channels;
        for (int64_t c = 0; c < channels; c++) sum += wide(from[c]) * wide(filter[c]);
      }
    }
    return sum;
  }
  CDN_FN void operator()(int64_t i) const { y[i] = static_cast<Y>(sum(i)); }
};

// f(r, s, p, q): the taps that met a pixel of x, and the pixels of y whose sums it was in.
template <class F> CDN_FN void each_use(const ConvGeometry& g, int64_t h, int64_t column, F&& f) {
  const TapWalk down(h, g.r, g.p, g.stride_h, g.pad_h, g.dilation_h),
      across(column, g.s, g.q, g.stride_w, g.pad_w, g.dilation_w);
  for (int64_t a = 0; a < down.count; a++)
    for (int64_t b = 0; b < across.count; b++)
      f(down.first + a * down.step, across.first + b * across.step, down.at - a * down.back,
        across.at - b * across.back);
}

// dx[n, h, w, c]: over the taps that met it, and the group's filters.
template <class T> struct ConvNaiveGradInput {
  using C = Compute<T>;
  ConvGeometry g;
  T* dx;
  const T *dy, *w;
  CDN_FN void operator()(int64_t i) const {
    const int64_t pixel = quotient(i, g.c), c = i - pixel * g.c, row = quotient(pixel, g.w),
                  n = quotient(row, g.h), channels = g.group_c(), group = quotient(c, channels),
                  filters = g.group_k();
    C sum = 0;
    each_use(g, row - n * g.h, pixel - row * g.w, [&](int64_t r, int64_t s, int64_t p, int64_t q) {
      const T* from = dy + ((n * g.p + p) * g.q + q) * g.k + group * filters;
      const T* filter =
          w + ((group * filters * g.r + r) * g.s + s) * channels + (c - group * channels);
      for (int64_t k = 0; k < filters; k++)
        sum += wide(from[k]) * wide(filter[k * g.group_depth()]);
    });
    dx[i] = static_cast<T>(sum);
  }
};

// dw[k, r, s, c], a sum over all pixels: reduce() with one output an element of dw. inner: the
// filters' numbers, [k, r, s, c].
template <class T> struct ConvGradWeight : Adding<Sum<T>> {
  ConvGeometry g;
  T* dw;
  const T *dy, *x;
  CDN_FN Sum<T> load(int64_t offset, int64_t at) const {
    const int64_t i = offset - at * g.k * g.group_depth(), channels = g.group_c();
    const int64_t tap = quotient(i, channels), k = quotient(tap, g.taps()), rs = tap - k * g.taps(),
                  r = quotient(rs, g.s), s = rs - r * g.s;
    const int64_t row = quotient(at, g.q), q = at - row * g.q, n = quotient(row, g.p),
                  p = row - n * g.p;
    const int64_t h = p * g.stride_h - g.pad_h + r * g.dilation_h,
                  column = q * g.stride_w - g.pad_w + s * g.dilation_w;
    if (h < 0 || h >= g.h || column < 0 || column >= g.w) return Sum<T>(Compute<T>(0));
    const int64_t c = quotient(k, g.group_k()) * channels + (i - tap * channels);
    return Sum<T>(wide(dy[at * g.k + k]) * wide(x[((n * g.h + h) * g.w + column) * g.c + c]));
  }
  CDN_FN void store(int64_t i, Sum<T> sum) const { dw[i] = static_cast<T>(sum); }
};

// Runs of channels of one pixel: f(n, row, column, first channel, place in the run, length).
template <class F>
CDN_FN void each_pixel_of_run(int64_t i, int count, int64_t height, int64_t width, int64_t channels,
                              F&& f) {
  for (int done = 0; done < count;) {
    const int64_t pixel = quotient(i + done, channels), c = i + done - pixel * channels,
                  row = quotient(pixel, width), n = quotient(row, height);
    const int length = channels - c < count - done ? static_cast<int>(channels - c) : count - done;
    f(n, row - n * height, pixel - row * width, c, done, length);
    done += length;
  }
}

// One filter a channel; w is [r, s, c].
template <class T, class Y> struct DepthwiseConv {
  using C = Compute<T>;
  ConvGeometry g;
  Y* y;
  const T *x, *w;
  template <int N> CDN_FN void run(int64_t i, int count) const {
    C sum[N] = {};
    each_pixel_of_run(i, count, g.p, g.q, g.c,
                      [&](int64_t n, int64_t p, int64_t q, int64_t c, int at, int length) {
                        for (int64_t r = 0; r < g.r; r++) {
                          const int64_t h = p * g.stride_h - g.pad_h + r * g.dilation_h;
                          if (h < 0 || h >= g.h) continue;
                          for (int64_t s = 0; s < g.s; s++) {
                            const int64_t column = q * g.stride_w - g.pad_w + s * g.dilation_w;
                            if (column < 0 || column >= g.w) continue;
                            const T* from = x + ((n * g.h + h) * g.w + column) * g.c + c;
                            const T* filter = w + (r * g.s + s) * g.c + c;
                            for (int t = 0; t < length; t++)
                              sum[at + t] += wide(from[t]) * wide(filter[t]);
                          }
                        }
                      });
    for (int t = 0; t < count; t++) y[i + t] = static_cast<Y>(sum[t]);
  }
};

template <class T> struct DepthwiseGradInput {
  using C = Compute<T>;
  ConvGeometry g;
  T* dx;
  const T *dy, *w;
  template <int N> CDN_FN void run(int64_t i, int count) const {
    C sum[N] = {};
    each_pixel_of_run(i, count, g.h, g.w, g.c,
                      [&](int64_t n, int64_t h, int64_t column, int64_t c, int at, int length) {
                        each_use(g, h, column, [&](int64_t r, int64_t s, int64_t p, int64_t q) {
                          const T* from = dy + ((n * g.p + p) * g.q + q) * g.c + c;
                          const T* filter = w + (r * g.s + s) * g.c + c;
                          for (int t = 0; t < length; t++)
                            sum[at + t] += wide(from[t]) * wide(filter[t]);
                        });
                      });
    for (int t = 0; t < count; t++) dx[i + t] = static_cast<T>(sum[t]);
  }
};

// [k, r, s] filters as [r, s, k].
template <class T> struct TapsOutside {
  T* to;
  const T* w;
  int64_t channels, taps;
  CDN_FN void operator()(int64_t i) const {
    const int64_t tap = quotient(i, channels), c = i - tap * channels;
    to[i] = w[c * taps + tap];
  }
};

}  // namespace cdn
