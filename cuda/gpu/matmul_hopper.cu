#include "matmul_hopper.h"

#include "../functions.h"
#include "matmul_pieces.h"
#include "matmul_wgmma.h"

namespace cdn {
namespace {

// ---- The device

struct DeviceFacts {
  int processors = 0, capability = 0;
};

const DeviceFacts& facts_of(const Call& call) {
  static DeviceFacts known[64];  // calls hold the library's mutex
  DeviceFacts& facts = known[call.device().index % 64];
  if (facts.processors == 0) {
    int major = 0, minor = 0, processors = 0, device = call.device().index;
    CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
    CUDA_CHECK(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
    CUDA_CHECK(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device));
    facts = {processors, major * 10 + minor};
  }
  return facts;
}

// ---- Batches that TMA can walk: matrices one after another at a fixed distance

bool uniform(const Layout& batch, Matrices* out) {
  if (batch.rank > 1 || batch.n > 65535) return false;
  if (batch.rank == 1) *out = {batch.n, batch.stride[0][0], batch.stride[1][0]};
  return true;
}

// ---- Tensor maps

using Encode = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*, const cuuint64_t*,
                            const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave, CUtensorMapSwizzle,
                            CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

// The driver's function, found at run time: the library is not linked with the driver, so that it loads without one.
Encode encode_function() {
  static Encode found = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult result;
    CUDA_CHECK(
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &result));
    if (!function) CDN_FAIL(CDN_UNSUPPORTED, "the CUDA driver has no cuTensorMapEncodeTiled");
    return reinterpret_cast<Encode>(function);
  }();
  return found;
}

// `count` matrices of 16-bit numbers, `step` elements apart, of `lines` lines of `cols` numbers, ld apart; in boxes of 64
// columns and `height` lines.
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
  CUresult status = encode_function()(&map, CU_TENSOR_MAP_DATA_TYPE_UINT16, 3, const_cast<void*>(x.data), extents,
                                      bytes, box, ones, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                      CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS)
    CDN_FAIL(CDN_INTERNAL, "cuTensorMapEncodeTiled: status %d for %lld x %lld x %lld, %lld apart", (int)status,
             (long long)x.count, (long long)x.lines, (long long)x.cols, (long long)x.ld);
  return map;
}

// ---- Operands as TMA can read them

struct Readable {
  Lines lines;             // of all matrices, and of all planes one after another
  int32_t moves;           // 0 where all places of the batch use one matrix
  int32_t planes_apart;    // in matrices
  const int32_t* info = nullptr;
};

template <class T, class From> struct PadLines {
  T* y;
  const From* x;
  int64_t lines, cols, ld, step;
  CDN_FN void operator()(int64_t i) const {
    int64_t line = quotient(i, ld), col = i - line * ld, z = quotient(line, lines);
    y[i] = static_cast<T>(col < cols ? wide(x[z * step + (line - z * lines) * cols + col]) : 0.0f);
  }
};

template <class T> Lines as_they_lie(const Operand<T>& x, int64_t count, int64_t step) {
  return {x.data, x.ld(), x.k_contiguous ? x.extent : x.k, x.ld(), count, step};
}

// As T, in lines of whole 16-byte pieces; copied if they are not so already.
template <class T, class From> Readable readable(Call& call, const Operand<From>& x, const Matrices& batch, int64_t step) {
  int64_t count = step ? batch.count : 1;
  Lines lines = as_they_lie(x, count, step);
  if (!std::is_same<T, From>::value || !fits(lines)) {
    int64_t ld = (lines.cols + 7) / 8 * 8;
    T* copy = call.scratch<T>(count * lines.lines * ld);
    each(call, count * lines.lines * ld, PadLines<T, From>{copy, x.data, lines.lines, lines.cols, ld, step});
    lines.data = copy;
    lines.ld = ld;
    lines.step = lines.lines * ld;
  }
  return {lines, step ? 1 : 0, 0};
}

Readable readable(const CutOperand& x, int64_t cols, int64_t step, int planes) {
  return {{x.planes, cols, x.lines, x.ld, x.matrices * planes, x.lines * x.ld}, step ? 1 : 0, static_cast<int32_t>(x.matrices),
          x.info};
}

// ---- The choice of a tile

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

constexpr int64_t BM = 128, BK = 64;

