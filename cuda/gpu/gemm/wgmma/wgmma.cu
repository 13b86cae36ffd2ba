// matmul_hopper: what a product needs before and around matmul_wgmma. Operands become boxes that
// TMA can read (copied where lines are not multiples of 16 bytes, rounded or cut where they are
// float), the tile and the pieces of k are chosen by estimated clock cycles, and a launch is made
// for each row of the batch at even distances, as TMA walks no others.
#include "gpu/gemm/wgmma/wgmma.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "gpu/gemm/heuristic.h"
#include "gpu/gemm/repack.h"
#include "gpu/gemm/split_k.h"
#include "gpu/gemm/wgmma/kernel.h"

namespace cdn {
namespace {

// ---- Batches: TMA walks matrices at a fixed distance; for other layouts there is a launch for
// each such row of them

constexpr int64_t MOST_LAUNCHES = 64;

bool walkable(const Layout& batch) {
  int64_t inner = batch.rank == 0 ? 1 : batch.extent[batch.rank - 1];
  return inner <= 65535 && batch.n / inner <= MOST_LAUNCHES;
}

Matrices last_row(const Layout& batch) {
  const int32_t last = batch.rank - 1;
  return last < 0 ? Matrices{}
                  : Matrices{batch.extent[last], batch.stride[0][last], batch.stride[1][last]};
}

// f(the product at a row's first place, its matrices, the number of places before it)
template <class T, class F> void for_each_row(const Product<T>& p, const Layout& batch, F&& f) {
  const Matrices inner = last_row(batch);
  for (int64_t first = 0; first < batch.n; first += inner.count) {
    Product<T> row = p;
    BatchOffsets at = batch_offsets(batch, first);
    row.a.data += at.a;
    row.b.data += at.b;
    row.c += p.c ? first * p.size() : 0;
    f(row, inner, first);
  }
}

// ---- Tensor maps

using Encode = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*,
                            const cuuint64_t*, const cuuint32_t*, const cuuint32_t*,
                            CUtensorMapInterleave, CUtensorMapSwizzle, CUtensorMapL2promotion,
                            CUtensorMapFloatOOBfill);

// The driver's function, found at run time: the library is not linked with the driver, so that it
// loads without one.
Encode encode_function() {
  static Encode found = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult result;
    CUDA_CHECK(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000,
                                                cudaEnableDefault, &result));
    if (!function) CDN_FAIL(CDN_UNSUPPORTED, "the CUDA driver has no cuTensorMapEncodeTiled");
    return reinterpret_cast<Encode>(function);
  }();
  return found;
}

// `count` matrices of 16-bit numbers, `step` elements apart, of `lines` lines of `cols` numbers, ld
// apart; in boxes of 64 columns and `height` lines.
struct Lines {
  const void* data;
  int64_t cols, lines, ld, count, step;
};

bool fits(const Lines& x) {
  constexpr int64_t MOST = INT32_MAX;
  return x.cols <= MOST && x.lines <= MOST && x.count <= MOST && x.ld % 8 == 0 && x.step % 8 == 0 &&
         aligned16(x.data) && x.step < int64_t{1} << 38;
}

CUtensorMap tensor_map(const Lines& x, int height) {
  CUtensorMap map;
  cuuint64_t extents[3] = {(cuuint64_t)x.cols, (cuuint64_t)x.lines, (cuuint64_t)x.count};
  int64_t step = x.step ? x.step : x.lines * x.ld;
  cuuint64_t bytes[2] = {(cuuint64_t)x.ld * 2, (cuuint64_t)step * 2};
  cuuint32_t box[3] = {64, (cuuint32_t)height, 1}, ones[3] = {1, 1, 1};
  CUresult status =
      encode_function()(&map, CU_TENSOR_MAP_DATA_TYPE_UINT16, 3, const_cast<void*>(x.data), extents,
                        bytes, box, ones, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                        CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS)
    CDN_FAIL(CDN_INTERNAL, "cuTensorMapEncodeTiled: status %d for %lld x %lld x %lld, %lld apart",
             (int)status, (long long)x.count, (long long)x.lines, (long long)x.cols,
             (long long)x.ld);
  return map;
}

// ---- Operands as TMA can read them

