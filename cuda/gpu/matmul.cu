// cdn_matmul: the variants, and the choice among tiles for a shape.
#include "cublas.h"
#include "matmul_naive.h"
#include "matmul_pipelined.h"
#include "matmul_register_tiled.h"
#include "matmul_vector.h"

namespace cdn {
namespace {

// In the order of the numbers that cdn_matmul takes. From FIRST_TILE on: matmul_pipelined with one tile, k in one
// piece.
const char* const VARIANTS[] = {"default",         "naive",      "tiled",        "register_tiled", "vectorized",
                                "double_buffered", "cublas",     "tile_256x128", "tile_128x128",   "tile_128x64",
                                "tile_64x128",     "tile_64x64", "tile_32x32"};
enum Variant { DEFAULT, NAIVE, TILED, REGISTER_TILED, VECTORIZED, DOUBLE_BUFFERED, CUBLAS, FIRST_TILE };
constexpr int VARIANT_COUNT = sizeof(VARIANTS) / sizeof(VARIANTS[0]), TILE_COUNT = VARIANT_COUNT - FIRST_TILE;
constexpr int TILE_128X128 = 1;

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

template <class T> void sum_all_pieces(Call& call, T* y, const T* pieces, int64_t count, int64_t splits) {
  constexpr int W = 16 / sizeof(T);
  cudaStream_t stream = stream_of(call);
  if (aligned16(y) && aligned16(pieces) && count % W == 0)
    sum_pieces<W><<<grid_for(ceil_div(count / W, BLOCK)), BLOCK, 0, stream>>>(y, pieces, count, splits);
  else
    sum_pieces<1><<<grid_for(ceil_div(count, BLOCK)), BLOCK, 0, stream>>>(y, pieces, count, splits);
}

// ---- matmul_pipelined

// Above 48 KiB of shared memory a kernel must ask, once per device.
template <class Kernel> void allow_shared(Call& call, Kernel kernel, int bytes, uint64_t* asked) {
  uint64_t device = uint64_t{1} << call.device().index % 64;
  if (bytes <= 48 * 1024 || (*asked & device)) return;
  CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  *asked |= device;
}

template <class Tile, bool A_K_CONTIGUOUS, bool B_K_CONTIGUOUS>
void launch_tile(Call& call, const Product<typename Tile::T>& p, const TileGrid& grid, const Pieces& pieces,
                 int64_t splits) {
  static uint64_t asked = 0;
  auto kernel = matmul_pipelined<Tile, A_K_CONTIGUOUS, B_K_CONTIGUOUS>;
  allow_shared(call, kernel, Tile::SHARED_BYTES, &asked);
  dim3 blocks(grid.rows * grid.cols, static_cast<unsigned>(splits));
  kernel<<<blocks, Tile::THREADS, Tile::SHARED_BYTES, stream_of(call)>>>(p, grid, pieces);
}

// piece: how much of k a block sums; a multiple of BK, or all of k.
template <class Tile> void launch_pipelined(Call& call, const Product<typename Tile::T>& p, int64_t piece) {
  using T = typename Tile::T;
  int64_t splits = ceil_div(p.k(), piece), count = p.m() * p.n();
  Product<T> out = p;
  if (splits > 1) out.c = call.scratch<T>(splits * count);
  TileGrid grid = tile_grid(p.m(), p.n(), Tile::BM, Tile::BN);
  Pieces pieces{piece, wide_lines(p.a.data, p.a.ld()), wide_lines(p.b.data, p.b.ld()), wide_lines(out.c, p.n())};
  if (p.a.k_contiguous)
    p.b.k_contiguous ? launch_tile<Tile, true, true>(call, out, grid, pieces, splits)
                     : launch_tile<Tile, true, false>(call, out, grid, pieces, splits);
  else
    p.b.k_contiguous ? launch_tile<Tile, false, true>(call, out, grid, pieces, splits)
                     : launch_tile<Tile, false, false>(call, out, grid, pieces, splits);
  if (splits > 1) sum_all_pieces(call, p.c, out.c, count, splits);
}

// A tile as the choice sees it. rate: its part of the peak rate when a multiprocessor is full; alone: how much longer a
// block takes when it has the multiprocessor for itself and too few warps to keep it busy.
template <class T> struct TileChoice {
  int bm, bn, bk, blocks_per_processor;
  double rate, alone;
  void (*launch)(Call&, const Product<T>&, int64_t piece);
};

template <class Tile> TileChoice<typename Tile::T> choice(double rate, double alone) {
  return {Tile::BM, Tile::BN, Tile::BK, Tile::MIN_BLOCKS, rate, alone, launch_pipelined<Tile>};
}

// By the names above. BlockTile<T, BM, BN, BK, TM, TN, LANES_M, SLICES, STAGES, MIN_BLOCKS>.
const TileChoice<float>* tiles_of(float) {
  static const TileChoice<float> tiles[TILE_COUNT] = {
      choice<BlockTile<float, 256, 128, 8, 8, 16, 8, 1, 4, 1>>(0.735, 1.0),
      choice<BlockTile<float, 128, 128, 16, 8, 8, 4, 1, 3, 2>>(0.77, 1.1),
      choice<BlockTile<float, 128, 64, 16, 8, 8, 4, 2, 3, 2>>(0.63, 1.15),
      choice<BlockTile<float, 64, 128, 16, 8, 8, 4, 2, 3, 2>>(0.68, 1.15),
      choice<BlockTile<float, 64, 64, 32, 8, 8, 4, 4, 3, 2>>(0.66, 1.15),
      choice<BlockTile<float, 32, 32, 64, 4, 8, 8, 8, 3, 2>>(0.38, 1.15),
  };
  return tiles;
}

// Doubles take twice the registers and run at half the rate, so that three tiles do for all.
const TileChoice<double>* tiles_of(double) {
  using Large = BlockTile<double, 128, 128, 8, 8, 8, 4, 1, 3, 1>;
  using Small = BlockTile<double, 64, 64, 16, 4, 8, 8, 2, 3, 1>;
  using Tiny = BlockTile<double, 32, 32, 32, 4, 8, 8, 4, 3, 2>;
  static const TileChoice<double> tiles[TILE_COUNT] = {
      choice<Large>(0.45, 1.0), choice<Large>(0.45, 1.0), choice<Small>(0.42, 1.1),
      choice<Small>(0.42, 1.1), choice<Small>(0.42, 1.1), choice<Tiny>(0.35, 1.3),
  };
  return tiles;
}

// ---- The default

// An estimate of a product's time, in clock cycles of the H200 with its 132 multiprocessors. The device in use is not
// asked, so that every GPU cuts k in the same places and adds in the same order.
template <class T> double estimate(const TileChoice<T>& tile, int64_t m, int64_t n, int64_t k, int64_t piece) {
  constexpr double PROCESSORS = 132, FMA_PER_CYCLE = 128, L2_BYTES_PER_CYCLE = 24, START = 1500, SECOND_PASS = 4000,
                   ALL_BYTES_PER_CYCLE = 3000;
  double splits = static_cast<double>(ceil_div(k, piece));
  double blocks = static_cast<double>(ceil_div(m, tile.bm)) * static_cast<double>(ceil_div(n, tile.bn)) * splits;
  double each = ceil(blocks / PROCESSORS);  // of the busiest multiprocessor
  double multiply = tile.bm * tile.bn / (FMA_PER_CYCLE * tile.rate) * (each == 1 ? tile.alone : 1);
  double load = (tile.bm + tile.bn) * sizeof(T) / L2_BYTES_PER_CYCLE;
  double cycles = each * static_cast<double>(piece) * (multiply > load ? multiply : load) +
                  START * ceil(each / tile.blocks_per_processor);
  if (splits > 1)
    cycles +=
        SECOND_PASS + 2 * splits * static_cast<double>(m) * static_cast<double>(n) * sizeof(T) / ALL_BYTES_PER_CYCLE;
  return cycles;
}

// The tile, and the number of pieces of k, with the least estimate. Cutting k pays where the output alone has too few
// tiles for the multiprocessors.
template <class T> void matmul_by_shape(Call& call, const Product<T>& p) {
  constexpr int64_t SPLITS[] = {1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 32, 40, 48, 64, 96, 128},
                    MOST_BLOCKS = 264;
  const TileChoice<T>* best = nullptr;
  int64_t best_piece = 0;
  double least = 0;
  for (int t = 0; t < TILE_COUNT; t++) {
    const TileChoice<T>& tile = tiles_of(T{})[t];
    double blocks = static_cast<double>(ceil_div(p.m(), tile.bm)) * static_cast<double>(ceil_div(p.n(), tile.bn));
    for (int64_t splits : SPLITS) {
      if (splits > 1 && (blocks * static_cast<double>(splits) > MOST_BLOCKS || p.k() < splits * tile.bk)) break;
      int64_t piece = ceil_div(ceil_div(p.k(), splits), tile.bk) * tile.bk;
      double cycles = estimate(tile, p.m(), p.n(), p.k(), piece);
      if (best && cycles >= least) continue;
      best = &tile;
      best_piece = piece;
      least = cycles;
    }
  }
  best->launch(call, p, best_piece);
}

// One row or one column: y[extent] = matrix x.
template <class T> void matmul_vector(Call& call, T* y, const Operand<T>& matrix, const T* x) {
  constexpr int64_t W = 16 / sizeof(T), BLOCKS_WANTED = 1024, LEAST_ROW = 4096, LEAST_COLUMN = 64;
  bool wide = wide_lines(matrix.data, matrix.ld()) && aligned16(x);
  bool warps = matrix.k_contiguous &&
               (matrix.k <= 1024 || matrix.extent >= 8 * BLOCKS_WANTED);  // a warp per vector, else a block
  int64_t blocks = matrix.k_contiguous ? (warps ? ceil_div(matrix.extent, BLOCK / 32) : matrix.extent)
                                       : ceil_div(matrix.extent, 128);
  int64_t splits = ceil_div(BLOCKS_WANTED, blocks), most = matrix.k / (matrix.k_contiguous ? LEAST_ROW : LEAST_COLUMN);
  if (splits > most) splits = most > 0 ? most : 1;
  int64_t piece = ceil_div(ceil_div(matrix.k, splits), W) * W;
  splits = ceil_div(matrix.k, piece);
  T* out = splits > 1 ? call.scratch<T>(splits * matrix.extent) : y;
  cudaStream_t stream = stream_of(call);
  if (!matrix.k_contiguous) {
    bool packs = wide_lines(matrix.data, matrix.ld());
    unsigned grid = grid_for(splits * ceil_div(matrix.extent, packs ? 32 * W : 32));
    if (packs)
      matvec_columns<W><<<grid, BLOCK, 0, stream>>>(out, matrix, x, piece, splits);
    else
      matvec_columns<1><<<grid, BLOCK, 0, stream>>>(out, matrix, x, piece, splits);
  } else if (warps) {
    unsigned grid = grid_for(ceil_div(matrix.extent * splits, BLOCK / 32));
    if (wide)
      matvec_rows<32, true><<<grid, BLOCK, 0, stream>>>(out, matrix, x, piece, splits);
    else
      matvec_rows<32, false><<<grid, BLOCK, 0, stream>>>(out, matrix, x, piece, splits);
  } else {
    unsigned grid = grid_for(matrix.extent * splits);
    if (wide)
      matvec_rows<BLOCK, true><<<grid, BLOCK, 0, stream>>>(out, matrix, x, piece, splits);
    else
      matvec_rows<BLOCK, false><<<grid, BLOCK, 0, stream>>>(out, matrix, x, piece, splits);
  }
  if (splits > 1) sum_all_pieces(call, y, out, matrix.extent, splits);
}

template <class T> void matmul(Call& call, const Product<T>& p, Variant variant) {
  cudaStream_t stream = stream_of(call);
  switch (variant) {
    case DEFAULT:  // the column of b, or the row of a, is contiguous either way
      if (p.n() == 1) return matmul_vector(call, p.c, p.a, p.b.data);
      if (p.m() == 1) return matmul_vector(call, p.c, p.b, p.a.data);
      return matmul_by_shape(call, p);
    case NAIVE: return matmul_naive<<<grid_for(ceil_div(p.m() * p.n(), BLOCK)), BLOCK, 0, stream>>>(p);
    case TILED: {
      TileGrid grid = tile_grid(p.m(), p.n(), 32, 32);
      return matmul_tiled<<<grid.rows * grid.cols, BLOCK, 0, stream>>>(p, grid);
    }
    case REGISTER_TILED: {
      TileGrid grid = tile_grid(p.m(), p.n(), 128, 128);
      return matmul_register_tiled<<<grid.rows * grid.cols, BLOCK, 0, stream>>>(p, grid);
    }
    case VECTORIZED: {
      TileGrid grid = tile_grid(p.m(), p.n(), 128, 128);
      bool wide = wide_lines(p.a.data, p.a.ld()) && wide_lines(p.b.data, p.b.ld()), wide_c = wide_lines(p.c, p.n());
      if (wide) return matmul_vectorized<true><<<grid.rows * grid.cols, BLOCK, 0, stream>>>(p, grid, wide_c);
      return matmul_vectorized<false><<<grid.rows * grid.cols, BLOCK, 0, stream>>>(p, grid, wide_c);
    }
    case DOUBLE_BUFFERED: return tiles_of(T{})[TILE_128X128].launch(call, p, p.k());
    case CUBLAS:
      return cublas_matmul(call, p.c, p.a.data, p.b.data, p.m(), p.n(), p.k(), !p.a.k_contiguous, p.b.k_contiguous);
    default: return tiles_of(T{})[variant - FIRST_TILE].launch(call, p, p.k());
  }
}

void check_flag(const char* name, int32_t flag) {
  if (flag != 0 && flag != 1) CDN_FAIL(CDN_BAD_ARGUMENT, "%s is %d; it must be 0 or 1", name, flag);
}

void check_variant(int32_t variant) {
  if (variant >= 0 && variant < VARIANT_COUNT) return;
  std::string names;
  for (int i = 0; i < VARIANT_COUNT; i++) names += (i ? ", " : "") + std::to_string(i) + " " + VARIANTS[i];
  CDN_FAIL(CDN_BAD_ARGUMENT, "variant is %d; known are %s", variant, names.c_str());
}

}  // namespace
}  // namespace cdn

