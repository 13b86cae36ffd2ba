// The choice of a tile and of the number of pieces of k, by an estimate of clock cycles: for the kernels that have a
// block for each tile and piece, on tensor cores (matmul_mma.cu) or without (matmul_simt.cu). The estimate is of the
// H200 with its 132 multiprocessors. The device in use is not asked, so that every GPU cuts k in the same places and
// adds in the same order.
#pragma once
#include "matmul_common.h"

namespace cdn {

// A tile as the choice sees it. rate: multiply-adds per cycle of a multiprocessor that is full; alone: how much longer
// a block takes when it has the multiprocessor for itself and too few warps to keep it busy.
struct TileCost {
  int bm, bn, bk, blocks_per_processor;
  double rate, alone;
};

constexpr double ALL_BYTES_PER_CYCLE = 3000;  // from memory, or the L2 cache, of the H200

// What the tiles of a family have in common: the cycles of a block's start and of the pass that adds up pieces, and the
// bytes of an operand's number and of a piece's.
struct FamilyCost {
  double start, second_pass, number_bytes, piece_bytes;
};

// piece: how much of k a block sums; a multiple of BK, or all of k.
inline double tile_cycles(const TileCost& tile, const FamilyCost& family, double batch, int64_t m, int64_t n, int64_t k,
                          int64_t piece) {
  constexpr double PROCESSORS = 132, L2_BYTES_PER_CYCLE = 24;
  double splits = static_cast<double>(ceil_div(k, piece));
  double blocks =
      batch * static_cast<double>(ceil_div(m, tile.bm)) * static_cast<double>(ceil_div(n, tile.bn)) * splits;
  double each = ceil(blocks / PROCESSORS);  // of the busiest multiprocessor
  double multiply = tile.bm * tile.bn / tile.rate * (each == 1 ? tile.alone : 1);
  double load = (tile.bm + tile.bn) * family.number_bytes / L2_BYTES_PER_CYCLE;
  double cycles = each * static_cast<double>(piece) * (multiply > load ? multiply : load) +
                  family.start * ceil(each / tile.blocks_per_processor);
  if (splits > 1)
    cycles += family.second_pass + 2 * splits * batch * static_cast<double>(m) * static_cast<double>(n) *
                                       family.piece_bytes / ALL_BYTES_PER_CYCLE;
  return cycles;
}

template <class Tile> struct TileChoice {
  const Tile* tile = nullptr;
  int64_t piece = 0;
  double cycles = 0;
};

// The one with the least estimate. Cutting k pays where the output alone has too few tiles for the multiprocessors.
// tiles: of a type that is a TileCost.
template <class Tiles>
auto choose_tile(const Tiles& tiles, const FamilyCost& family, double batch, int64_t m, int64_t n, int64_t k) {
  constexpr int64_t SPLITS[] = {1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 32, 40, 48, 64, 96, 128},
                    MOST_BLOCKS = 264;
  TileChoice<typename Tiles::value_type> best;
  for (const auto& tile : tiles) {
    double blocks = batch * static_cast<double>(ceil_div(m, tile.bm)) * static_cast<double>(ceil_div(n, tile.bn));
    for (int64_t splits : SPLITS) {
      if (splits > 1 && (blocks * static_cast<double>(splits) > MOST_BLOCKS || k < splits * tile.bk)) break;
      int64_t piece = ceil_div(ceil_div(k, splits), tile.bk) * tile.bk;
      double cycles = tile_cycles(tile, family, batch, m, n, k, piece);
      if (!best.tile || cycles < best.cycles) best = {&tile, piece, cycles};
    }
  }
  return best;
}

}  // namespace cdn
