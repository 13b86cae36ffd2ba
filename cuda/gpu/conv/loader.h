// How the tiles of a convolution come to multiply_by_wgmma: by TMA's im2col, which finds the pixels
// that a tap meets, so that no matrix of them is ever made. A step of k is 64 channels of one tap;
// taps change first, as neighbours read the same pixels, which are in L2 then.
#pragma once
#include "gpu/gemm/wgmma/kernel.h"

namespace cdn {

// The kernels by their tile: of the forward pass, or, with filters whose channels are contiguous
// across k, of the input's gradient; and of floats, cut into so many planes.
template <class T> WgmmaKernel conv_kernel(WgmmaExtent tile, bool b_mn, bool fused);
template <class T> WgmmaKernel conv_grad_weight_kernel(WgmmaExtent tile);
WgmmaKernel conv_split_kernel(int planes, WgmmaExtent tile, bool b_mn, bool fused);
WgmmaKernel conv_split_grad_weight_kernel(int planes, WgmmaExtent tile);

template <class Tile> struct ConvLoader;
template <class Tile> struct ConvGradWeightLoader;

#if defined(CDN_HOPPER)

// The pixel where the first tap of output pixel `i` is, and its image.
struct Im2ColPixel {
  int column, row, image;
  __device__ __forceinline__ Im2ColPixel(const Im2ColWalk& walk, uint32_t i) {
    image = (int)walk.by_pixels(i);
    const uint32_t rest = i - (uint32_t)image * walk.pixels, line = walk.by_width(rest);
    row = (int)line * walk.stride_h + walk.first_h;
    column = (int)(rest - line * walk.width) * walk.stride_w + walk.first_w;
  }
};

// The number of an image [row, column, channel] where a tap meets it, 0 outside.
__device__ __forceinline__ float pixel_value(const float* x, const Im2ColWalk& walk,
                                             const Im2ColPixel& pixel, int u, int v,
                                             int64_t channel) {
  const int row = pixel.row + u, column = pixel.column + v;
  const bool inside = row >= 0 && row < walk.in_h && column >= 0 && column < walk.in_w;
  const int64_t line = (int64_t)pixel.image * walk.in_h + row;
  return inside ? x[line * walk.line + (int64_t)column * walk.pixel + channel] : 0.0f;
}

// A convolution of floats as it is defined; see ExactProduct. Images have a scale each, the filters
// one.
template <bool B_MN> struct ExactConv {
  const WgmmaWork& w;
  __device__ __forceinline__ int32_t a_info(int64_t row) const {
    return w.cut.a_info[w.im2col.by_pixels((uint32_t)row)];
  }
  __device__ __forceinline__ int32_t b_info(int64_t) const { return w.cut.b_info[0]; }
  __device__ __forceinline__ float add(float sum, int64_t row, int64_t col, int64_t k) const {
    const Im2ColWalk& walk = w.im2col;
    const int step = (int)(k / 64), tap = step % walk.taps, r = tap / walk.taps_w,
              s = tap % walk.taps_w;
    const int64_t channel = step / walk.taps * 64 + k % 64;
    if (channel >= walk.channels) return sum;
    const float x =
        pixel_value(w.cut.a.data, walk, Im2ColPixel(walk, (uint32_t)row),
                    walk.row_of(r) * walk.dilation_h, walk.column_of(s) * walk.dilation_w, channel);
    const int64_t at = B_MN ? (channel * walk.taps + tap) * w.n + col
                            : (col * walk.taps + tap) * walk.channels + channel;
    return fmaf(x, w.cut.b.data[at], sum);
  }
};

// Both operands' part of a stage, of the forward pass and of the input's gradient with a stride of
// 1: a is pixels by channels, b the filters at one tap.
template <class Tile> struct ConvLoader {
  using Exact = ExactConv<Tile::B_MN>;
  static __device__ __forceinline__ Exact exact(const WgmmaWork& w, const WgmmaPlace&) {
    return {w};
  }
  WgmmaOperands maps;
  const WgmmaWork& w;
  int rank;
  WgmmaPlace at = {};
  Im2ColPixel pixel{w.im2col, 0};
  int channel = 0, tap = 0, r = 0, s = 0;

  __device__ __forceinline__ void start(const WgmmaPlace& place) {
    const Im2ColWalk& walk = w.im2col;
    at = place;
    pixel = Im2ColPixel(walk, (uint32_t)at.row);
    channel = at.first_step / walk.taps * 64;
    tap = at.first_step % walk.taps;
    r = tap / walk.taps_w, s = tap % walk.taps_w;
  }
  __device__ __forceinline__ void load_a(typename Tile::T* a, uint64_t* landed, int) {
    const Im2ColWalk& walk = w.im2col;
    const int u = walk.row_of(r) * walk.dilation_h, v = walk.column_of(s) * walk.dilation_w;
#pragma unroll
    for (int plane = 0; plane < Tile::PLANES; plane++)
      hopper::load_im2col(a + plane * Tile::A_ELEMENTS, maps.a, landed, channel, pixel.column,
                          pixel.row, pixel.image + plane * w.planes_apart_a, v, u);
    next();
  }
  __device__ __forceinline__ void load_b(typename Tile::T* b, uint64_t* landed, int) {
#pragma unroll
    for (int plane = 0; plane < Tile::PLANES; plane++)
      load_operand<Tile::BN, Tile::B_MN>(b + plane * Tile::B_ELEMENTS, maps.b, landed, at.col,
                                         channel, tap + plane * w.planes_apart_b, w.cluster > 1,
                                         rank);
    next();
  }

 private:
  __device__ __forceinline__ void next() {
    tap++;
    if (++s == w.im2col.taps_w) s = 0, r++;
    if (tap == w.im2col.taps) channel += 64, tap = r = s = 0;
  }
};

// The weights' gradient as it is defined. TAPS: of a line, see below.
template <int TAPS> struct ExactConvGradWeight {
  const WgmmaWork& w;
  int u, v;
  __device__ __forceinline__ int32_t a_info(int64_t) const { return w.cut.a_info[0]; }
  __device__ __forceinline__ int32_t b_info(int64_t) const { return w.cut.b_info[0]; }
  __device__ __forceinline__ float add(float sum, int64_t row, int64_t col, int64_t k) const {
    const Im2ColWalk& walk = w.im2col;
    const Im2ColPixel pixel(walk, (uint32_t)k);
    if constexpr (TAPS > 1) {
      const int q = pixel.column - walk.first_w, p = pixel.row - walk.first_h,
                lines = walk.pixels / walk.width, width = walk.width - (TAPS - 1),
                tap = (int)(col % (TAPS * 64)) / 64;
      const int64_t channel = col / (TAPS * 64) * 64 + col % 64,
                    own = ((int64_t)pixel.image * lines + p) * width + q;
      if (q >= width || channel >= walk.channels) return sum;
      return fmaf(w.cut.a.data[own * w.m + row],
                  pixel_value(w.cut.b.data, walk, pixel, u, tap, channel), sum);
    } else {
      return fmaf(w.cut.a.data[k * w.m + row], pixel_value(w.cut.b.data, walk, pixel, u, v, col),
                  sum);
    }
  }
};

// Of the weights' gradient: a is dy across k, b the pixels that one tap met, for each of which
// there is a matrix. Or it is of the three taps of a filter's line at once, with a stride of 1.
// Then pixels are counted as if lines were two longer: x's follow one another from tap to tap, and
// the two of dy that are not there are zeros.
template <class Tile> struct ConvGradWeightLoader {
  static constexpr bool LINE = Tile::TAPS > 1;
  using Exact = ExactConvGradWeight<Tile::TAPS>;
  static __device__ __forceinline__ Exact exact(const WgmmaWork& w, const WgmmaPlace& at) {
    const Im2ColWalk& walk = w.im2col;
    if constexpr (LINE) return {w, at.z * walk.dilation_h, 0};
    return {w, at.z / walk.taps_w * walk.dilation_h, at.z % walk.taps_w * walk.dilation_w};
  }
  WgmmaOperands maps;  // c: with LINE, of a's second plane
  const WgmmaWork& w;
  int rank;
  WgmmaPlace at = {};

  __device__ __forceinline__ void start(const WgmmaPlace& place) { at = place; }
  __device__ __forceinline__ void load_a(typename Tile::T* a, uint64_t* landed, int step) {
    const Im2ColPixel pixel(w.im2col, (uint32_t)step * 64);
#pragma unroll
    for (int plane = 0; plane < Tile::PLANES; plane++)
      if constexpr (LINE) {
#pragma unroll
        for (int i = 0; i < Tile::BM; i += 64)
          hopper::load_im2col(a + plane * Tile::A_ELEMENTS + i * 64, plane ? maps.c : maps.a,
                              landed, at.row + i, pixel.column - w.im2col.first_w,
                              pixel.row - w.im2col.first_h, pixel.image, 0, 0);
      } else {
        load_operand<Tile::BM, true>(a + plane * Tile::A_ELEMENTS, maps.a, landed, at.row,
                                     step * 64, plane * w.planes_apart_a, false, 0);
      }
  }
  __device__ __forceinline__ void load_b(typename Tile::T* b, uint64_t* landed, int step) {
    const Im2ColPixel pixel(w.im2col, (uint32_t)step * 64);
    const Exact tap = exact(w, at);
#pragma unroll
    for (int plane = 0; plane < Tile::PLANES; plane++)
#pragma unroll
      for (int i = 0; i < Tile::BN / Tile::TAPS; i += 64)
        hopper::load_im2col(b + plane * Tile::B_ELEMENTS + i * 64, maps.b, landed,
                            at.col / Tile::TAPS + i, pixel.column, pixel.row,
                            pixel.image + plane * w.planes_apart_b, tap.v, tap.u);
  }
};

#endif  // CDN_HOPPER

}  // namespace cdn
