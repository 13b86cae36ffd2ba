// Choosing among the kernels of simt.h, and launching them. The choice is by estimated clock
// cycles, over all tiles and numbers of pieces of k: no tile suits all shapes, and where c has few
// tiles, pieces of k keep the multiprocessors busy. Nothing is timed at run time, so that results
// do not depend on the day.
#include "gpu/gemm/simt/simt.h"

#include "gpu/gemm/wgmma/wgmma.h"
#include "gpu/gemm/ladder/register_tiled.h"
#include "gpu/gemm/simt/pipelined.h"
#include "gpu/gemm/simt/specialized.h"

namespace cdn {
namespace {

// ---- Operands

// Of an operand contiguous across k, in lines that do not allow 16-byte reads: cycles that reads of
// 4 bytes cost more.
template <class T>
double narrow_cycles(const DeviceModel& device, const Product<T>& p, const Layout& batch,
                     int input) {
  constexpr double EACH = 0.7, TILE = 128;
  const Operand<T>&here = p.operand(input), &other = p.operand(1 - input);
  if (here.k_contiguous || wide_lines(here, batch, input)) return 0;
  return static_cast<double>(batch.n) * static_cast<double>(here.extent * here.k) * EACH *
         ceil(static_cast<double>(other.extent) / TILE) / device.processors;
}

// Copies such operands to lines that do, where that costs less. Returns what is left of the cost.
template <class T> double widen(Call& call, Product<T>* p, Layout* batch, bool copies) {
  constexpr double LAUNCH = 5500;
  const DeviceModel& device = call.model();
  const double narrow[2] = {narrow_cycles(device, *p, *batch, 0),
                            narrow_cycles(device, *p, *batch, 1)};
  double bytes = 0;
  for (int input : {0, 1})
    if (narrow[input] > 0)
      bytes += 2.0 * sizeof(T) * static_cast<double>(batch->n * p->operand(input).extent * p->k());
  const double cost = LAUNCH + bytes / device.bytes_per_cycle;
  if (batch->rank > 1 || cost > narrow[0] + narrow[1]) return narrow[0] + narrow[1];
  if (copies) copy_operands(call, *p, *batch, {narrow[0] > 0, narrow[1] > 0}, p, batch);
  return cost;
}

// ---- matmul_pipelined and matmul_specialized

template <class Tile> void launch_pipelined(Call& call, const TileProduct<typename Tile::T>& x) {
  const int bytes = Tile::shared_bytes(x.work.joined > 1, x.work.wide_c);
  by_transposition(x.p.a.k_contiguous, x.p.b.k_contiguous, [&](auto a, auto b) {
    launch_tiles<Tile>(call, matmul_pipelined<Tile, decltype(a)::value, decltype(b)::value>, x,
                       {{}, Tile::THREADS, bytes}, Tile::MIN_BLOCKS);
  });
}

template <class Tile> void launch_specialized(Call& call, const TileProduct<typename Tile::T>& x) {
  launch_tiles<Tile>(call, matmul_specialized<Tile>, x,
                     {{}, Tile::BLOCK_THREADS, Tile::SHARED_BYTES, 1, true}, 1);
}

// Both are given the tile's part of the peak rate.
// Sums leave as whole lines through shared memory, or, without slices, from registers in pieces of
// them.
constexpr double FMA_PER_CYCLE = 128, STORE = 0.5, STORE_APART = 0.87;
template <class Shape, int STAGES, int MIN_BLOCKS>
TileKernel<typename Shape::T> pipelined(double rate, double alone) {
  const double end = Shape::SLICES > 1 ? STORE : STORE_APART;
  return {{Shape::BM, Shape::BN, Shape::BK, MIN_BLOCKS, FMA_PER_CYCLE * rate, alone, end},
          launch_pipelined<BlockTile<Shape, STAGES, MIN_BLOCKS>>};
}
template <class Shape, int STAGES, int UNROLLED>
TileKernel<float> specialized(double rate, double alone) {
  return {{Shape::BM, Shape::BN, Shape::BK, 1, FMA_PER_CYCLE * rate, alone, STORE},
          launch_specialized<SpecializedTile<Shape, STAGES, UNROLLED>>};
}

// TileShape<T, BM, BN, BK, TM, TN, LANES_M, SLICES>, STAGES,
// MIN_BLOCKS.
const TileKernels<float>& tiles_of(float) {
  static const auto& tiles = *new TileKernels<float>{
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
const TileKernels<double>& tiles_of(double) {
  using Large = TileShape<double, 128, 128, 8, 8, 8, 4, 1>;
  using Small = TileShape<double, 64, 64, 16, 4, 8, 8, 2>;
  using Tiny = TileShape<double, 32, 32, 32, 4, 8, 8, 4>;
  static const auto& tiles = *new TileKernels<double>{
      pipelined<Large, 3, 1>(0.45, 1.0),
      pipelined<Small, 3, 1>(0.42, 1.1),
      pipelined<Tiny, 3, 2>(0.35, 1.3),
  };
  return tiles;
}

// On Hopper: those, and ones that need its shared memory and clusters.
const TileKernels<float>& hopper_tiles(float) {
  static const auto& tiles = *[] {
    auto* all = new TileKernels<float>(tiles_of(0.0f));
    const TileKernels<float> more = {
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
const TileKernels<double>& hopper_tiles(double) { return tiles_of(0.0); }

// ---- The default

// The choice is by shape and, as clusters and warps of their own are Hopper's, by the kind of the
// device.
template <class T>
TileChoice<TileKernel<T>> choose(const Call& call, const Product<T>& p, const Layout& batch) {
  constexpr double START = 3800, SECOND_PASS = 4000, PDL = 1900;
  static thread_local Plans<TileChoice<TileKernel<T>>> plans;
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

template <class T> void matmul_by_shape(Call& call, Product<T> p, Layout batch) {
  const TileChoice<TileKernel<T>> best = choose(call, p, batch);
  widen(call, &p, &batch, true);
  multiply_tiles(call, tile_product(p, batch), *best.tile, best.k, p.c);
}

}  // namespace

template <class T>
void matmul_simt(Call& call, const Product<T>& p, const Layout& batch, SimtKernel kernel,
                 const WantedTile& wanted) {
  auto launch_ladder = [&](auto step, int64_t side, auto... more) {
    const TileGrid grid = tile_grid(p.m(), p.n(), side, side);
    in_launches(batch, [&](const Batch& part, unsigned z) {
      launch(call, step, {dim3(grid.rows * grid.cols, 1, z)}, p, part, grid, more...);
    });
  };
  switch (kernel) {
    case SimtKernel::TILED: return launch_ladder(matmul_tiled<T>, 32);
    case SimtKernel::REGISTER_TILED: return launch_ladder(matmul_register_tiled<T>, 128);
    case SimtKernel::VECTORIZED: {
      const bool wide = wide_lines(p.a, batch, 0) && wide_lines(p.b, batch, 1);
      return launch_ladder(wide ? matmul_vectorized<true, T> : matmul_vectorized<false, T>, 128,
                           wide_lines(p.c, p.n()));
    }
    case SimtKernel::TILE:
      return multiply_tiles(call, tile_product(p, batch), wanted.of(tiles_of(T{})),
                            {p.k(), 1, false}, p.c);
    case SimtKernel::BY_SHAPE:
      if (!tiny(p, batch)) return matmul_by_shape(call, p, batch);
      [[fallthrough]];
    case SimtKernel::NAIVE:
      return launch(call, matmul_naive<T>, for_each_of(batch.n * p.size()), p, batch);
  }
}
template void matmul_simt(Call&, const Product<float>&, const Layout&, SimtKernel,
                          const WantedTile&);
template void matmul_simt(Call&, const Product<double>&, const Layout&, SimtKernel,
                          const WantedTile&);

double simt_cycles(Call& call, Product<float> p, Layout batch) {
  if (tiny(p, batch) || p.n() == 1 || p.m() == 1) return 0;  // they have kernels of their own
  return choose(call, p, batch).cycles + widen(call, &p, &batch, false);
}

}  // namespace cdn