struct Readable {
  Lines lines;           // of all matrices, and of all planes one after another
  int32_t moves;         // 0 where all places of the batch use one matrix
  int32_t planes_apart;  // in matrices
  const int32_t* info = nullptr;
};

template <class T> Lines as_they_lie(const Operand<T>& x, int64_t count, int64_t step) {
  return {x.data, x.length(), x.lines(), x.ld, count, step};
}

// `count` matrices at a distance.
Layout in_a_row(int64_t count, int64_t step) {
  Layout layout;
  if (count > 1) layout.rank = 1, layout.extent[0] = count, layout.stride[0][0] = step;
  layout.n = count;
  return layout;
}

// As T, in lines of whole 16-byte pieces; to be copied if they are not so already.
template <class T, class From>
Readable readable(Call& call, const Operand<From>& x, const Matrices& batch, int64_t step,
                  LinesCopy<T, From>* copy) {
  int64_t count = step ? batch.count : 1;
  Lines lines = as_they_lie(x, count, step);
  if (!std::is_same<T, From>::value || !fits(lines)) {
    lines.ld = ceil_div(lines.cols, 8) * 8;
    lines.step = lines.lines * lines.ld;
    T* to = call.scratch<T>(count * lines.step);
    *copy = lines_copy(to, x, in_a_row(count, step), lines.ld);
    lines.data = to;
  }
  return {lines, step ? 1 : 0, 0};
}

struct Operands {
  Readable a, b;
};
template <class T, class From>
Operands readable(Call& call, const Product<From>& p, const Matrices& batch) {
  LinesCopy<T, From> a, b;
  Operands out{readable<T>(call, p.a, batch, batch.a_step, &a),
               readable<T>(call, p.b, batch, batch.b_step, &b)};
  repack(call, a, b);
  return out;
}

Readable readable(const CutOperand& x, int64_t cols, int64_t step, int planes) {
  return {{x.planes, cols, x.lines, x.ld, x.matrices * planes, x.lines * x.ld},
          step ? 1 : 0,
          static_cast<int32_t>(x.matrices),
          x.info};
}

// ---- The choice of a tile

constexpr int64_t BK = 64;

struct Plan {
  WgmmaExtent tile;
  Splitting k;
  double cycles;
};

TileCost cost_of(WgmmaExtent tile, int planes, bool boxes_out) {
  constexpr double SHARED_BYTES = 130, STORE_WORDS = 1500, EACH_WORD = 0.35;
  const int products = planes == 2 ? 3 : 1;
  // Of the tensor cores' rate; with two planes sums are added up in between.
  const double busy = planes == 2 ? 0.78 : 0.92;
  // A step: the tensor cores' work, or shared memory's. Of this each 64 rows read their own part of
  // a and all of b, and what comes is written.
  const double size = tile.bm * tile.bn, multiply = size / 32 * products / busy;
  const double bytes =
      BK * 2.0 * (tile.bm / 64 * (64 + tile.bn) * products + (tile.bm + tile.bn) * planes);
  return {tile.bm,
          tile.bn,
          BK,
          1,
          size * BK / std::max(multiply, bytes / SHARED_BYTES),
          1,
          (500 + tile.bn * 4 + (boxes_out ? 0 : STORE_WORDS + EACH_WORD * size)) / size,
          wgmma_has_one_item(tile.bm, tile.bn)};
}

// The tiles that there are, those with most reuse first; with an epilogue not all.
std::vector<TileCost> tiles_of(HopperMethod method, bool fused, bool boxes_out) {
  std::vector<WgmmaExtent> all = {{128, 256}, {128, 128}, {128, 64}, {64, 128}, {64, 64}};
  if (method == HopperMethod::FP32) all = {{128, 128}, {128, 64}};
  if (method == HopperMethod::TF32) all = {{128, 256}, {128, 64}};
  std::vector<TileCost> some;
  for (WgmmaExtent tile : all)
    if (!fused || wgmma_has_one_item(tile.bm, tile.bn))
      some.push_back(cost_of(tile, method == HopperMethod::FP32 ? 2 : 1, boxes_out));
  return some;
}

FamilyCost family_cost() {
  FamilyCost family{1900, 2, sizeof(float)};
  family.l2_rate = 1e9;  // by multicast and TMA: never what limits
  family.second_pass = 3500;
  family.join = 2500, family.join_each = 0, family.join_rate = 32;
  family.clusters = family.persistent = true;
  return family;
}

