// Products on the tensor cores of sm_80 and all later GPUs: cp.async into shared memory, ldmatrix
// from there, mma.sync. The pipeline is that of matmul_pipelined: a warp's sums in registers, two
// sets of fragments, STAGES tiles. Floats are rounded, or cut into two TF32 parts, in registers: no
// pass prepares the operands, and there is no scale to keep.
#pragma once
#include "gpu/gemm/mma/sums.h"

namespace cdn {

// A100, H100, B200 and the like, with four times the rate of TF32 or more.
inline bool is_computing_gpu(const Call& call) {
  const int capability = call.model().capability;
  return capability == 80 || capability == 90 || capability == 100 || capability == 103;
}

// Whether the device of the call, and this build, can do it.
bool mma_supported(Call& call);

// c = a b for each place of the batch. T is float16 or bfloat16 with HALF, float with the others;
// with BFLOAT16 it is rounded to that in copies, or to TF32: no tile has that method.
template <class T>
void matmul_mma(Call& call, const Product<T>& p, const Layout& batch, Method method);

// How long that takes, estimated in clock cycles.
template <class T>
double mma_cycles(Call& call, const Product<T>& p, const Layout& batch, Method method);

// Whether a and b have had numbers of more bits than TF32's: then the tensor cores have cut off
// some of their sums.
struct LowBits {
  uint32_t a = 0, b = 0;
};

// One step: sum += a b over the STEP of k that a set of the fragments holds. FIRST: sum = a b.
template <class Tile, bool FIRST, int M, int N, class A, class B>
__device__ __forceinline__ void multiply_fragments(float (&sum)[M][N][4], A& a, B& b, int set,
                                                   LowBits& seen) {
  using T = typename Tile::T;
  auto& u = a.words[set];
  auto& v = b.words[set];
  if constexpr (Tile::METHOD == Method::FP32) {
    // x = high + low exactly, and both fit tf32 but for the last bit of low: x y = low high + high
    // low + high high, less what is beyond float. The small products come first. Below 2^-115 or so
    // low has fewer bits, being denormal.
    uint32_t u_low[2 * M][2], v_low[N][2];
    auto split = [](uint32_t& x, uint32_t& low, uint32_t& any) {
      uint32_t high = (x + 0x1000) & 0xffffe000;
      low = __float_as_uint(__uint_as_float(x) - __uint_as_float(high));
      any |= low;
      x = high;
    };
#pragma unroll
    for (int g = 0; g < 2 * M; g++)
      split(u[g][0], u_low[g][0], seen.a), split(u[g][1], u_low[g][1], seen.a);
#pragma unroll
    for (int g = 0; g < N; g++)
      split(v[g][0], v_low[g][0], seen.b), split(v[g][1], v_low[g][1], seen.b);
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
      if constexpr (Tile::METHOD == Method::TF32)
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

// Shared memory: [stage][a's tile, b's tile]; or, with shifts, stages as they came and two tiles
// made of them.
template <class Tile, bool A_K_CONTIGUOUS, bool B_K_CONTIGUOUS> struct MmaMemory {
  static constexpr int RAW_A = MmaLoader<Tile, Tile::BM, A_K_CONTIGUOUS>::RAW_BYTES,
                       RAW_STAGE = RAW_A + MmaLoader<Tile, Tile::BN, B_K_CONTIGUOUS>::RAW_BYTES,
                       TILES_AT = Tile::STAGES * RAW_STAGE,
                       SHIFTED = TILES_AT + 2 * Tile::STAGE_BYTES,
                       SHIFTING_BYTES = SHIFTED > Tile::END_BYTES ? SHIFTED : Tile::END_BYTES;
};

// The last part of FP32. A number that is not finite, or that rounds up to infinity, has no two
// parts: every sum it is in comes out as NaN. A tile with a sum that is not finite is summed again
// by plain multiply-adds, which give what IEEE says.
template <class Tile, class PartA, class PartB, int M, int N, class LoadA, class LoadB>
__device__ void sum_plainly(float (&sum)[M][N][4], char* shared, LoadA load_a, LoadB load_b,
                            int64_t k_count, int row, int col, bool mine) {
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
      for (int i = 0; i < 2 * M; i++)
        u[i] = number(shared + LoadA::Shared::place_of(row + PartA::vector(i, g), kk));
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
          for (int e = 0; e < 4; e++)
            sum[i][j][e] = fmaf(u[2 * i + e / 2], v[j][e % 2], sum[i][j][e]);
    }
  }
}

// What a kernel's operands come by, and where its sums go: those of a product, and of convolutions
// in gpu/conv/mma_loader.h.
template <class Tile_, bool A_K, bool B_K> struct MmaProduct {
  using Tile = Tile_;
  using T = typename Tile::T;
  using Work = TileWork<T>;
  using LoadA = MmaLoader<Tile, Tile::BM, A_K>;
  using LoadB = MmaLoader<Tile, Tile::BN, B_K>;
  static constexpr bool A_K_CONTIGUOUS = A_K, B_K_CONTIGUOUS = B_K, SHIFTS = Tile::SHIFTS;
  static __device__ __forceinline__ TileOutput<T> output(const Product<T>& p,
                                                         const TileBlock& block, const Batch& batch,
                                                         const Work& work) {
    return output_of<Tile>(p, block, batch, work);
  }
};

// c = a b. While the block works on one tile, cp.async brings the next STAGES - 1, with one barrier
// a tile; while the tensor cores work on one step of k, the words of the next are on their way to
// the other set of registers. With FP32 the tensor core sums one tile's k at a time and a thread
// adds that to its sums, rounded: the core cuts its sums, and over a long k that would be the
// largest error by far.
template <class Task>
__global__ void __launch_bounds__(Task::Tile::THREADS, Task::Tile::MIN_BLOCKS)
    multiply_by_mma(Product<typename Task::T> p, Batch batch, TileGrid grid,
                    typename Task::Work work) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  using Tile = typename Task::Tile;
  using LoadA = typename Task::LoadA;
  using LoadB = typename Task::LoadB;
  using PartA = Fragments<Tile, Tile::BM, Tile::WM, Task::A_K_CONTIGUOUS, true>;
  using PartB = Fragments<Tile, Tile::BN, Tile::WN, Task::B_K_CONTIGUOUS, false>;
  using Memory = MmaMemory<Tile, Task::A_K_CONTIGUOUS, Task::B_K_CONTIGUOUS>;
  constexpr int M = Tile::WM / 16, N = Tile::WN / 8, STAGES = Tile::STAGES, DEPTH = Tile::DEPTH,
                BK = Tile::BK;
  constexpr bool PROMOTES = Tile::METHOD == Method::FP32;
  extern __shared__ __align__(16) char memory[];  // see MmaMemory
#if defined(CDN_HOPPER)
  hopper::let_next_kernel_start();
  uint64_t* received = reinterpret_cast<uint64_t*>(
      memory + (work.shifts ? Memory::SHIFTING_BYTES : Tile::SHARED_BYTES));
  if (Tile::JOINS && work.joined > 1 && threadIdx.x == 0) {
    hopper::barrier_init(received, 1);
    hopper::barriers_visible();
  }
#else
  uint64_t* received = nullptr;
#endif

