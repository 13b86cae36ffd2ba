// Choosing among the kernels of matmul_simt.h, and launching them. The choice is by estimated clock cycles, over all
// tiles and numbers of pieces of k: no tile suits all shapes, and where c has few tiles, pieces of k keep the
// multiprocessors busy. Nothing is timed at run time, so that results do not depend on the day.
#include "matmul_simt.h"

#include <array>

#include "device.h"
#include "matmul_choice.h"
#include "matmul_naive.h"
#include "matmul_pieces.h"
#include "matmul_pipelined.h"
#include "matmul_register_tiled.h"

namespace cdn {
namespace {

constexpr int TILE_128X128 = 1;

// ---- matmul_pipelined

template <class Tile, bool A_K_CONTIGUOUS, bool B_K_CONTIGUOUS>
void launch_tile(Call& call, const Product<typename Tile::T>& p, const Layout& batch, const TileGrid& grid,
                 const Pieces& pieces, int64_t splits) {
  auto kernel = matmul_pipelined<Tile, A_K_CONTIGUOUS, B_K_CONTIGUOUS>;
  allow_shared(call, reinterpret_cast<const void*>(kernel), Tile::SHARED_BYTES);
  in_launches(batch, [&](const Batch& part, unsigned z) {
    dim3 blocks(grid.rows * grid.cols, static_cast<unsigned>(splits), z);
    kernel<<<blocks, Tile::THREADS, Tile::SHARED_BYTES, stream_of(call)>>>(p, part, grid, pieces);
  });
}

// piece: how much of k a block sums; a multiple of BK, or all of k.
template <class Tile>
void launch_pipelined(Call& call, const Product<typename Tile::T>& p, const Layout& batch, int64_t piece) {
  using T = typename Tile::T;
  int64_t splits = ceil_div(p.k(), piece), count = batch.n * p.size();
  TileGrid grid = tile_grid(p.m(), p.n(), Tile::BM, Tile::BN);
  Product<T> out = p;
  if (splits > 1) out.c = call.scratch<T>(splits * count);
  Pieces pieces{piece, wide_lines(p.a, batch, 0), wide_lines(p.b, batch, 1), wide_lines(out.c, p.n())};
  if (p.a.k_contiguous)
    p.b.k_contiguous ? launch_tile<Tile, true, true>(call, out, batch, grid, pieces, splits)
                     : launch_tile<Tile, true, false>(call, out, batch, grid, pieces, splits);
  else
    p.b.k_contiguous ? launch_tile<Tile, false, true>(call, out, batch, grid, pieces, splits)
                     : launch_tile<Tile, false, false>(call, out, batch, grid, pieces, splits);
  if (splits > 1) sum_all_pieces(call, p.c, out.c, count, splits);
}

template <class T> struct SimtTile : TileCost {
  void (*launch)(Call&, const Product<T>&, const Layout& batch, int64_t piece);
};

// rate: the tile's part of the peak rate.
template <class Tile> SimtTile<typename Tile::T> tile(double rate, double alone) {
  constexpr double FMA_PER_CYCLE = 128;
  return {{Tile::BM, Tile::BN, Tile::BK, Tile::MIN_BLOCKS, FMA_PER_CYCLE * rate, alone}, launch_pipelined<Tile>};
}

template <class T> using SimtTiles = std::array<SimtTile<T>, 6>;

// In the order of SimtKernel. BlockTile<T, BM, BN, BK, TM, TN, LANES_M, SLICES, STAGES, MIN_BLOCKS>.
const SimtTiles<float>& tiles_of(float) {
  static const SimtTiles<float> tiles = {
      tile<BlockTile<float, 256, 128, 8, 8, 16, 8, 1, 4, 1>>(0.735, 1.0),
      tile<BlockTile<float, 128, 128, 16, 8, 8, 4, 1, 3, 2>>(0.77, 1.1),
      tile<BlockTile<float, 128, 64, 16, 8, 8, 4, 2, 3, 2>>(0.63, 1.15),
      tile<BlockTile<float, 64, 128, 16, 8, 8, 4, 2, 3, 2>>(0.68, 1.15),
      tile<BlockTile<float, 64, 64, 32, 8, 8, 4, 4, 3, 2>>(0.66, 1.15),
      tile<BlockTile<float, 32, 32, 64, 4, 8, 8, 8, 3, 2>>(0.38, 1.15),
  };
  return tiles;
}

// Doubles take twice the registers and run at half the rate, so that three tiles do for all.
const SimtTiles<double>& tiles_of(double) {
  using Large = BlockTile<double, 128, 128, 8, 8, 8, 4, 1, 3, 1>;
  using Small = BlockTile<double, 64, 64, 16, 4, 8, 8, 2, 3, 1>;
  using Tiny = BlockTile<double, 32, 32, 32, 4, 8, 8, 4, 3, 2>;
  static const SimtTiles<double> tiles = {
      tile<Large>(0.45, 1.0), tile<Large>(0.45, 1.0), tile<Small>(0.42, 1.1),
      tile<Small>(0.42, 1.1), tile<Small>(0.42, 1.1), tile<Tiny>(0.35, 1.3),
  };
  return tiles;
}

// ---- The default

template <class T> TileChoice<SimtTile<T>> choose(const Product<T>& p, const Layout& batch) {
  constexpr double START = 1500, SECOND_PASS = 4000;
  return choose_tile(tiles_of(T{}), {START, SECOND_PASS, sizeof(T), sizeof(T)}, static_cast<double>(batch.n), p.m(),
                     p.n(), p.k());
}

template <class T> void matmul_by_shape(Call& call, const Product<T>& p, const Layout& batch) {
  TileChoice<SimtTile<T>> best = choose(p, batch);
  best.tile->launch(call, p, batch, best.piece);
}

template <class T> void launch_naive(Call& call, const Product<T>& p, const Layout& batch) {
  matmul_naive<<<grid_for(ceil_div(batch.n * p.size(), BLOCK)), BLOCK, 0, stream_of(call)>>>(p, batch);
}

// Matrices of which a tile would be mostly empty, and many of them.
template <class T> bool tiny(const Product<T>& p, const Layout& batch) {
  return batch.n > 1 && p.size() <= 256 && p.k() <= 64;
}

template <class T> void multiply(Call& call, const Product<T>& p, const Layout& batch, SimtKernel kernel) {
  cudaStream_t stream = stream_of(call);
  switch (kernel) {
    case SimtKernel::BY_SHAPE: return tiny(p, batch) ? launch_naive(call, p, batch) : matmul_by_shape(call, p, batch);
    case SimtKernel::NAIVE: return launch_naive(call, p, batch);
    case SimtKernel::TILED: {
      TileGrid grid = tile_grid(p.m(), p.n(), 32, 32);
      return in_launches(batch, [&](const Batch& part, unsigned z) {
        matmul_tiled<<<dim3(grid.rows * grid.cols, 1, z), BLOCK, 0, stream>>>(p, part, grid);
      });
    }
    case SimtKernel::REGISTER_TILED: {
      TileGrid grid = tile_grid(p.m(), p.n(), 128, 128);
      return in_launches(batch, [&](const Batch& part, unsigned z) {
        matmul_register_tiled<<<dim3(grid.rows * grid.cols, 1, z), BLOCK, 0, stream>>>(p, part, grid);
      });
    }
    case SimtKernel::VECTORIZED: {
      TileGrid grid = tile_grid(p.m(), p.n(), 128, 128);
      bool wide = wide_lines(p.a, batch, 0) && wide_lines(p.b, batch, 1), wide_c = wide_lines(p.c, p.n());
      auto vectorized = wide ? matmul_vectorized<true, T> : matmul_vectorized<false, T>;
      return in_launches(batch, [&](const Batch& part, unsigned z) {
        vectorized<<<dim3(grid.rows * grid.cols, 1, z), BLOCK, 0, stream>>>(p, part, grid, wide_c);
      });
    }
    case SimtKernel::DOUBLE_BUFFERED: return tiles_of(T{})[TILE_128X128].launch(call, p, batch, p.k());
    default: {
      int place = static_cast<int>(kernel) - static_cast<int>(SimtKernel::TILE_256X128);
      return tiles_of(T{})[place].launch(call, p, batch, p.k());
    }
  }
}

}  // namespace

void matmul_simt(Call& call, const Product<float>& p, const Layout& batch, SimtKernel kernel) {
  multiply(call, p, batch, kernel);
}
void matmul_simt(Call& call, const Product<double>& p, const Layout& batch, SimtKernel kernel) {
  multiply(call, p, batch, kernel);
}

double simt_cycles(const Product<float>& p, const Layout& batch) {
  if (tiny(p, batch) || p.n() == 1 || p.m() == 1) return 0;  // they have kernels of their own
  return choose(p, batch).cycles;
}

}  // namespace cdn