// By the tile that is wanted, or the first that is no wider.
template <class T>
Plan plan_of(Call& call, const HopperTile& wanted, const Product<T>& p, const Matrices& batch,
             HopperMethod method, bool fused) {
  static thread_local Plans<Plan> plans;
  // 16-bit results leave by TMA where their lines allow it.
  const bool boxes_out = method != HopperMethod::HALF || fused || p.n() % 8 == 0;
  const int64_t kind =
      ((((wanted.splits * 2 + wanted.joined) * 512 + wanted.bn) * 256 + wanted.bm) * 8 +
       static_cast<int64_t>(method) * 2 + fused) *
          2 +
      boxes_out;
  const Problem x{batch.count, p.m(), p.n(), p.k()};
  return plans.at({call.device(), x, kind}, [&] {
    std::vector<TileCost> tiles = tiles_of(method, fused, boxes_out);
    if (wanted.bn) {
      size_t at = 0;
      while (at + 1 < tiles.size() && (tiles[at].bm > wanted.bm || tiles[at].bn > wanted.bn)) at++;
      tiles = {tiles[at]};
    }
    auto best = choose_tile(call.model(), tiles, family_cost(), x);
    const int64_t steps = ceil_div(x.k, BK);
    if (wanted.splits &&
        (!wanted.joined || ceil_div(steps, ceil_div(steps, wanted.splits)) == wanted.splits))
      best.k = split(*best.tile, x.k, wanted.splits, wanted.joined);
    return Plan{{best.tile->bm, best.tile->bn}, best.k, best.cycles};
  });
}

// What it takes to cut an operand, or to round it, but for the launch, which both share: its bytes,
// of which clusters read what they cannot hold twice; and for long columns the messages within
// clusters.
double preparing_cycles(const Operand<float>& x, double matrices, HopperMethod method) {
  constexpr double BYTES_PER_CYCLE = 1700, MESSAGES = 1000;
  const bool cuts = method != HopperMethod::BFLOAT16, columns = !x.k_contiguous;
  const double held = columns ? 4096 : 65536, k = (double)x.k,
               twice = cuts && k > held ? 1 - held / k : 0;
  const double bytes = 4 + 4 * twice + (method == HopperMethod::FP32 ? 4 : 2);
  return matrices * (double)x.extent * k * bytes / BYTES_PER_CYCLE +
         (cuts && columns && k > 256 ? MESSAGES : 0);
}

// ---- The launch

void launch(Call& call, const WgmmaKernel& kernel, CUtensorMap a, CUtensorMap b, CUtensorMap c,
            WgmmaWork work, int64_t items) {
  int cluster = work.cluster * work.joined;
  int64_t wanted = items * cluster,
          most = work.one_item ? wanted : call.model().processors / cluster * cluster;
  void* arguments[] = {&a, &b, &c, &work};

  launch(call, kernel.function,
         {static_cast<unsigned>(std::min(wanted, most)), static_cast<unsigned>(kernel.threads),
          kernel.shared_bytes, cluster, true},
         arguments);
}

// Adds up pieces of k that lie one after another, and does what is to follow.
template <class In, class Out> struct FinishPieces {
  Finish<float, In, Out> finish;
  const float* pieces;
  int64_t count, splits;
  CDN_FN void operator()(int64_t i) const {
    float sum = pieces[i];
    for (int64_t s = 1; s < splits; s++) sum += pieces[s * count + i];
    finish(sum, i, i - quotient(i, finish.cols) * finish.cols);
  }
};

bool fuses(const Epilogue* epilogue) { return epilogue && !epilogue->plain(); }

template <class T>
WgmmaCase case_of(const Product<T>& p, const Epilogue* epilogue, const Plan& plan) {
  return {!p.a.k_contiguous, !p.b.k_contiguous, fuses(epilogue) && !plan.k.second_pass()};
}

// The epilogue of the matrices from one on: `before` elements of c lie in front of it.
template <class Out> Epilogue part_of(const Epilogue& e, int64_t before) {
  Epilogue part = e;
  auto move = [&](auto* p) { return p ? static_cast<const Out*>(p) + before : nullptr; };
  part.c = static_cast<Out*>(e.c) + before;
  part.z = const_cast<Out*>(move(e.z));
  part.residual = move(e.residual);
  part.mask = move(e.mask);
  return part;
}