  const TileBlock block(p, grid, work, Tile::BM, Tile::BN);
  const bool shifts = Task::SHIFTS && work.shifts;
  int tiles = static_cast<int>((block.k_count + BK - 1) / BK);
  int last = static_cast<int>(block.k_count - (tiles - 1LL) * BK);

  BatchOffsets offsets = batch_offsets(batch.layout, batch.first + blockIdx.z);
  LoadA load_a(p.a, offsets.a, work, work.wide_a, block.first_row, block.k_first);
  LoadB load_b(p.b, offsets.b, work, work.wide_b, block.first_col, block.k_first);
  auto load_stage = [&](int stage, int tiles_left) {
    int k = tiles_left > 1    ? BK
            : tiles_left == 1 ? last
                              : 0;  // past the end: zeros, which nobody reads
    if (shifts) {
      char* a = memory + stage * Memory::RAW_STAGE;
      load_a.load_raw(a, k);
      load_b.load_raw(a + Memory::RAW_A, k);
    } else {
      char* a = memory + stage * Tile::STAGE_BYTES;
      load_a.load(a, k);
      load_b.load(a + LoadA::Shared::BYTES, k);
    }
    commit_copies();
  };
  auto shift_stage = [&](int stage, int turn) {
    const char* raw = memory + stage * Memory::RAW_STAGE;
    char* a = memory + Memory::TILES_AT + turn * Tile::STAGE_BYTES;
    load_a.shift(raw, a);
    load_b.shift(raw + Memory::RAW_A, a + LoadA::Shared::BYTES);
  };

