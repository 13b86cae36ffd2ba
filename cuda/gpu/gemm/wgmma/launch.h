// What all that multiplies by multiply_by_wgmma does, whatever its operands are: the estimate of a
// tile's time, and the launch, from a plan and maps of the operands to c, or what an epilogue makes
// of it.
#pragma once
#include <algorithm>

#include "gpu/gemm/heuristic.h"
#include "gpu/gemm/split_k.h"
#include "gpu/gemm/wgmma/kernel.h"
#include "gpu/gemm/wgmma/tensor_map.h"

namespace cdn {

constexpr int64_t WGMMA_BK = 64;

struct WgmmaPlan {
  WgmmaExtent tile;
  Splitting k;
  double cycles;
};

// planes: 2 for floats that were cut; boxes_out: the result leaves by TMA.
inline TileCost wgmma_cost(WgmmaExtent tile, int planes, bool boxes_out) {
  constexpr double SHARED_BYTES = 130, STORE_WORDS = 400, EACH_WORD = 0.08;
  const int products = planes == 2 ? 3 : 1;
  // Of the tensor cores' rate; with two planes sums are added up in between.
  const double busy = planes == 2 ? 0.78 : 0.92;
  // A step: the tensor cores' work, or shared memory's. Of this each 64 rows read their own part of
  // a and all of b, and what comes is written.
  const double size = tile.bm * tile.bn, multiply = size / 32 * products / busy;
  const double bytes =
      WGMMA_BK * 2.0 * (tile.bm / 64 * (64 + tile.bn) * products + (tile.bm + tile.bn) * planes);
  return {tile.bm,
          tile.bn,
          WGMMA_BK,
          1,
          size * WGMMA_BK / std::max(multiply, bytes / SHARED_BYTES),
          1,
          (500 + tile.bn * 4 + (boxes_out ? 0 : STORE_WORDS + EACH_WORD * size)) / size,
          wgmma_has_one_item(tile.bm, tile.bn)};
}

inline FamilyCost wgmma_family() {
  FamilyCost family{1900, 2, sizeof(float)};
  family.l2_rate = 1e9;  // by multicast and TMA: never what limits
  family.second_pass = 3500;
  family.join = 2500, family.join_each = 0, family.join_rate = 32;
  family.clusters = family.persistent = true;
  return family;
}

inline bool fuses(const Epilogue* epilogue) { return epilogue && !epilogue->plain(); }

struct WgmmaMaps {
  CUtensorMap a, b, c = a;  // c: of the result, unless an operand takes its place
};

struct WgmmaLaunch {
  Problem x;
  WgmmaPlan plan;
  WgmmaKernel kernel;
  bool fused;                    // with the work's epilogue
  int least_shared = 128 * 128;  // of tiles whose clusters share b
  bool keeps_pieces = false;     // pieces of k, even a single one, are not added up
  Lines out = {};                // where a 16-bit result goes instead, if k is whole
};

// w: what is special to the operands, and the epilogue, of which the bias is of T; maps(blocks that
// share b): the operands. Returns the pieces of k, [piece][matrix][m][n], which are added up to c
// unless they are to be kept.
template <class T, class Out, class Maps>
const float* launch_wgmma(Call& call, const WgmmaLaunch& how, WgmmaWork w, Out* c, Maps&& maps) {
  const auto [batch, m, n, k] = how.x;
  const WgmmaPlan& plan = how.plan;
  const int64_t count = batch * m * n, rows = ceil_div(m, plan.tile.bm),
                cols = ceil_div(n, plan.tile.bn);
  const int processors = call.model().processors;
  const bool apart = how.out.data && plan.k.splits == 1;
  float* pieces = plan.k.second_pass() || (how.keeps_pieces && !apart)
                      ? call.scratch<float>((plan.k.joined ? 1 : plan.k.splits) * count)
                      : nullptr;
  w.c = pieces ? static_cast<void*>(pieces) : c;
  w.joined = plan.k.joined ? static_cast<int32_t>(plan.k.splits) : 1;
  w.one_item = w.joined > 1;
  w.float_in = std::is_same<T, float>::value;
  w.float_out = pieces || std::is_same<Out, float>::value;
  w.m = static_cast<int32_t>(m);
  w.n = static_cast<int32_t>(n);
  w.k = k;
  w.steps = static_cast<int32_t>(ceil_div(k, WGMMA_BK));
  w.splits = static_cast<int32_t>(plan.k.splits);
  w.steps_per_split = static_cast<int32_t>(plan.k.piece / WGMMA_BK);
  w.batch = static_cast<int32_t>(batch);
  const bool shares_b =
      w.joined == 1 && plan.tile.bm * plan.tile.bn >= how.least_shared && rows >= 2;
  w.cluster = shares_b && rows * cols * batch * plan.k.splits > processors / 2 ? 2 : 1;
  w.grid = tile_grid(rows, cols, w.cluster, 1);
  w.by_tiles = Divisor(w.grid.rows * w.grid.cols);
  w.by_splits = Divisor(static_cast<uint32_t>(plan.k.splits));

  const Lines out = apart ? how.out : Lines{c, n, m, n, batch, m * n};
  w.boxes_out = !w.float_out && !w.one_item && !(how.fused && !pieces) && fits(out);
  WgmmaMaps in = maps(w.cluster);
  if (w.boxes_out) in.c = tensor_map(out, 64);
  const int cluster = w.cluster * w.joined;
  const int64_t blocks = static_cast<int64_t>(w.grid.rows) * w.grid.cols * w.batch *
                         (plan.k.joined ? 1 : w.splits) * cluster,
                most = w.one_item ? blocks : processors / cluster * cluster;
  void* arguments[] = {&in.a, &in.b, &in.c, &w};
  launch(call, how.kernel.function,
         {static_cast<unsigned>(std::min(blocks, most)), static_cast<unsigned>(how.kernel.threads),
          how.kernel.shared_bytes, cluster, true},
         arguments);
  if (!pieces || how.keeps_pieces) return pieces;
  if (how.fused)
    finish_split_k(call, Finish<float, T, Out>(w.epilogue, n), pieces, count, plan.k.splits);
  else
    sum_split_k(call, c, pieces, count, plan.k.splits);
  return nullptr;
}

}  // namespace cdn
