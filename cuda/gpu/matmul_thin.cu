// The thin products: which they are, and the launches of matmul_outer.h (short k) and of matmul_vector.h and
// matmul_vector_mma.h (few rows or columns). An H200 brings 4.8 TB in the time of some 30 T multiply-adds of float: up
// to about 25 for each float that comes or goes. So a product with at most 16 multiply-adds for each number of the
// larger operand, or of c, is bound by memory, and needs enough bytes on their way and few steps one after another, not
// tiles. How k is cut depends on the shape only, so that all GPUs add in the same order.
#include "matmul_thin.h"

#include <algorithm>

#include "device.h"
#include "matmul_hopper.h"
#include "matmul_mma.h"
#include "matmul_outer.h"
#include "matmul_pieces.h"
#include "matmul_vector.h"
#include "matmul_vector_mma.h"

namespace cdn {
namespace {

constexpr int64_t MOST_FEW = 16, MOST_K = int64_t{1} << 30, MOST_BLOCKS = INT32_MAX;

// A grid of `blocks` by the batch, in clusters. Few blocks may take their places while the kernel before them ends;
// more would find them unevenly.
template <class... P, class Start>
void launch_thin(Call& call, void (*kernel)(P...), const Layout& batch, int64_t blocks, int shared, int cluster,
                 Start&& start) {
  constexpr int64_t MOST_CHAINED = 66;
  allow_shared(call, reinterpret_cast<const void*>(kernel), shared);
  const bool hopper = hopper_device(call);
  in_launches(batch, [&](const Batch& part, unsigned z) {
    cudaLaunchAttribute attributes[2];
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(static_cast<unsigned>(blocks), 1, z);
    config.blockDim = BLOCK;
    config.dynamicSmemBytes = static_cast<size_t>(shared);
    config.stream = stream_of(call);
    config.attrs = attributes;
    if (hopper && blocks * z <= MOST_CHAINED) {
      attributes[config.numAttrs].id = cudaLaunchAttributeProgrammaticStreamSerialization;
      attributes[config.numAttrs++].val.programmaticStreamSerializationAllowed = 1;
    }
    if (cluster > 1) {
      attributes[config.numAttrs].id = cudaLaunchAttributeClusterDimension;
      attributes[config.numAttrs].val.clusterDim.x = static_cast<unsigned>(cluster);
      attributes[config.numAttrs].val.clusterDim.y = attributes[config.numAttrs].val.clusterDim.z = 1;
      config.numAttrs++;
    }
    start(config, part);
  });
}

// ---- Short k

template <class T> bool outer_is_thin(const Product<T>& p, const Layout& batch) {
  // Small matrices would leave most of a block idle: there are better kernels for many of them. Converted sums of 16
  // take more time than their stores, which counts once c is large.
  constexpr int64_t LEAST_OF_BATCH = 2048, MOST_HALVES = 4 << 20;
  if (p.k() > MOST_OUTER_K || (batch.n > 1 && p.size() < LEAST_OF_BATCH)) return false;
  return !is_half<T> || p.k() <= 8 || p.size() <= MOST_HALVES / batch.n;
}

template <int ROWS, class T> bool launch_outer(Call& call, const Product<T>& p, const Layout& batch, int lanes) {
  constexpr int W = OUTER_COLUMNS<T>;
  int rows = BLOCK / lanes * ROWS, columns = lanes * W;
  int64_t column_blocks = ceil_div(p.n(), columns), blocks = ceil_div(p.m(), rows) * column_blocks;
  if (blocks > MOST_BLOCKS) return false;
  bool wide = reinterpret_cast<uintptr_t>(p.c) % (W * sizeof(T)) == 0 && p.n() % W == 0;
  int shared = static_cast<int>(p.k()) * (outer_pitch(rows) + outer_pitch(columns)) * sizeof(Compute<T>);
  auto kernel = wide ? outer_products<ROWS, true, T> : outer_products<ROWS, false, T>;
  OuterWork work{lanes, static_cast<uint32_t>(column_blocks)};
  launch_thin(call, kernel, batch, blocks, shared, 1, [&](const cudaLaunchConfig_t& config, const Batch& part) {
    CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, p, part, work));
  });
  return true;
}