  int warp = threadIdx.x / 32 % Tile::WARPS,
      slice = Tile::SLICES > 1 ? threadIdx.x / 32 / Tile::WARPS : 0;
  int row = warp / Tile::WARPS_N * Tile::WM,
      col = warp % Tile::WARPS_N * Tile::WN;  // of the warp's part in the tile
  PartA a(row, slice);
  PartB b(col, slice);
  int stage = 0,
      turn = 0;  // where the tile at hand is; turn counts the tiles made by shifting, modulo 2
  auto read_parts = [&](int set, int step) {
    uint32_t tile = shared_address(memory) + (shifts ? Memory::TILES_AT + turn * Tile::STAGE_BYTES
                                                     : stage * Tile::STAGE_BYTES);
    a.read(set, tile, step);
    b.read(set, tile + LoadA::Shared::BYTES, step);
  };
  auto next_of = [](int stage) { return stage + 1 == STAGES ? 0 : stage + 1; };

  float sum[M][N][4] = {}, tile_sum[PROMOTES ? M : 1][PROMOTES ? N : 1][4];
#if defined(CDN_HOPPER)
  hopper::wait_for_previous_kernel();
#endif
#pragma unroll 1
  for (int s = 0; s < STAGES - 1; s++) load_stage(s, tiles - s);
  wait_copies<STAGES - 2>();
  __syncthreads();
  if (shifts) {  // shifting is one tile ahead of multiplying, and so is loading, one more than
                 // without
    shift_stage(0, 0);
    load_stage(STAGES - 1, tiles - (STAGES - 1));
    wait_copies<STAGES - 2>();
    __syncthreads();
  }
  read_parts(0, 0);

  LowBits seen;
#pragma unroll 1
  for (int tiles_left = tiles; tiles_left > 0; tiles_left--) {
#pragma unroll
    for (int step = 0; step < DEPTH; step++) {
      if (step == DEPTH - 1) {  // all reads of this tile are done; the next has arrived, or been
                                // made, for all threads
        stage = next_of(stage), turn ^= 1;
        wait_copies<STAGES - 2>();
        __syncthreads();
      }
      read_parts((step + 1) % 2, (step + 1) % DEPTH);
      if (step == 0) {
        if (shifts) {  // where this tile came from
          load_stage(stage, tiles_left - STAGES);
          if (tiles_left > 1) shift_stage(next_of(stage), turn ^ 1);
        } else {  // where the last tile was
          load_stage(stage == 0 ? STAGES - 1 : stage - 1, tiles_left - (STAGES - 1));
        }
      }
      if constexpr (!PROMOTES)
        multiply_fragments<Tile, false>(sum, a, b, step % 2, seen);
      else if (step == 0)
        multiply_fragments<Tile, true>(tile_sum, a, b, 0, seen);
      else
        multiply_fragments<Tile, false>(tile_sum, a, b, step % 2, seen);
    }
    if constexpr (PROMOTES) {
#pragma unroll
      for (int e = 0; e < M * N * 4; e++)
        sum[e / 4 / N][e / 4 % N][e % 4] += tile_sum[e / 4 / N][e / 4 % N][e % 4];
    }
  }

