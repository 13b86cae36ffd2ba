// matmul_mma: its tiles, the choice among them for a shape, and copies of operands for large tiles.
// The choice is matmul_simt.cu's, by estimated clock cycles, with the tiles' rates on tensor cores.
// Small tiles read operands wherever they lie, see MmaLoader. Large ones, where a number is read by
// many blocks, want lines of whole 16-byte chunks: it pays to copy an operand to such.
#include "gpu/gemm/mma/mma.h"

#include <vector>

#include "gpu/device/device.h"
#include "gpu/gemm/choice.h"
#include "gpu/gemm/wgmma/wgmma.h"
#include "gpu/gemm/launch.h"
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

// Copies matrices to lines that are multiples of 16 bytes, with zeros at their end; 16 bytes for
// each i.
template <class To, class From> struct CopyLines {
  static constexpr int W = 16 / sizeof(To),
                       PACK = W < 16 / (int)sizeof(From) ? W : 16 / sizeof(From);
  To* to;
  const From* from;
  Layout matrices;  // input 0
  int64_t lines, length, chunks;
  bool packed;  // 16-byte reads

  __device__ void operator()(int64_t i) const {
    int64_t row = quotient(i, chunks), z = matrices.n == 1 ? 0 : quotient(row, lines),
            at = (i - row * chunks) * W;
    const From* line = from + batch_offsets(matrices, z).a + (row - z * lines) * length;
    Pack<To, W> out;
#pragma unroll
    for (int w = 0; w < W; w += PACK) {
      Pack<From, PACK> in = {};
      if (packed && at + w < length) {
        in = *reinterpret_cast<const Pack<From, PACK>*>(line + at + w);
      } else {
#pragma unroll
        for (int j = 0; j < PACK; j++)
          if (at + w + j < length) in.v[j] = line[at + w + j];
      }
#pragma unroll
      for (int j = 0; j < PACK; j++) out.v[w + j] = static_cast<To>(wide(in.v[j]));
    }
    reinterpret_cast<Pack<To, W>*>(to)[i] = out;
  }
};

// A copy of an operand as To, of each matrix once; its strides go to the layout.
template <class To, class From>
Operand<To> copy_lines(Call& call, const Operand<From>& x, const Layout& batch, int input,
                       Layout* strides, int64_t* ld) {
  int64_t length = x.ld(), lines = x.k_contiguous ? x.extent : x.k,
          chunks = ceil_div(length * sizeof(To), 16);
  *ld = chunks * (16 / sizeof(To));
  Layout matrices;  // those that differ
  for (int32_t d = 0; d < batch.rank; d++) {
    if (batch.stride[input][d] == 0) continue;
    matrices.extent[matrices.rank] = batch.extent[d];
    matrices.stride[0][matrices.rank++] = batch.stride[input][d];
    matrices.n *= batch.extent[d];
  }
  int64_t distance = lines * *ld;
  for (int32_t d = batch.rank - 1; d >= 0; d--) {
    if (batch.stride[input][d] == 0) continue;
    strides->stride[input][d] = distance;
    distance *= batch.extent[d];
  }
  To* to = call.scratch<To>(distance);
  CopyLines<To, From> copy{
      to, x.data, matrices, lines, length, chunks, wide_lines(x, batch, input)};
  each(call, matrices.n * lines * chunks, copy);
  return {to, x.extent, x.k, x.k_contiguous};
}

