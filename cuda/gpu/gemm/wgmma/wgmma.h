// Products by multiply_by_wgmma, for devices of compute capability 9.0: what may take that way, and
// the choice of a tile and of pieces of k. T is float16 or bfloat16 with method HALF, float with
// the others: FP32 cuts it into two float16, TF32 is one float16 with its row's scale, which has as
// many bits.
#pragma once
#include "gpu/gemm/heuristic.h"

namespace cdn {

// c = a b, or what the epilogue makes of it, where there is one: then c is its own. False where
// extents or the batch's layout do not fit TMA, and nothing was done.
template <class T>
bool matmul_wgmma(Call& call, const Product<T>& p, const Layout& batch, const Epilogue* epilogue,
                  Method method, const WantedTile& tile);

// How long that takes, preparations included, estimated in clock cycles.
template <class T>
double wgmma_cycles(Call& call, const Product<T>& p, const Layout& batch, Method method);

}  // namespace cdn
