// The heuristic: which tile, and how k is cut, by an estimate of clock cycles from a model of the
// device. Devices of one model choose alike, so that they add in the same order. A family of
// kernels gives its tiles with their rates; the bounds are the same for all: multiply-adds, reads
// of L2, the end of a tile, and the reduction where k is cut.
#pragma once
#include <unordered_map>

#include "gpu/device/launch.h"
#include "gpu/gemm/product.h"

namespace cdn {

// Of all multiprocessors, from memory or L2 together.
inline double pass_bytes_per_cycle(const DeviceModel& device) {
  return 1.2 * device.bytes_per_cycle;
}

// How many clusters of so many blocks find their place at once, with a block for each
// multiprocessor: those of more than two leave some of a GPC's multiprocessors over.
constexpr int64_t CLUSTERS[] = {2, 4, 8};
inline double most_clusters(const DeviceModel& device, int64_t blocks) {
  const double even = floor(static_cast<double>(device.processors) / static_cast<double>(blocks));
  return blocks <= 2 ? even : floor(even * 15 / 16);
}

// Programmatic dependent launch, where all blocks find their place at once. Blocks that come while
// others still run find it unevenly: a multiprocessor that is free early takes more than its share.
// With so much shared memory that only a share fits, it cannot. most: blocks to a multiprocessor.
inline Launch with_pdl(const DeviceModel& device, Launch how, int most) {
  constexpr int OF_BLOCK = 1024;
  const double blocks = static_cast<double>(how.grid.x) * how.grid.y * how.grid.z;
  const int all = device.shared_per_processor,
            each = static_cast<int>(ceil(blocks / device.processors));
  how.pdl = each <= most && each * (how.shared_bytes + OF_BLOCK) <= all &&
            blocks / how.cluster <= each * most_clusters(device, how.cluster);
  const int enough = all / (each + 1) - OF_BLOCK + 128;
  if (how.pdl && how.shared_bytes < enough) how.shared_bytes = enough;
  return how;
}

// A kernel of several blocks to a multiprocessor: `most` of them.
template <class... P>
void launch_blocks(Call& call, void (*kernel)(P...), const Launch& how, int most,
                   std::decay_t<P>... arguments) {
  launch(call, kernel, hopper_device(call) ? with_pdl(call.model(), how, most) : how, arguments...);
}

// rate: multiply-adds per cycle of a multiprocessor that is full; alone: how much longer a block
// takes when it has the multiprocessor for itself and too few warps to keep it busy; end: cycles
// for each number of the tile when the sums leave.
struct TileCost {
  int bm, bn, bk, blocks_per_processor;
  double rate, alone = 1, end = 0;
  bool joins = true;  // whether a cluster's blocks can add up pieces
};

// What the tiles of a family have in common.
struct FamilyCost {
  double start;                                        // of a block
  double number_bytes, piece_bytes;                    // of an operand's number; of a sum
  double l2_rate = 24;                                 // bytes per cycle and multiprocessor
  double second_pass = 0;                              // which adds up pieces of k
  double join = 900, join_each = 200, join_rate = 48;  // cluster reduction: once, a block, bytes
  double end = 0;           // cycles for each number of a tile, beside the tile's own
  double pdl = 0;           // what a dependent launch saves
  bool clusters = false;    // whether there are any
  bool persistent = false;  // a block takes tile after tile, and needs some of k
};

// A tile and the number of pieces of k, 0 where they are to be chosen. Pieces are added up within
// clusters (joined: 2, 4 or 8 pieces), or by a second kernel.
struct WantedTile {
  int bm = 0, bn = 0;
  int64_t splits = 0;
  bool joined = false;

