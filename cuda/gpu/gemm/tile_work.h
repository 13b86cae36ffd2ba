// How the work of the kernels of simt/ and mma/ is shared out: tiles of c over blocks, and k, where
// that pays, in pieces over blocks, which a second kernel adds up, or over the blocks of a cluster,
// which do so themselves (split-K). The blocks' view first, then that of the launch.
#pragma once
#include <vector>

#include "gpu/gemm/heuristic.h"
#include "gpu/gemm/repack.h"
#include "gpu/gemm/split_k.h"
#include "gpu/tile/store.h"

namespace cdn {

template <class T> struct TileWork {
  int64_t k = 0;       // of k per piece, a multiple of BK but for the last
  int32_t joined = 1;  // > 1: the pieces of a tile are so many blocks of a cluster, a power of two;
                       // else blockIdx.y is the piece
  bool wide_a = false, wide_b = false;  // the operand allows 16-byte reads
  bool wide_c = false;                  // the lines of c, or of sums, allow a pack's stores
  bool shifts = false;                  // see MmaLoader
  Compute<T>* sums = nullptr;           // [piece][z][m][n]; null: to c, which is of 16-bit floats
};

// A block's part; k_count may be 0 where pieces are joined.
struct TileBlock {
  int64_t first_row, first_col, k_first, k_count;
  int rank;  // in the cluster

  template <class T>
  __device__ __forceinline__ TileBlock(const Product<T>& p, const TileGrid& grid,
                                       const TileWork<T>& work, int bm, int bn) {
    const int joined = work.joined;
    const unsigned tile = blockIdx.x >> (31 - __clz(joined));
    rank = static_cast<int>(blockIdx.x) & (joined - 1);
    TilePlace place = tile_place(grid, tile);
    first_row = (int64_t)place.row * bm;
    first_col = (int64_t)place.col * bn;
    k_first = (joined > 1 ? rank : blockIdx.y) * work.k;
    k_count = p.k() - k_first < work.k ? p.k() - k_first : work.k;
    if (k_count < 0) k_count = 0;
  }
};

// p: with the batch's first c.
template <class Tile, class T>
__device__ __forceinline__ TileOutput<T> output_of(const Product<T>& p, const TileBlock& block,
                                                   const Batch& batch, const TileWork<T>& work) {
  const int64_t first =
      ((batch.first + blockIdx.z) * p.m() + block.first_row) * p.n() + block.first_col;
  return {p.c + first,
          work.sums ? work.sums + blockIdx.y * batch.layout.n * p.size() + first : nullptr,
          p.n(),
          clipped<Tile::BM>(p.m() - block.first_row),
          clipped<Tile::BN>(p.n() - block.first_col),
          work.wide_c};
}

// A product as a launch takes it. Work: TileWork, or what adds to it.
template <class T, class Work = TileWork<T>> struct TileProduct {
  Product<T> p;
  Layout batch;
  Work work = {};
};

template <class T> TileProduct<T> tile_product(const Product<T>& p, const Layout& batch) {
  TileProduct<T> x{p, batch};
  x.work.wide_a = wide_lines(p.a, batch, 0);
  x.work.wide_b = wide_lines(p.b, batch, 1);
  return x;
}

// A family's tables have one of these for each of its tiles.
template <class T, class Work = TileWork<T>> struct TileKernel : TileCost {
  void (*launch)(Call&, const TileProduct<T, Work>&);
  bool any_place = true;  // whether operands may lie anywhere
  int threads = 0;
};
template <class T, class Work = TileWork<T>>
using TileKernels =
    std::vector<TileKernel<T, Work>>;  // never destroyed: at exit a thread may need them

// how: the threads, the shared memory, and pdl where the kernel allows it in any case; else it does
// with all blocks at once, `most` to a multiprocessor.
template <class Tile, class T, class Work>
void launch_tiles(Call& call, void (*kernel)(Product<T>, Batch, TileGrid, Work),
                  const TileProduct<T, Work>& x, Launch how, int most) {
  const TileGrid grid = tile_grid(x.p.m(), x.p.n(), Tile::BM, Tile::BN);
  const unsigned tiles = grid.rows * grid.cols, joined = static_cast<unsigned>(x.work.joined),
                 pieces = static_cast<unsigned>(ceil_div(x.p.k(), x.work.k));
  how.cluster = x.work.joined;
  in_launches(x.batch, [&](const Batch& part, unsigned z) {
    how.grid = joined > 1 ? dim3(tiles * joined, 1, z) : dim3(tiles, pieces, z);
    if (how.pdl)
      launch(call, kernel, how, x.p, part, grid, x.work);
    else
      launch_blocks(call, kernel, how, most, x.p, part, grid, x.work);
  });
}

// c = the product by that kernel, with k cut so. c: x.p.c, or of sums. add(pieces, their number of
// sums) adds up pieces, where there are several that are not joined.
template <class T, class Work, class Y, class Add>
void multiply_tiles(Call& call, TileProduct<T, Work> x, const TileKernel<T, Work>& tile,
                    const Splitting& k, Y* c, Add&& add) {
  using Sum = Compute<T>;
  constexpr int W = 16 / sizeof(Sum);
  const int64_t count = x.batch.n * x.p.size(), n = x.p.n();
  x.work.k = k.piece;
  x.work.joined = k.joined ? static_cast<int32_t>(k.splits) : 1;
  if (k.second_pass())
    x.work.sums = call.scratch<Sum>(k.splits * count);
  else if constexpr (std::is_same<Y, Sum>::value)
    x.work.sums = c;
  x.work.wide_c = x.work.sums ? wide_lines(x.work.sums, n, W) : wide_lines(c, n, W);
  tile.launch(call, x);
  if (k.second_pass()) add(x.work.sums, count);
}
template <class T, class Work, class Y>
void multiply_tiles(Call& call, const TileProduct<T, Work>& x, const TileKernel<T, Work>& tile,
                    const Splitting& k, Y* c) {
  multiply_tiles(call, x, tile, k, c, [&](const Compute<T>* pieces, int64_t count) {
    sum_split_k(call, c, pieces, count, k.splits);
  });
}

}  // namespace cdn
