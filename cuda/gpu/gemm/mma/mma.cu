// matmul_mma: its tiles, the choice among them for a shape, and copies of operands for large tiles.
// The choice is simt.cu's, by estimated clock cycles, with the tiles' rates on tensor cores.
// Small tiles read operands wherever they lie, see MmaLoader. Large ones, where a number is read by
// many blocks, want lines of whole 16-byte chunks: it pays to copy an operand to such.
#include "gpu/gemm/mma/mma.h"

#include "gpu/gemm/wgmma/wgmma.h"

namespace cdn {
namespace {

template <class Tile> void launch_product(Call& call, const TileProduct<typename Tile::T>& x) {
  by_transposition(x.p.a.k_contiguous, x.p.b.k_contiguous, [&](auto a, auto b) {
    launch_mma<MmaProduct<Tile, decltype(a)::value, decltype(b)::value>>(call, x);
  });
}

template <class Tile> TileKernel<typename Tile::T> tile(double rate, double alone) {
  return mma_tile<Tile, TileWork<typename Tile::T>>(rate, alone, launch_product<Tile>);
}

// MmaTile<T, METHOD, BM, BN, BK, WM, WN, SLICES, STAGES, MIN_BLOCKS>.
template <class T> const TileKernels<T>& tiles_of(T, Method) {
  constexpr Method HALF = Method::HALF;
  static const auto& half = *new TileKernels<T>{
      tile<MmaTile<T, HALF, 128, 256, 32, 64, 64, 1, 4, 1>>(1150, 1.0),
      tile<MmaTile<T, HALF, 128, 128, 32, 64, 64, 1, 3, 2>>(950, 1.3),
      tile<MmaTile<T, HALF, 64, 64, 64, 32, 32, 1, 3, 3>>(600, 1.5),
      tile<MmaTile<T, HALF, 32, 32, 128, 32, 32, 4, 3, 3>>(250, 1.5),
      tile<MmaTile<T, HALF, 16, 32, 128, 16, 32, 4, 4, 4>>(160, 1.8),
  };
  return half;
}

const TileKernels<float>& tiles_of(float, Method method) {
  constexpr Method TF32 = Method::TF32, FP32 = Method::FP32;
  static const auto& tf32 = *new TileKernels<float>{
      tile<MmaTile<float, TF32, 128, 256, 16, 64, 64, 1, 4, 1>>(560, 1.0),
      tile<MmaTile<float, TF32, 128, 128, 16, 64, 64, 1, 3, 2>>(480, 1.3),
      tile<MmaTile<float, TF32, 64, 64, 32, 32, 32, 1, 3, 3>>(320, 1.5),
      tile<MmaTile<float, TF32, 32, 32, 64, 32, 32, 4, 3, 3>>(140, 1.5),
  };
  static const auto& fp32 = *new TileKernels<float>{
      tile<MmaTile<float, FP32, 128, 128, 32, 64, 32, 1, 3, 1>>(121, 1.0),
      tile<MmaTile<float, FP32, 32, 64, 64, 32, 32, 2, 3, 2>>(103, 1.3),
      tile<MmaTile<float, FP32, 32, 32, 64, 32, 32, 4, 4, 3>>(100, 1.5),
  };
  return method == FP32 ? fp32 : tf32;
}

// ---- The choice

template <class T> struct MmaPlan : TileChoice<TileKernel<T>> {
  bool copies = false;  // operands that don't lie in whole chunks
};

// Tiles of 16-bit operands that they make by shifting: their estimates.
template <class T> const TileKernels<T>& shifting_tiles_of(T, Method method) {
  constexpr double SHIFT = 0.28,
                   ALONE = 1.8;  // cycles for a number; how much longer with 4 warps alone
  static const auto& shifting = *[&] {
    auto* some = new TileKernels<T>;
    for (TileKernel<T> tile : tiles_of(T{}, method))
      if (tile.any_place) {
        const double size = tile.bm * tile.bn;
        tile.rate = size / (size / tile.rate + SHIFT * (tile.bm + tile.bn));
        tile.alone = tile.threads <= 128 ? ALONE : 1.2;
        some->push_back(tile);
      }
    return some;
  }();
  return shifting;
}

template <class T>
MmaPlan<T> make_plan(const DeviceModel& device, bool hopper, Method method, bool aligned,
                     const Problem& x) {
  const FamilyCost family = mma_family<T>(hopper, x.n);
  MmaPlan<T> plan{choose_tile(device, tiles_of(T{}, method), family, x)};
  if (aligned) return plan;
  if (!is_half<T>) {  // they come 4 bytes at a time
    constexpr double LONGER = 1.33;
    plan.cycles *= LONGER;
    return plan;
  }
  plan.copies = true;
  plan.cycles += MMA_LAUNCH + 4.0 * x.operands() / pass_bytes_per_cycle(device);
  MmaPlan<T> shifting{choose_tile(device, shifting_tiles_of(T{}, method), family, x)};
  constexpr double MANY_LONGER = 1.5;  // than blocks that have their multiprocessors for themselves
  if (x.tiles(*shifting.tile) * static_cast<double>(shifting.k.splits) > device.processors)
    shifting.cycles *= MANY_LONGER;
  return shifting.cycles < plan.cycles ? shifting : plan;
}
// aligned: both operands lie in lines of whole chunks.
template <class T> MmaPlan<T> plan_of(Call& call, Method method, bool aligned, const Problem& x) {
  static thread_local Plans<MmaPlan<T>> plans;
  const bool hopper = hopper_device(call);
  return plans.at({call.device(), x, static_cast<int64_t>(method) * 4 + aligned * 2 + hopper},
                  [&] { return make_plan<T>(call.model(), hopper, method, aligned, x); });
}
template <class T>
MmaPlan<T> plan_of(Call& call, Method method, const Product<T>& p, const Layout& batch) {
  const bool aligned = wide_lines(p.a, batch, 0) && wide_lines(p.b, batch, 1);
  return plan_of<T>(call, method, aligned, Problem{batch.n, p.m(), p.n(), p.k()});
}

// In a large product a number is read by many blocks. Rounding it once, to half the bytes, is then
// faster. Where it is not, TF32 is as fast as rounding wherever a number is read, and more exact.
bool multiply_as_bfloat16(Call& call, const Product<float>& p, const Layout& batch, double cycles) {
  const Problem shape{batch.n, p.m(), p.n(), p.k()};
  const MmaPlan<bfloat16> plan = plan_of<bfloat16>(call, Method::HALF, true, shape);
  if (plan.cycles + MMA_LAUNCH + 6.0 * shape.operands() / pass_bytes_per_cycle(call.model()) >
      cycles)
    return false;
  TileProduct<bfloat16> x{{}, batch};
  copy_operands(call, p, batch, {true, true}, &x.p, &x.batch);
  x.work.wide_a = x.work.wide_b = true;
  multiply_tiles(call, x, *plan.tile, plan.k, p.c);
  return true;
}

}  // namespace

// Besides the GPU's own version, that of the code counts: in a build for older GPUs the kernels are
// empty.
bool mma_supported(Call& call) {
  static thread_local signed char known[64] = {};
  signed char& here = known[call.device() % 64];
  if (here == 0) {
    cudaFuncAttributes code;
    CUDA_CHECK(cudaFuncGetAttributes(
        &code,
        multiply_by_mma<
            MmaProduct<MmaTile<float16, Method::HALF, 64, 64, 64, 32, 32, 1, 3, 3>, true, true>>));
    here = call.model().capability >= 80 && code.ptxVersion >= 80 ? 1 : -1;
  }
  return here > 0;
}

template <class T>
void matmul_mma(Call& call, const Product<T>& p, const Layout& batch, Method method) {
  const MmaPlan<T> plan = plan_of(call, method, p, batch);
  if constexpr (std::is_same<T, float>::value)
    if (method == Method::BFLOAT16 && multiply_as_bfloat16(call, p, batch, plan.cycles)) return;
  TileProduct<T> x = tile_product(p, batch);
  if (!plan.tile->any_place || plan.copies) {
    copy_operands(call, p, batch, {!x.work.wide_a, !x.work.wide_b}, &x.p, &x.batch);
    x.work.wide_a = x.work.wide_b = true;
  }
  x.work.shifts = is_half<T> && !(x.work.wide_a && x.work.wide_b);
  multiply_tiles(call, x, *plan.tile, plan.k, p.c);
}

template <class T>
double mma_cycles(Call& call, const Product<T>& p, const Layout& batch, Method method) {
  return plan_of(call, method, p, batch).cycles;
}

template void matmul_mma(Call&, const Product<float>&, const Layout&, Method);
template void matmul_mma(Call&, const Product<float16>&, const Layout&, Method);
template void matmul_mma(Call&, const Product<bfloat16>&, const Layout&, Method);
template double mma_cycles(Call&, const Product<float>&, const Layout&, Method);
template double mma_cycles(Call&, const Product<float16>&, const Layout&, Method);
template double mma_cycles(Call&, const Product<bfloat16>&, const Layout&, Method);

}  // namespace cdn
