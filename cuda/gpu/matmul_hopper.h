// Products by matmul_wgmma, for devices of compute capability 9.0: what may take that way, and the choice of a tile and of
// pieces of k.
#pragma once
#include "matmul_common.h"

namespace cdn {

enum class HopperMethod {
  HALF,      // 16-bit operands as they are
  SPLIT,     // float as two float16 each: as exact as float sums
  TF32,      // float as one float16 each with its row's scale: 11 bits, as tf32 has
  BFLOAT16,  // float rounded to bfloat16
};

// A tile's width and the number of pieces of k; 0 where it is to be chosen.
struct HopperTile {
  int bn = 0;
  int64_t splits = 0;
};

bool hopper_device(const Call& call);  // whether the kernels run on the call's device

// c = a b, if the way is open: false where extents or the batch's layout do not fit TMA, and nothing was done.
bool matmul_hopper(Call& call, const Product<float16>& p, const Layout& batch, HopperTile tile);
bool matmul_hopper(Call& call, const Product<bfloat16>& p, const Layout& batch, HopperTile tile);
bool matmul_hopper(Call& call, const Product<float>& p, const Layout& batch, HopperMethod method, HopperTile tile);

// Float products of small and narrow shapes, in one kernel; k in `pieces` (1, 2, 4 or 8; 0: chosen) for as many blocks.
bool matmul_convert(Call& call, const Product<float>& p, const Layout& batch, int64_t pieces);

}  // namespace cdn
