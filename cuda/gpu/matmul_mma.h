// Products on the tensor cores of sm_80 and all later GPUs: cp.async into shared memory, ldmatrix from there, mma.sync.
// The pipeline is that of matmul_pipelined: a warp's sums in registers, two sets of fragments, STAGES tiles. Floats are
// rounded, or cut into two TF32 parts, in registers: no pass prepares the operands, and there is no scale to keep.
#pragma once
#include "matmul_mma_tile.h"

namespace cdn {

// Whether the device of the call, and this build, can do it.
bool mma_supported(Call& call);

// c = a b for each place of the batch. T is float16 or bfloat16 with HALF, float with the others.
template <class T> void matmul_mma(Call& call, const Product<T>& p, const Layout& batch, MmaMethod method);

// How long that takes, estimated in clock cycles of an H200.
double mma_cycles(const Product<float>& p, const Layout& batch, MmaMethod method);

// Whether a and b have had numbers of more bits than TF32's: then the tensor cores have cut off some of their sums.
struct LowBits {
  uint32_t a = 0, b = 0;
};

// One step: sum += a b over the STEP of k that a set of the fragments holds. FIRST: sum = a b.
template <class Tile, bool FIRST, int M, int N, class A, class B>
__device__ __forceinline__ void multiply_fragments(float (&sum)[M][N][4], A& a, B& b, int set, LowBits& seen) {
  using T = typename Tile::MmaType;
  auto& u = a.words[set];
  auto& v = b.words[set];
  if constexpr (Tile::METHOD == MmaMethod::FLOAT32) {
    // x = high + low exactly, and both fit tf32 but for the last bit of low: x y = low high + high low + high high,
    // less what is beyond float. The small products come first. Below 2^-115 or so low has fewer bits, being denormal.
    uint32_t u_low[2 * M][2], v_low[N][2];
    auto split = [](uint32_t& x, uint32_t& low, uint32_t& any) {
      uint32_t high = (x + 0x1000) & 0xffffe000;
      low = __float_as_uint(__uint_as_float(x) - __uint_as_float(high));
      any |= low;
      x = high;
    };
#pragma unroll
    for (int g = 0; g < 2 * M; g++) split(u[g][0], u_low[g][0], seen.a), split(u[g][1], u_low[g][1], seen.a);
#pragma unroll
    for (int g = 0; g < N; g++) split(v[g][0], v_low[g][0], seen.b), split(v[g][1], v_low[g][1], seen.b);
    auto products = [&](auto& uu, auto& vv, auto first) {
#pragma unroll
      for (int i = 0; i < M; i++)
#pragma unroll
        for (int j = 0; j < N; j++) {
          MmaA rows{uu[2 * i][0], uu[2 * i + 1][0], uu[2 * i][1], uu[2 * i + 1][1]};
          if constexpr (first)
            multiply_add<T>(sum[i][j], rows, {vv[j][0], vv[j][1]}, {});
          else
            multiply_add<T>(sum[i][j], rows, {vv[j][0], vv[j][1]}, sum[i][j]);
        }
    };
    products(u_low, v, std::integral_constant<bool, FIRST>{});
    products(u, v_low, std::false_type{});
    products(u, v, std::false_type{});
  } else {
    auto word = [](auto& x, int group, int half) {  // of half the k
      if constexpr (Tile::METHOD == MmaMethod::BFLOAT16)
        return bfloat16_pair(x[group][2 * half], x[group][2 * half + 1]);
      else if constexpr (Tile::METHOD == MmaMethod::TF32)
        return tf32_rounded(x[group][half]);
      else
        return x[group][half];
    };
    MmaB columns[N];
#pragma unroll
    for (int j = 0; j < N; j++) columns[j] = {word(v, j, 0), word(v, j, 1)};
#pragma unroll
    for (int i = 0; i < M; i++) {
      MmaA rows{word(u, 2 * i, 0), word(u, 2 * i + 1, 0), word(u, 2 * i, 1), word(u, 2 * i + 1, 1)};
#pragma unroll
      for (int jj = 0; jj < N; jj++) {
        int j = i % 2 ? N - 1 - jj : jj;  // to and fro: neighbours share a register
        multiply_add<T>(sum[i][j], rows, columns[j], sum[i][j]);
      }
    }
  }
}

struct MmaPieces {
  int64_t k;            // of k per piece: blockIdx.y is the piece, a multiple of BK but for the last
  int64_t ld_a, ld_b;   // see MmaLoader
  bool wide_a, wide_b;  // the operand allows 16-byte reads
  bool wide_c;          // the lines of c (or of sums) are multiples of 16 bytes
  float* sums;          // where the sums go, as float, [piece][z][m][n]; null: to c, which is of 16-bit floats
};

template <class T, int W> __device__ __forceinline__ Pack<T, W> rounded(const Pack<float, W>& x) {
  Pack<T, W> y;
#pragma unroll
  for (int w = 0; w < W; w++) y.v[w] = static_cast<T>(x.v[w]);
  return y;
}

// How much of LIMIT is left.
template <int LIMIT> __device__ __forceinline__ int clipped(int64_t left) {
  return left < 0 ? 0 : left < LIMIT ? static_cast<int>(left) : LIMIT;
}

// A warp's part of c, by 16 lines at a time through shared memory, so that whole packs of neighbours are stored: as T
// to c, or as float to sums if that is not null (it never is where T is float). at: of the part's first number.
template <class Tile, class PartA, class PartB, int M, int N>
__device__ __forceinline__ void store_part(const float (&sum)[M][N][4], float* staged, typename Tile::T* c, float* sums,
                                           int64_t at, int64_t ld, int rows, int cols, bool wide) {
  using T = typename Tile::T;
  constexpr int PITCH = Tile::WN + (PartB::SPREAD ? 4 : 8), PACKS = Tile::WN / 4;
  int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, col = lane % PACKS * 4;
  auto store = [&](int64_t to, auto pack) {
    if (is_half<T> && !sums) {
      auto out = rounded<T>(pack);
      *reinterpret_cast<decltype(out)*>(c + to) = out;
    } else {
      *reinterpret_cast<decltype(pack)*>(sums + to) = pack;
    }
  };
#pragma unroll
  for (int i = 0; i < M; i++) {
#pragma unroll
    for (int half = 0; half < 2; half++)
#pragma unroll
      for (int j = 0; j < N; j += PartB::SPREAD ? 4 : 1) {
        float* to = staged + (half * 8 + g) * PITCH;
        if constexpr (PartB::SPREAD) {  // packs 2t and 2t + 1 of 32 columns
#pragma unroll
          for (int e = 2 * half; e < 2 * half + 2; e++)
            *reinterpret_cast<Pack<float, 4>*>(to + PartB::vector(j, 2 * t + e % 2)) = {
                sum[i][j][e], sum[i][j + 1][e], sum[i][j + 2][e], sum[i][j + 3][e]};
        } else {
          *reinterpret_cast<Pack<float, 2>*>(to + PartB::vector(j, 2 * t)) = {sum[i][j][2 * half],
                                                                              sum[i][j][2 * half + 1]};
        }
      }
    __syncwarp();
#pragma unroll 2
    for (int line = lane / PACKS; line < 16; line += 32 / PACKS) {
      int row = PartA::vector(2 * i + line / 8, line % 8);
      if (row >= rows) continue;
      Pack<float, 4> pack = *reinterpret_cast<const Pack<float, 4>*>(staged + line * PITCH + col);
      int64_t to = at + row * ld + col;
      if (wide) {
        if (col < cols) store(to, pack);
      } else {
#pragma unroll
        for (int w = 0; w < 4; w++)
          if (col + w < cols) store(to + w, Pack<float, 1>{pack.v[w]});
      }
    }
    __syncwarp();
  }
}

// The last part of FLOAT32. A number that is not finite, or that rounds up to infinity, has no two parts: every sum it
// is in comes out as NaN. A tile with a sum that is not finite is summed again by plain multiply-adds, which give what
// IEEE says.
template <class Tile, class PartA, class PartB, int M, int N, class LoadA, class LoadB>
__device__ void sum_plainly(float (&sum)[M][N][4], char* shared, LoadA load_a, LoadB load_b, int64_t k_count, int row,
                            int col, bool mine) {
  int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  char* b = shared + LoadA::Shared::BYTES;
#pragma unroll
  for (int e = 0; e < M * N * 4; e++) sum[e / 4 / N][e / 4 % N][e % 4] = 0;
#pragma unroll 1
  for (int64_t k_left = k_count; k_left > 0; k_left -= Tile::BK) {
    __syncthreads();
    int k = k_left < Tile::BK ? static_cast<int>(k_left) : Tile::BK;
    load_a.load(shared, k);
    load_b.load(b, k);
    commit_copies();
    wait_copies<0>();
    __syncthreads();
    if (!mine) continue;
#pragma unroll 1
    for (int kk = 0; kk < k; kk++) {
      auto number = [](const char* at) { return *reinterpret_cast<const float*>(at); };
      float u[2 * M], v[N][2];
#pragma unroll
      for (int i = 0; i < 2 * M; i++) u[i] = number(shared + LoadA::Shared::place_of(row + PartA::vector(i, g), kk));
#pragma unroll
      for (int j = 0; j < N; j++)
#pragma unroll
        for (int e = 0; e < 2; e++)
          v[j][e] = number(b + LoadB::Shared::place_of(col + PartB::vector(j, 2 * t + e), kk));
#pragma unroll
      for (int i = 0; i < M; i++)
#pragma unroll
        for (int j = 0; j < N; j++)
#pragma unroll
          for (int e = 0; e < 4; e++) sum[i][j][e] = fmaf(u[2 * i + e / 2], v[j][e % 2], sum[i][j][e]);
    }
  }
}

// The sums of all slices, in slice 0, added in their order.
template <class Tile, int M, int N> __device__ void add_mma_slices(float (&sum)[M][N][4], char* shared, int slice) {
  constexpr int THREADS = 32 * Tile::WARPS;
  float* parts = reinterpret_cast<float*>(shared) + threadIdx.x % THREADS;  // [slice - 1][number][thread]
  __syncthreads();
#pragma unroll
  for (int e = 0; e < M * N * 4; e++)
    if (slice > 0) parts[((slice - 1) * M * N * 4 + e) * THREADS] = sum[e / 4 / N][e / 4 % N][e % 4];
  __syncthreads();
  if (slice > 0) return;
  for (int s = 0; s < Tile::SLICES - 1; s++)
#pragma unroll
    for (int e = 0; e < M * N * 4; e++) sum[e / 4 / N][e / 4 % N][e % 4] += parts[(s * M * N * 4 + e) * THREADS];
}

// c = a b. While the block works on one tile, cp.async brings the next STAGES - 1, with one barrier a tile; while the
// tensor cores work on one step of k, the words of the next are on their way to the other set of registers. With
// FLOAT32 the tensor core sums one tile's k at a time and a thread adds that to its sums, rounded: the core cuts its
// sums, and over a long k that would be the largest error by far.
template <class Tile, bool A_K_CONTIGUOUS, bool B_K_CONTIGUOUS>
__global__ void __launch_bounds__(Tile::THREADS, Tile::MIN_BLOCKS)
    multiply_by_mma(Product<typename Tile::T> p, Batch batch, TileGrid grid, MmaPieces pieces) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  using T = typename Tile::T;
  using LoadA = MmaLoader<Tile, Tile::BM, A_K_CONTIGUOUS>;
  using LoadB = MmaLoader<Tile, Tile::BN, B_K_CONTIGUOUS>;
  using PartA = Fragments<Tile, Tile::BM, Tile::WM, A_K_CONTIGUOUS, true>;
  using PartB = Fragments<Tile, Tile::BN, Tile::WN, B_K_CONTIGUOUS, false>;
  constexpr int M = Tile::WM / 16, N = Tile::WN / 8, STAGES = Tile::STAGES, DEPTH = Tile::DEPTH, BK = Tile::BK;
  constexpr bool PROMOTES = Tile::METHOD == MmaMethod::FLOAT32;
  extern __shared__ __align__(16) char memory[];  // [stage][a's tile, b's tile]

