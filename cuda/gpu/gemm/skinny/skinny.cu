// The thin products: which they are, and the launches of outer.h (short k) and of
// vector.h and vector_mma.h (few rows or columns). A GPU has time
// for some tens of multiply-adds for each float that comes or goes. So a product with at most 16
// multiply-adds for each number of the larger operand, or of c, is bound by memory, and needs
// enough bytes on their way and few steps one after another, not tiles. How k is cut depends on the
// shape and the model of the device.
#include "gpu/gemm/skinny/skinny.h"

#include <algorithm>
#include <cmath>

#include "gpu/gemm/wgmma/wgmma.h"
#include "gpu/gemm/heuristic.h"
#include "gpu/gemm/mma/mma.h"
#include "gpu/gemm/skinny/outer.h"
#include "gpu/gemm/skinny/vector.h"
#include "gpu/gemm/skinny/vector_mma.h"

namespace cdn {
namespace {

constexpr int64_t MOST_FEW = 16, MOST_COLUMNS = 8, MOST_K = int64_t{1} << 30,
                  MOST_BLOCKS = INT32_MAX;

// At least two blocks to a multiprocessor.
int64_t most_shared(const Call& call) { return std::min(call.model().shared_per_block, 99 * 1024); }

// A grid of `blocks` by the batch, in clusters; `most` of them to a multiprocessor.
template <class T, class Work>
void launch_thin(Call& call, void (*kernel)(T, Batch, Work), const T& p, const Layout& batch,
                 const Work& work, int64_t blocks, int most, int shared, int cluster) {
  in_launches(batch, [&](const Batch& part, unsigned z) {
    launch_blocks(call, kernel, {dim3(static_cast<unsigned>(blocks), 1, z), BLOCK, shared, cluster},
                  most, p, part, work);
  });
}

int log2_of(int power) {
  int log = 0;
  while (1 << log < power) log++;
  return log;
}

// One number of k: the operand as one that is contiguous across it, and the other way round.
template <class T> Operand<T> across(const Operand<T>& x) {
  return {x.data, x.extent, x.k, false, x.extent};
}
template <class T> Operand<T> along(const Operand<T>& x) {
  return {x.data, x.extent, x.k, true, x.k};
}

// ---- Short k

template <class T> bool outer_is_thin(const Product<T>& p, const Layout& batch) {
  constexpr int64_t LEAST_OF_BATCH = 2048;  // small matrices would leave most of a block idle
  return p.k() <= MOST_OUTER_K && (batch.n == 1 || p.size() >= LEAST_OF_BATCH);
}

template <class T> bool outer(Call& call, Product<T> p, const Layout& batch) {
  constexpr int W = OUTER_COLUMNS<T>, ROWS = OUTER_ROWS;
  const int64_t blocks_wanted = call.model().processors, at_once = OUTER_BLOCKS * blocks_wanted;
  if (p.k() == 1)  // which is the same
    p.a = across(p.a), p.b = across(p.b);
  int lanes = 4;
  while (lanes < 32 &&
         (lanes * W < p.n() || batch.n * ceil_div(p.m(), BLOCK / lanes * ROWS) < blocks_wanted / 2))
    lanes *= 2;
  while (lanes < BLOCK && lanes * W * blocks_wanted < p.n() * batch.n &&
         BLOCK / lanes * ROWS >= 2 * p.m())
    lanes *= 2;
  const int rows = BLOCK / lanes * ROWS, columns = lanes * W;
  // All blocks at once, with as many tiles as it takes.
  const int64_t column_blocks = ceil_div(p.n(), columns), row_tiles = ceil_div(p.m(), rows);
  const int64_t wanted = std::max<int64_t>(1, at_once / std::min(column_blocks * batch.n, at_once));
  const int64_t tiles = ceil_div(row_tiles, std::min(wanted, row_tiles));
  const int64_t blocks = ceil_div(row_tiles, tiles) * column_blocks;
  if (blocks > MOST_BLOCKS || tiles > MOST_BLOCKS) return false;
  const bool wide = reinterpret_cast<uintptr_t>(p.c) % 16 == 0 && p.n() % W == 0;
  const int shared =
      static_cast<int>(p.k()) * (outer_pitch(rows) + outer_pitch(columns)) * sizeof(Compute<T>);
  auto kernel = wide ? outer_products<true, T> : outer_products<false, T>;
  const auto side = static_cast<uint32_t>(column_blocks);
  OuterWork work{log2_of(lanes), static_cast<int>(tiles), side, Divisor(side)};
  launch_thin(call, kernel, p, batch, work, blocks, OUTER_BLOCKS, shared, 1);
  return true;
}

// ---- Few rows or columns

// A product's work as one plan cuts it, and the cycles that takes. Plans depend
// on the shape, the alignment and the model of the device.
struct Plan {
  int64_t blocks;  // of the batch, for each piece of k
  int64_t splits;
  double bytes;    // that a block reads of all of k: of the matrix,
  double vectors;  // and of the few vectors
  double all;      // bytes that come from memory

