// matmul_mma: its tiles, the choice among them for a shape, and copies of operands that can't be read as they are. The
// choice is matmul_simt.cu's, by estimated clock cycles, with the tiles' rates on tensor cores. Copies go to lines of
// whole 16-byte chunks, which is what makes fast copies into shared memory possible for all shapes.
#include "matmul_mma.h"

#include <vector>

#include "device.h"
#include "matmul_choice.h"
#include "matmul_pieces.h"
#include "matmul_pipelined.h"

namespace cdn {
namespace {

// A product as a launch takes it.
template <class T> struct MmaProduct {
  Product<T> p;
  Layout batch;
  MmaPieces pieces;
};

// ---- Operands

// Copies matrices to lines that are multiples of 16 bytes, with zeros at their end; 16 bytes for each i.
template <class To, class From> struct CopyLines {
  static constexpr int W = 16 / sizeof(To), PACK = W < 16 / (int)sizeof(From) ? W : 16 / sizeof(From);
  To* to;
  const From* from;
  Layout matrices;  // input 0
  int64_t lines, length, chunks;
  bool packed;  // 16-byte reads

  __device__ void operator()(int64_t i) const {
    int64_t row = quotient(i, chunks), z = matrices.n == 1 ? 0 : quotient(row, lines), at = (i - row * chunks) * W;
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
Operand<To> copy_lines(Call& call, const Operand<From>& x, const Layout& batch, int input, Layout* strides,
                       int64_t* ld) {
  int64_t length = x.ld(), lines = x.k_contiguous ? x.extent : x.k, chunks = ceil_div(length * sizeof(To), 16);
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
  CopyLines<To, From> copy{to, x.data, matrices, lines, length, chunks, wide_lines(x, batch, input)};
  each(call, matrices.n * lines * chunks, copy);
  return {to, x.extent, x.k, x.k_contiguous};
}

// Makes an operand one that a tile can read: by 16 bytes, or, where it can do that (narrow), by 4. It may be one
// already.
template <class T> void align(Call& call, MmaProduct<T>* x, int input, bool narrow) {
  Operand<T>& operand = input == 0 ? x->p.a : x->p.b;
  int64_t& ld = input == 0 ? x->pieces.ld_a : x->pieces.ld_b;
  bool& wide = input == 0 ? x->pieces.wide_a : x->pieces.wide_b;
  if (wide) return;
  ld = operand.ld();
  wide = wide_lines(operand, x->batch, input);
  uint64_t places = reinterpret_cast<uintptr_t>(operand.data) | static_cast<uint64_t>(ld) * sizeof(T);
  for (int32_t d = 0; d < x->batch.rank; d++) places |= static_cast<uint64_t>(x->batch.stride[input][d]) * sizeof(T);
  if (wide || (narrow && places % 4 == 0)) return;
  Layout batch = x->batch;
  operand = copy_lines<T>(call, operand, batch, input, &x->batch, &ld);
  wide = true;
}

// ---- Launches

template <class Tile, bool A_K_CONTIGUOUS, bool B_K_CONTIGUOUS>
void launch_tile(Call& call, const MmaProduct<typename Tile::T>& x) {
  auto kernel = multiply_by_mma<Tile, A_K_CONTIGUOUS, B_K_CONTIGUOUS>;
  allow_shared(call, reinterpret_cast<const void*>(kernel), Tile::SHARED_BYTES);
  TileGrid grid = tile_grid(x.p.m(), x.p.n(), Tile::BM, Tile::BN);
  in_launches(x.batch, [&](const Batch& part, unsigned z) {
    dim3 blocks(grid.rows * grid.cols, static_cast<unsigned>(ceil_div(x.p.k(), x.pieces.k)), z);
    kernel<<<blocks, Tile::THREADS, Tile::SHARED_BYTES, stream_of(call)>>>(x.p, part, grid, x.pieces);
  });
}

template <class Tile> void launch_mma(Call& call, const MmaProduct<typename Tile::T>& x) {
  if (x.p.a.k_contiguous)
    x.p.b.k_contiguous ? launch_tile<Tile, true, true>(call, x) : launch_tile<Tile, true, false>(call, x);
  else
    x.p.b.k_contiguous ? launch_tile<Tile, false, true>(call, x) : launch_tile<Tile, false, false>(call, x);
}

template <class T> struct MmaTileLaunch : TileCost {
  bool narrow;
  void (*launch)(Call&, const MmaProduct<T>&);
};

template <class Tile> MmaTileLaunch<typename Tile::T> tile(double rate, double alone) {
  return {{Tile::BM, Tile::BN, Tile::BK, Tile::MIN_BLOCKS, rate, alone}, Tile::NARROW, launch_mma<Tile>};
}

template <class T> using MmaTiles = std::vector<MmaTileLaunch<T>>;

// MmaTile<T, METHOD, BM, BN, BK, WM, WN, SLICES, STAGES, MIN_BLOCKS>.
template <class T> const MmaTiles<T>& tiles_of(T, MmaMethod) {
  constexpr MmaMethod HALF = MmaMethod::HALF;
  static const MmaTiles<T> half = {
      tile<MmaTile<T, HALF, 128, 256, 32, 64, 64, 1, 4, 1>>(1150, 1.0),
      tile<MmaTile<T, HALF, 128, 128, 32, 64, 64, 1, 3, 2>>(950, 1.3),
      tile<MmaTile<T, HALF, 64, 64, 64, 32, 32, 1, 3, 3>>(600, 1.5),
      tile<MmaTile<T, HALF, 32, 32, 128, 32, 32, 4, 3, 3>>(250, 1.5),
  };
  return half;
}

const MmaTiles<float>& tiles_of(float, MmaMethod method) {
  constexpr MmaMethod TF32 = MmaMethod::TF32, FLOAT32 = MmaMethod::FLOAT32, BFLOAT16 = MmaMethod::BFLOAT16;
  static const MmaTiles<float> tf32 = {
      tile<MmaTile<float, TF32, 128, 256, 16, 64, 64, 1, 4, 1>>(560, 1.0),
      tile<MmaTile<float, TF32, 128, 128, 16, 64, 64, 1, 3, 2>>(480, 1.3),
      tile<MmaTile<float, TF32, 64, 64, 32, 32, 32, 1, 3, 3>>(320, 1.5),
      tile<MmaTile<float, TF32, 32, 32, 64, 32, 32, 4, 3, 3>>(140, 1.5),
  };
  static const MmaTiles<float> float32 = {
      tile<MmaTile<float, FLOAT32, 128, 128, 32, 64, 32, 1, 3, 1>>(190, 1.0),
      tile<MmaTile<float, FLOAT32, 64, 64, 32, 32, 32, 1, 3, 3>>(150, 1.4),
      tile<MmaTile<float, FLOAT32, 32, 32, 64, 32, 32, 4, 3, 3>>(125, 1.4),
  };
  static const MmaTiles<float> bfloat16 = {
      // large products: see multiply_as_bfloat16
      tile<MmaTile<float, BFLOAT16, 64, 64, 32, 32, 32, 1, 3, 2>>(320, 1.5),
      tile<MmaTile<float, BFLOAT16, 32, 32, 64, 32, 32, 2, 3, 3>>(140, 1.5),
  };
  return method == TF32 ? tf32 : method == FLOAT32 ? float32 : bfloat16;
}

// ---- The choice

constexpr double LAUNCH = 5000;  // cycles of the H200

template <class T> using MmaPlan = TileChoice<MmaTileLaunch<T>>;

template <class T> MmaPlan<T> plan_of(MmaMethod method, int64_t batch, int64_t m, int64_t n, int64_t k) {
  constexpr double START = 2000;
  return choose_tile(tiles_of(T{}, method), {START, LAUNCH, sizeof(T), sizeof(float), false},
                     static_cast<double>(batch), m, n, k);
}

// c: x.p.c, or floats.
template <class T, class Y> void multiply(Call& call, MmaProduct<T> x, const MmaPlan<T>& plan, Y* c) {
  int64_t count = x.batch.n * x.p.size(), splits = ceil_div(x.p.k(), plan.k.piece);
  align(call, &x, 0, plan.tile->narrow);
  align(call, &x, 1, plan.tile->narrow);
  x.pieces.k = plan.k.piece;
  if (splits > 1)
    x.pieces.sums = call.scratch<float>(splits * count);
  else if constexpr (std::is_same<Y, float>::value)
    x.pieces.sums = c;
  x.pieces.wide_c = x.pieces.sums ? wide_lines(x.pieces.sums, x.p.n()) : wide_lines(c, x.p.n());
  plan.tile->launch(call, x);
  if (splits > 1) sum_all_pieces(call, c, static_cast<const float*>(x.pieces.sums), count, splits);
}

// In a large product a number is read by many blocks. Rounding it once, to half the bytes, is then faster than doing so
// wherever it is read.
bool multiply_as_bfloat16(Call& call, const Product<float>& p, const Layout& batch, double cycles) {
  MmaPlan<bfloat16> plan = plan_of<bfloat16>(MmaMethod::HALF, batch.n, p.m(), p.n(), p.k());
  double bytes = 6.0 * static_cast<double>(batch.n) * static_cast<double>(p.m() + p.n()) * static_cast<double>(p.k());
  if (plan.cycles + 2 * LAUNCH + bytes / ALL_BYTES_PER_CYCLE > cycles) return false;
  MmaProduct<bfloat16> x{{}, batch, {}};
  x.p.a = copy_lines<bfloat16>(call, p.a, batch, 0, &x.batch, &x.pieces.ld_a);
  x.p.b = copy_lines<bfloat16>(call, p.b, batch, 1, &x.batch, &x.pieces.ld_b);
  x.pieces.wide_a = x.pieces.wide_b = true;
  multiply(call, x, plan, p.c);
  return true;
}

}  // namespace

// Besides the GPU's own version, that of the code counts: in a build for older GPUs the kernels are empty.
bool mma_supported(Call& call) {
  static signed char known[64] = {};
  signed char& here = known[call.device().index % 64];
  if (here == 0) {
    cudaFuncAttributes code;
    CUDA_CHECK(cudaFuncGetAttributes(
        &code, multiply_by_mma<MmaTile<float16, MmaMethod::HALF, 64, 64, 64, 32, 32, 1, 3, 3>, true, true>));
    here = device_facts(call).capability >= 80 && code.ptxVersion >= 80 ? 1 : -1;
  }
  return here > 0;
}

template <class T> void matmul_mma(Call& call, const Product<T>& p, const Layout& batch, MmaMethod method) {
  MmaPlan<T> plan = plan_of<T>(method, batch.n, p.m(), p.n(), p.k());
  if constexpr (std::is_same<T, float>::value)
    if (method == MmaMethod::BFLOAT16 && multiply_as_bfloat16(call, p, batch, plan.cycles)) return;
  multiply(call, MmaProduct<T>{p, batch, {}}, plan, p.c);
}

double mma_cycles(const Product<float>& p, const Layout& batch, MmaMethod method) {
  return plan_of<float>(method, batch.n, p.m(), p.n(), p.k()).cycles;
}

template void matmul_mma(Call&, const Product<float>&, const Layout&, MmaMethod);
template void matmul_mma(Call&, const Product<float16>&, const Layout&, MmaMethod);
template void matmul_mma(Call&, const Product<bfloat16>&, const Layout&, MmaMethod);

}  // namespace cdn