template <class T> bool outer(Call& call, Product<T> p, const Layout& batch) {
  constexpr int W = OUTER_COLUMNS<T>, MANY_ROWS = 8, FEW_ROWS = 2;
  constexpr int64_t BLOCKS_WANTED = 528;
  if (p.k() == 1) p.a.k_contiguous = p.b.k_contiguous = false;  // which is the same
  int lanes = 4;
  while (lanes < 32 && lanes * W < p.n()) lanes *= 2;
  bool many = batch.n * ceil_div(p.m(), BLOCK / lanes * MANY_ROWS) * ceil_div(p.n(), lanes * W) >= BLOCKS_WANTED;
  int rows = many ? MANY_ROWS : FEW_ROWS;
  while (lanes < BLOCK && lanes * W < p.n() && BLOCK / lanes * rows >= 2 * p.m()) lanes *= 2;
  return many ? launch_outer<MANY_ROWS>(call, p, batch, lanes) : launch_outer<FEW_ROWS>(call, p, batch, lanes);
}

// ---- Few rows or columns

// With 64 bytes on their way for each thread, 6 MB of all; and for blocks with 16 KB, which 32 KB are worth two of.
constexpr int64_t THREADS_WANTED = 100000, BLOCKS_OF_16K = 264, BLOCKS_OF_32K = 132;

// k in pieces for `blocks` blocks that would read `bytes` each of the whole of k, where `wanted` blocks are enough. A
// cluster costs about a microsecond, in which a block reads some 50 KB, and a second kernel more than two.
struct Cut {
  int piece, splits;
};
Cut cut_of(int64_t k, int64_t blocks, double bytes, int64_t wanted) {
  constexpr double WORTH_JOINING = 64e3, WORTH_A_PASS = 300e3;
  constexpr int64_t MOST_SPLITS = 64, LEAST_PIECE = 64;
  int64_t splits = 1;
  while (splits < MOST_JOINED && blocks * splits < wanted && bytes / splits >= WORTH_JOINING) splits *= 2;
  if (splits == MOST_JOINED)
    while (splits < MOST_SPLITS && blocks * splits < wanted && bytes / splits >= WORTH_A_PASS) splits *= 2;
  int64_t piece = std::max(ceil_div(ceil_div(k, splits), 8) * 8, LEAST_PIECE);
  return {static_cast<int>(piece), static_cast<int>(ceil_div(k, piece))};
}

// The kernel, with the sums of its pieces. blocks: of each matrix and piece.
template <class T, class Kernel, class Work>
bool launch_vectors(Call& call, VectorProduct<T> p, const Layout& batch, Kernel kernel, const Work& work,
                    int64_t blocks, const Cut& cut, int64_t shared) {
  if (blocks > MOST_BLOCKS / cut.splits) return false;
  p.piece = cut.piece, p.splits = cut.splits;
  p.joined = p.splits > 1 && p.splits <= MOST_JOINED && hopper_device(call);
  int64_t count = batch.n * p.matrix.extent * p.few.extent;
  if (p.splits > 1 && !p.joined) p.pieces = call.scratch<Compute<T>>(p.splits * count);
  launch_thin(call, kernel, batch, blocks * p.splits, static_cast<int>(shared), p.joined ? p.splits : 1,
              [&](const cudaLaunchConfig_t& config, const Batch& part) {
                CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, p, part, work));
              });
  if (p.pieces) sum_all_pieces(call, p.y, p.pieces, count, p.splits);
  return true;
}

// After how many rows of k numbers the place within a pack of W repeats.
int64_t rows_apart(int64_t k, int64_t w) {
  while (w > 1 && k % 2 == 0) w /= 2, k /= 2;
  return w;
}

// Rows, of which a group of lanes has `rows`, and reads `deep` packs of each at a time.
struct RowPlan {
  RowWork work;
  int64_t blocks;
  Cut cut;
};
template <class T>
RowPlan plan_rows(const VectorProduct<T>& p, const Layout& batch, int rows, int step, int least_lanes, int most_lanes,
                  int64_t chunk) {
  constexpr int W = PACK<T>;
  const int64_t k = p.matrix.k, stride = rows_apart(k, W), classes = std::min(stride, p.matrix.extent);
  const int64_t of_class = ceil_div(p.matrix.extent, stride), groups = classes * ceil_div(of_class, rows) * batch.n;
  // More lanes for more reads at a time, and where sums would be of more than 256 products of a lane, for exactness.
  int lanes = least_lanes;
  while (lanes < most_lanes && lanes * 2 * W * step / least_lanes <= k &&
         (groups * lanes < THREADS_WANTED || lanes * 256 < k))
    lanes *= 2;
  const int per_block = BLOCK / lanes * rows;
  RowPlan plan;
  plan.blocks = classes * ceil_div(of_class, per_block);
  double bytes = static_cast<double>(per_block) * static_cast<double>(k) * sizeof(T);
  plan.cut = cut_of(k, plan.blocks * batch.n, bytes, is_half<T> ? BLOCKS_OF_32K : BLOCKS_OF_16K);
  const int64_t at_once = static_cast<int64_t>(lanes) * step / least_lanes;  // packs along k
  chunk = std::max(chunk, at_once);
  const int64_t needed = ceil_div(ceil_div(plan.cut.piece, W) + 1, at_once) * at_once;
  plan.work = {lanes, static_cast<int>(std::min(chunk, needed)), static_cast<int>(stride), static_cast<int>(classes)};
  return plan;
}

