// matmul_mma: its tiles, the choice among them for a shape, and copies of operands for large tiles.
// The choice is simt.cu's, by estimated clock cycles, with the tiles' rates on tensor cores.
// Small tiles read operands wherever they lie, see MmaLoader. Large ones, where a number is read by
// many blocks, want lines of whole 16-byte chunks: it pays to copy an operand to such.
#include "gpu/gemm/mma/mma.h"

#include <vector>

#include "gpu/gemm/heuristic.h"
#include "gpu/gemm/wgmma/wgmma.h"
#include "gpu/gemm/repack.h"
#include "gpu/gemm/split_k.h"
#include "gpu/gemm/simt/pipelined.h"

namespace cdn {
namespace {

// A product as a launch takes it.
template <class T> struct MmaProduct {
  Product<T> p;
  Layout batch;
  MmaPieces pieces;
};

// ---- Operands

// Makes the operands ones that a tile can read: anywhere, or by lines of whole chunks. They may be
// so already.
template <class T> void align(Call& call, MmaProduct<T>* x, bool any_place) {
  const MmaProduct<T> was = *x;
  LinesCopy<T, T> copies[2];
  for (int input : {0, 1}) {
    const Operand<T>& from = input == 0 ? was.p.a : was.p.b;
    bool& wide = input == 0 ? x->pieces.wide_a : x->pieces.wide_b;
    if (wide || (wide = wide_lines(from, was.batch, input)) || any_place) continue;
    copies[input] =
        copy_of(call, from, was.batch, input, input == 0 ? &x->p.a : &x->p.b, &x->batch);
    wide = true;
  }
  repack(call, copies[0], copies[1]);
}

// Whether stores of 4 numbers can be used.
template <class T> bool by_fours(const T* c, int64_t ld) {
  return (reinterpret_cast<uintptr_t>(c) | static_cast<uint64_t>(ld) * sizeof(T)) %
             (4 * sizeof(T)) ==
         0;
}

// ---- Launches

template <class Tile, bool A_K_CONTIGUOUS, bool B_K_CONTIGUOUS>
void launch_tile(Call& call, const MmaProduct<typename Tile::T>& x) {
  constexpr int SHIFTING = MmaMemory<Tile, A_K_CONTIGUOUS, B_K_CONTIGUOUS>::SHIFTING_BYTES;
  auto kernel = multiply_by_mma<Tile, A_K_CONTIGUOUS, B_K_CONTIGUOUS>;
  constexpr int BARRIER = 16;  // where pieces are joined
  const unsigned joined = static_cast<unsigned>(x.pieces.joined);
  const int own = x.pieces.shifts ? SHIFTING : Tile::SHARED_BYTES,
            bytes = joined > 1 ? own + BARRIER : own;
  MmaPieces work = x.pieces;
  work.barrier_at = own;
  TileGrid grid = tile_grid(x.p.m(), x.p.n(), Tile::BM, Tile::BN);
  in_launches(x.batch, [&](const Batch& part, unsigned z) {
    const unsigned pieces = joined > 1 ? 1 : static_cast<unsigned>(ceil_div(x.p.k(), x.pieces.k));
    const dim3 blocks(grid.rows * grid.cols * joined, pieces, z);
    launch_blocks(call, kernel, {blocks, Tile::THREADS, bytes, x.pieces.joined}, Tile::MIN_BLOCKS,
                  x.p, part, grid, work);
  });
}

template <class Tile> void launch_mma(Call& call, const MmaProduct<typename Tile::T>& x) {
  if (x.p.a.k_contiguous)
    x.p.b.k_contiguous ? launch_tile<Tile, true, true>(call, x)
                       : launch_tile<Tile, true, false>(call, x);
  else
    x.p.b.k_contiguous ? launch_tile<Tile, false, true>(call, x)
                       : launch_tile<Tile, false, false>(call, x);
}

template <class T> struct MmaTileLaunch : TileCost {
  bool any_place;
  int threads;
  void (*launch)(Call&, const MmaProduct<T>&);
};

template <class Tile> MmaTileLaunch<typename Tile::T> tile(double rate, double alone) {
  return {{Tile::BM, Tile::BN, Tile::BK, Tile::MIN_BLOCKS, rate, alone, 0, Tile::JOINS},
          Tile::ANY_PLACE,
          Tile::THREADS,
          launch_mma<Tile>};
}

template <class T>
using MmaTiles = std::vector<MmaTileLaunch<T>>;  // never destroyed: at exit a thread may need them

// MmaTile<T, METHOD, BM, BN, BK, WM, WN, SLICES, STAGES, MIN_BLOCKS>.
template <class T> const MmaTiles<T>& tiles_of(T, MmaMethod) {
  constexpr MmaMethod HALF = MmaMethod::HALF;
  static const auto& half = *new MmaTiles<T>{
      tile<MmaTile<T, HALF, 128, 256, 32, 64, 64, 1, 4, 1>>(1150, 1.0),
      tile<MmaTile<T, HALF, 128, 128, 32, 64, 64, 1, 3, 2>>(950, 1.3),
      tile<MmaTile<T, HALF, 64, 64, 64, 32, 32, 1, 3, 3>>(600, 1.5),
      tile<MmaTile<T, HALF, 32, 32, 128, 32, 32, 4, 3, 3>>(250, 1.5),
      tile<MmaTile<T, HALF, 16, 32, 128, 16, 32, 4, 4, 4>>(160, 1.8),
  };
  return half;
}

const MmaTiles<float>& tiles_of(float, MmaMethod method) {
  constexpr MmaMethod TF32 = MmaMethod::TF32, FLOAT32 = MmaMethod::FLOAT32;
  static const auto& tf32 = *new MmaTiles<float>{
      tile<MmaTile<float, TF32, 128, 256, 16, 64, 64, 1, 4, 1>>(560, 1.0),
      tile<MmaTile<float, TF32, 128, 128, 16, 64, 64, 1, 3, 2>>(480, 1.3),
      tile<MmaTile<float, TF32, 64, 64, 32, 32, 32, 1, 3, 3>>(320, 1.5),
      tile<MmaTile<float, TF32, 32, 32, 64, 32, 32, 4, 3, 3>>(140, 1.5),
  };
  static const auto& float32 = *new MmaTiles<float>{
      tile<MmaTile<float, FLOAT32, 128, 128, 32, 64, 32, 1, 3, 1>>(121, 1.0),
      tile<MmaTile<float, FLOAT32, 32, 64, 64, 32, 32, 2, 3, 2>>(103, 1.3),
      tile<MmaTile<float, FLOAT32, 32, 32, 64, 32, 32, 4, 4, 3>>(100, 1.5),
  };
  return method == FLOAT32 ? float32 : tf32;
}

// ---- The choice

constexpr double LAUNCH = 5000;  // cycles

template <class T> struct MmaPlan : TileChoice<MmaTileLaunch<T>> {
  bool copies = false;  // operands that don't lie in whole chunks
};

// Tiles of 16-bit operands that they make by shifting: their estimates.
template <class T> const MmaTiles<T>& shifting_tiles_of(T, MmaMethod method) {
  constexpr double SHIFT = 0.28,
                   ALONE = 1.8;  // cycles for a number; how much longer with 4 warps alone
  static const auto& shifting = *[&] {
    auto* some = new MmaTiles<T>;
    for (MmaTileLaunch<T> tile : tiles_of(T{}, method))
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
MmaPlan<T> make_plan(const DeviceModel& device, bool hopper, MmaMethod method, bool aligned,
                     const Problem& x) {
  constexpr double START = 2600, PDL = 1200, NARROW_STORE = 0.42;
  FamilyCost family{START, sizeof(T), sizeof(float)};
  family.second_pass = LAUNCH;
  if (is_half<T> && x.n % 4) family.end = NARROW_STORE;
  family.pdl = hopper ? PDL : 0;
  family.clusters = hopper;
  MmaPlan<T> plan{choose_tile(device, tiles_of(T{}, method), family, x)};
  if (aligned) return plan;
  if (!is_half<T>) {  // they come 4 bytes at a time
    constexpr double LONGER = 1.33;
    plan.cycles *= LONGER;
    return plan;
  }
  plan.copies = true;
  plan.cycles += LAUNCH + 4.0 * x.operands() / pass_bytes_per_cycle(device);
  MmaPlan<T> shifting{choose_tile(device, shifting_tiles_of(T{}, method), family, x)};
  constexpr double MANY_LONGER = 1.5;  // than blocks that have their multiprocessors for themselves
  if (x.tiles(*shifting.tile) * static_cast<double>(shifting.k.splits) > device.processors)
    shifting.cycles *= MANY_LONGER;
  return shifting.cycles < plan.cycles ? shifting : plan;
}
// aligned: both operands lie in lines of whole chunks.
template <class T>
MmaPlan<T> plan_of(Call& call, MmaMethod method, bool aligned, const Problem& x) {
  static thread_local Plans<MmaPlan<T>> plans;
  const bool hopper = hopper_device(call);
  return plans.at({call.device(), x, static_cast<int64_t>(method) * 4 + aligned * 2 + hopper},
                  [&] { return make_plan<T>(call.model(), hopper, method, aligned, x); });
}
template <class T>
MmaPlan<T> plan_of(Call& call, MmaMethod method, const Product<T>& p, const Layout& batch) {
  const bool aligned = wide_lines(p.a, batch, 0) && wide_lines(p.b, batch, 1);
  return plan_of<T>(call, method, aligned, Problem{batch.n, p.m(), p.n(), p.k()});
}

// c: x.p.c, or floats.
template <class T, class Y>
void multiply(Call& call, MmaProduct<T> x, const MmaPlan<T>& plan, Y* c) {
  const int64_t count = x.batch.n * x.p.size();
  const bool any_place = plan.tile->any_place && !plan.copies, second_pass = plan.k.second_pass();
  align(call, &x, any_place);
  x.pieces.shifts = is_half<T> && !(x.pieces.wide_a && x.pieces.wide_b);
  x.pieces.k = plan.k.piece;
  x.pieces.joined = plan.k.joined ? static_cast<int32_t>(plan.k.splits) : 1;
  if (second_pass)
    x.pieces.sums = call.scratch<float>(plan.k.splits * count);
  else if constexpr (std::is_same<Y, float>::value)
    x.pieces.sums = c;
  x.pieces.wide_c = x.pieces.sums ? by_fours(x.pieces.sums, x.p.n()) : by_fours(c, x.p.n());
  plan.tile->launch(call, x);
  if (second_pass)
    sum_all_pieces(call, c, static_cast<const float*>(x.pieces.sums), count, plan.k.splits);
}

// In a large product a number is read by many blocks. Rounding it once, to half the bytes, is then
// faster. Where it is not, TF32 is as fast as rounding wherever a number is read, and more exact.
bool multiply_as_bfloat16(Call& call, const Product<float>& p, const Layout& batch, double cycles) {
  const Problem shape{batch.n, p.m(), p.n(), p.k()};
  MmaPlan<bfloat16> plan = plan_of<bfloat16>(call, MmaMethod::HALF, true, shape);
  if (plan.cycles + LAUNCH + 6.0 * shape.operands() / pass_bytes_per_cycle(call.model()) > cycles)
    return false;
  MmaProduct<bfloat16> x{{}, batch, {}};
  const auto a = copy_of(call, p.a, batch, 0, &x.p.a, &x.batch),
             b = copy_of(call, p.b, batch, 1, &x.p.b, &x.batch);
  repack(call, a, b);
  x.pieces.wide_a = x.pieces.wide_b = true;
  multiply(call, x, plan, p.c);
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
        &code, multiply_by_mma<MmaTile<float16, MmaMethod::HALF, 64, 64, 64, 32, 32, 1, 3, 3>, true,
                               true>));
    here = call.model().capability >= 80 && code.ptxVersion >= 80 ? 1 : -1;
  }
  return here > 0;
}

template <class T>
void matmul_mma(Call& call, const Product<T>& p, const Layout& batch, MmaMethod method) {
  MmaPlan<T> plan = plan_of(call, method, p, batch);
  if constexpr (std::is_same<T, float>::value)
    if (method == MmaMethod::BFLOAT16 && multiply_as_bfloat16(call, p, batch, plan.cycles)) return;
  multiply(call, MmaProduct<T>{p, batch, {}}, plan, p.c);
}

template <class T>
double mma_cycles(Call& call, const Product<T>& p, const Layout& batch, MmaMethod method) {
  return plan_of(call, method, p, batch).cycles;
}

template void matmul_mma(Call&, const Product<float>&, const Layout&, MmaMethod);
template void matmul_mma(Call&, const Product<float16>&, const Layout&, MmaMethod);
template void matmul_mma(Call&, const Product<bfloat16>&, const Layout&, MmaMethod);
template double mma_cycles(Call&, const Product<float>&, const Layout&, MmaMethod);
template double mma_cycles(Call&, const Product<float16>&, const Layout&, MmaMethod);
template double mma_cycles(Call&, const Product<bfloat16>&, const Layout&, MmaMethod);

}  // namespace cdn
