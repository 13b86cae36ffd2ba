// The kernels of convolutions on Hopper's tensor cores, by their tile.
#pragma once
#include "gpu/gemm/wgmma/kernel.h"

namespace cdn {

// Of the forward pass, or, with filters whose channels are contiguous across k, of the input's
// gradient.
template <class T> WgmmaKernel conv_kernel(WgmmaExtent tile, bool b_mn, bool fused);
template <class T> WgmmaKernel conv_grad_weight_kernel(WgmmaExtent tile);

constexpr WgmmaExtent CONV_TILES[] = {{128, 256}, {128, 128}, {128, 64}};
constexpr WgmmaExtent CONV_GRAD_WEIGHT_TILES[] = {{128, 128}, {64, 64}};

}  // namespace cdn
