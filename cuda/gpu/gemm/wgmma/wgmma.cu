// matmul_wgmma: what a product needs before and around multiply_by_wgmma. Operands become boxes
// that TMA can read (copied where lines are not multiples of 16 bytes, rounded or cut where they
// are float), the tile and the pieces of k are chosen by estimated clock cycles, and a launch is
// made for each row of the batch at even distances, as TMA walks no others.
#include "gpu/gemm/wgmma/wgmma.h"

#include <algorithm>
#include <vector>

#include "gpu/gemm/heuristic.h"
#include "gpu/gemm/repack.h"
#include "gpu/gemm/wgmma/launch.h"

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

// ---- Operands as TMA can read them

template <class T> Lines lines_of(const Operand<T>& x, const Layout& row, int input) {
  const int64_t step = row.rank ? row.stride[input][0] : 0;
  return {x.data, x.length(), x.lines(), x.ld, step ? row.n : 1, step};
}
Lines lines_of(const CutOperand& x, int64_t cols, int planes) {
  return {x.planes, cols, x.lines, x.ld, x.matrices * planes, x.lines * x.ld};
}

Layout layout_of(const Matrices& x) {
  Layout row;
  if (x.count > 1)
    row.rank = 1, row.extent[0] = x.count, row.stride[0][0] = x.a_step, row.stride[1][0] = x.b_step;
  row.n = x.count;
  return row;
}

// As T, in lines of whole 16-byte pieces; to be copied if they are not so already.
struct Operands {
  Lines a, b;
};
template <class T, class From>
Operands readable(Call& call, const Product<From>& p, const Matrices& batch) {
  Layout row = layout_of(batch);
  Product<T> q{};
  bool copies[2] = {true, true};
  if constexpr (std::is_same<T, From>::value) {
    q = p;
    for (int input : {0, 1}) copies[input] = !fits(lines_of(p.operand(input), row, input));
  }
  copy_operands(call, p, row, copies, &q, &row);
  return {lines_of(q.a, row, 0), lines_of(q.b, row, 1)};
}

// ---- The choice of a tile

using Plan = WgmmaPlan;

// The tiles that there are, those with most reuse first; with an epilogue not all.
std::vector<TileCost> tiles_of(Method method, bool fused, bool boxes_out) {
  std::vector<WgmmaExtent> all = {{128, 256}, {128, 128}, {128, 64}, {64, 128}, {64, 64}};
  if (method == Method::FP32) all = {{128, 128}, {128, 64}};
  if (method == Method::TF32) all = {{128, 256}, {128, 64}};
  std::vector<TileCost> some;
  for (WgmmaExtent tile : all)
    if (!fused || wgmma_fuses(tile.bm, tile.bn))
      some.push_back(wgmma_cost(tile, method == Method::FP32 ? 2 : 1, boxes_out));
  return some;
}

// By the tile that is wanted, or the first that is no wider.
template <class T>
Plan plan_of(Call& call, const WantedTile& wanted, const Product<T>& p, const Matrices& batch,
             Method method, bool fused) {
  static thread_local Plans<Plan> plans;
  // 16-bit results leave by TMA where their lines allow it.
  const bool boxes_out = !fused && (method != Method::HALF || p.n() % 8 == 0);
  const int64_t kind =
      ((((wanted.splits * 2 + wanted.joined) * 512 + wanted.bn) * 256 + wanted.bm) * 8 +
       static_cast<int64_t>(method) * 2 + fused) *
          2 +
      boxes_out;
  const Problem x{batch.count, p.m(), p.n(), p.k()};
  return plans.at({call.device(), x, kind}, [&] {
    std::vector<TileCost> tiles = tiles_of(method, fused, boxes_out);
    if (wanted.bn) tiles = {wanted.of(tiles)};
    auto best = choose_tile(call.model(), tiles, wgmma_family(), x);
    const int64_t steps = ceil_div(x.k, WGMMA_BK);
    if (wanted.splits &&
        (!wanted.joined || ceil_div(steps, ceil_div(steps, wanted.splits)) == wanted.splits))
      best.k = split(*best.tile, x.k, wanted.splits, wanted.joined);
    return Plan{{best.tile->bm, best.tile->bn}, best.k, best.cycles};
  });
}

// What it takes to cut an operand, or to round it, but for the launch, which both share: its bytes,
// of which clusters read what they cannot hold twice; and for long columns the messages within
// clusters.
double cutting_cycles(const Operand<float>& x, double matrices, Method method) {
  constexpr double BYTES_PER_CYCLE = 1700, MESSAGES = 1000;
  const bool cuts = method != Method::BFLOAT16, columns = !x.k_contiguous;
  const double held = columns ? 4096 : 65536, k = (double)x.k,
               twice = cuts && k > held ? 1 - held / k : 0;
  const double bytes = 4 + 4 * twice + (method == Method::FP32 ? 4 : 2);
  return matrices * (double)x.extent * k * bytes / BYTES_PER_CYCLE +
         (cuts && columns && k > 256 ? MESSAGES : 0);
}

