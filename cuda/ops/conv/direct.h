// Convolutions computed as they are defined, without a copy of what meets the filters: a sum for
// each output, of runs of channels where every channel has a filter of its own (depthwise).
#pragma once
#include "kernel/sum.h"
#include "ops/conv/geometry.h"

namespace cdn {

// f(r, s, row, column): the taps that a pixel of y has in x, and where; or, BACK, those that met a
// pixel of x, and for which of y.
template <bool BACK, class F>
CDN_FN void each_tap(const ConvGeometry& g, int64_t row, int64_t column, F&& f) {
  if constexpr (BACK) {
    const TapWalk down(row, g.r, g.p, g.stride_h, g.pad_h, g.dilation_h),
        across(column, g.s, g.q, g.stride_w, g.pad_w, g.dilation_w);
    for (int64_t a = 0; a < down.count; a++)
      for (int64_t b = 0; b < across.count; b++)
        f(down.first + a * down.step, across.first + b * across.step, down.at - a * down.back,
          across.at - b * across.back);
  } else {
    for (int64_t r = 0; r < g.r; r++) {
      const int64_t h = row * g.stride_h - g.pad_h + r * g.dilation_h;
      if (h < 0 || h >= g.h) continue;
      for (int64_t s = 0; s < g.s; s++) {
        const int64_t w = column * g.stride_w - g.pad_w + s * g.dilation_w;
        if (w >= 0 && w < g.w) f(r, s, h, w);
      }
    }
  }
}

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

// y, of type Y, from x or, BACK, x's gradient from y's: the sums over the taps, and the group's
// channels or filters. w of depthwise convolutions is [r, s, c].
template <class T, class Y, bool BACK, bool DEPTHWISE> struct ConvSums {
  using C = Compute<T>;
  ConvGeometry g;
  Y* to;
  const T *from, *w;
  template <int N> CDN_FN void run(int64_t i, int count) const {
    C sum[N] = {};
    each_pixel_of_run(i, count, BACK ? g.h : g.p, BACK ? g.w : g.q, BACK ? g.c : g.k,
                      [&](int64_t n, int64_t h, int64_t w, int64_t k, int at, int length) {
                        each_tap<BACK>(g, h, w, [&](int64_t r, int64_t s, int64_t h, int64_t w) {
                          const int64_t pixel = BACK ? ((n * g.p + h) * g.q + w) * g.k
                                                     : ((n * g.h + h) * g.w + w) * g.c;
                          add(sum, at, from + pixel, r * g.s + s, k, length);
                        });
                      });
    for (int t = 0; t < count; t++) to[i + t] = static_cast<Y>(sum[t]);
  }

 private:
  // A tap's products with a pixel, for the outputs from k on.
  template <int N>
  CDN_FN void add(C (&sum)[N], int at, const T* pixel, int64_t tap, int64_t k, int length) const {
    if constexpr (DEPTHWISE) {
      const T *own = pixel + k, *filter = w + tap * g.c + k;
      for (int t = 0; t < length; t++) sum[at + t] += wide(own[t]) * wide(filter[t]);
      return;
    }
    const int64_t outputs = BACK ? g.group_c() : g.group_k(),
                  inputs = BACK ? g.group_k() : g.group_c(), apart = BACK ? g.group_depth() : 1;
    int64_t group = quotient(k, outputs), own = k - group * outputs;
    for (int t = 0; t < length; t++) {
      const T* filter = w + (BACK ? (group * inputs * g.taps() + tap) * outputs + own
                                  : ((k + t) * g.taps() + tap) * inputs);
      C all = sum[at + t];
      for (int64_t c = 0; c < inputs; c++)
        all += wide(pixel[group * inputs + c]) * wide(filter[c * apart]);
      sum[at + t] = all;
      if (++own == outputs) own = 0, group++;
    }
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
