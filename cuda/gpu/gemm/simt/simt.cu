// Choosing among the kernels of simt.h, and launching them. The choice is by estimated clock
// cycles, over all tiles and numbers of pieces of k: no tile suits all shapes, and where c has few
// tiles, pieces of k keep the multiprocessors busy. Nothing is timed at run time, so that results
// do not depend on the day.
#include "gpu/gemm/simt/simt.h"

#include <vector>

#include "gpu/gemm/heuristic.h"
#include "gpu/gemm/wgmma/wgmma.h"
#include "gpu/gemm/repack.h"
#include "gpu/gemm/ladder/naive.h"
#include "gpu/gemm/split_k.h"
#include "gpu/gemm/simt/pipelined.h"
#include "gpu/gemm/ladder/register_tiled.h"
#include "gpu/gemm/simt/specialized.h"

namespace cdn {
namespace {

constexpr int TILE_128X128 = 1;

// ---- Operands

// A product as a launch takes it.
template <class T> struct SimtProduct {
  Product<T> p;
  Layout batch;
  bool wide(int input) const { return wide_lines(input == 0 ? p.a : p.b, batch, input); }
};

// Of an operand contiguous across k, in lines that do not allow 16-byte reads: cycles that reads of
// 4 bytes cost more.
template <class T>
double narrow_cycles(const DeviceModel& device, const SimtProduct<T>& x, int input) {
  constexpr double EACH = 0.7, TILE = 128;
  const Operand<T>&here = input == 0 ? x.p.a : x.p.b, &other = input == 0 ? x.p.b : x.p.a;
  if (here.k_contiguous || x.wide(input)) return 0;
  return static_cast<double>(x.batch.n) * static_cast<double>(here.extent * here.k) * EACH *
         ceil(static_cast<double>(other.extent) / TILE) / device.processors;
}

// Copies such operands to lines that do, where that costs less. Returns what is left of the cost.
template <class T> double widen(Call& call, SimtProduct<T>* x, bool copies) {
  constexpr double LAUNCH = 5500;
  const DeviceModel& device = call.model();
  const double narrow[2] = {narrow_cycles(device, *x, 0), narrow_cycles(device, *x, 1)};
  double bytes = 0;
  for (int input : {0, 1}) {
    const Operand<T>& here = input == 0 ? x->p.a : x->p.b;
    if (narrow[input] > 0)
      bytes += 2.0 * sizeof(T) * static_cast<double>(x->batch.n * here.extent * here.k);
  }
  const double cost = LAUNCH + bytes / device.bytes_per_cycle;
  if (x->batch.rank > 1 || cost > narrow[0] + narrow[1]) return narrow[0] + narrow[1];
  if (!copies) return cost;
  const SimtProduct<T> was = *x;
  LinesCopy<T, T> lines[2];
  for (int input : {0, 1})
    if (narrow[input] > 0)
      lines[input] = copy_of(call, input == 0 ? was.p.a : was.p.b, was.batch, input,
                             input == 0 ? &x->p.a : &x->p.b, &x->batch);
  repack(call, lines[0], lines[1]);
  return cost;
}

// ---- matmul_pipelined and matmul_specialized

// The blocks of a launch for z matrices.
dim3 grid_of(const TileGrid& grid, const Splitting& k, unsigned z) {
  unsigned tiles = grid.rows * grid.cols, splits = static_cast<unsigned>(k.splits);
  return k.joined ? dim3(tiles * splits, 1, z) : dim3(tiles, splits, z);
}

template <class Tile, bool A_K_CONTIGUOUS, bool B_K_CONTIGUOUS>
void launch_tile(Call& call, const Product<typename Tile::T>& p, const Layout& batch,
                 const TileGrid& grid, const Pieces& pieces, const Splitting& k) {
  auto kernel = matmul_pipelined<Tile, A_K_CONTIGUOUS, B_K_CONTIGUOUS>;
  const int bytes = Tile::shared_bytes(k.joined, pieces.wide_c);
  in_launches(batch, [&](const Batch& part, unsigned z) {
    launch_blocks(call, kernel, {grid_of(grid, k, z), Tile::THREADS, bytes, pieces.joined},
                  Tile::MIN_BLOCKS, p, part, grid, pieces);
  });
}

// launch(the product, with c or the place for pieces of it, the tiles, the pieces)
template <class Tile, class T, class F>
void in_pieces(Call& call, const SimtProduct<T>& x, const Splitting& k, F&& launch) {
  const Product<T>& p = x.p;
  int64_t count = x.batch.n * p.size();
  bool second_pass = k.second_pass();
  Product<T> out = p;
  if (second_pass) out.c = call.scratch<T>(k.splits * count);
  Pieces pieces{k.piece, k.joined ? static_cast<int32_t>(k.splits) : 1, x.wide(0), x.wide(1),
                wide_lines(out.c, p.n())};
  launch(out, tile_grid(p.m(), p.n(), Tile::BM, Tile::BN), pieces);
  if (second_pass) sum_all_pieces(call, p.c, out.c, count, k.splits);
}

template <class Tile>
void launch_pipelined(Call& call, const SimtProduct<typename Tile::T>& x, const Splitting& k) {
  using T = typename Tile::T;
  const Product<T>& p = x.p;
  const Layout& batch = x.batch;
  in_pieces<Tile>(
      call, x, k, [&](const Product<T>& out, const TileGrid& grid, const Pieces& pieces) {
        if (p.a.k_contiguous)
          p.b.k_contiguous ? launch_tile<Tile, true, true>(call, out, batch, grid, pieces, k)
                           : launch_tile<Tile, true, false>(call, out, batch, grid, pieces, k);
        else
          p.b.k_contiguous ? launch_tile<Tile, false, true>(call, out, batch, grid, pieces, k)
                           : launch_tile<Tile, false, false>(call, out, batch, grid, pieces, k);
      });
}

template <class Tile>
void launch_specialized(Call& call, const SimtProduct<typename Tile::T>& x, const Splitting& k) {
  using T = typename Tile::T;
  in_pieces<Tile>(
      call, x, k, [&](const Product<T>& out, const TileGrid& grid, const Pieces& pieces) {
        in_launches(x.batch, [&](const Batch& part, unsigned z) {
          launch(
              call, matmul_specialized<Tile>,
              {grid_of(grid, k, z), Tile::BLOCK_THREADS, Tile::SHARED_BYTES, pieces.joined, true},
              out, part, grid, pieces);
        });
      });
}

template <class T> struct SimtTile : TileCost {
  void (*launch)(Call&, const SimtProduct<T>&, const Splitting&);
};

// Both are given the tile's part of the peak rate.
// Sums leave as whole lines through shared memory, or, without slices, from registers in pieces of
// them.
constexpr double FMA_PER_CYCLE = 128, STORE = 0.5, STORE_APART = 0.87;
template <class Shape, int STAGES, int MIN_BLOCKS>
SimtTile<typename Shape::T> pipelined(double rate, double alone) {
  const double end = Shape::SLICES > 1 ? STORE : STORE_APART;
  return {{Shape::BM, Shape::BN, Shape::BK, MIN_BLOCKS, FMA_PER_CYCLE * rate, alone, end},
          launch_pipelined<BlockTile<Shape, STAGES, MIN_BLOCKS>>};
}
template <class Shape, int STAGES, int UNROLLED>
SimtTile<float> specialized(double rate, double alone) {
  return {{Shape::BM, Shape::BN, Shape::BK, 1, FMA_PER_CYCLE * rate, alone, STORE},
          launch_specialized<SpecializedTile<Shape, STAGES, UNROLLED>>};
}

template <class T>
using SimtTiles = std::vector<SimtTile<T>>;  // never destroyed: at exit a thread may need them

// In the order of SimtKernel. TileShape<T, BM, BN, BK, TM, TN, LANES_M, SLICES>, STAGES,
// MIN_BLOCKS.
const SimtTiles<float>& tiles_of(float) {
  static const auto& tiles = *new SimtTiles<float>{
      pipelined<TileShape<float, 256, 128, 8, 8, 16, 8, 1>, 4, 1>(0.735, 1.0),
      pipelined<TileShape<float, 128, 128, 16, 8, 8, 4, 1>, 3, 2>(0.77, 1.1),
      pipelined<TileShape<float, 128, 64, 16, 8, 8, 4, 2>, 3, 2>(0.65, 1.15),
      pipelined<TileShape<float, 64, 128, 16, 8, 8, 4, 2>, 3, 2>(0.67, 1.15),
      pipelined<TileShape<float, 64, 64, 32, 8, 8, 4, 4>, 3, 2>(0.66, 1.15),
      pipelined<TileShape<float, 32, 32, 32, 4, 8, 8, 4, Walk::COLUMNS>, 4, 4>(0.53, 1.0),
  };
  return tiles;
}

// Doubles take twice the registers and run at half the rate, so that three tiles do for all.
const SimtTiles<double>& tiles_of(double) {
  using Large = TileShape<double, 128, 128, 8, 8, 8, 4, 1>;
  using Small = TileShape<double, 64, 64, 16, 4, 8, 8, 2>;
  using Tiny = TileShape<double, 32, 32, 32, 4, 8, 8, 4>;
  static const auto& tiles = *new SimtTiles<double>{
      pipelined<Large, 3, 1>(0.45, 1.0), pipelined<Large, 3, 1>(0.45, 1.0),
      pipelined<Small, 3, 1>(0.42, 1.1), pipelined<Small, 3, 1>(0.42, 1.1),
      pipelined<Small, 3, 1>(0.42, 1.1), pipelined<Tiny, 3, 2>(0.35, 1.3),
  };
  return tiles;
}

// On Hopper: those, and ones that need its shared memory and clusters.
const SimtTiles<float>& hopper_tiles(float) {
  static const auto& tiles = *[] {
    auto* all = new SimtTiles<float>(tiles_of(0.0f));
    const SimtTiles<float> more = {
        specialized<TileShape<float, 256, 128, 32, 8, 16, 8, 1>, 3, 8>(0.85, 1.0),
        specialized<TileShape<float, 128, 128, 32, 8, 16, 8, 2, Walk::COLUMNS>, 4, 8>(0.82, 1.08),
        specialized<TileShape<float, 64, 256, 32, 8, 16, 8, 2>, 4, 8>(0.83, 1.05),
        specialized<TileShape<float, 64, 128, 32, 8, 16, 8, 4, Walk::COLUMNS>, 4, 4>(0.76, 1.0),
        specialized<TileShape<float, 64, 64, 32, 8, 16, 8, 8, Walk::COLUMNS>, 4, 4>(0.64, 1.0),
        pipelined<TileShape<float, 32, 64, 32, 4, 8, 8, 4, Walk::COLUMNS>, 4, 2>(0.58, 1.1),
        pipelined<TileShape<float, 32, 32, 32, 4, 4, 8, 4, Walk::COLUMNS>, 4, 2>(0.44, 0.87),
    };
    all->insert(all->end(), more.begin(), more.end());
    return all;
  }();
  return tiles;
}
const SimtTiles<double>& hopper_tiles(double) { return tiles_of(0.0); }

// ---- The default

// The choice is by shape and, as clusters and warps of their own are Hopper's, by the kind of the
// device.
template <class T>
TileChoice<SimtTile<T>> choose(const Call& call, const Product<T>& p, const Layout& batch) {
  constexpr double START = 3800, SECOND_PASS = 4000, PDL = 1900;
  static thread_local Plans<TileChoice<SimtTile<T>>> plans;
  const bool hopper = hopper_device(call);
  const Problem x{batch.n, p.m(), p.n(), p.k()};
  return plans.at({call.device(), x, hopper}, [&] {
    FamilyCost family{START, sizeof(T), sizeof(T)};
    family.second_pass = SECOND_PASS;
    family.pdl = hopper ? PDL : 0;
    family.clusters = hopper;
    return choose_tile(call.model(), hopper ? hopper_tiles(T{}) : tiles_of(T{}), family, x);
  });
}

template <class T> void matmul_by_shape(Call& call, const Product<T>& p, const Layout& batch) {
  TileChoice<SimtTile<T>> best = choose(call, p, batch);
  SimtProduct<T> x{p, batch};
  widen(call, &x, true);
  best.tile->launch(call, x, best.k);
}

template <class T> void launch_naive(Call& call, const Product<T>& p, const Layout& batch) {
  launch(call, matmul_naive<T>, for_each_of(batch.n * p.size()), p, batch);
}

template <class T>
void multiply(Call& call, const Product<T>& p, const Layout& batch, SimtKernel kernel) {
  switch (kernel) {
    case SimtKernel::BY_SHAPE:
      return tiny(p, batch) ? launch_naive(call, p, batch) : matmul_by_shape(call, p, batch);
    case SimtKernel::NAIVE: return launch_naive(call, p, batch);
    case SimtKernel::TILED: {
      TileGrid grid = tile_grid(p.m(), p.n(), 32, 32);
      return in_launches(batch, [&](const Batch& part, unsigned z) {
        launch(call, matmul_tiled<T>, {dim3(grid.rows * grid.cols, 1, z)}, p, part, grid);
      });
    }
    case SimtKernel::REGISTER_TILED: {
      TileGrid grid = tile_grid(p.m(), p.n(), 128, 128);
      return in_launches(batch, [&](const Batch& part, unsigned z) {
        launch(call, matmul_register_tiled<T>, {dim3(grid.rows * grid.cols, 1, z)}, p, part, grid);
      });
    }
    case SimtKernel::VECTORIZED: {
      TileGrid grid = tile_grid(p.m(), p.n(), 128, 128);
      bool wide = wide_lines(p.a, batch, 0) && wide_lines(p.b, batch, 1),
           wide_c = wide_lines(p.c, p.n());
      auto vectorized = wide ? matmul_vectorized<true, T> : matmul_vectorized<false, T>;
      return in_launches(batch, [&](const Batch& part, unsigned z) {
        launch(call, vectorized, {dim3(grid.rows * grid.cols, 1, z)}, p, part, grid, wide_c);
      });
    }
    case SimtKernel::DOUBLE_BUFFERED:
      return tiles_of(T{})[TILE_128X128].launch(call, {p, batch}, {p.k(), 1, false});
    default: {
      int place = static_cast<int>(kernel) - static_cast<int>(SimtKernel::TILE_256X128);
      return tiles_of(T{})[place].launch(call, {p, batch}, {p.k(), 1, false});
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

double simt_cycles(Call& call, const Product<float>& p, const Layout& batch) {
  if (tiny(p, batch) || p.n() == 1 || p.m() == 1) return 0;  // they have kernels of their own
  SimtProduct<float> x{p, batch};
  return choose(call, p, batch).cycles + widen(call, &x, false);
}

}  // namespace cdn