template <class T>
double preparing_cycles(const Product<T>& p, const Matrices& batch, Method method) {
  if constexpr (is_half<T>) {
    constexpr double LAUNCH = 5600, BYTES_PER_CYCLE = 1500;
    const Layout row = layout_of(batch);
    const double copied = (fits(lines_of(p.a, row, 0)) ? 0 : (double)p.m()) +
                          (fits(lines_of(p.b, row, 1)) ? 0 : (double)p.n());
    return copied > 0 ? LAUNCH + (double)batch.count * copied * (double)p.k() * 4 / BYTES_PER_CYCLE
                      : 0;
  } else {
    constexpr double LAUNCH = 3000;
    return cutting_cycles(p.a, batch.a_step ? (double)batch.count : 1, method) +
           cutting_cycles(p.b, batch.b_step ? (double)batch.count : 1, method) + LAUNCH;
  }
}

// ---- The launch

// The operands as the tensor cores take them, and the kernel for that.
struct Prepared {
  Operands operands;
  CutProduct cut = {};
  int planes = 1;
  WgmmaKernel kernel;
};
template <class T>
Prepared prepare(Call& call, const Product<T>& p, const Matrices& batch, Method method,
                 WgmmaExtent tile, WgmmaCase kind) {
  using Half = std::conditional_t<is_half<T>, T, bfloat16>;
  if constexpr (!is_half<T>)
    if (method != Method::BFLOAT16) {
      const int planes = method == Method::FP32 ? 2 : 1;
      const CutProduct cut = split_operands(call, p, batch, planes);
      return {{lines_of(cut.a, p.a.length(), planes), lines_of(cut.b, p.b.length(), planes)},
              cut,
              planes,
              wgmma_split(planes, tile, kind)};
    }
  return {readable<Half>(call, p, batch), {}, 1, wgmma_half<Half>(tile, kind)};
}

// first: places of the batch before these.
template <class T, class Out>
void multiply(Call& call, const Product<T>& p, const Matrices& batch, int64_t first,
              const Prepared& x, const Plan& plan, const Epilogue* epilogue) {
  WgmmaWork w{};
  if (epilogue) w.epilogue = epilogue->moved<Out>(first * p.size());
  w.a_moves = batch.a_step ? 1 : 0;
  w.b_moves = batch.b_step ? 1 : 0;
  w.planes_apart_a = static_cast<int32_t>(x.cut.a.matrices);
  w.planes_apart_b = static_cast<int32_t>(x.cut.b.matrices);
  if constexpr (!is_half<T>)
    w.cut = {x.cut.a.info, x.cut.b.info, p.a,       p.b,
             batch.a_step, batch.b_step, w.a_moves, w.b_moves};
  const WgmmaLaunch how{{batch.count, p.m(), p.n(), p.k()}, plan, x.kernel, fuses(epilogue)};
  launch_wgmma<T, Out>(
      call, how, w, static_cast<Out*>(epilogue ? w.epilogue.c : p.c), [&](int cluster) {
        return WgmmaMaps{tensor_map(x.operands.a, p.a.k_contiguous ? plan.tile.bm : 64),
                         tensor_map(x.operands.b, p.b.k_contiguous ? plan.tile.bn / cluster : 64)};
      });
}

// Extents that the kernel counts in 32 bits.
template <class T> bool countable(const Product<T>& p, const Layout& batch) {
  constexpr int64_t MOST = INT32_MAX - 256;
  return walkable(batch) && p.m() <= MOST && p.n() <= MOST && p.k() <= MOST &&
         (double)ceil_div(p.m(), 64) * (double)ceil_div(p.n(), 64) * 64 * (double)batch.n < MOST;
}

}  // namespace

template <class T>
bool matmul_wgmma(Call& call, const Product<T>& product, const Layout& layout,
                  const Epilogue* epilogue, Method method, const WantedTile& wanted) {
  if (!hopper_device(call) || !countable(product, layout)) return false;
  for_each_row(product, layout, [&](const Product<T>& p, const Matrices& batch, int64_t first) {
    const Plan plan = plan_of(call, wanted, p, batch, method, fuses(epilogue));
    const Prepared x =
        prepare(call, p, batch, method, plan.tile,
                {!p.a.k_contiguous, !p.b.k_contiguous, fuses(epilogue) && !plan.k.second_pass()});
    if (!is_half<T> || (epilogue && epilogue->out_dtype == CDN_FLOAT32))
      multiply<T, float>(call, p, batch, first, x, plan, epilogue);
    else
      multiply<T, T>(call, p, batch, first, x, plan, epilogue);
  });
  return true;
}

template <class T>
double wgmma_cycles(Call& call, const Product<T>& p, const Layout& batch, Method method) {
  const Matrices row = last_row(batch);
  return (double)batch.n / (double)row.count *
         (plan_of(call, {}, p, row, method, false).cycles + preparing_cycles(p, row, method));
}

template bool matmul_wgmma(Call&, const Product<float>&, const Layout&, const Epilogue*, Method,
                           const WantedTile&);
template bool matmul_wgmma(Call&, const Product<float16>&, const Layout&, const Epilogue*, Method,
                           const WantedTile&);
template bool matmul_wgmma(Call&, const Product<bfloat16>&, const Layout&, const Epilogue*, Method,
                           const WantedTile&);
template double wgmma_cycles(Call&, const Product<float>&, const Layout&, Method);
template double wgmma_cycles(Call&, const Product<float16>&, const Layout&, Method);
template double wgmma_cycles(Call&, const Product<bfloat16>&, const Layout&, Method);

}  // namespace cdn
