// The kernels of convolutions on Hopper's tensor cores, by their tile.
#pragma once
#include "gpu/gemm/wgmma/kernel.h"

namespace cdn {

// Of the forward pass, or, with filters whose channels are contiguous across k, of the input's
// gradient.
template <class T> WgmmaKernel conv_kernel(WgmmaExtent tile, bool b_mn, bool fused);
template <class T> WgmmaKernel conv_grad_weight_kernel(WgmmaExtent tile);
// Of floats, cut into so many planes.
WgmmaKernel conv_split_kernel(int planes, WgmmaExtent tile, bool b_mn, bool fused);
WgmmaKernel conv_split_grad_weight_kernel(int planes, WgmmaExtent tile);

}  // namespace cdn