  TilePlace place = tile_place(grid, blockIdx.x);
  int64_t first_row = (int64_t)place.row * Tile::BM, first_col = (int64_t)place.col * Tile::BN;
  int64_t k_first = blockIdx.y * pieces.k;
  int64_t k_count = p.k() - k_first < pieces.k ? p.k() - k_first : pieces.k;
  int tiles = static_cast<int>((k_count + BK - 1) / BK), last = static_cast<int>(k_count - (tiles - 1LL) * BK);

  BatchOffsets offsets = batch_offsets(batch.layout, batch.first + blockIdx.z);
  LoadA load_a(p.a, offsets.a, pieces.ld_a, pieces.wide_a, first_row, k_first);
  LoadB load_b(p.b, offsets.b, pieces.ld_b, pieces.wide_b, first_col, k_first);
  auto load_stage = [&](int stage, int tiles_left) {
    char* a = memory + stage * Tile::STAGE_BYTES;
    int k = tiles_left > 1 ? BK : tiles_left == 1 ? last : 0;  // past the end: zeros, which nobody reads
    load_a.load(a, k);
    load_b.load(a + LoadA::Shared::BYTES, k);
    commit_copies();
  };

  int warp = threadIdx.x / 32 % Tile::WARPS, slice = Tile::SLICES > 1 ? threadIdx.x / 32 / Tile::WARPS : 0;
  int row = warp / Tile::WARPS_N * Tile::WM, col = warp % Tile::WARPS_N * Tile::WN;  // of the warp's part in the tile
  PartA a(row, slice);
  PartB b(col, slice);
  auto read_parts = [&](int set, int stage, int step) {
    uint32_t tile = shared_address(memory) + stage * Tile::STAGE_BYTES;
    a.read(set, tile, step);
    b.read(set, tile + LoadA::Shared::BYTES, step);
  };