template <int F, int ROWS, class T> bool launch_rows(Call& call, const VectorProduct<T>& p, const Layout& batch) {
  constexpr int DEEP = F * sizeof(T) > 64 ? 1 : 4 / ROWS, CHUNK_BYTES = 32 * 1024, MOST_BYTES = 64 * 1024, N = ROWS * F;
  constexpr int MOST_LANES = std::min(BLOCK, MOST_BYTES / (16 * F * DEEP));
  RowPlan plan = plan_rows(p, batch, ROWS, 32 * DEEP, 32, MOST_LANES, CHUNK_BYTES / (16 * F));
  int64_t xs = F * (plan.work.chunk + 1) * 16, sums = (BLOCK / 32 + BLOCK / plan.work.lanes) * N * sizeof(T);
  return launch_vectors(call, p, batch, vector_rows<F, ROWS, DEEP, T>, plan.work, plan.blocks, plan.cut,
                        std::max(xs, sums));
}

template <int EIGHTS, class T> bool launch_rows_mma(Call& call, const VectorProduct<T>& p, const Layout& batch) {
  constexpr int F = 8 * EIGHTS, CHUNK = 256 / EIGHTS, STEP = 4 * MMA_DEEP;
  RowPlan plan = plan_rows(p, batch, MMA_ROWS, STEP, 32, BLOCK, CHUNK);
  int64_t xs = static_cast<int64_t>(F) * mma_row_pitch(plan.work.chunk) * sizeof(T);
  int64_t sums = (BLOCK / 32 + BLOCK / plan.work.lanes) * MMA_ROWS * F * sizeof(float);
  return launch_vectors(call, p, batch, vector_rows_mma<EIGHTS, T>, plan.work, plan.blocks, plan.cut,
                        std::max(xs, sums));
}

template <int F, class T> bool launch_columns(Call& call, const VectorProduct<T>& p, const Layout& batch) {
  constexpr int W = PACK<T>, AT_ONCE = std::min(F, 8), CHUNK_BYTES = 32 * 1024;
  constexpr int64_t BLOCKS_WANTED = 400;
  const int64_t extent = p.matrix.extent, k = p.matrix.k;
  const bool aligned = wide_lines(p.matrix, batch, p.input);
  auto own = [&](int lanes) { return (aligned ? lanes : lanes - 1) * W; };
  auto blocks = [&](int lanes) { return ceil_div(extent, own(lanes)); };
  // As few lanes as take all columns, and fewer where there are not blocks enough. Not so few that the lane to spare
  // counts, or that there are no lines for the threads.
  int lanes = 32;
  while (lanes > 4 && own(lanes / 2) >= extent) lanes /= 2;
  while (lanes > (aligned ? 8 : 16) && blocks(lanes) * MOST_JOINED * batch.n < BLOCKS_WANTED &&
         k >= BLOCK / (lanes / 2) * COLUMN_LINES * 2)
    lanes /= 2;
  const int64_t step = BLOCK / lanes * COLUMN_LINES, columns = lanes * W;
  Cut cut = cut_of(k, blocks(lanes) * batch.n, static_cast<double>(columns * k) * sizeof(T), BLOCKS_OF_16K);
  int64_t chunk = std::max<int64_t>(CHUNK_BYTES / (F * static_cast<int64_t>(sizeof(T))), step);
  chunk = std::min(chunk, ceil_div(cut.piece, step) * step);
  int64_t xs = F * (chunk + COLUMN_LINES), parts = AT_ONCE * (BLOCK / lanes) * (columns + W);
  ColumnWork work{lanes, own(lanes), static_cast<int>(chunk)};
  return launch_vectors(call, p, batch, vector_columns<F, T>, work, blocks(lanes), cut,
                        (F * columns + std::max(xs, parts)) * static_cast<int64_t>(sizeof(T)));
}

