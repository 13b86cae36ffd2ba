// Products with few rows or columns whose matrix is contiguous across k: threads side by side have
// columns, and the lines are shared out. A block has `own` columns, 2^log lanes with a pack each;
// warp w takes lines w, w + 8, … of the split, which all begin at the same place within a pack. In
// a step a thread takes four of them, each by turns with the threads of the warp that are below one
// another. Where lines are not aligned a lane has to spare for the shift.
#pragma once
#include "gpu/gemm/skinny/vector.h"

namespace cdn {

CDN_FN constexpr int column_step(int log) { return 8 * RING_PACKS << (5 - log); }  // in lines

// Where line e of the few vectors lies: those of a warp beside one another, and of these those of a
// thread.
__device__ __forceinline__ int line_place(int e, int log) {
  const int below = 32 >> log, step = below * 8 * RING_PACKS, line = (e & (step - 1)) / 8;
  return (e & -step) | (e % 8) * (step / 8) | (line & (below - 1)) * RING_PACKS | line >> (5 - log);
}

// Of a warp's sums by vector and place in a pack, [f][w][lane], so that neither writes nor reads
// meet in banks.
CDN_FN constexpr int column_sums_pitch(int lanes) { return lanes > 8 ? lanes + 8 : 8; }

// The sums of a thread's columns by plain multiply-adds. X: the few vectors' numbers in shared
// memory; PAD: numbers from one vector to the next beside a chunk; SUMS_PAD: the same of the warps'
// sums; CHUNK: lines that there is room for; WORK: cycles of a block's multiply-adds for each byte
// of the matrix. As few lanes as leave room for a step of the few vectors, as many as for the
// warps' sums.
template <int VECTORS, class T> struct ColumnSums {
  using X = Compute<T>;
  static constexpr int F = VECTORS, BYTES = F * sizeof(X), W = PACK<T>, N = F * W;
  static constexpr int PAD = RING_PACKS, SUMS_PAD = 0, READS = PACKS_READ<F, X>,
                       CHUNK = (BYTES > 64 ? 24 : 32) * 1024 / BYTES,
                       LEAST_LOG = BYTES > 64 ? 2 : 1, MOST_LOG = N < 64 ? 5 : 4;
  static constexpr bool MMA = false;
  static constexpr double WORK = is_half<T> ? (F + 1) / 140.0 : F / 280.0;
  X sum[N] = {};

  // Packs of `left` lines, `apart` from one another, by the numbers at xs.
  __device__ __forceinline__ void add(const Pack<T, W> (&u)[RING_PACKS], const X* xs, int pitch,
                                      int left, int apart) {
    constexpr int AT_ONCE = sizeof(T) == 2 && N >= 64 ? 1
                            : N * sizeof(X) >= 256    ? 2
                                                      : 4;  // lines, as registers allow
    using Factors = Pack<X, AT_ONCE>;
#pragma unroll
    for (int j0 = 0; j0 < RING_PACKS; j0 += AT_ONCE) {
      if (j0 * apart >= left) break;  // only zeros
#pragma unroll
      for (int f = 0; f < F; f++) {
        const Factors x = *reinterpret_cast<const Factors*>(xs + f * pitch + j0);
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++)
#pragma unroll
          for (int w = 0; w < W; w++)
            sum[f * W + w] = fma(wide(u[j0 + j].v[w]), x.v[j], sum[f * W + w]);
      }
    }
  }
  // The warp's sums, [f][w][lane].
  __device__ __forceinline__ void store(X* parts, int lanes, int across) {
    int left, at = fold_warp<N>(sum, lanes, left);
    __syncthreads();  // all have read their packs
#pragma unroll
    for (int i = 0; i < N; i++)
      if (i < left) parts[(at + i) * column_sums_pitch(lanes) + across] = sum[i];
  }
};

// The same on tensor cores, with 8 lanes: thread (g, t) reads 4 lines, of 8 neighbouring columns at
// 8 g. Words of two lines are put together, column by column; columns 2 m and 2 m + 1 of all
// threads are rows g and g + 8 of product m. Vectors are 32 bytes apart for the sake of the banks,
// and sums 16.
template <int EIGHTS, class T> struct MmaColumnSums {
  using X = T;
  static constexpr int F = 8 * EIGHTS, W = 8, LEAST_LOG = 3, MOST_LOG = 3, PAD = 16, SUMS_PAD = 4,
                       READS = 2, CHUNK = 1024;
  static constexpr bool MMA = true;
  static constexpr double WORK = 0.01;
  float sum[EIGHTS][4][4] = {};

  __device__ __forceinline__ void add(const Pack<T, W> (&u)[RING_PACKS], const T* xs, int pitch,
                                      int, int) {
    const int g = threadIdx.x % 32 / 4;
    uint32_t words[RING_PACKS][4];
#pragma unroll
    for (int j = 0; j < RING_PACKS; j++) memcpy(words[j], &u[j], 16);
#pragma unroll
    for (int f = 0; f < EIGHTS; f++) {
      MmaB b;
      memcpy(&b, __builtin_assume_aligned(xs + (f * 8 + g) * pitch, 8), 8);
#pragma unroll
      for (int m = 0; m < 4; m++) {
        const MmaA a{__byte_perm(words[0][m], words[1][m], 0x5410),
                     __byte_perm(words[0][m], words[1][m], 0x7632),
                     __byte_perm(words[2][m], words[3][m], 0x5410),
                     __byte_perm(words[2][m], words[3][m], 0x7632)};
        multiply_add_halves<T>(sum[f][m], a, b);
      }
    }
  }
  __device__ __forceinline__ void store(float* parts, int lanes, int g) {
    const int t = threadIdx.x % 4, f_pitch = W * column_sums_pitch(lanes) + SUMS_PAD;
    __syncthreads();
#pragma unroll
    for (int f = 0; f < EIGHTS; f++)
#pragma unroll
      for (int m = 0; m < 4; m++)
#pragma unroll
        for (int i = 0; i < 4; i++)
          parts[(f * 8 + 2 * t + i % 2) * f_pitch + (2 * m + i / 2) * 8 + g] = sum[f][m][i];
  }
};