  // work: of the multiply-adds, for a byte of the matrix.
  double cycles(const DeviceModel& device, double work) const {
    // What fits the ring comes at BLOCK_RATE; then the ways there and back set the pace.
    constexpr double LATENCY = 2500, BLOCK_RATE = 50, VECTOR_RATE = 15, JOIN = 1500, PASS = 4000,
                     UNEVEN = 1500, RING = RING_STAGES * RING_STAGE_BYTES;
    const double alone = device.processors, places = VECTOR_BLOCKS * alone;
    const double cut = static_cast<double>(splits), all_blocks = static_cast<double>(blocks) * cut,
                 own = bytes / cut;
    const double at_once =
        splits > 2 && splits <= MOST_JOINED ? places * 0.9 : places;  // clusters leave gaps
    const bool two = all_blocks > alone;                              // to a multiprocessor
    const double reads =
        (own + std::max(0.0, own - RING)) / BLOCK_RATE + vectors / cut / VECTOR_RATE;
    const double waves = std::ceil(all_blocks / at_once),
                 start = waves > 1 ? LATENCY + UNEVEN : LATENCY;
    const double block = start + std::max(reads * (two ? 1.1 : 1), own * work * (two ? 2 : 1));
    const double meeting = splits > MOST_JOINED ? PASS : splits > 1 ? JOIN + 100 * cut : 0;
    return std::max(waves * block, LATENCY + all / device.bytes_per_cycle) + meeting;
  }
};

constexpr int SPLITS[] = {1, 2, 4, 8, 16, 32, 64};
constexpr int64_t LEAST_PIECE = 64;

struct Cut {
  int piece, splits;
};
Cut cut_of(int64_t k, int64_t splits) {
  int64_t piece = std::max(ceil_div(ceil_div(k, splits), 8) * 8, LEAST_PIECE);
  return {static_cast<int>(piece), static_cast<int>(ceil_div(k, piece))};
}

// The best splits for a plan, and its cycles then.
double best_splits(const DeviceModel& device, Plan& plan, int64_t k, double work) {
  const int64_t many_blocks = 9 * device.processors / 2;
  double best = 0;
  int64_t best_of = 0;
  for (int64_t splits : SPLITS) {
    if (best_of && (splits * LEAST_PIECE > k || plan.blocks * splits > many_blocks)) break;
    plan.splits = splits;
    const double cycles = plan.cycles(device, work);
    if (!best_of || cycles < best) best = cycles, best_of = splits;
  }
  plan.splits = best_of;
  return best;
}

// The kernel, with the sums of its pieces. blocks: of each matrix and piece.
template <class T, class Kernel, class Work>
bool launch_vectors(Call& call, VectorProduct<T> p, const Layout& batch, Kernel kernel,
                    const Work& work, int64_t blocks, const Cut& cut, int64_t shared) {
  if (blocks > MOST_BLOCKS / cut.splits || shared > most_shared(call)) return false;
  p.piece = cut.piece, p.splits = cut.splits,
  p.by_splits = Divisor(static_cast<uint32_t>(cut.splits));
  p.joined = p.splits > 1 && p.splits <= MOST_JOINED && hopper_device(call);
  const int64_t count = batch.n * p.matrix.extent * p.few.extent;
  if (p.splits > 1 && !p.joined) p.pieces = call.scratch<Compute<T>>(p.splits * count);
  launch_thin(call, kernel, p, batch, work, blocks * p.splits, VECTOR_BLOCKS,
              static_cast<int>(shared), p.joined ? p.splits : 1);
  if (!p.pieces) return true;

  Launch how{grid_for(ceil_div(count, 32))};
  how.pdl = hopper_device(call) && how.grid.x <= call.model().processors / 2u;
  launch(call, sum_vector_pieces<T>, how, p.y, p.pieces, count, p.splits);
  return true;
}

int64_t ring_bytes(int64_t steps) {
  return std::min<int64_t>(RING_STAGES, steps) * RING_STAGE_BYTES;
}
int64_t in_packs(int64_t bytes) { return ceil_div(bytes, 32) * 32; }

// After how many rows of k numbers the place within a pack of W repeats.
int64_t rows_apart(int64_t k, int64_t w) {
  while (w > 1 && k % 2 == 0) w /= 2, k /= 2;
  return w;
}

// What plans depend on.
template <class T>
PlanKey key_of(const Call& call, const VectorProduct<T>& p, const Layout& batch) {
  return {call.device(),
          {batch.n, p.matrix.extent, p.few.extent, p.matrix.k},
          wide_lines(p.matrix, batch, p.input)};
}

// Rows, of which a group of lanes has `rows`. A warp's step is `deep` times `abreast` packs of
// each.
struct RowPlan {
  RowWork work;
  int64_t blocks, shared;
  Cut cut;
  double cycles;
};
// chunk: packs of the few vectors that there is room for; vector: bytes of a pack of all of them
template <class T>
RowPlan plan_rows(const DeviceModel& device, const VectorProduct<T>& p, const Layout& batch,
                  int rows, int abreast, int deep, int64_t chunk, double vector, double work) {
  constexpr int W = PACK<T>, MOST_SUM = 256;
  constexpr double LATENCY = 2500, STEP = 100,
                   WAIT = 250;  // for a warp's packs that did not fit the ring
  const int64_t k = p.matrix.k, extent = p.matrix.extent, stride = rows_apart(k, W),
                classes = std::min(stride, extent);
  const int64_t of_class = ceil_div(extent, stride);
  RowPlan best = {};
  for (int lanes = 32; lanes <= BLOCK; lanes *= 2) {
    const int across = lanes / 32 * abreast;
    const int per_block = BLOCK / lanes * rows;
    const int64_t blocks = classes * ceil_div(of_class, per_block);
    const double packs = static_cast<double>(ceil_div(k, W));
    Plan plan{blocks * batch.n, 1,
              static_cast<double>(std::min<int64_t>(per_block, of_class)) * packs * 16,
              packs * vector, static_cast<double>(batch.n * extent) * packs * 16};
    double cycles = best_splits(device, plan, k, work);
    const Cut cut = cut_of(k, plan.splits);
    const int64_t steps = ceil_div(ceil_div(cut.piece, W), across * deep);
    cycles =
        std::max(cycles, LATENCY + static_cast<double>(steps) * STEP +
                             static_cast<double>(std::max<int64_t>(steps - RING_STAGES, 0)) * WAIT);
    // For exactness no lane's sum should be of many products.
    if (cut.piece > lanes * MOST_SUM) cycles *= 1.2;
    if (best.blocks && cycles >= best.cycles * 0.97) continue;
    // All of the few vectors' piece in one chunk, or whole steps.
    const int64_t step = across * deep, needed = ceil_div(ceil_div(cut.piece, W) + 1, 8) * 8;
    if (needed > chunk && step > chunk) break;
    best = {{log2_of(lanes), static_cast<int>(needed <= chunk ? needed : chunk / step * step),
             static_cast<int>(stride), static_cast<int>(classes),
             Divisor(static_cast<uint32_t>(classes)), 0},
            blocks,
            ring_bytes(ceil_div(needed, step)),
            cut,
            cycles};
  }
  return best;
}

template <int F, int ROWS, class T>
RowPlan plan_plain_rows(const DeviceModel& device, const VectorProduct<T>& p, const Layout& batch) {
  constexpr int CHUNK_BYTES = 32 * 1024;
  return plan_rows(device, p, batch, ROWS, 32, RING_PACKS / ROWS, CHUNK_BYTES / (16 * F), 16.0 * F,
                   F / 280.0);
}

template <int F, int ROWS, class T>
bool launch_rows(Call& call, const VectorProduct<T>& p, const Layout& batch, RowPlan plan) {
  constexpr int N = ROWS * F;
  plan.work.ring = static_cast<int>(in_packs(F * (plan.work.chunk + 1) * 16));
  int64_t sums = ((BLOCK / 32 + (BLOCK >> plan.work.log)) * N + SPARE_TOTALS) * sizeof(T);
  return launch_vectors(call, p, batch, vector_rows<F, ROWS, T>, plan.work, plan.blocks, plan.cut,
                        std::max(plan.work.ring + plan.shared, sums));
}

template <int EIGHTS, class T>
bool launch_rows_mma(Call& call, const VectorProduct<T>& p, const Layout& batch) {
  constexpr int F = 8 * EIGHTS, CHUNK = 256 / EIGHTS;
  static thread_local Plans<RowPlan> plans;
  RowPlan plan = plans.at(key_of(call, p, batch), [&] {
    return plan_rows(call.model(), p, batch, MMA_ROWS, 4, MMA_DEEP, CHUNK, 16.0 * F, 0.01);
  });
  plan.work.ring = static_cast<int>(
      in_packs(F * mma_row_pitch(plan.work.chunk) * static_cast<int64_t>(sizeof(T))));
  int64_t sums =
      ((BLOCK / 32 + (BLOCK >> plan.work.log)) * MMA_ROWS * F + SPARE_TOTALS) * sizeof(float);
  return launch_vectors(call, p, batch, vector_rows_mma<EIGHTS, T>, plan.work, plan.blocks,
                        plan.cut, std::max(plan.work.ring + plan.shared, sums));
}

// Columns, with 2^log lanes side by side, from least_log to most_log.
struct ColumnPlan {
  ColumnWork work;
  int64_t blocks, stages;
  Cut cut;
};
template <class T>
ColumnPlan plan_columns(const DeviceModel& device, const VectorProduct<T>& p, const Layout& batch,
                        int least_log, int most_log, double work) {
  constexpr int W = PACK<T>;
  const int64_t extent = p.matrix.extent, k = p.matrix.k;
  const bool aligned = wide_lines(p.matrix, batch, p.input);
  const double all = static_cast<double>(batch.n) * static_cast<double>(k) *
                     static_cast<double>(extent) * sizeof(T);
  ColumnPlan best = {};
  double best_cycles = 0;
  for (int log = most_log; log >= least_log; log--) {
    const int lanes = 1 << log, own = (aligned ? lanes : lanes - 1) * W;
    const int64_t blocks = ceil_div(extent, own);
    // Memory is read in pieces of 64 bytes, and better in longer ones.
    const double apart = blocks == 1              ? 1
                         : own * sizeof(T) >= 112 ? 1
                         : own * sizeof(T) >= 64  ? 1.15
                                                  : 1.6;
    Plan plan{blocks * batch.n, 1, static_cast<double>(lanes * 16) * static_cast<double>(k),
              static_cast<double>(p.few.extent * k * static_cast<int64_t>(sizeof(T))), all * apart};
    const double cycles = best_splits(device, plan, k, work);
    if (best.blocks && cycles >= best_cycles * 0.97) continue;
    best_cycles = cycles;
    const Cut cut = cut_of(k, plan.splits);
    best = {{log, own, 0, 0}, blocks, 0, cut};
  }
  const int step = 8 * RING_PACKS << (5 - best.work.log);
  best.stages = ceil_div(best.cut.piece, step);
  return best;
}

template <int F, class T>
bool launch_columns(Call& call, const VectorProduct<T>& p, const Layout& batch) {
  using C = Compute<T>;
  constexpr int W = PACK<T>, CHUNK_BYTES = (F * sizeof(C) > 64 ? 24 : 32) * 1024;
  // As few lanes as leave room for a step of the few vectors, as many as for the warps' sums.
  constexpr int LEAST_LOG = F * sizeof(C) > 64 ? 2 : 1, MOST_LOG = F * W < 64 ? 5 : 4;
  static thread_local Plans<ColumnPlan> plans;
  ColumnPlan plan = plans.at(key_of(call, p, batch), [&] {
    return plan_columns(call.model(), p, batch, LEAST_LOG, MOST_LOG,
                        is_half<T> ? (F + 1) / 140.0 : F / 280.0);
  });
  const int lanes = 1 << plan.work.log, step = 8 * RING_PACKS << (5 - plan.work.log);
  const int64_t room = CHUNK_BYTES / (F * static_cast<int64_t>(sizeof(C)));
  plan.work.chunk =
      static_cast<int>(std::min(std::max<int64_t>(room / step, 1), plan.stages) * step);
  const int64_t xs = F * (plan.work.chunk + RING_PACKS), totals = F * lanes * W + SPARE_TOTALS;
  plan.work.ring =
      static_cast<int>(in_packs(std::max(xs, totals) * static_cast<int64_t>(sizeof(C))));
  const int64_t parts =
      BLOCK / 32 * F * W * column_sums_pitch(lanes) * static_cast<int64_t>(sizeof(C));
  return launch_vectors(call, p, batch, vector_columns<F, T>, plan.work, plan.blocks, plan.cut,
                        plan.work.ring + std::max(ring_bytes(plan.stages), parts));
}

template <int EIGHTS, class T>
bool launch_columns_mma(Call& call, const VectorProduct<T>& p, const Layout& batch) {
  constexpr int F = 8 * EIGHTS, CHUNK = 1024, STEP = 32 * RING_PACKS;
  static thread_local Plans<ColumnPlan> plans;
  ColumnPlan plan = plans.at(key_of(call, p, batch), [&] {
    return plan_columns(call.model(), p, batch, MMA_COLUMNS_LOG, MMA_COLUMNS_LOG, 0.01);
  });
  plan.work.chunk = static_cast<int>(std::min<int64_t>(CHUNK, plan.stages * STEP));
  const int64_t xs = F * mma_column_pitch(plan.work.chunk) * static_cast<int64_t>(sizeof(T));
  const int64_t totals = (F * MMA_COLUMNS + SPARE_TOTALS) * static_cast<int64_t>(sizeof(float));
  plan.work.ring = static_cast<int>(in_packs(std::max(xs, totals)));
  const int64_t parts = BLOCK / 32 * F * MMA_SUMS_PITCH * static_cast<int64_t>(sizeof(float));
  return launch_vectors(call, p, batch, vector_columns_mma<EIGHTS, T>, plan.work, plan.blocks,
                        plan.cut, plan.work.ring + std::max(ring_bytes(plan.stages), parts));
}

template <int F, class T>
bool launch_few(Call& call, const VectorProduct<T>& p, const Layout& batch) {
  if constexpr (F <= MOST_COLUMNS)
    if (!p.matrix.k_contiguous) return launch_columns<F>(call, p, batch);
  // Some rows at a time save reads of the few vectors; where that leaves threads idle, one.
  constexpr int MANY = F * sizeof(T) > 64 ? 2 : 4;  // sums that fit the registers
  struct Choice {
    RowPlan plan;
    bool many;
  };
  static thread_local Plans<Choice> plans;
  const Choice& best = plans.at(key_of(call, p, batch), [&]() -> Choice {
    const RowPlan many = plan_plain_rows<F, MANY>(call.model(), p, batch),
                  one = plan_plain_rows<F, 1>(call.model(), p, batch);
    return many.cycles <= one.cycles ? Choice{many, true} : Choice{one, false};
  });
  return best.many ? launch_rows<F, MANY>(call, p, batch, best.plan)
                   : launch_rows<F, 1>(call, p, batch, best.plan);
}

template <class T> bool few(Call& call, const Product<T>& product, const Layout& batch) {
  const bool of_a = product.n() <= product.m();  // the matrix is a
  const int64_t n = product.n();
  VectorProduct<T> p{product.c,
                     nullptr,
                     of_a ? product.a : product.b,
                     of_a ? product.b : product.a,
                     of_a ? n : 1,
                     of_a ? 1 : n,
                     of_a ? 0 : 1,
                     0,
                     1,
                     false,
                     {}};
  const int64_t vectors = p.few.extent;
  if (vectors == 1) p.few = along(p.few);  // which is the same
  if (p.matrix.extent == 1) p.matrix = along(p.matrix);
  if constexpr (is_half<T>) {
    if (p.matrix.k_contiguous)
      return vectors <= 8 ? launch_rows_mma<1>(call, p, batch) : launch_rows_mma<2>(call, p, batch);
    // Plain multiply-adds keep up with memory for some vectors, and in small products for more.
    constexpr int64_t SMALL = 1 << 20;
    if (vectors == 1) return launch_columns<1>(call, p, batch);
    if (vectors <= 4) return launch_columns<4>(call, p, batch);
    if (vectors <= 8 && batch.n * p.matrix.extent * p.matrix.k <= SMALL)
      return launch_columns<8>(call, p, batch);
    return vectors <= 8 ? launch_columns_mma<1>(call, p, batch)
                        : launch_columns_mma<2>(call, p, batch);
  } else {
    if (vectors == 1) return launch_few<1>(call, p, batch);
    if (vectors <= 4) return launch_few<4>(call, p, batch);
    return vectors <= 8 ? launch_few<8>(call, p, batch) : launch_few<16>(call, p, batch);
  }
}

template <class T> bool try_thin(Call& call, const Product<T>& p, const Layout& batch) {
  if (!p.a.dense() || !p.b.dense()) return false;
  if (p.k() > MOST_K || (!is_half<T> && tiny(p, batch))) return false;
  if (outer_is_thin(p, batch)) return outer(call, p, batch);
  const int64_t vectors = std::min(p.m(), p.n());
  if (vectors > MOST_FEW || (is_half<T> && !mma_supported(call))) return false;
  // Tiles on tensor cores are faster where they can read the operands as they lie.
  if (is_half<T> && vectors > 2 && wide_lines(p.a, batch, 0) && wide_lines(p.b, batch, 1))
    return false;
  // So are tiles for many vectors, if the matrix is contiguous across k: each number is multiplied
  // apart there.
  if (!is_half<T> && vectors > MOST_COLUMNS && !(p.n() <= p.m() ? p.a : p.b).k_contiguous)
    return false;
  return few(call, p, batch);
}

}  // namespace

bool try_matmul_thin(Call& call, const Product<float>& p, const Layout& batch) {
  return try_thin(call, p, batch);
}
bool try_matmul_thin(Call& call, const Product<double>& p, const Layout& batch) {
  return try_thin(call, p, batch);
}
bool try_matmul_thin(Call& call, const Product<float16>& p, const Layout& batch) {
  return try_thin(call, p, batch);
}
bool try_matmul_thin(Call& call, const Product<bfloat16>& p, const Layout& batch) {
  return try_thin(call, p, batch);
}

}  // namespace cdn