struct Plan {
  int bn;
  int64_t splits, steps_per_split;
  double cycles;
};

// Clock cycles of an H200. Other devices are not asked, so that all cut k in the same places.
Plan estimate(int bn, int64_t splits, double batch, int64_t m, int64_t n, int64_t k, int planes) {
  constexpr double PROCESSORS = 132, SECOND_PASS = 3500, BYTES_PER_CYCLE = 2500;
  double efficiency = bn == 256 ? 0.92 : bn == 128 ? (planes == 2 ? 0.9 : 0.85) : 0.65;
  double step = bn * 4 * (planes == 2 ? 3 : 1) / efficiency, end = 600 + bn * 5;
  int64_t steps = ceil_div(k, BK), each = ceil_div(steps, splits);
  splits = ceil_div(steps, each);
  double items = batch * (double)ceil_div(m, BM) * (double)ceil_div(n, bn) * (double)splits;
  double cycles = ceil(items / PROCESSORS) * ((double)each * step + end) + 1500;
  if (splits > 1) cycles += SECOND_PASS + (double)splits * batch * (double)m * (double)n * 8 / BYTES_PER_CYCLE;
  return {bn, splits, each, cycles};
}

Plan plan_for(HopperTile wanted, double batch, int64_t m, int64_t n, int64_t k, int planes) {
  constexpr int64_t SPLITS[] = {1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64};
  Plan best{0, 0, 0, 0};
  for (int bn : WGMMA_WIDTHS) {
    if (wanted.bn ? wanted.bn != bn : planes == 2 && bn == 256) continue;
    double tiles = batch * (double)ceil_div(m, BM) * (double)ceil_div(n, bn);
    for (int64_t splits : SPLITS) {
      if (wanted.splits ? wanted.splits != splits : splits > 1 && (tiles * (double)splits > 264 || k < splits * 2 * BK))
        continue;
      Plan plan = estimate(bn, splits, batch, m, n, k, planes);
      if (best.bn == 0 || plan.cycles < best.cycles) best = plan;
    }
  }
  return best;
}

// ---- The launch

void launch(Call& call, const WgmmaKernel& kernel, CUtensorMap a, CUtensorMap b, CUtensorMap c, WgmmaWork work,
            int64_t items) {
  int64_t most = facts_of(call).processors / work.cluster * work.cluster, wanted = items * work.cluster;
  void* arguments[] = {&a, &b, &c, &work};
  launch_chained(kernel.function, static_cast<unsigned>(wanted < most ? wanted : most),
                 static_cast<unsigned>(kernel.threads), kernel.shared_bytes, work.cluster, stream_of(call), arguments);
}

template <class Out, class T>
bool multiply(Call& call, Out* c, const Operand<T>& a, const Operand<T>& b, const Matrices& batch, const Readable& ra,
              const Readable& rb, const Plan& plan, const WgmmaKernel& kernel, int planes, const CutOperands& cut) {
  int64_t m = a.extent, n = b.extent, count = batch.count * m * n;
  WgmmaWork w{};
  int64_t rows = ceil_div(m, BM), cols = ceil_div(n, plan.bn);
  w.cluster = plan.bn >= 128 && rows >= 2 && rows * cols * batch.count * plan.splits > 66 ? 2 : 1;
  w.m = static_cast<int32_t>(m);
  w.n = static_cast<int32_t>(n);
  w.tiles_m = static_cast<int32_t>(ceil_div(rows, w.cluster));
  w.tiles_n = static_cast<int32_t>(cols);
  const int band = plan.bn == 256 ? 8 : 8;
  w.band = w.tiles_m < band ? w.tiles_m : band;
  w.steps = static_cast<int32_t>(ceil_div(a.k, BK));
  w.splits = static_cast<int32_t>(plan.splits);
  w.steps_per_split = static_cast<int32_t>(plan.steps_per_split);
  w.batch = static_cast<int32_t>(batch.count);
  w.a_moves = ra.moves;
  w.b_moves = rb.moves;
  w.planes_apart_a = planes == 2 ? ra.planes_apart : 0;
  w.planes_apart_b = planes == 2 ? rb.planes_apart : 0;
  w.cut = cut;
  float* pieces = plan.splits > 1 ? call.scratch<float>(plan.splits * count) : nullptr;
  w.c = pieces ? static_cast<void*>(pieces) : c;
  w.float_out = pieces || std::is_same<Out, float>::value;
  Lines out{c, n, m, n, batch.count, m * n};
  w.boxes_out = !w.float_out && fits(out);
  int64_t items = w.tiles_m * static_cast<int64_t>(w.tiles_n) * w.splits * w.batch;
  CUtensorMap map_a = tensor_map(ra.lines, a.k_contiguous ? BM : 64),
              map_b = tensor_map(rb.lines, b.k_contiguous ? plan.bn / w.cluster : 64),
              map_c = w.boxes_out ? tensor_map(out, 64) : map_a;
  launch(call, kernel, map_a, map_b, map_c, w, items);
  if (pieces) sum_all_pieces(call, c, pieces, count, plan.splits);
  return true;
}