template <class Sums, class T>
__global__ void __launch_bounds__(BLOCK, VECTOR_BLOCKS)
    vector_columns(VectorProduct<T> p, Batch batch, VectorWork work) {
  using C = Compute<T>;
  using X = typename Sums::X;
  constexpr int W = PACK<T>, F = Sums::F, WARPS = BLOCK / 32;
  extern __shared__ __align__(32) char memory[];
  const int log = Sums::MMA ? Sums::MOST_LOG : work.log, lanes = 1 << log, step = column_step(log),
            pitch = work.chunk + Sums::PAD;
  X* xs = reinterpret_cast<X*>(memory);                 // [f][line]
  C* totals = reinterpret_cast<C*>(memory);             // [f][column]
  C* parts = reinterpret_cast<C*>(memory + work.ring);  // [warp][f][w][lane]
  const VectorPart<T> part(p, batch);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int across = Sums::MMA ? lane / 4 : lane & (lanes - 1),  // the columns
      below = Sums::MMA ? lane % 4 : lane >> log;
  const int64_t extent = p.matrix.extent, c0 = static_cast<int64_t>(part.group) * work.own;
  const int first_phase = phase_of<W>(part.matrix),
            shift = static_cast<int>(extent % W);  // begin is a multiple of 8
  const int phase = (first_phase + warp * shift) % W, own_line = warp + 8 * below;
  const int apart = 256 >> log;  // of a thread's lines
  const bool active = c0 - phase + across * W < extent;
  const T* from = part.matrix + (part.begin + own_line) * extent + c0 - phase + across * W;

  PackRing<T> ring(memory + work.ring);
  auto load = [&](int stage, int line) {
#pragma unroll
    for (int j = 0; j < RING_PACKS; j++)
      ring.begin(stage, j, from + j * apart * extent,
                 active && line + own_line + j * apart < part.length);
    from += step * extent;
  };
  // Vector f at xs + f * pitch, with zeros up to whole steps.
  auto stage = [&](int first, int count) {
    const int few = static_cast<int>(p.few.extent);
    for (int e = count + threadIdx.x; e < ((count + step - 1) & -step); e += BLOCK)
      for (int f = 0; f < few; f++) xs[f * pitch + line_place(e, log)] = X(0.0f);
    read_few<F, Sums::READS>(p, part, first, count, [&](int f, int e, T value) {
      xs[f * pitch + line_place(e, log)] = static_cast<X>(value);
    });
  };
  Sums sums;
  auto multiply = [&](const Pack<T, W>(&u)[RING_PACKS], int, int line, int count) {
    sums.add(u, xs + line + warp * (step / 8) + below * RING_PACKS, pitch, count - line, apart);
  };
  ring.main_loop(part.length, step, work.chunk, load, stage, multiply);

  const int sums_pitch = column_sums_pitch(lanes), f_pitch = W * sums_pitch + Sums::SUMS_PAD;
  sums.store(parts + warp * F * f_pitch, lanes, across);
  __syncthreads();
  const int log_columns = log + (W == 8 ? 3 : W == 4 ? 2 : 1), columns = 1 << log_columns;
  store_totals(
      p, part, batch, totals, static_cast<int>(p.few.extent) << log_columns,
      [&](int t) {
        const int f = t >> log_columns, column = t & (columns - 1);
        C total = 0;
        if (column < work.own)
#pragma unroll
          for (int w = 0; w < WARPS; w++) {
            const int c = column + (first_phase + w * shift) % W;
            total += parts[(w * F + f) * f_pitch + c % W * sums_pitch + c / W];
          }
        return total;
      },
      [&](int t) -> int64_t {
        const int f = t >> log_columns, column = t & (columns - 1);
        const int64_t i = c0 + column;
        return column < work.own && i < extent ? i * p.i_step + f * p.f_step : -1;
      });
}

}  // namespace cdn
