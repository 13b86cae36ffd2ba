// Products by plain multiply-adds, one of each thread's at a time: for float and double, on every
// GPU.
#pragma once
#include "gpu/gemm/product.h"

namespace cdn {

// BY_SHAPE chooses; the TILEs are matmul_pipelined with one tile, k in one piece.
enum class SimtKernel {
  BY_SHAPE,
  NAIVE,
  TILED,
  REGISTER_TILED,
  VECTORIZED,
  DOUBLE_BUFFERED,
  TILE_256X128,
  TILE_128X128,
  TILE_128X64,
  TILE_64X128,
  TILE_64X64,
  TILE_32X32
};

void matmul_simt(Call& call, const Product<float>& p, const Layout& batch, SimtKernel kernel);
void matmul_simt(Call& call, const Product<double>& p, const Layout& batch, SimtKernel kernel);

// How long BY_SHAPE takes, estimated in clock cycles; 0 for shapes that are best
// left to it.
double simt_cycles(Call& call, const Product<float>& p, const Layout& batch);

}  // namespace cdn
