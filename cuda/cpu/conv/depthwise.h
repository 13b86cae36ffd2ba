// The weights' gradient of depthwise convolutions on the CPU: 16 channels at a time, all taps of a
// line of dy together while it is in the cache. A line is added up in float, lines in float64.
#pragma once
#include <vector>

#include "cpu/kernel/drivers.h"
#include "ops/conv/geometry.h"

namespace cdn {

template <class T> struct DepthwiseKernels {
  template <class... Arguments> static bool conv2d(Arguments&&...) { return false; }
  template <class... Arguments> static bool grad_input(Arguments&&...) { return false; }

  static bool grad_weight(Call&, const ConvGeometry& g, T* dw, const T* dy, const T* x) {
    parallel_for(ceil_div(g.c, WIDTH), 1, [=](int64_t begin, int64_t end) {
      for (int64_t c = begin * WIDTH; c < end * WIDTH && c < g.c; c += WIDTH)
        if (g.c - c >= WIDTH)
          channels(g, dw + c * g.taps(), dy + c, x + c, [] { return WIDTH; });
        else
          channels(g, dw + c * g.taps(), dy + c, x + c, [&] { return g.c - c; });
    });
    return true;
  }

 private:
  static constexpr int64_t WIDTH = 16;

  // width(): of the channels from the pointers on, a constant where that is WIDTH.
  template <class Width>
  static void channels(const ConvGeometry& g, T* dw, const T* dy, const T* x, Width width) {
    std::vector<double> sums(g.taps() * WIDTH);
    for (int64_t line = 0; line < g.n * g.p; line++) {
      const int64_t n = line / g.p, p = line - n * g.p;
      for (int64_t r = 0; r < g.r; r++) {
        const int64_t h = p * g.stride_h - g.pad_h + r * g.dilation_h;
        if (h < 0 || h >= g.h) continue;
        for (int64_t s = 0; s < g.s; s++) {
          float sum[WIDTH] = {};
          add_line(g, sum, dy + line * g.q * g.c, x + (n * g.h + h) * g.w * g.c,
                   s * g.dilation_w - g.pad_w, width);
          double* to = &sums[(r * g.s + s) * WIDTH];
          for (int64_t t = 0; t < width(); t++) to[t] += sum[t];
        }
      }
    }
    for (int64_t tap = 0; tap < g.taps(); tap++)
      for (int64_t t = 0; t < width(); t++)
        dw[t * g.taps() + tap] = static_cast<T>(static_cast<float>(sums[tap * WIDTH + t]));
  }

  // One tap of a line, which meets column `first` of x at dy's first pixel.
  template <class Width>
  static void add_line(const ConvGeometry& g, float* sum, const T* dy, const T* x, int64_t first,
                       Width width) {
    const int64_t begin = first < 0 ? ceil_div(-first, g.stride_w) : 0,
                  end = std::min(g.q, ceil_div(g.w - first, g.stride_w));
    for (int64_t q = begin; q < end; q++) {
      const T *grad = dy + q * g.c, *pixel = x + (q * g.stride_w + first) * g.c;
      for (int64_t t = 0; t < width(); t++) sum[t] += wide(grad[t]) * wide(pixel[t]);
    }
  }
};

}  // namespace cdn
