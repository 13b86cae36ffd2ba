// Choosing among the kernels of matmul_simt.h, and launching them. The choice is by estimated clock cycles, over all
// tiles and numbers of pieces of k: no tile suits all shapes, and where c has few tiles, pieces of k keep the
// multiprocessors busy. Nothing is timed at run time, so that results do not depend on the day.
#include "matmul_simt.h"

#include "matmul_hopper.h"
#include "matmul_naive.h"
#include "matmul_pieces.h"
#include "matmul_pipelined.h"
#include "matmul_register_tiled.h"
#include "matmul_specialized.h"
#include "matmul_vector.h"

namespace cdn {
namespace {

constexpr int TILE_COUNT = 6, TILE_128X128 = 1;

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// ---- matmul_pipelined and matmul_specialized

// How k is cut: into pieces of `piece` numbers, a multiple of BK, or all of k; joined: by the blocks of a cluster, and
// there is one for each of `splits`, also where k ends before the last.
struct Cut {
  int64_t piece, splits;
  bool joined;
};

// Above 48 KiB of shared memory a kernel must ask, once per device.
template <class Kernel> void allow_shared(Call& call, Kernel kernel, int bytes, uint64_t* asked) {
  uint64_t device = uint64_t{1} << call.device().index % 64;
  if (bytes <= 48 * 1024 || (*asked & device)) return;
  CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  *asked |= device;
}

// The blocks of a launch for z matrices.
dim3 grid_of(const TileGrid& grid, const Cut& cut, unsigned z) {
  unsigned tiles = grid.rows * grid.cols, splits = static_cast<unsigned>(cut.splits);
  return cut.joined ? dim3(tiles * splits, 1, z) : dim3(tiles, splits, z);
}

template <class Tile, bool A_K_CONTIGUOUS, bool B_K_CONTIGUOUS>
void launch_tile(Call& call, const Product<typename Tile::T>& p, const Layout& batch, const TileGrid& grid,
                 const Pieces& pieces, const Cut& cut) {
  static uint64_t asked = 0;
  auto kernel = matmul_pipelined<Tile, A_K_CONTIGUOUS, B_K_CONTIGUOUS>;
  int bytes = Tile::shared_bytes(cut.joined);
  bool hopper = hopper_device(call);
  if (!hopper) allow_shared(call, kernel, bytes, &asked);
  in_launches(batch, [&](const Batch& part, unsigned z) {
    dim3 blocks = grid_of(grid, cut, z);
    if (hopper)
      launch_chained(kernel, blocks, Tile::THREADS, bytes, pieces.joined, stream_of(call), p, part, grid, pieces);
    else
      kernel<<<blocks, Tile::THREADS, bytes, stream_of(call)>>>(p, part, grid, pieces);
  });
}

// launch(the product, with c or the place for pieces of it, the tiles, the pieces)
template <class Tile, class T, class F>
void in_pieces(Call& call, const Product<T>& p, const Layout& batch, const Cut& cut, F&& launch) {
  int64_t count = batch.n * p.size();
  bool second_pass = cut.splits > 1 && !cut.joined;
  Product<T> out = p;
  if (second_pass) out.c = call.scratch<T>(cut.splits * count);
  Pieces pieces{cut.piece, cut.joined ? static_cast<int32_t>(cut.splits) : 1, wide_lines(p.a, batch, 0),
                wide_lines(p.b, batch, 1), wide_lines(out.c, p.n())};
  launch(out, tile_grid(p.m(), p.n(), Tile::BM, Tile::BN), pieces);
  if (second_pass) sum_all_pieces(call, p.c, out.c, count, cut.splits);
}

template <class Tile>
void launch_pipelined(Call& call, const Product<typename Tile::T>& p, const Layout& batch, const Cut& cut) {
  using T = typename Tile::T;
  in_pieces<Tile>(call, p, batch, cut, [&](const Product<T>& out, const TileGrid& grid, const Pieces& pieces) {
    if (p.a.k_contiguous)
      p.b.k_contiguous ? launch_tile<Tile, true, true>(call, out, batch, grid, pieces, cut)
                       : launch_tile<Tile, true, false>(call, out, batch, grid, pieces, cut);
    else
      p.b.k_contiguous ? launch_tile<Tile, false, true>(call, out, batch, grid, pieces, cut)
                       : launch_tile<Tile, false, false>(call, out, batch, grid, pieces, cut);
  });
}

template <class Tile>
void launch_specialized(Call& call, const Product<typename Tile::T>& p, const Layout& batch, const Cut& cut) {
  using T = typename Tile::T;
  in_pieces<Tile>(call, p, batch, cut, [&](const Product<T>& out, const TileGrid& grid, const Pieces& pieces) {
    in_launches(batch, [&](const Batch& part, unsigned z) {
      launch_chained(matmul_specialized<Tile>, grid_of(grid, cut, z), Tile::BLOCK_THREADS, Tile::SHARED_BYTES,
                     pieces.joined, stream_of(call), out, part, grid, pieces);
    });
  });
}

// A tile as the choice sees it. rate: its part of the peak rate when a multiprocessor is full; alone: how much longer a
// block takes when it has the multiprocessor for itself and too few warps to keep it busy.
template <class T> struct TileChoice {
  int bm, bn, bk, blocks_per_processor;
  double rate, alone;
  void (*launch)(Call&, const Product<T>&, const Layout& batch, const Cut& cut);
};

template <class Shape, int STAGES, int MIN_BLOCKS> TileChoice<typename Shape::T> pipelined(double rate, double alone) {
  return {
      Shape::BM, Shape::BN, Shape::BK, MIN_BLOCKS, rate, alone, launch_pipelined<BlockTile<Shape, STAGES, MIN_BLOCKS>>};
}
template <class Shape, int STAGES, int UNROLLED> TileChoice<float> specialized(double rate) {
  return {Shape::BM, Shape::BN, Shape::BK, 1, rate, 1, launch_specialized<SpecializedTile<Shape, STAGES, UNROLLED>>};
}

template <class T> struct Tiles {
  const TileChoice<T>* first;
  int count;
};

// In the order of SimtKernel. TileShape<T, BM, BN, BK, TM, TN, LANES_M, SLICES>, STAGES, MIN_BLOCKS.
const TileChoice<float>* tiles_of(float) {
  static const TileChoice<float> tiles[TILE_COUNT] = {
      pipelined<TileShape<float, 256, 128, 8, 8, 16, 8, 1>, 4, 1>(0.735, 1.0),
      pipelined<TileShape<float, 128, 128, 16, 8, 8, 4, 1>, 3, 2>(0.77, 1.1),
      pipelined<TileShape<float, 128, 64, 16, 8, 8, 4, 2>, 3, 2>(0.63, 1.15),
      pipelined<TileShape<float, 64, 128, 16, 8, 8, 4, 2>, 3, 2>(0.68, 1.15),
      pipelined<TileShape<float, 64, 64, 32, 8, 8, 4, 4>, 3, 2>(0.66, 1.15),
      pipelined<TileShape<float, 32, 32, 64, 4, 8, 8, 8>, 3, 2>(0.38, 1.15),
  };
  return tiles;
}

// Doubles take twice the registers and run at half the rate, so that three tiles do for all.
const TileChoice<double>* tiles_of(double) {
  using Large = TileShape<double, 128, 128, 8, 8, 8, 4, 1>;
  using Small = TileShape<double, 64, 64, 16, 4, 8, 8, 2>;
  using Tiny = TileShape<double, 32, 32, 32, 4, 8, 8, 4>;
  static const TileChoice<double> tiles[TILE_COUNT] = {
      pipelined<Large, 3, 1>(0.45, 1.0), pipelined<Large, 3, 1>(0.45, 1.0), pipelined<Small, 3, 1>(0.42, 1.1),
      pipelined<Small, 3, 1>(0.42, 1.1), pipelined<Small, 3, 1>(0.42, 1.1), pipelined<Tiny, 3, 2>(0.35, 1.3),
  };
  return tiles;
}

// For Hopper alone. STAGES, UNROLLED.
Tiles<float> hopper_tiles(float) {
  static const TileChoice<float> tiles[] = {
      specialized<TileShape<float, 256, 128, 16, 8, 16, 8, 1>, 6, 8>(0.84),
      specialized<TileShape<float, 128, 128, 32, 8, 16, 8, 2>, 4, 8>(0.83),
      specialized<TileShape<float, 256, 64, 32, 8, 16, 8, 2>, 4, 8>(0.83),
      specialized<TileShape<float, 64, 256, 32, 8, 16, 8, 2>, 4, 8>(0.83),
      specialized<TileShape<float, 128, 64, 32, 8, 16, 8, 4>, 4, 8>(0.82),
  };
  return {tiles, sizeof(tiles) / sizeof(tiles[0])};
}
Tiles<double> hopper_tiles(double) { return {nullptr, 0}; }

// ---- The default

// An estimate of the time of `batch` products, in clock cycles of the H200 with its 132 multiprocessors. Of the device
// in use only its kind is asked, so that all GPUs but Hopper cut k in the same places and add in the same order, and so
// does every Hopper.
template <class T>
double estimate(const TileChoice<T>& tile, double batch, int64_t m, int64_t n, int64_t k, const Cut& cut) {
  constexpr double PROCESSORS = 132, FMA_PER_CYCLE = 128, L2_BYTES_PER_CYCLE = 24, START = 1500, SECOND_PASS = 4000,
                   ALL_BYTES_PER_CYCLE = 3000, JOIN = 1200, JOIN_BYTES_PER_CYCLE = 48;
  double splits = static_cast<double>(cut.splits);
  double blocks =
      batch * static_cast<double>(ceil_div(m, tile.bm)) * static_cast<double>(ceil_div(n, tile.bn)) * splits;
  double each = ceil(blocks / PROCESSORS);  // of the busiest multiprocessor
  double multiply = tile.bm * tile.bn / (FMA_PER_CYCLE * tile.rate) * (each == 1 ? tile.alone : 1);
  double load = (tile.bm + tile.bn) * sizeof(T) / L2_BYTES_PER_CYCLE;
  double cycles = each * static_cast<double>(cut.piece) * (multiply > load ? multiply : load) +
                  START * ceil(each / tile.blocks_per_processor);
  if (cut.joined)
    cycles += each * (JOIN + tile.bm * tile.bn * sizeof(T) / JOIN_BYTES_PER_CYCLE);
  else if (splits > 1)
    cycles += SECOND_PASS +
              2 * splits * batch * static_cast<double>(m) * static_cast<double>(n) * sizeof(T) / ALL_BYTES_PER_CYCLE;
  return cycles;
}

// The tile, and the number of pieces of k, with the least estimate. Cutting k pays where the output alone has too few
// tiles for the multiprocessors.
template <class T> struct Choice {
  const TileChoice<T>* tile = nullptr;
  Cut cut = {};
  double cycles = 0;
};

template <class T> Choice<T> choose_tile(bool hopper, double batch, int64_t m, int64_t n, int64_t k) {
  constexpr int64_t SPLITS[] = {1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 32, 40, 48, 64, 96, 128},
                    JOINED[] = {2, 4, 8}, MOST_BLOCKS = 264, MOST_JOINED = 128;
  Choice<T> best;
  auto consider = [&](const TileChoice<T>& tile) {
    double blocks = batch * static_cast<double>(ceil_div(m, tile.bm)) * static_cast<double>(ceil_div(n, tile.bn));
    auto consider_cut = [&](int64_t splits, bool joined) {
      int64_t piece = ceil_div(ceil_div(k, splits), tile.bk) * tile.bk;
      Cut cut{piece, joined ? splits : ceil_div(k, piece), joined};
      double cycles = estimate(tile, batch, m, n, k, cut);
      if (!best.tile || cycles < best.cycles) best = {&tile, cut, cycles};
    };
    for (int64_t splits : SPLITS) {
      if (splits > 1 && (blocks * static_cast<double>(splits) > MOST_BLOCKS || k < splits * tile.bk)) break;
      consider_cut(splits, false);
    }
    for (int64_t splits : JOINED)
      if (hopper && k >= splits * tile.bk &&
          blocks * static_cast<double>(splits) <= MOST_JOINED * tile.blocks_per_processor)
        consider_cut(splits, true);
  };
  for (int t = 0; t < TILE_COUNT; t++) consider(tiles_of(T{})[t]);
  for (int t = 0; hopper && t < hopper_tiles(T{}).count; t++) consider(hopper_tiles(T{}).first[t]);
  return best;
}

template <class T> void matmul_by_shape(Call& call, const Product<T>& p, const Layout& batch) {
  Choice<T> best = choose_tile<T>(hopper_device(call), static_cast<double>(batch.n), p.m(), p.n(), p.k());
  best.tile->launch(call, p, batch, best.cut);
}

// One row or one column: y[extent] = matrix x. The matrix is input 0 (a) or 1 (b) of the batch's layout.
template <class T>
void matmul_vector(Call& call, T* y, const Operand<T>& matrix, const Operand<T>& x, const Layout& batch, int input) {
  constexpr int64_t W = 16 / sizeof(T), BLOCKS_WANTED = 1024, LEAST_ROW = 4096, LEAST_COLUMN = 64;
  int64_t vectors = matrix.extent * batch.n;
  bool packs = wide_lines(matrix, batch, input), wide = packs;
  for (int32_t d = 0; d < batch.rank; d++) wide = wide && wide_lines(x.data, batch.stride[1 - input][d]);
  wide = wide && aligned16(x.data);
  bool warps =
      matrix.k_contiguous && (matrix.k <= 1024 || vectors >= 8 * BLOCKS_WANTED);  // a warp per vector, else a block
  int64_t groups = batch.n * ceil_div(matrix.extent, packs ? 32 * W : 32);        // of columns, a block each
  int64_t blocks =
      matrix.k_contiguous ? (warps ? ceil_div(vectors, BLOCK / 32) : vectors) : batch.n * ceil_div(matrix.extent, 128);
  int64_t splits = ceil_div(BLOCKS_WANTED, blocks), most = matrix.k / (matrix.k_contiguous ? LEAST_ROW : LEAST_COLUMN);
  if (splits > most) splits = most > 0 ? most : 1;
  int64_t piece = ceil_div(ceil_div(matrix.k, splits), W) * W;
  splits = ceil_div(matrix.k, piece);
  T* out = splits > 1 ? call.scratch<T>(splits * vectors) : y;
  VectorProduct<T> p{out, matrix, x.data, batch, input, piece, splits};
  cudaStream_t stream = stream_of(call);
  if (!matrix.k_contiguous) {
    unsigned grid = grid_for(splits * groups);
    if (packs)
      matvec_columns<W><<<grid, BLOCK, 0, stream>>>(p);
    else
      matvec_columns<1><<<grid, BLOCK, 0, stream>>>(p);
  } else if (warps) {
    unsigned grid = grid_for(ceil_div(vectors * splits, BLOCK / 32));
    if (wide)
      matvec_rows<32, true><<<grid, BLOCK, 0, stream>>>(p);
    else
      matvec_rows<32, false><<<grid, BLOCK, 0, stream>>>(p);
  } else {
    unsigned grid = grid_for(vectors * splits);
    if (wide)
      matvec_rows<BLOCK, true><<<grid, BLOCK, 0, stream>>>(p);
    else
      matvec_rows<BLOCK, false><<<grid, BLOCK, 0, stream>>>(p);
  }
  if (splits > 1) sum_all_pieces(call, y, out, vectors, splits);
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
    case SimtKernel::BY_SHAPE:  // the column of b, or the row of a, is contiguous either way
      if (tiny(p, batch)) return launch_naive(call, p, batch);
      if (p.n() == 1) return matmul_vector(call, p.c, p.a, p.b, batch, 0);
      if (p.m() == 1) return matmul_vector(call, p.c, p.b, p.a, batch, 1);
      return matmul_by_shape(call, p, batch);
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
    case SimtKernel::DOUBLE_BUFFERED: return tiles_of(T{})[TILE_128X128].launch(call, p, batch, {p.k(), 1, false});
    default: {
      int tile = static_cast<int>(kernel) - static_cast<int>(SimtKernel::TILE_256X128);
      return tiles_of(T{})[tile].launch(call, p, batch, {p.k(), 1, false});
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
  return choose_tile<float>(true, static_cast<double>(batch.n), p.m(), p.n(), p.k()).cycles;
}

}  // namespace cdn