// How the operands were prepared, and the kernel for that.
struct Prepared {
  Readable a, b;
  CutOperands cut;
  int planes;
  WgmmaKernel kernel;
};

// In is the operands' type, of which the epilogue's bias is; first: places of the batch before
// these.
template <class In, class Out>
void multiply(Call& call, Out* c, const Product<In>& p, const Matrices& batch, int64_t first,
              const Prepared& x, const Plan& plan, const Epilogue* epilogue) {
  int64_t m = p.m(), n = p.n(), count = batch.count * m * n, before = first * m * n;
  WgmmaWork w{};
  int64_t rows = ceil_div(m, plan.tile.bm), cols = ceil_div(n, plan.tile.bn);
  bool fused = fuses(epilogue);
  float* pieces = plan.k.second_pass() ? call.scratch<float>(plan.k.splits * count) : nullptr;
  w.joined = plan.k.joined ? static_cast<int32_t>(plan.k.splits) : 1;
  w.one_item = (fused && !pieces) || w.joined > 1;
  w.m = static_cast<int32_t>(m);
  w.n = static_cast<int32_t>(n);
  const bool shares_b = w.joined == 1 && plan.tile.bm * plan.tile.bn >= 128 * 128 && rows >= 2;
  w.cluster =
      shares_b && rows * cols * batch.count * plan.k.splits > call.model().processors / 2 ? 2 : 1;
  w.grid = tile_grid(rows, cols, w.cluster, 1);
  w.by_tiles = Divisor(w.grid.rows * w.grid.cols);
  w.by_splits = Divisor(static_cast<uint32_t>(plan.k.splits));
  w.steps = static_cast<int32_t>(ceil_div(p.k(), BK));
  w.splits = static_cast<int32_t>(plan.k.splits);
  w.steps_per_split = static_cast<int32_t>(plan.k.piece / BK);
  w.batch = static_cast<int32_t>(batch.count);
  w.a_moves = x.a.moves;
  w.b_moves = x.b.moves;
  w.planes_apart_a = x.planes == 2 ? x.a.planes_apart : 0;
  w.planes_apart_b = x.planes == 2 ? x.b.planes_apart : 0;
  w.cut = x.cut;
  if (epilogue) w.epilogue = part_of<Out>(*epilogue, before);
  if (epilogue) c = static_cast<Out*>(w.epilogue.c);
  w.c = pieces ? static_cast<void*>(pieces) : c;
  w.float_in = std::is_same<In, float>::value;
  w.float_out = pieces || std::is_same<Out, float>::value;
  Lines out{c, n, m, n, batch.count, m * n};
  w.boxes_out = !w.float_out && !w.one_item && fits(out);
  int64_t items =
      static_cast<int64_t>(w.grid.rows) * w.grid.cols * w.batch * (plan.k.joined ? 1 : w.splits);
  CUtensorMap map_a = tensor_map(x.a.lines, p.a.k_contiguous ? plan.tile.bm : 64),
              map_b = tensor_map(x.b.lines, p.b.k_contiguous ? plan.tile.bn / w.cluster : 64),
              map_c = w.boxes_out ? tensor_map(out, 64) : map_a;
  launch(call, x.kernel, map_a, map_b, map_c, w, items);
  if (!pieces) return;
  if (fused)
    each(call, count, FinishPieces<In, Out>{{w.epilogue, n}, pieces, count, plan.k.splits});
  else
    sum_all_pieces(call, c, pieces, count, plan.k.splits);
}

// Extents that the kernel counts in 32 bits.
template <class T> bool countable(const Product<T>& p, const Layout& batch) {
  constexpr int64_t MOST = INT32_MAX - 256;
  return walkable(batch) && p.m() <= MOST && p.n() <= MOST && p.k() <= MOST &&
         (double)ceil_div(p.m(), 64) * (double)ceil_div(p.n(), 64) * 64 * (double)batch.n < MOST;
}

