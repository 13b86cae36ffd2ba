// Of convolutions the CPU has one kernel of its own, for the weights' gradient of depthwise ones:
// 16 channels at a time, all taps of a line of dy together while it is in the cache. A line is
// added up in float, lines in float64. All else is im2col's: a few images' matrix stays in caches.
#pragma once
#include <vector>

#include "ops/conv/geometry.h"

namespace cdn {

constexpr int64_t CONV_WIDTH = 16;

// One tap of a line, which meets column `first` of x at dy's first pixel.
template <class T, class Width>
void add_line(const ConvGeometry& g, float* sum, const T* dy, const T* x, int64_t first,
              Width width) {
  const int64_t begin = first < 0 ? ceil_div(-first, g.stride_w) : 0,
                end = std::min(g.q, ceil_div(g.w - first, g.stride_w));
  for (int64_t q = begin; q < end; q++) {
    const T *grad = dy + q * g.c, *pixel = x + (q * g.stride_w + first) * g.c;
    for (int64_t t = 0; t < width(); t++) sum[t] += wide(grad[t]) * wide(pixel[t]);
  }
}

// width(): of the channels from the pointers on, a constant where that is CONV_WIDTH.
template <class T, class Width>
void sum_channels(const ConvGeometry& g, T* dw, const T* dy, const T* x, Width width) {
  std::vector<double> sums(g.taps() * CONV_WIDTH);
  for (int64_t line = 0; line < g.n * g.p; line++) {
    const int64_t n = line / g.p, p = line - n * g.p;
    for (int64_t r = 0; r < g.r; r++) {
      const int64_t h = p * g.stride_h - g.pad_h + r * g.dilation_h;
      if (h < 0 || h >= g.h) continue;
      for (int64_t s = 0; s < g.s; s++) {
        float sum[CONV_WIDTH] = {};
        add_line(g, sum, dy + line * g.q * g.c, x + (n * g.h + h) * g.w * g.c,
                 s * g.dilation_w - g.pad_w, width);
        double* to = &sums[(r * g.s + s) * CONV_WIDTH];
        for (int64_t t = 0; t < width(); t++) to[t] += sum[t];
      }
    }
  }
  for (int64_t tap = 0; tap < g.taps(); tap++)
    for (int64_t t = 0; t < width(); t++)
      dw[t * g.taps() + tap] = static_cast<T>(static_cast<float>(sums[tap * CONV_WIDTH + t]));
}

template <class T> bool convolve_by_kernel(Call&, const Convolution<T>& c) {
  if (c.method != DEPTHWISE || !c.grad_weight() || std::is_same_v<T, double>) return false;
  parallel_for(ceil_div(c.g.c, CONV_WIDTH), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * CONV_WIDTH; i < end * CONV_WIDTH && i < c.g.c; i += CONV_WIDTH) {
      const int64_t left = c.g.c - i;
      auto sum = [&](auto width) {
        sum_channels(c.g, c.to() + i * c.g.taps(), c.y + i, c.x + i, width);
      };
      left >= CONV_WIDTH ? sum([] { return CONV_WIDTH; }) : sum([=] { return left; });
    }
  });
  return true;
}

template <class T> int64_t columns_ld(const ConvGeometry& g) { return g.group_depth(); }
template <class... Arguments> bool gather_columns(Arguments&&...) { return false; }

}  // namespace cdn
