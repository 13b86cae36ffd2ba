// Products by plain multiply-adds, one of each thread's at a time: for float and double, on every
// GPU.
#pragma once
#include "gpu/gemm/heuristic.h"

namespace cdn {

// BY_SHAPE chooses; TILE is matmul_pipelined with the tile wanted, k in one piece.
enum class SimtKernel { BY_SHAPE, NAIVE, TILED, REGISTER_TILED, VECTORIZED, TILE };

// T is float or double.
template <class T>
void matmul_simt(Call& call, const Product<T>& p, const Layout& batch, SimtKernel kernel,
                 const WantedTile& wanted);

// How long BY_SHAPE takes, estimated in clock cycles; 0 for shapes that are best
// left to it.
double simt_cycles(Call& call, Product<float> p, Layout batch);

}  // namespace cdn