// Makes an operand one that a tile can read: anywhere, or by lines of whole chunks. It may be one
// already.
template <class T> void align(Call& call, MmaProduct<T>* x, int input, bool any_place) {
  Operand<T>& operand = input == 0 ? x->p.a : x->p.b;
  int64_t& ld = input == 0 ? x->pieces.ld_a : x->pieces.ld_b;
  bool& wide = input == 0 ? x->pieces.wide_a : x->pieces.wide_b;
  if (wide) return;
  ld = operand.ld();
  wide = wide_lines(operand, x->batch, input);
  if (wide || any_place) return;
  Layout batch = x->batch;
  operand = copy_lines<T>(call, operand, batch, input, &x->batch, &ld);
  wide = true;
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
  constexpr int SHIFTING = MmaMemory<Tile, A_K_CONTIGUOUS, B_K_CONTIGUOUS>::SHIFTING_BYTES,
                MOST =
                    Tile::SHIFTS && SHIFTING > Tile::SHARED_BYTES ? SHIFTING : Tile::SHARED_BYTES;
  auto kernel = multiply_by_mma<Tile, A_K_CONTIGUOUS, B_K_CONTIGUOUS>;
  constexpr int BARRIER = 16;  // where pieces are joined; chained launches ask for more anyway
  static_assert(MOST + BARRIER <= ChainedLaunch::MOST_SHARED, "it fits");
  const unsigned joined = static_cast<unsigned>(x.pieces.joined);
  const int own = x.pieces.shifts ? SHIFTING : Tile::SHARED_BYTES,
            bytes = joined > 1 ? own + BARRIER : own;
  MmaPieces work = x.pieces;
  work.barrier_at = own;
  TileGrid grid = tile_grid(x.p.m(), x.p.n(), Tile::BM, Tile::BN);
  in_launches(x.batch, [&](const Batch& part, unsigned z) {
    const unsigned pieces = joined > 1 ? 1 : static_cast<unsigned>(ceil_div(x.p.k(), x.pieces.k));
    const dim3 blocks(grid.rows * grid.cols * joined, pieces, z);
    launch_blocks(call, kernel, blocks, Tile::THREADS, bytes, MOST, x.pieces.joined,
                  Tile::MIN_BLOCKS, x.p, part, grid, work);
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

constexpr double LAUNCH = 5000;  // cycles of the H200

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
MmaPlan<T> make_plan(bool hopper, MmaMethod method, bool aligned, int64_t batch, int64_t m,
                     int64_t n, int64_t k) {
  constexpr double START = 2600, CHAINED = 1200;
  const FamilyCost family{START, LAUNCH, sizeof(T), sizeof(float), hopper ? CHAINED : 0};
  const double count = static_cast<double>(batch);
  MmaPlan<T> plan{choose_tile(tiles_of(T{}, method), family, count, m, n, k)};
  if (aligned) return plan;
  if (!is_half<T>) {  // they come 4 bytes at a time
    constexpr double LONGER = 1.33;
    plan.cycles *= LONGER;
    return plan;
  }
  plan.copies = true;
  plan.cycles += 2 * LAUNCH + 4.0 * count * static_cast<double>(m + n) * static_cast<double>(k) /
                                  ALL_BYTES_PER_CYCLE;
  MmaPlan<T> shifting{choose_tile(shifting_tiles_of(T{}, method), family, count, m, n, k)};
  constexpr double FEW = 132,
                   MANY_LONGER = 1.5;  // blocks that have their multiprocessors for themselves
  const auto& tile = *shifting.tile;
  if (count * static_cast<double>(ceil_div(m, tile.bm) * ceil_div(n, tile.bn) * shifting.k.splits) >
      FEW)
    shifting.cycles *= MANY_LONGER;
  return shifting.cycles < plan.cycles ? shifting : plan;
}
// aligned: both operands lie in lines of whole chunks.
template <class T>
MmaPlan<T> plan_of(Call& call, MmaMethod method, bool aligned, int64_t batch, int64_t m, int64_t n,
                   int64_t k) {
  static thread_local Plans<MmaPlan<T>> plans;
  const bool hopper = hopper_device(call);
  return plans.at({batch, m, n, k, static_cast<int64_t>(method) * 4 + aligned * 2 + hopper},
                  [&] { return make_plan<T>(hopper, method, aligned, batch, m, n, k); });
}
template <class T>
MmaPlan<T> plan_of(Call& call, MmaMethod method, const Product<T>& p, const Layout& batch) {
  const bool aligned = wide_lines(p.a, batch, 0) && wide_lines(p.b, batch, 1);
  return plan_of<T>(call, method, aligned, batch.n, p.m(), p.n(), p.k());
}

// c: x.p.c, or floats.
template <class T, class Y>
void multiply(Call& call, MmaProduct<T> x, const MmaPlan<T>& plan, Y* c) {
  const int64_t count = x.batch.n * x.p.size();
  const bool any_place = plan.tile->any_place && !plan.copies, second_pass = plan.k.second_pass();
  align(call, &x, 0, any_place);
  align(call, &x, 1, any_place);
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
  MmaPlan<bfloat16> plan =
      plan_of<bfloat16>(call, MmaMethod::HALF, true, batch.n, p.m(), p.n(), p.k());
  double bytes = 6.0 * static_cast<double>(batch.n) * static_cast<double>(p.m() + p.n()) *
                 static_cast<double>(p.k());
  if (plan.cycles + 2 * LAUNCH + bytes / ALL_BYTES_PER_CYCLE > cycles) return false;
  MmaProduct<bfloat16> x{{}, batch, {}};
  x.p.a = copy_lines<bfloat16>(call, p.a, batch, 0, &x.batch, &x.pieces.ld_a);
  x.p.b = copy_lines<bfloat16>(call, p.b, batch, 1, &x.batch, &x.pieces.ld_b);
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
    here = device_facts(call).capability >= 80 && code.ptxVersion >= 80 ? 1 : -1;
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
