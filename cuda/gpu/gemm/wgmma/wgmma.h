// Products by matmul_wgmma, for devices of compute capability 9.0: what may take that way, and the
// choice of a tile and of pieces of k.
#pragma once
#include "gpu/gemm/product.h"

namespace cdn {

enum class HopperMethod {
  HALF,      // 16-bit operands as they are
  FP32,      // float as two float16 each: as exact as float sums
  TF32,      // float as one float16 each with its row's scale: 11 bits, as tf32 has
  BFLOAT16,  // float rounded to bfloat16
};

// A tile and the number of pieces of k, 0 where they are to be chosen. Pieces are added up within
// clusters (joined: 2, 4 or 8 pieces), or by a second kernel.
struct HopperTile {
  int bn = 0;
  int64_t splits = 0;
  bool joined = false;
  int bm = 128;
};

// c = a b, or what the epilogue makes of it, where there is one: then c is its own. False where
// extents or the batch's layout do not fit TMA, and nothing was done.
bool matmul_hopper(Call& call, const Product<float16>& p, const Layout& batch,
                   const Epilogue* epilogue, HopperTile tile);
bool matmul_hopper(Call& call, const Product<bfloat16>& p, const Layout& batch,
                   const Epilogue* epilogue, HopperTile tile);
bool matmul_hopper(Call& call, const Product<float>& p, const Layout& batch,
                   const Epilogue* epilogue, HopperMethod method, HopperTile tile);

// How long that takes, preparations included, estimated in clock cycles.
double hopper_cycles(Call& call, const Product<float>& p, const Layout& batch, HopperMethod method);
double hopper_cycles(Call& call, const Product<float16>& p, const Layout& batch);
double hopper_cycles(Call& call, const Product<bfloat16>& p, const Layout& batch);

}  // namespace cdn
