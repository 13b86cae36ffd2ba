// The choice of a tile and of the number of pieces of k, by an estimate of clock cycles: for the
// kernels that have a block for each tile and piece, on tensor cores (matmul_mma.cu) or without
// (matmul_simt.cu). The estimate is of the H200 with its 132 multiprocessors. Of the device in use
// only its kind is asked, so that all of a kind cut k in the same places and add in the same order.
#pragma once
#include <unordered_map>

#include "gpu/gemm/product.h"

namespace cdn {

constexpr double PROCESSORS = 132,
                 ALL_BYTES_PER_CYCLE = 3000;  // of the H200; from memory, or the L2 cache

// The sizes of clusters, and how many of each find their place at once, with a block for each
// multiprocessor.
struct Cluster {
  int64_t blocks;
  double most;
};
constexpr Cluster CLUSTERS[] = {{2, 66}, {4, 30}, {8, 15}};
inline double most_clusters(int64_t blocks) {
  for (const Cluster& cluster : CLUSTERS)
    if (cluster.blocks == blocks) return cluster.most;
  return PROCESSORS;
}

// Whether a launch can be chained to the one before it, and its shared memory then. Blocks that
// come while others still run find their places unevenly: a multiprocessor that is free early takes
// more than its share. With so much shared memory that only a share fits, it cannot. most: blocks
// to a multiprocessor; what does not find place at once is not chained.
struct ChainedLaunch {
  static constexpr int MOST_SHARED = 114 * 1024;  // as much as it may take, or the kernel's own
  bool chained;
  int shared_bytes;
};
inline ChainedLaunch chained_launch(double blocks, int64_t cluster, int most, int shared_bytes) {
  constexpr int ALL = 228 * 1024, OF_BLOCK = 1024;
  const int each = static_cast<int>(ceil(blocks / PROCESSORS));
  const bool fits = each <= most && each * (shared_bytes + OF_BLOCK) <= ALL &&
                    blocks / static_cast<double>(cluster) <= each * most_clusters(cluster);
  const int enough = ALL / (each + 1) - OF_BLOCK + 128;
  return {fits, fits && shared_bytes < enough ? enough : shared_bytes};
}

// A tile as the choice sees it. rate: multiply-adds per cycle of a multiprocessor that is full;
// alone: how much longer a block takes when it has the multiprocessor for itself and too few warps
// to keep it busy; end: cycles for each number of the tile when the sums leave.
struct TileCost {
  int bm, bn, bk, blocks_per_processor;
  double rate, alone, end = 0;
  bool joins = true;  // whether a cluster's blocks can add up pieces
};

// What the tiles of a family have in common: the cycles of a block's start and of the pass that
// adds up pieces, the bytes of an operand's number and of a piece's. chained: cycles that a chained
// launch saves, on Hopper, where the blocks of a cluster can add up pieces, too; else 0.
struct FamilyCost {
  double start, second_pass, number_bytes, piece_bytes, chained;
};

// How k is cut: into pieces of `piece` numbers, a multiple of BK, or all of k, a block each. Where
// they are joined, the blocks of a cluster add them up, of which there is one for each of `splits`,
// also where k ends before the last.
struct Splitting {
  int64_t piece, splits;
  bool joined;
  bool second_pass() const { return splits > 1 && !joined; }  // which adds up the pieces
};

inline double tile_cycles(const TileCost& tile, const FamilyCost& family, double batch, int64_t m,
                          int64_t n, const Splitting& k) {
  constexpr double L2_BYTES_PER_CYCLE = 24, JOIN = 900, JOIN_EACH = 200, JOIN_BYTES_PER_CYCLE = 48;
  double splits = static_cast<double>(k.splits);
  double blocks = batch * static_cast<double>(ceil_div(m, tile.bm)) *
                  static_cast<double>(ceil_div(n, tile.bn)) * splits;
  double each = ceil(blocks / PROCESSORS);  // of the busiest multiprocessor
  double multiply = tile.bm * tile.bn / tile.rate * (each == 1 ? tile.alone : 1);
  double load = (tile.bm + tile.bn) * family.number_bytes / L2_BYTES_PER_CYCLE;
  double cycles = each * static_cast<double>(k.piece) * (multiply > load ? multiply : load) +
                  family.start * ceil(each / tile.blocks_per_processor) +
                  each * tile.bm * tile.bn * tile.end / (k.joined ? splits : 1);
  if (k.joined)
    cycles += JOIN + splits * JOIN_EACH +
              each * tile.bm * tile.bn * family.piece_bytes / JOIN_BYTES_PER_CYCLE;
  else if (splits > 1)
    cycles += family.second_pass + 2 * splits * batch * static_cast<double>(m) *
                                       static_cast<double>(n) * family.piece_bytes /
                                       ALL_BYTES_PER_CYCLE;
  if (family.chained > 0 &&
      chained_launch(blocks, k.joined ? k.splits : 1, tile.blocks_per_processor, 0).chained)
    cycles -= family.chained;
  return cycles;
}

template <class Tile> struct TileChoice {
  const Tile* tile = nullptr;
  Splitting k = {};
  double cycles = 0;
};

// The one with the least estimate. Cutting k pays where the output alone has too few tiles for the
// multiprocessors. tiles: of a type that is a TileCost.
template <class Tiles>
auto choose_tile(const Tiles& tiles, const FamilyCost& family, double batch, int64_t m, int64_t n,
                 int64_t k) {
  constexpr int64_t SPLITS[] = {1,  2,  3,  4,  5,  6,  7,  8,  10, 12,
                                14, 16, 20, 24, 32, 40, 48, 64, 96, 128},
                    MOST_BLOCKS = 264;
  TileChoice<typename Tiles::value_type> best;
  for (const auto& tile : tiles) {
    double places = batch * static_cast<double>(ceil_div(m, tile.bm)) *
                    static_cast<double>(ceil_div(n, tile.bn));
    auto consider = [&](int64_t splits, bool joined) {
      int64_t piece = ceil_div(ceil_div(k, splits), tile.bk) * tile.bk;
      Splitting splitting{piece, joined ? splits : ceil_div(k, piece), joined};
      double cycles = tile_cycles(tile, family, batch, m, n, splitting);
      if (!best.tile || cycles < best.cycles) best = {&tile, splitting, cycles};
    };
    for (int64_t splits : SPLITS) {
      if (splits > 1 &&
          (places * static_cast<double>(splits) > MOST_BLOCKS || k < splits * tile.bk))
        break;
      consider(splits, false);
    }
    for (const Cluster& cluster : CLUSTERS)
      if (family.chained > 0 && tile.joins && k >= cluster.blocks * tile.bk &&
          places <= cluster.most * tile.blocks_per_processor)
        consider(cluster.blocks, true);
  }
  return best;
}

// A choice takes the host microseconds, and programs multiply the same shapes again and again: so
// plans are kept, by each thread for itself.
struct PlanKey {
  int64_t batch, m, n, k, kind;  // kind: whatever else the choice depends on
  bool operator==(const PlanKey& x) const {
    return batch == x.batch && m == x.m && n == x.n && k == x.k && kind == x.kind;
  }
};
struct PlanHash {
  size_t operator()(const PlanKey& x) const {
    uint64_t hash = 0;
    for (int64_t v : {x.batch, x.m, x.n, x.k, x.kind})
      hash = (hash ^ static_cast<uint64_t>(v)) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 32;
  }
};
template <class Plan> class Plans {
  std::unordered_map<PlanKey, Plan, PlanHash> known;

 public:
  template <class Make> const Plan& at(const PlanKey& key, Make&& make) {
    constexpr size_t MOST = 4096;
    auto found = known.find(key);
    if (found != known.end()) return found->second;
    if (known.size() >= MOST) known.clear();
    return known.emplace(key, make()).first->second;
  }
};

}  // namespace cdn
