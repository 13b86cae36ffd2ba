// multiply_by_wgmma for 16-bit numbers, with each tile as many stages as fit. An instance of each
// type is a file of its own, as they take long to compile.
#pragma once
#include "gpu/gemm/wgmma/kernel.h"

namespace cdn {

template <class T> WgmmaKernel wgmma_half(WgmmaExtent tile, WgmmaCase x) {
  if (tile.bm == 64)
    return tile.bn == 128 ? wgmma_kernel<T, 64, 128, 8, 1, false>(x)
                          : wgmma_kernel<T, 64, 64, 8, 1, false>(x);
  switch (tile.bn) {
    case 256: return wgmma_kernel<T, 128, 256, 4, 1, false>(x);
    case 128: return wgmma_kernel<T, 128, 128, 6, 1, false>(x);
    default: return wgmma_kernel<T, 128, 64, 8, 1, false>(x);
  }
}

}  // namespace cdn