template <class T>
bool multiply_half(Call& call, const Product<T>& product, const Layout& layout,
                   const Epilogue* epilogue, const HopperTile& wanted) {
  if (!hopper_device(call) || !countable(product, layout)) return false;
  for_each_row(product, layout, [&](const Product<T>& p, const Matrices& batch, int64_t first) {
    Plan plan = plan_of(call, wanted, p, batch, HopperMethod::HALF, fuses(epilogue));
    const WgmmaCase kind = case_of(p, epilogue, plan);
    Operands operands = readable<T>(call, p, batch);
    Prepared x{operands.a,
               operands.b,
               {},
               1,
               std::is_same<T, float16>::value ? wgmma_float16(plan.tile, kind)
                                               : wgmma_bfloat16(plan.tile, kind)};
    if (epilogue && epilogue->out_dtype == CDN_FLOAT32)
      multiply<T, float>(call, nullptr, p, batch, first, x, plan, epilogue);
    else
      multiply<T, T>(call, p.c, p, batch, first, x, plan, epilogue);
  });
  return true;
}

}  // namespace

bool matmul_hopper(Call& call, const Product<float16>& p, const Layout& batch,
                   const Epilogue* epilogue, HopperTile tile) {
  return multiply_half(call, p, batch, epilogue, tile);
}
bool matmul_hopper(Call& call, const Product<bfloat16>& p, const Layout& batch,
                   const Epilogue* epilogue, HopperTile tile) {
  return multiply_half(call, p, batch, epilogue, tile);
}

bool matmul_hopper(Call& call, const Product<float>& product, const Layout& layout,
                   const Epilogue* epilogue, HopperMethod method, HopperTile wanted) {
  if (!hopper_device(call) || !countable(product, layout)) return false;
  for_each_row(product, layout, [&](const Product<float>& p, const Matrices& batch, int64_t first) {
    Plan plan = plan_of(call, wanted, p, batch, method, fuses(epilogue));
    const WgmmaCase kind = case_of(p, epilogue, plan);
    Prepared x{};
    x.planes = method == HopperMethod::FP32 ? 2 : 1;
    if (method == HopperMethod::BFLOAT16) {
      Operands operands = readable<bfloat16>(call, p, batch);
      x.a = operands.a;
      x.b = operands.b;
      x.kernel = wgmma_bfloat16(plan.tile, kind);
    } else {
      CutProduct cut = split_operands(call, p, batch, x.planes);
      x.a = readable(cut.a, p.a.length(), batch.a_step, x.planes);
      x.b = readable(cut.b, p.b.length(), batch.b_step, x.planes);
      x.cut = {x.a.info, x.b.info, p.a, p.b, batch.a_step, batch.b_step, x.a.moves, x.b.moves};
      x.kernel = wgmma_split(x.planes, plan.tile, kind);
    }
    multiply<float, float>(call, p.c, p, batch, first, x, plan, epilogue);
  });
  return true;
}

double hopper_cycles(Call& call, const Product<float>& p, const Layout& batch,
                     HopperMethod method) {
  constexpr double LAUNCH = 3000;
  Matrices row = last_row(batch);
  double launches = (double)batch.n / (double)row.count,
         each = plan_of(call, {}, p, row, method, false).cycles;
  each += preparing_cycles(p.a, row.a_step ? (double)row.count : 1, method) +
          preparing_cycles(p.b, row.b_step ? (double)row.count : 1, method) + LAUNCH;
  return launches * each;
}

template <class T> double hopper_half_cycles(Call& call, const Product<T>& p, const Layout& batch) {
  constexpr double LAUNCH = 5600, BYTES_PER_CYCLE = 1500;
  Matrices row = last_row(batch);
  double launches = (double)batch.n / (double)row.count,
         each = plan_of(call, {}, p, row, HopperMethod::HALF, false).cycles;
  double copied = (fits(as_they_lie(p.a, row.count, row.a_step)) ? 0 : (double)p.m()) +
                  (fits(as_they_lie(p.b, row.count, row.b_step)) ? 0 : (double)p.n());
  if (copied > 0) each += LAUNCH + (double)row.count * copied * (double)p.k() * 4 / BYTES_PER_CYCLE;
  return launches * each;
}
double hopper_cycles(Call& call, const Product<float16>& p, const Layout& batch) {
  return hopper_half_cycles(call, p, batch);
}
double hopper_cycles(Call& call, const Product<bfloat16>& p, const Layout& batch) {
  return hopper_half_cycles(call, p, batch);
}

}  // namespace cdn
