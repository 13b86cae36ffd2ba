// matmul_wgmma for bfloat16: of that type, or floats rounded to it. With each tile as many stages
// as fit.
#include "gpu/gemm/wgmma/kernel.h"

namespace cdn {

WgmmaKernel wgmma_bfloat16(WgmmaExtent tile, WgmmaCase x) {
  if (tile.bm == 64)
    return tile.bn == 128 ? wgmma_kernel<bfloat16, 64, 128, 8, 1, false>(x)
                          : wgmma_kernel<bfloat16, 64, 64, 8, 1, false>(x);
  switch (tile.bn) {
    case 256: return wgmma_kernel<bfloat16, 128, 256, 4, 1, false>(x);
    case 128: return wgmma_kernel<bfloat16, 128, 128, 6, 1, false>(x);
    default: return wgmma_kernel<bfloat16, 128, 64, 8, 1, false>(x);
  }
}

}  // namespace cdn
