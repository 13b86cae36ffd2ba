#include "gpu/conv/instances.h"

namespace cdn {

WgmmaKernel conv_split_kernel(int planes, WgmmaExtent tile, bool b_mn, bool fused) {
  if (planes == 2)
    return tile.bn == 128 ? conv_kernel<float16, 128, 3, 2, true>(b_mn, fused)
                          : conv_kernel<float16, 64, 4, 2, true>(b_mn, fused);
  return tile.bn == 256 ? conv_kernel<float16, 256, 4, 1, true>(b_mn, fused)
                        : conv_kernel<float16, 64, 8, 1, true>(b_mn, fused);
}

WgmmaKernel conv_split_grad_weight_kernel(int planes, WgmmaExtent tile) {
  return planes == 2 ? conv_grad_weight_kernel<float16, 2, true>(tile)
                     : conv_grad_weight_kernel<float16, 1, true>(tile);
}

}  // namespace cdn