  wait_copies<0>();
  if constexpr (PROMOTES) {
    // What is cut off is, on average, this part of a sum. It is given back, unless all
    // products were short.
    constexpr float CUT_OFF = BK / Tile::SLICES <= 16 ? 8.5e-8f : 1.85e-7f;
    const bool a_long = __syncthreads_or(seen.a << 1 != 0),
               b_long = __syncthreads_or(seen.b << 1 != 0);
    if (a_long && b_long) {
#pragma unroll
      for (int e = 0; e < M * N * 4; e++) {
        float& x = sum[e / 4 / N][e / 4 % N][e % 4];
        x = fmaf(x, CUT_OFF, x);
      }
    }
    bool special = false;
#pragma unroll
    for (int e = 0; e < M * N * 4; e++)
      special = special || !(fabsf(sum[e / 4 / N][e / 4 % N][e % 4]) < INFINITY);
    if (__syncthreads_or(special)) {
      load_a.move(-(tiles + STAGES - 1)), load_b.move(-(tiles + STAGES - 1));
      sum_plainly<Tile, PartA, PartB>(sum, memory, load_a, load_b, (tiles - 1LL) * BK + last, row,
                                      col, slice == 0);
    }
  }

  using Sums = MmaSums<Tile, PartA, PartB>;
  const auto to = Task::output(p, block, batch, work);
  TileEpilogue<Sums, std::decay_t<decltype(to)>, BlockSync> end{reinterpret_cast<float*>(memory),
                                                                to, (int)threadIdx.x};
  if constexpr (Tile::JOINS) {
    if (work.joined > 1)
      return store_by_messages(end, sum, slice, row, col, work.joined, block.rank, received);
  }
#pragma unroll 1
  for (int first = 0; first < Tile::BM; first += Sums::ROWS) {
    __syncthreads();  // the memory is free
    if (Tile::HALVES == 1 || row / Sums::ROWS == first / Sums::ROWS)
      Sums::put(end.shared, sum, slice, row - first, col);
    __syncthreads();
    end.store(first);
  }
#endif
}

// ---- The launch

template <class Task>
void launch_mma(Call& call, const TileProduct<typename Task::T, typename Task::Work>& x) {
  using Tile = typename Task::Tile;
  constexpr int BARRIER = 16;  // where pieces are joined
  const int own = x.work.shifts
                      ? MmaMemory<Tile, Task::A_K_CONTIGUOUS, Task::B_K_CONTIGUOUS>::SHIFTING_BYTES
                      : Tile::SHARED_BYTES,
            bytes = x.work.joined > 1 ? own + BARRIER : own;
  launch_tiles<Tile>(call, multiply_by_mma<Task>, x, {{}, Tile::THREADS, bytes}, Tile::MIN_BLOCKS);
}

template <class Tile, class Work>
TileKernel<typename Tile::T, Work> mma_tile(
    double rate, double alone, void (*launch)(Call&, const TileProduct<typename Tile::T, Work>&)) {
  return {{Tile::BM, Tile::BN, Tile::BK, Tile::MIN_BLOCKS, rate, alone, 0, Tile::JOINS},
          launch,
          Tile::ANY_PLACE,
          Tile::THREADS};
}

constexpr double MMA_LAUNCH = 5000;  // cycles

// n: of the product.
template <class T> FamilyCost mma_family(bool hopper, int64_t n) {
  constexpr double START = 2600, PDL = 1200, NARROW_STORE = 0.42;
  FamilyCost family{START, sizeof(T), sizeof(float)};
  family.second_pass = MMA_LAUNCH;
  if (is_half<T> && n % 4) family.end = NARROW_STORE;
  family.pdl = hopper ? PDL : 0;
  family.clusters = hopper;
  return family;
}

}  // namespace cdn
