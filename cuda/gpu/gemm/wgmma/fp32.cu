// multiply_by_wgmma for floats cut into two planes of scaled float16, or one
// (fp32_emulation/split.h). Two planes take twice the memory and three times the accumulators, so
// that 128 columns are the widest.
#include "gpu/gemm/wgmma/kernel.h"

namespace cdn {

WgmmaKernel wgmma_split(int planes, WgmmaExtent tile, WgmmaCase x) {
  if (planes == 2)
    return tile.bn == 128 ? wgmma_kernel<float16, 128, 128, 3, 2, true>(x)
                          : wgmma_kernel<float16, 128, 64, 4, 2, true>(x);
  return tile.bn == 256 ? wgmma_kernel<float16, 128, 256, 4, 1, true>(x)
                        : wgmma_kernel<float16, 128, 64, 8, 1, true>(x);
}

}  // namespace cdn
