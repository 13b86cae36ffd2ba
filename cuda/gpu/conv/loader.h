// How the tiles of a convolution come to multiply_by_wgmma: by TMA's im2col, which finds the pixels
// that a tap meets, so that no matrix of them is ever made. A step of k is 64 channels of one tap;
// taps change first, as neighbours read the same pixels, which are in L2 then.
#pragma once
#include "gpu/gemm/wgmma/kernel.h"

namespace cdn {

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

// Both operands' part of a stage, of the forward pass and of the input's gradient with a stride of
// 1: a is pixels by channels, b the filters at one tap.
template <class Tile> struct ConvLoader {
  const CUtensorMap *map_a, *map_b;
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
  __device__ __forceinline__ void load(typename Tile::T* a, typename Tile::T* b, uint64_t* landed,
                                       int) {
    const Im2ColWalk& walk = w.im2col;
    const int u = walk.turned ? walk.taps / walk.taps_w - 1 - r : r,
              v = walk.turned ? walk.taps_w - 1 - s : s;
    hopper::load_im2col(a, map_a, landed, channel, pixel.column, pixel.row, pixel.image,
                        v * walk.dilation_w, u * walk.dilation_h);
    load_operand<Tile::BN, Tile::B_MN>(b, map_b, landed, at.col, channel, tap, w.cluster > 1, rank);
    tap++;
    if (++s == walk.taps_w) s = 0, r++;
    if (tap == walk.taps) channel += 64, tap = r = s = 0;
  }
};

// Of the weights' gradient: a is dy across k, b the pixels that one tap met, for each of which
// there is a matrix.
template <class Tile> struct ConvGradWeightLoader {
  const CUtensorMap *map_a, *map_b;
  const WgmmaWork& w;
  int rank;
  WgmmaPlace at = {};
  int u = 0, v = 0;

  __device__ __forceinline__ void start(const WgmmaPlace& place) {
    at = place;
    u = at.z / w.im2col.taps_w * w.im2col.dilation_h;
    v = at.z % w.im2col.taps_w * w.im2col.dilation_w;
  }
  __device__ __forceinline__ void load(typename Tile::T* a, typename Tile::T* b, uint64_t* landed,
                                       int step) {
    const Im2ColPixel pixel(w.im2col, (uint32_t)step * 64);
    load_operand<Tile::BM, true>(a, map_a, landed, at.row, step * 64, 0, false, 0);
#pragma unroll
    for (int i = 0; i < Tile::BN; i += 64)
      hopper::load_im2col(b + i * 64, map_b, landed, at.col + i, pixel.column, pixel.row,
                          pixel.image, v, u);
  }
};

#endif  // CDN_HOPPER

}  // namespace cdn