  // Of a family's tiles the first that is no larger either way, or the last.
  template <class Tiles> const typename Tiles::value_type& of(const Tiles& tiles) const {
    size_t at = 0;
    while (at + 1 < tiles.size() && (tiles[at].bm > bm || tiles[at].bn > bn)) at++;
    return tiles[at];
  }
};

// How k is cut: into pieces of `piece` numbers, a multiple of BK, or all of k, a block each. Where
// they are joined, the blocks of a cluster add them up, of which there is one for each of `splits`,
// also where k ends before the last.
struct Splitting {
  int64_t piece, splits;
  bool joined;
  bool second_pass() const { return splits > 1 && !joined; }  // which adds up the pieces
};

// The shape as the heuristic sees it.
struct Problem {
  int64_t batch, m, n, k;
  double tiles(const TileCost& tile) const {
    return static_cast<double>(batch) * static_cast<double>(ceil_div(m, tile.bm)) *
           static_cast<double>(ceil_div(n, tile.bn));
  }
  double operands() const {
    return static_cast<double>(batch) * static_cast<double>(m + n) * static_cast<double>(k);
  }
  double outputs() const {
    return static_cast<double>(batch) * static_cast<double>(m) * static_cast<double>(n);
  }
};

inline Splitting split(const TileCost& tile, int64_t k, int64_t splits, bool joined) {
  const int64_t piece = ceil_div(ceil_div(k, splits), tile.bk) * tile.bk;
  return {piece, joined ? splits : ceil_div(k, piece), joined};
}

inline double tile_cycles(const DeviceModel& device, const TileCost& tile, const FamilyCost& family,
                          const Problem& x, const Splitting& k) {
  const double splits = static_cast<double>(k.splits), blocks = x.tiles(tile) * splits;
  const double each = ceil(blocks / device.processors);  // of the busiest multiprocessor
  const double size = static_cast<double>(tile.bm) * tile.bn;
  const double multiply = size / tile.rate * (each == 1 ? tile.alone : 1);
  const double load = (tile.bm + tile.bn) * family.number_bytes / family.l2_rate;
  const double starts = family.persistent ? 1 : ceil(each / tile.blocks_per_processor);
  double cycles =
      each * static_cast<double>(k.piece) * (multiply > load ? multiply : load) +
      family.start * starts +
      each * size * (tile.end + family.end) / (k.joined && !family.persistent ? splits : 1);
  if (k.joined)
    cycles += family.join + splits * family.join_each +
              each * size * family.piece_bytes / family.join_rate;
  else if (splits > 1)
    cycles += family.second_pass +
              2 * splits * x.outputs() * family.piece_bytes / pass_bytes_per_cycle(device);
  if (family.pdl > 0) {
    Launch how{static_cast<unsigned>(blocks < 1e9 ? blocks : 1e9)};
    how.cluster = static_cast<int>(k.joined ? k.splits : 1);
    if (with_pdl(device, how, tile.blocks_per_processor).pdl) cycles -= family.pdl;
  }
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
auto choose_tile(const DeviceModel& device, const Tiles& tiles, const FamilyCost& family,
                 const Problem& x) {
  constexpr int64_t SPLITS[] = {1,  2,  3,  4,  5,  6,  7,  8,  10, 12,
                                14, 16, 20, 24, 32, 40, 48, 64, 96, 128};
  const int64_t least_steps = family.persistent ? 2 : 1;
  TileChoice<typename Tiles::value_type> best;
  for (const auto& tile : tiles) {
    const double places = x.tiles(tile);
    auto consider = [&](int64_t splits, bool joined) {
      const Splitting k = split(tile, x.k, splits, joined);
      if (joined && family.persistent && ceil_div(x.k, k.piece) < splits) return;
      const double cycles = tile_cycles(device, tile, family, x, k);
      if (!best.tile || cycles < best.cycles) best = {&tile, k, cycles};
    };
    for (int64_t splits : SPLITS) {
      if (splits > 1 && (places * static_cast<double>(splits) > 2 * device.processors ||
                         x.k < splits * least_steps * tile.bk))
        break;
      consider(splits, false);
    }
    for (int64_t blocks : CLUSTERS)
      if (family.clusters && tile.joins && ceil_div(x.k, tile.bk) >= blocks &&
          places <= most_clusters(device, blocks) * tile.blocks_per_processor)
        consider(blocks, true);
  }
  return best;
}

// A choice takes the host microseconds, and programs multiply the same shapes again and again: so
// plans are kept, by each thread for itself.
struct PlanKey {
  int64_t device;
  Problem x;
  int64_t kind;  // whatever else the choice depends on
  bool operator==(const PlanKey& o) const {
    return device == o.device && x.batch == o.x.batch && x.m == o.x.m && x.n == o.x.n &&
           x.k == o.x.k && kind == o.kind;
  }
};
struct PlanHash {
  size_t operator()(const PlanKey& key) const {
    uint64_t hash = 0;
    for (int64_t v : {key.device, key.x.batch, key.x.m, key.x.n, key.x.k, key.kind})
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