template <int EIGHTS, class T> bool launch_columns_mma(Call& call, const VectorProduct<T>& p, const Layout& batch) {
  constexpr int F = 8 * EIGHTS, CHUNK = 1024, W = PACK<T>;
  const int64_t extent = p.matrix.extent, k = p.matrix.k;
  const int own = wide_lines(p.matrix, batch, p.input) ? MMA_COLUMNS : MMA_COLUMNS - W;
  const int64_t blocks = ceil_div(extent, own);
  Cut cut = cut_of(k, blocks * batch.n, static_cast<double>(own * k) * sizeof(T), BLOCKS_OF_32K);
  int64_t chunk = std::min<int64_t>(CHUNK, ceil_div(cut.piece, MMA_STEP) * MMA_STEP);
  int64_t xs = F * mma_column_pitch(static_cast<int>(chunk)) * static_cast<int64_t>(sizeof(T));
  int64_t parts = BLOCK / 32 * 8 * (MMA_COLUMNS + W) * static_cast<int64_t>(sizeof(float));
  ColumnWork work{32, own, static_cast<int>(chunk)};
  return launch_vectors(call, p, batch, vector_columns_mma<EIGHTS, T>, work, blocks, cut,
                        F * MMA_COLUMNS * static_cast<int64_t>(sizeof(float)) + std::max(xs, parts));
}

template <int F, class T> bool launch_few(Call& call, const VectorProduct<T>& p, const Layout& batch) {
  if (!p.matrix.k_contiguous) return launch_columns<F>(call, p, batch);
  // Four rows at a time halve the reads of the few vectors, and more; where that leaves threads idle, one.
  constexpr int W = PACK<T>;
  const double packs = static_cast<double>(batch.n) * static_cast<double>(p.matrix.extent) *
                       static_cast<double>(ceil_div(p.matrix.k, W));
  const bool many = p.matrix.extent >= 16 * rows_apart(p.matrix.k, W) && packs / 4 >= THREADS_WANTED / 2;
  constexpr int MANY = F * sizeof(T) > 64 ? 2 : 4;  // sums that fit the registers
  return many ? launch_rows<F, MANY>(call, p, batch) : launch_rows<F, 1>(call, p, batch);
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
                     false};
  const int64_t vectors = p.few.extent;
  if (vectors == 1) p.few.k_contiguous = true;  // which is the same
  if (p.matrix.extent == 1) p.matrix.k_contiguous = true;
  if constexpr (is_half<T>) {
    if (p.matrix.k_contiguous)
      return vectors <= 8 ? launch_rows_mma<1>(call, p, batch) : launch_rows_mma<2>(call, p, batch);
    return vectors <= 8 ? launch_columns_mma<1>(call, p, batch) : launch_columns_mma<2>(call, p, batch);
  } else {
    if (vectors == 1) return launch_few<1>(call, p, batch);
    if (vectors <= 4) return launch_few<4>(call, p, batch);
    return vectors <= 8 ? launch_few<8>(call, p, batch) : launch_few<16>(call, p, batch);
  }
}

// A thread for each output is better than a block for each matrix.
template <class T> bool tiny(const Product<T>& p, const Layout& batch) {
  return !is_half<T> && batch.n > 1 && p.size() <= 256 && p.k() <= 64;
}

template <class T> bool try_thin(Call& call, const Product<T>& p, const Layout& batch) {
  if (p.k() > MOST_K || tiny(p, batch)) return false;
  if (outer_is_thin(p, batch)) return outer(call, p, batch);
  if (std::min(p.m(), p.n()) > MOST_FEW || (is_half<T> && !mma_supported(call))) return false;
  return few(call, p, batch);
}

}  // namespace

bool try_matmul_thin(Call& call, const Product<float>& p, const Layout& batch) { return try_thin(call, p, batch); }
bool try_matmul_thin(Call& call, const Product<double>& p, const Layout& batch) { return try_thin(call, p, batch); }
bool try_matmul_thin(Call& call, const Product<float16>& p, const Layout& batch) { return try_thin(call, p, batch); }
bool try_matmul_thin(Call& call, const Product<bfloat16>& p, const Layout& batch) { return try_thin(call, p, batch); }

}  // namespace cdn
