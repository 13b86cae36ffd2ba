// Convolutions of images of up to four channels as ones of 64, so that tensor cores can have them:
// two lines of an image, padded to four channels, lie side by side, eight numbers a pixel, and the
// 64 numbers from a filter's first column on hold all that two lines of it meet. Neighbouring
// windows overlap in memory, which TMA does not mind.
#pragma once
#include "gpu/gemm/wgmma/tensor_map.h"
#include "ops/conv/geometry.h"

namespace cdn {

struct ConvFold {
  static constexpr int64_t CHANNELS = 4, LINES = 2, COLUMNS = 8, PIXEL = CHANNELS * LINES,
                           WINDOW = PIXEL * COLUMNS;
  ConvGeometry from, g;  // g: of the folded images, whose pixels are windows
  int64_t down, width;   // lines from one folded line to the next; pixels in a line

  // Whether it serves: large enough for its passes over the images.
  static bool suits(const ConvGeometry& g) {
    constexpr int64_t LEAST = int64_t{1} << 27, LEAST_FILTERS = 32;
    return g.c <= CHANNELS && g.s <= COLUMNS && g.dilation_h == 1 && g.dilation_w == 1 &&
           g.groups == 1 && g.k >= LEAST_FILTERS && g.y_count() * g.group_depth() >= LEAST;
  }

  explicit ConvFold(const ConvGeometry& x)
      : from(x),
        g(x),
        down(x.stride_h % LINES == 0 ? LINES : 1),
        width((x.q - 1) * x.stride_w + COLUMNS) {
    g.r = ceil_div(x.r, LINES), g.s = 1;
    g.c = WINDOW, g.w = x.q;
    g.stride_h = x.stride_h / down, g.stride_w = 1;
    g.dilation_h = LINES / down;
    g.pad_h = g.pad_w = 0;
    g.h = (g.p - 1) * g.stride_h + (g.r - 1) * g.dilation_h + 1;
  }

  int64_t count() const { return g.n * g.h * width * PIXEL; }
  // Where the folded images' windows are.
  void place(Im2ColImages& images) const {
    images.pixel = from.stride_w * PIXEL;
    images.line = width * PIXEL;
  }
};

// A folded pixel.
template <class T> struct FoldImages {
  ConvFold fold;
  T* to;
  const T* x;
  CDN_FN void operator()(int64_t i) const {
    const ConvGeometry& g = fold.from;
    const int64_t line = quotient(i, fold.width), n = quotient(line, fold.g.h),
                  column = i - line * fold.width - g.pad_w,
                  first = (line - n * fold.g.h) * fold.down - g.pad_h;
    Pack<T, ConvFold::PIXEL> pixel{};
    for (int j = 0; j < ConvFold::LINES; j++) {
      const int64_t row = first + j;
      if (row < 0 || row >= g.h || column < 0 || column >= g.w) continue;
      const T* from = x + ((n * g.h + row) * g.w + column) * g.c;
      for (int c = 0; c < ConvFold::CHANNELS; c++)
        if (c < g.c) pixel.v[j * ConvFold::CHANNELS + c] = from[c];
    }
    reinterpret_cast<Pack<T, ConvFold::PIXEL>*>(to)[i] = pixel;
  }
};

// Filters [k, lines, window] from [k, r, s, c], or, as gradients, back.
template <class T, bool BACK> struct FoldFilters {
  ConvFold fold;
  T* folded;
  std::conditional_t<BACK, T, const T>* w;
  CDN_FN void operator()(int64_t i) const {
    const ConvGeometry& g = fold.from;
    const int64_t at = i % ConvFold::WINDOW, lines = i / ConvFold::WINDOW,
                  k = quotient(lines, fold.g.r), s = at / ConvFold::PIXEL,
                  r = (lines - k * fold.g.r) * ConvFold::LINES +
                      at % ConvFold::PIXEL / ConvFold::CHANNELS,
                  c = at % ConvFold::CHANNELS;
    const bool inside = r < g.r && s < g.s && c < g.c;
    const int64_t own = ((k * g.r + r) * g.s + s) * g.c + c;
    if constexpr (BACK) {
      if (inside) w[own] = folded[i];
    } else {
      folded[i] = inside ? w[own] : T(0.0f);
    }
  }
};

}  // namespace cdn
