// multiply_by_wgmma with a convolution's operands. An instance of each type is a file of its own,
// as they take long to compile.
#pragma once
#include "gpu/conv/loader.h"

namespace cdn {

template <class T, int BN, int STAGES, int PLANES, bool SCALED>
WgmmaKernel conv_kernel(bool b_mn, bool fused) {
  if (b_mn)
    return wgmma_kernel<WgmmaTile<T, 128, BN, STAGES, PLANES, SCALED, false, true>, ConvLoader>(
        fused);
  return wgmma_kernel<WgmmaTile<T, 128, BN, STAGES, PLANES, SCALED, false, false>, ConvLoader>(
      fused);
}
// TAPS: of a filter's line, in one tile.
template <class T, int BM, int BN, int TAPS, int PLANES, bool SCALED>
WgmmaKernel conv_grad_weight_kernel() {
  constexpr int ROOM = 210000, MOST = 8;
  constexpr int STAGE = WgmmaTile<T, BM, BN, 8, PLANES, SCALED, true, true, TAPS>::STAGE_BYTES,
                STAGES = ROOM / STAGE < MOST ? ROOM / STAGE : MOST;
  using Tile = WgmmaTile<T, BM, BN, STAGES, PLANES, SCALED, true, true, TAPS>;
  return wgmma_kernel<Tile, ConvGradWeightLoader>(false);
}
template <class T, int PLANES, bool SCALED> WgmmaKernel conv_grad_weight_kernel(WgmmaExtent tile) {
  if (tile.bn == 192)
    return tile.bm == 64 ? conv_grad_weight_kernel<T, 64, 192, 3, PLANES, SCALED>()
                         : conv_grad_weight_kernel<T, 128, 192, 3, PLANES, SCALED>();
  return tile.bm == 64 ? conv_grad_weight_kernel<T, 64, 64, 1, PLANES, SCALED>()
                       : conv_grad_weight_kernel<T, 128, 128, 1, PLANES, SCALED>();
}

template <class T> WgmmaKernel conv_kernel(WgmmaExtent tile, bool b_mn, bool fused) {
  return tile.bn == 256   ? conv_kernel<T, 256, 4, 1, false>(b_mn, fused)
         : tile.bn == 128 ? conv_kernel<T, 128, 6, 1, false>(b_mn, fused)
                          : conv_kernel<T, 64, 8, 1, false>(b_mn, fused);
}
template <class T> WgmmaKernel conv_grad_weight_kernel(WgmmaExtent tile) {
  return conv_grad_weight_kernel<T, 1, false>(tile);
}

}  // namespace cdn
