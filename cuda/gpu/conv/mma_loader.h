// How the tiles of a convolution come to multiply_by_mma: by cp.async, 16 bytes of channels at a
// time, from the pixels that a tap meets, or zeros. k is (tap, channel), in the order of filters in
// memory, which so are an operand as it is; for the gradient of weights it is y's pixels.
#pragma once
#include "gpu/conv/sums.h"
#include "gpu/gemm/mma/mma.h"

namespace cdn {

// Where pixels go that lie a stride apart, of images of h x w, from a first one on.
struct Spread {
  int h = 0, w = 0, stride_h = 0, stride_w = 0, first_h = 0, first_w = 0;
  CDN_FN bool any() const { return h > 0; }
};

template <class T> struct ConvWork : TileWork<T> {
  ConvExtents g;
  int channels;                         // of a group
  Divisor by_pixels, by_q, by_c, by_s;  // pixels of an image of y; channels of a group
  Spread spread;
  bool fused;
  Epilogue epilogue;
};

// Pixel i of y.
struct ConvPixel {
  int image, p, q;
  template <class T>
  __device__ __forceinline__ ConvPixel(const ConvWork<T>& w, uint32_t i)
      : image((int)w.by_pixels(i)) {
    const uint32_t rest = i - (uint32_t)(image * w.g.p * w.g.q);
    p = (int)w.by_q(rest), q = (int)rest - p * w.g.q;
  }
};

// a's tiles, of pixels by k. A thread has the same 16 bytes of k of some pixels.
template <class Tile> struct PixelLoader : MmaLoader<Tile, Tile::BM, true> {
  using Base = MmaLoader<Tile, Tile::BM, true>;
  using T = typename Tile::T;
  const ConvWork<T>& w;
  int k, pixel[Base::COPIES];     // where the first tap is
  uint32_t inside[Base::COPIES];  // bit r: that row of taps is; bit 16 + s: that column

  __device__ __forceinline__ PixelLoader(const Operand<T>& x, int64_t offset, const ConvWork<T>& w,
                                         bool wide, int64_t first, int64_t k_first)
      : Base(x, offset, w, wide, first, 0), w(w), k((int)k_first + Base::chunk() * Base::W) {
    this->at = x.data + offset;
    const ConvExtents& g = w.g;
#pragma unroll
    for (int i = 0; i < Base::COPIES; i++) {
      const int row = Base::line() + i * Base::STEP;
      const ConvPixel at(w, (uint32_t)first + row);
      const int h = at.p * g.stride_h - g.pad_h, column = at.q * g.stride_w - g.pad_w;
      pixel[i] = ((at.image * g.h + h) * g.w + column) * g.c, inside[i] = 0;
      for (int r = 0; r < g.r && row < this->extent_left; r++)
        inside[i] |= (uint32_t)((unsigned)(h + r * g.dilation_h) < (unsigned)g.h) << r;
      for (int s = 0; s < g.s; s++)
        inside[i] |= (uint32_t)((unsigned)(column + s * g.dilation_w) < (unsigned)g.w) << (16 + s);
    }
  }
  __device__ __forceinline__ void move(int tiles) { k += tiles * Tile::BK; }
  __device__ __forceinline__ void load(char* shared, int left) {
    const int tap = (int)w.by_c(k), r = (int)w.by_s(tap), s = tap - r * w.g.s,
              offset =
                  (r * w.g.dilation_h * w.g.w + s * w.g.dilation_w) * w.g.c + k - tap * w.channels;
    const uint32_t bits = 1u << r | 0x10000u << s;
#pragma unroll
    for (int i = 0; i < Base::COPIES; i++)
      copy_async_or_zero<16>(
          shared + Base::Shared::place(Base::line() + i * Base::STEP, Base::chunk()),
          this->at + (pixel[i] + offset),
          Base::chunk() * Base::W < left && (inside[i] & bits) == bits);
    move(1);
  }
};

// b's tiles for the gradient of weights, of pixels by (tap, channel). A thread has one tap.
template <class Tile> struct TapLoader : MmaLoader<Tile, Tile::BN, false> {
  using Base = MmaLoader<Tile, Tile::BN, false>;
  using T = typename Tile::T;
  const ConvWork<T>& w;
  int k, u, v;  // u, v: where the tap is from a pixel

  __device__ __forceinline__ TapLoader(const Operand<T>& x, int64_t offset, const ConvWork<T>& w,
                                       bool wide, int64_t first, int64_t k_first)
      : Base(x, offset, w, wide, first, 0), w(w), k((int)k_first + Base::line()) {
    const int column = (int)first + Base::chunk() * Base::W, tap = (int)w.by_c(column),
              r = (int)w.by_s(tap);
    u = r * w.g.dilation_h - w.g.pad_h, v = (tap - r * w.g.s) * w.g.dilation_w - w.g.pad_w;
    this->at = x.data + offset + (column - tap * w.channels);
  }
  __device__ __forceinline__ void move(int tiles) { k += tiles * Tile::BK; }
  __device__ __forceinline__ void load(char* shared, int left) {
#pragma unroll
    for (int i = 0; i < Base::COPIES; i++) {
      const int line = Base::line() + i * Base::STEP;
      const ConvPixel at(w, (uint32_t)(k + i * Base::STEP));
      const int h = at.p * w.g.stride_h + u, column = at.q * w.g.stride_w + v;
      copy_async_or_zero<16>(shared + Base::Shared::place(line, Base::chunk()),
                             this->at + ((at.image * w.g.h + h) * w.g.w + column) * w.g.c,
                             line < left && Base::chunk() * Base::W < this->extent_left &&
                                 (unsigned)h < (unsigned)w.g.h &&
                                 (unsigned)column < (unsigned)w.g.w);
    }
    move(1);
  }
};

// Sums of pixels to their places, by way of the epilogue if they are whole.
template <class T> struct PixelOutput : TileOutput<T> {
  static constexpr int AT_ONCE = 1;
  const ConvWork<T>& w;
  int64_t first_row, first_col;
  template <int W>
  __device__ __forceinline__ void store(int row, int col, const Pack<float, W>& x) const {
    row += (int)first_row;
    if constexpr (W > 1)  // as always where there is an epilogue
      if (w.fused)
        return FinishOutput<Finish<float, T, T>>{
            {w.epilogue, this->ld}, first_col, first_col, 0, this->cols}
            .store(row, col, x);
    if (const Spread& to = w.spread; to.any()) {
      const ConvPixel at(w, (uint32_t)row);
      row = (at.image * to.h + at.p * to.stride_h + to.first_h) * to.w + at.q * to.stride_w +
            to.first_w;
    }
    TileOutput<T>::store(row, col, x);
  }
};

template <class Tile> struct MmaConv : MmaProduct<Tile, true, true> {
  using T = typename Tile::T;
  using Work = ConvWork<T>;
  using LoadA = PixelLoader<Tile>;
  static constexpr bool SHIFTS = false;
  // The groups' columns lie side by side.
  static __device__ __forceinline__ PixelOutput<T> output(const Product<T>& p,
                                                          const TileBlock& block,
                                                          const Batch& batch, const Work& work) {
    const int64_t col = (batch.first + blockIdx.z) * p.n() + block.first_col,
                  ld = batch.layout.n * p.n(), piece = blockIdx.y * p.m() * ld;
    return {{p.c + col, work.sums ? work.sums + piece + col : nullptr, ld,
             clipped<Tile::BM>(p.m() - block.first_row), clipped<Tile::BN>(p.n() - block.first_col),
             work.fused || work.wide_c},
            work,
            block.first_row,
            col};
  }
};

template <class Tile> struct MmaConvGradWeight : MmaProduct<Tile, false, false> {
  using Work = ConvWork<typename Tile::T>;
  using LoadB = TapLoader<Tile>;
  static constexpr bool SHIFTS = false;
};

}  // namespace cdn