  float sum[M][N][4] = {}, tile_sum[PROMOTES ? M : 1][PROMOTES ? N : 1][4];
#pragma unroll 1
  for (int s = 0; s < STAGES - 1; s++) load_stage(s, tiles - s);
  wait_copies<STAGES - 2>();
  __syncthreads();
  read_parts(0, 0, 0);

  LowBits seen;
  int stage = 0;
#pragma unroll 1
  for (int tiles_left = tiles; tiles_left > 0; tiles_left--) {
#pragma unroll
    for (int step = 0; step < DEPTH; step++) {
      if (step == DEPTH - 1) {  // all reads of this tile are done; the next tile has arrived, for all threads
        stage = stage + 1 == STAGES ? 0 : stage + 1;
        wait_copies<STAGES - 2>();
        __syncthreads();
      }
      read_parts((step + 1) % 2, stage, (step + 1) % DEPTH);
      if (step == 0)
        load_stage(stage == 0 ? STAGES - 1 : stage - 1, tiles_left - (STAGES - 1));  // where the last tile was
      if constexpr (!PROMOTES)
        multiply_fragments<Tile, false>(sum, a, b, step % 2, seen);
      else if (step == 0)
        multiply_fragments<Tile, true>(tile_sum, a, b, 0, seen);
      else
        multiply_fragments<Tile, false>(tile_sum, a, b, step % 2, seen);
    }
    if constexpr (PROMOTES) {
#pragma unroll
      for (int e = 0; e < M * N * 4; e++) sum[e / 4 / N][e / 4 % N][e % 4] += tile_sum[e / 4 / N][e / 4 % N][e % 4];
    }
  }

