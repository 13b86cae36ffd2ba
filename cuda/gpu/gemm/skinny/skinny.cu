// The skinny products: which they are, and the launches of outer.h (short k) and of rows.h and
// columns.h (few rows or columns). A GPU has time for some tens of multiply-adds for each float
// that comes or goes. So a product with at most 16 multiply-adds for each number of the larger
// operand, or of c, is bound by memory, and needs enough bytes on their way and few steps one after
// another, not tiles. How k is split depends on the shape and the model of the device.
#include "gpu/gemm/skinny/skinny.h"

#include <algorithm>
#include <cmath>

#include "gpu/gemm/wgmma/wgmma.h"
#include "gpu/gemm/heuristic.h"
#include "gpu/gemm/mma/mma.h"
#include "gpu/gemm/skinny/columns.h"
#include "gpu/gemm/skinny/outer.h"
#include "gpu/gemm/skinny/rows.h"

namespace cdn {
namespace {

constexpr int64_t MOST_FEW = 16, MOST_COLUMNS = 8, MOST_K = int64_t{1} << 30,
                  MOST_BLOCKS = INT32_MAX;

// At least two blocks to a multiprocessor.
int64_t most_shared(const Call& call) { return std::min(call.model().shared_per_block, 99 * 1024); }

// A grid of `blocks` by the batch, in clusters; `most` of them to a multiprocessor.
template <class T, class Work>
void launch_skinny(Call& call, void (*kernel)(T, Batch, Work), const T& p, const Layout& batch,
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

// The same operand where it has one vector or one number of k, so that either may be contiguous.
template <class T> Operand<T> seen(const Operand<T>& x, bool k_contiguous) {
  return {x.data, x.extent, x.k, k_contiguous, k_contiguous ? x.k : x.extent};
}

// ---- Short k

template <class T> bool is_outer(const Product<T>& p, const Layout& batch) {
  constexpr int64_t LEAST_OF_BATCH = 2048;  // small matrices would leave most of a block idle
  return p.k() <= MOST_OUTER_K && (batch.n == 1 || p.size() >= LEAST_OF_BATCH);
}

template <class T> bool outer(Call& call, Product<T> p, const Layout& batch) {
  constexpr int W = PACK<T>, ROWS = OUTER_ROWS;
  const int64_t blocks_wanted = call.model().processors, at_once = OUTER_BLOCKS * blocks_wanted;
  if (p.k() == 1) p.a = seen(p.a, false), p.b = seen(p.b, false);
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
  launch_skinny(call, kernel, p, batch, work, blocks, OUTER_BLOCKS, shared, 1);
  return true;
}

// ---- Few rows or columns

// What a block of a plan moves, and the cycles that all take. Plans depend on the shape, the
// alignment and the model of the device.
struct Traffic {
  int64_t blocks;  // of the batch, for each split of k
  double bytes;    // that a block reads of all of k: of the matrix,
  double vectors;  // and of the few vectors
  double all;      // bytes that come from memory
  double work;     // of the multiply-adds, for a byte of the matrix

  double cycles(const DeviceModel& device, int64_t splits) const {
    // What fits the ring comes at BLOCK_RATE; then the ways there and back set the pace.
    constexpr double LATENCY = 2500, BLOCK_RATE = 50, VECTOR_RATE = 15, REDUCE = 1500, PASS = 4000,
                     UNEVEN = 1500, RING = RING_STAGES * RING_STAGE_BYTES;
    const double alone = device.processors, places = VECTOR_BLOCKS * alone;
    const double cut = static_cast<double>(splits), all_blocks = static_cast<double>(blocks) * cut,
                 own = bytes / cut;
    const double at_once =
        splits > 2 && splits <= MOST_CLUSTER ? places * 0.9 : places;  // clusters leave gaps
    const bool two = all_blocks > alone;                               // to a multiprocessor
    const double reads =
        (own + std::max(0.0, own - RING)) / BLOCK_RATE + vectors / cut / VECTOR_RATE;
    const double waves = std::ceil(all_blocks / at_once),
                 start = waves > 1 ? LATENCY + UNEVEN : LATENCY;
    const double block = start + std::max(reads * (two ? 1.1 : 1), own * work * (two ? 2 : 1));
    const double reduce = splits > MOST_CLUSTER ? PASS : splits > 1 ? REDUCE + 100 * cut : 0;
    return std::max(waves * block, LATENCY + all / device.bytes_per_cycle) + reduce;
  }
};

// How k is split: into `count` of `each` numbers, of which the last may have fewer.
struct Splits {
  int each, count;
  double cycles;
};

Splits best_splits(const DeviceModel& device, int64_t k, const Traffic& traffic) {
  constexpr int64_t SPLITS[] = {1, 2, 4, 8, 16, 32, 64}, LEAST = 64;
  const int64_t many_blocks = 9 * device.processors / 2;
  Splits best = {};
  for (int64_t splits : SPLITS) {
    if (best.count && (splits * LEAST > k || traffic.blocks * splits > many_blocks)) break;
    const double cycles = traffic.cycles(device, splits);
    if (best.count && cycles >= best.cycles) continue;
    const int64_t each = std::max(ceil_div(ceil_div(k, splits), 8) * 8, LEAST);
    best = {static_cast<int>(each), static_cast<int>(ceil_div(k, each)), cycles};
  }
  return best;
}

int64_t ring_bytes(int64_t steps) {
  return std::min<int64_t>(RING_STAGES, steps) * RING_STAGE_BYTES;
}
int64_t in_packs(int64_t bytes) { return ceil_div(bytes, 32) * 32; }

// How a product is done. blocks: of each matrix and split.
template <class T> struct VectorPlan {
  void (*kernel)(VectorProduct<T>, Batch, VectorWork);
  VectorWork work;
  Splits k;
  int64_t blocks, shared;
};

// After how many rows of k numbers the place within a pack of W repeats.
int64_t rows_apart(int64_t k, int64_t w) {
  while (w > 1 && k % 2 == 0) w /= 2, k /= 2;
  return w;
}

// Rows, of which a group of lanes has Sums::ROWS.
template <class Sums, class T>
VectorPlan<T> plan_rows(const DeviceModel& device, const VectorProduct<T>& p, const Layout& batch) {
  constexpr int W = PACK<T>, F = Sums::F, CHUNK = Sums::CHUNK, MOST_SUM = 256;
  constexpr double LATENCY = 2500, STEP = 100,
                   WAIT = 250;  // for a warp's packs that did not fit the ring
  const int64_t k = p.matrix.k, extent = p.matrix.extent, stride = rows_apart(k, W),
                classes = std::min(stride, extent);
  const int64_t of_class = ceil_div(extent, stride);
  const double bytes = static_cast<double>(ceil_div(k, W) * 16);  // of a row
  VectorPlan<T> best = {};
  for (int lanes = 32; lanes <= BLOCK; lanes *= 2) {
    const int step = lanes / 32 * Sums::ABREAST * (RING_PACKS / Sums::READ);  // in packs
    const int64_t groups = BLOCK / lanes, per_block = groups * Sums::ROWS;
    const int64_t blocks = classes * ceil_div(of_class, per_block);
    Splits splits =
        best_splits(device, k,
                    {blocks * batch.n, static_cast<double>(std::min(per_block, of_class)) * bytes,
                     bytes * F, static_cast<double>(batch.n * extent) * bytes, Sums::WORK});
    const int64_t steps = ceil_div(ceil_div(splits.each, W), step);
    splits.cycles = std::max(
        splits.cycles, LATENCY + static_cast<double>(steps) * STEP +
                           static_cast<double>(std::max<int64_t>(steps - RING_STAGES, 0)) * WAIT);
    // For exactness no lane's sum should be of many products.
    if (splits.each > lanes * MOST_SUM) splits.cycles *= 1.2;
    if (best.kernel && splits.cycles >= best.k.cycles * 0.97) continue;
    // All of the few vectors' split in one chunk, or whole steps.
    const int64_t needed = ceil_div(ceil_div(splits.each, W) + 1, 8) * 8;
    if (needed > CHUNK && step > CHUNK) break;
    const int64_t chunk = needed <= CHUNK ? needed : CHUNK / step * step,
                  ring = in_packs(F * (chunk + Sums::PAD) * 16);
    const int64_t sums =
        ((BLOCK / 32 + groups) * Sums::ROWS * F + SPARE_TOTALS) * sizeof(Compute<T>);
    best = {
        vector_rows<Sums, T>,
        {log2_of(lanes), static_cast<int>(chunk), static_cast<int>(ring), static_cast<int>(stride),
         static_cast<int>(classes), Divisor(static_cast<uint32_t>(classes))},
        splits,
        blocks,
        std::max(ring + ring_bytes(ceil_div(needed, step)), sums)};
  }
  return best;
}

// Columns, with 2^log lanes side by side.
template <class Sums, class T>
VectorPlan<T> plan_columns(const DeviceModel& device, const VectorProduct<T>& p,
                           const Layout& batch) {
  constexpr int W = PACK<T>, F = Sums::F;
  const int64_t extent = p.matrix.extent, k = p.matrix.k;
  const bool aligned = wide_lines(p.matrix, batch, p.input);
  const double all = static_cast<double>(batch.n) * static_cast<double>(k) *
                     static_cast<double>(extent) * sizeof(T);
  VectorPlan<T> best = {};
  for (int log = Sums::MOST_LOG; log >= Sums::LEAST_LOG; log--) {
    const int lanes = 1 << log, own = (aligned ? lanes : lanes - 1) * W;
    const int64_t blocks = ceil_div(extent, own);
    // Memory is read in pieces of 64 bytes, and better in longer ones.
    const double apart = blocks == 1              ? 1
                         : own * sizeof(T) >= 112 ? 1
                         : own * sizeof(T) >= 64  ? 1.15
                                                  : 1.6;
    const Splits splits =
        best_splits(device, k,
                    {blocks * batch.n, static_cast<double>(lanes * 16 * k),
                     static_cast<double>(p.few.extent * k * static_cast<int64_t>(sizeof(T))),
                     all * apart, Sums::WORK});
    if (best.kernel && splits.cycles >= best.k.cycles * 0.97) continue;
    const int step = column_step(log);
    const int64_t steps = ceil_div(splits.each, step),
                  chunk = std::min<int64_t>(std::max(Sums::CHUNK / step, 1), steps) * step;
    const int64_t xs = F * (chunk + Sums::PAD) * sizeof(typename Sums::X),
                  totals = (F * lanes * W + SPARE_TOTALS) * sizeof(Compute<T>),
                  ring = in_packs(std::max(xs, totals));
    const int64_t parts =
        BLOCK / 32 * F * (W * column_sums_pitch(lanes) + Sums::SUMS_PAD) * sizeof(Compute<T>);
    best = {vector_columns<Sums, T>,
            {log, static_cast<int>(chunk), static_cast<int>(ring), 1, 1, {}, own},
            splits,
            blocks,
            ring + std::max(ring_bytes(steps), parts)};
  }
  return best;
}

// By plain multiply-adds, with room for F vectors.
template <int F, class T>
VectorPlan<T> plan_plain(const DeviceModel& device, const VectorProduct<T>& p,
                         const Layout& batch) {
  if constexpr (F <= MOST_COLUMNS)
    if (!p.matrix.k_contiguous) return plan_columns<ColumnSums<F, T>>(device, p, batch);
  if constexpr (!is_half<T>) {
    // Some rows at a time save reads of the few vectors; where that leaves threads idle, one.
    constexpr int MANY = F * sizeof(T) > 64 ? 2 : 4;  // sums that fit the registers
    const VectorPlan<T> many = plan_rows<RowSums<F, MANY, T>>(device, p, batch),
                        one = plan_rows<RowSums<F, 1, T>>(device, p, batch);
    return many.k.cycles <= one.k.cycles ? many : one;
  }
  return {};
}

template <class T>
VectorPlan<T> plan_vectors(const DeviceModel& device, const VectorProduct<T>& p,
                           const Layout& batch) {
  const int64_t vectors = p.few.extent;
  if constexpr (is_half<T>) {
    // Plain multiply-adds keep up with memory for some vectors, and in small products for more.
    constexpr int64_t SMALL = 1 << 20;
    if (p.matrix.k_contiguous)
      return vectors <= 8 ? plan_rows<MmaRowSums<1, T>>(device, p, batch)
                          : plan_rows<MmaRowSums<2, T>>(device, p, batch);
    if (vectors > 8) return plan_columns<MmaColumnSums<2, T>>(device, p, batch);
    if (vectors > 4 && batch.n * p.matrix.extent * p.matrix.k > SMALL)
      return plan_columns<MmaColumnSums<1, T>>(device, p, batch);
  }
  if (vectors == 1) return plan_plain<1>(device, p, batch);
  if (vectors <= 4) return plan_plain<4>(device, p, batch);
  return vectors <= 8 ? plan_plain<8>(device, p, batch) : plan_plain<16>(device, p, batch);
}

template <class T> bool few(Call& call, const Product<T>& product, const Layout& batch) {
  const int64_t n = product.n();
  const bool of_a = n <= product.m();  // the matrix is a
  VectorProduct<T> p = of_a ? VectorProduct<T>{product.c, product.a, product.b, n, 1, 0}
                            : VectorProduct<T>{product.c, product.b, product.a, 1, n, 1};
  if (p.few.extent == 1) p.few = seen(p.few, true);
  if (p.matrix.extent == 1) p.matrix = seen(p.matrix, true);
  static thread_local Plans<VectorPlan<T>> plans;
  const int64_t kind = wide_lines(p.matrix, batch, p.input) + 2 * p.matrix.k_contiguous;
  const VectorPlan<T>& plan =
      plans.at({call.device(), {batch.n, p.matrix.extent, p.few.extent, p.matrix.k}, kind},
               [&] { return plan_vectors(call.model(), p, batch); });
  p.split_k = plan.k.each, p.splits = plan.k.count;
  if (plan.blocks > MOST_BLOCKS / p.splits || plan.shared > most_shared(call)) return false;
  p.by_splits = Divisor(static_cast<uint32_t>(p.splits));
  p.by_cluster = p.splits > 1 && p.splits <= MOST_CLUSTER && hopper_device(call);
  const int64_t count = batch.n * p.matrix.extent * p.few.extent;
  if (p.splits > 1 && !p.by_cluster) p.partials = call.scratch<Compute<T>>(p.splits * count);
  launch_skinny(call, plan.kernel, p, batch, plan.work, plan.blocks * p.splits, VECTOR_BLOCKS,
                static_cast<int>(plan.shared), p.by_cluster ? p.splits : 1);
  if (!p.partials) return true;

  Launch how{grid_for(ceil_div(count, 32))};
  how.pdl = hopper_device(call) && how.grid.x <= call.model().processors / 2u;
  launch(call, sum_partials<T>, how, p.y, p.partials, count, p.splits);
  return true;
}

}  // namespace

template <class T> bool try_matmul_thin(Call& call, const Product<T>& p, const Layout& batch) {
  if (!p.a.dense() || !p.b.dense()) return false;
  if (p.k() > MOST_K || (!is_half<T> && tiny(p, batch))) return false;
  if (is_outer(p, batch)) return outer(call, p, batch);
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
template bool try_matmul_thin(Call&, const Product<float>&, const Layout&);
template bool try_matmul_thin(Call&, const Product<double>&, const Layout&);
template bool try_matmul_thin(Call&, const Product<float16>&, const Layout&);
template bool try_matmul_thin(Call&, const Product<bfloat16>&, const Layout&);

}  // namespace cdn