CDN_API int32_t cdn_matmul(uint32_t c, uint32_t a, uint32_t b, int64_t m, int64_t n, int64_t k, int32_t trans_a,
                           int32_t trans_b, int32_t dtype, int32_t variant) {
  using namespace cdn;
  return run("cdn_matmul", [&](Call& call) {
    check_flag("trans_a", trans_a);
    check_flag("trans_b", trans_b);
    check_variant(variant);
    int64_t c_count = checked_product("m, n", m, n), a_count = checked_product("m, k", m, k),
            b_count = checked_product("k, n", k, n);
    with_full_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      T* out = call.out<T>(c, "c", c_count);
      Product<T> p{
          out, {call.in<T>(a, "a", a_count), m, k, trans_a == 0}, {call.in<T>(b, "b", b_count), n, k, trans_b == 1}};
      if (c_count == 0) return;
      if (k == 0)
        CUDA_CHECK(cudaMemsetAsync(out, 0, static_cast<size_t>(c_count) * sizeof(T), stream_of(call)));
      else
        matmul(call, p, static_cast<Variant>(variant));
    });
  });
}

CDN_API const char* cdn_matmul_variant(int32_t variant) {
  return variant >= 0 && variant < cdn::VARIANT_COUNT ? cdn::VARIANTS[variant] : nullptr;
}