  wait_copies<0>();
  if (Tile::SLICES > 1) add_mma_slices<Tile>(sum, memory, slice);
  if constexpr (PROMOTES) {
    // Measured: what is cut off is, on average, this part of a sum. It is given back, unless all products were short.
    constexpr float CUT_OFF = BK / Tile::SLICES <= 16 ? 8.5e-8f : 1.85e-7f;
    const bool a_long = __syncthreads_or(seen.a << 1 != 0), b_long = __syncthreads_or(seen.b << 1 != 0);
    if (a_long && b_long) {
#pragma unroll
      for (int e = 0; e < M * N * 4; e++) {
        float& x = sum[e / 4 / N][e / 4 % N][e % 4];
        x = fmaf(x, CUT_OFF, x);
      }
    }
    bool special = false;
#pragma unroll
    for (int e = 0; e < M * N * 4; e++) special = special || !(fabsf(sum[e / 4 / N][e / 4 % N][e % 4]) < INFINITY);
    if (__syncthreads_or(special && slice == 0)) {
      load_a.move(-(tiles + STAGES - 1)), load_b.move(-(tiles + STAGES - 1));
      sum_plainly<Tile, PartA, PartB>(sum, memory, load_a, load_b, k_count, row, col, slice == 0);
    }
  }
  __syncthreads();  // the tiles' memory is free
  if (slice > 0) return;
  int64_t z = batch.first + blockIdx.z, at = ((z * p.m()) + first_row + row) * p.n() + first_col + col;
  int rows = clipped<Tile::WM>(p.m() - first_row - row), cols = clipped<Tile::WN>(p.n() - first_col - col);
  float* staged = reinterpret_cast<float*>(memory) + warp * Tile::STAGED;
  float* sums = pieces.sums ? pieces.sums + blockIdx.y * batch.layout.n * p.size() : nullptr;
  store_part<Tile, PartA, PartB>(sum, staged, p.c, sums, at, p.n(), rows, cols, pieces.wide_c);
#endif
}

}  // namespace cdn