// Extents that the kernel counts in 32 bits.
template <class T> bool countable(const Product<T>& p, const Matrices& batch) {
  constexpr int64_t MOST = INT32_MAX - 256;
  return p.m() <= MOST && p.n() <= MOST && p.k() <= MOST &&
         (double)ceil_div(p.m(), BM) * (double)ceil_div(p.n(), 64) * 64 * (double)batch.count < MOST;
}

template <class T> bool multiply_half(Call& call, const Product<T>& p, const Layout& layout, HopperTile wanted) {
  Matrices batch;
  if (!hopper_device(call) || !uniform(layout, &batch) || !countable(p, batch)) return false;
  Plan plan = plan_for(wanted, (double)batch.count, p.m(), p.n(), p.k(), 1);
  Readable a = readable<T>(call, p.a, batch, batch.a_step), b = readable<T>(call, p.b, batch, batch.b_step);
  WgmmaKernel kernel = std::is_same<T, float16>::value ? wgmma_float16(plan.bn, !p.a.k_contiguous, !p.b.k_contiguous)
                                                       : wgmma_bfloat16(plan.bn, !p.a.k_contiguous, !p.b.k_contiguous);
  return multiply(call, p.c, p.a, p.b, batch, a, b, plan, kernel, 1, {});
}

}  // namespace

bool hopper_device(const Call& call) { return facts_of(call).capability == 90; }

bool matmul_hopper(Call& call, const Product<float16>& p, const Layout& batch, HopperTile tile) {
  return multiply_half(call, p, batch, tile);
}
bool matmul_hopper(Call& call, const Product<bfloat16>& p, const Layout& batch, HopperTile tile) {
  return multiply_half(call, p, batch, tile);
}

bool matmul_hopper(Call& call, const Product<float>& p, const Layout& layout, HopperMethod method, HopperTile wanted) {
  Matrices batch;
  if (!hopper_device(call) || !uniform(layout, &batch) || !countable(p, batch)) return false;
  const bool a_mn = !p.a.k_contiguous, b_mn = !p.b.k_contiguous;
  if (method == HopperMethod::BFLOAT16) {
    Plan plan = plan_for(wanted, (double)batch.count, p.m(), p.n(), p.k(), 1);
    Readable a = readable<bfloat16>(call, p.a, batch, batch.a_step), b = readable<bfloat16>(call, p.b, batch, batch.b_step);
    return multiply(call, p.c, p.a, p.b, batch, a, b, plan, wgmma_bfloat16(plan.bn, a_mn, b_mn), 1, {});
  }
  const int planes = method == HopperMethod::SPLIT ? 2 : 1;
  if (planes == 1 && wanted.bn == 128) wanted.bn = 256;
  Plan plan = plan_for(wanted, (double)batch.count, p.m(), p.n(), p.k(), planes);
  if (planes == 1 && plan.bn == 128) plan = plan_for({256, 0}, (double)batch.count, p.m(), p.n(), p.k(), planes);
  CutProduct cut = split_operands(call, p, batch, planes);
  Readable a = readable(cut.a, p.a.ld(), batch.a_step, planes), b = readable(cut.b, p.b.ld(), batch.b_step, planes);
  CutOperands operands{a.info, b.info, p.a, p.b, batch.a_step, batch.b_step, a.moves, b.moves};
  return multiply(call, p.c, p.a, p.b, batch, a, b, plan, wgmma_split(planes, plan.bn, a_mn, b_mn), planes, operands);
}

}  // namespace cdn
