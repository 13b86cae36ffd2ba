// Products with few rows or columns of 16-bit numbers: vector.h's ways to read the matrix,
// with tensor cores for the sums. Not for their speed at multiplying: a 2-byte number that comes
// from memory leaves time for 13 multiply-adds of plain floats, conversions included, and a product
// with 8 vectors would be bound by those. mma.sync takes its operands from registers, and which
// numbers of k meet in one instruction is free as long as both operands agree. So a thread's
// 16-byte packs go there as they come from memory, 16 vectors of the matrix by 8 of the few at a
// time.
#pragma once
#include "gpu/gemm/skinny/vector.h"
#include "gpu/tile/mma.h"

namespace cdn {

__device__ __forceinline__ void multiply_add_halves(float (&sum)[4], const MmaA& a, const MmaB& b,
                                                    float16) {
  multiply_add<float16>(sum, a, b, sum);
}
__device__ __forceinline__ void multiply_add_halves(float (&sum)[4], const MmaA& a, const MmaB& b,
                                                    bfloat16) {
  multiply_add<bfloat16>(sum, a, b, sum);
}

template <class T> __device__ __forceinline__ uint4 words_of(const Pack<T, 8>& pack) {
  return *reinterpret_cast<const uint4*>(&pack);
}

// ---- Rows: the matrix is contiguous along k. A warp has 16 rows; thread (g, t) reads packs t, t +
// 4, … of rows g and g + 8 (the warps of a group taking turns), and the same packs of vector g of
// the few: pairs 0 and 1 of a pack are one product's k, 2 and 3 the next one's.

constexpr int MMA_ROWS = 16, MMA_DEEP = RING_PACKS / 2;

// Vectors a few packs apart in shared memory, so that the 8 threads that read at once do so from
// different banks.
CDN_FN constexpr int mma_row_pitch(int chunk) { return (chunk + 4) * 8; }

template <int EIGHTS, class T>
__global__ void __launch_bounds__(BLOCK, VECTOR_BLOCKS)
    vector_rows_mma(VectorProduct<T> p, Batch batch, RowWork work) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  constexpr int W = 8, N = MMA_ROWS * 8 * EIGHTS, DEEP = MMA_DEEP, WARPS = BLOCK / 32;
  using Part = Pack<T, W>;
  extern __shared__ __align__(32) char memory[];
  T* xs = reinterpret_cast<T*>(memory);
  const VectorPart<T> part(p, batch);
  const int warp = threadIdx.x / 32, log = work.log - 5, warps = 1 << log, groups = WARPS >> log;
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  const int64_t extent = p.matrix.extent, k = p.matrix.k;
  const int64_t low_row = work.row(part.group, groups, warp >> log, MMA_ROWS, g),
                high_row = low_row + 8 * work.stride;
  const int phase = phase_of<W>(part.matrix + work.class_of(part.group) * k);
  const int packs = (part.length + phase + W - 1) / W, abreast = warps * 4, step = abreast * DEEP;
  const int pitch = mma_row_pitch(work.chunk);
  const T* low_line = part.matrix + low_row * k + part.begin - phase;
  const T* high_line = low_line + 8 * work.stride * k;

  PackRing<T> ring(memory + work.ring);
  auto load = [&](int stage, int q) {
#pragma unroll
    for (int d = 0; d < DEEP; d++) {
      int at = q + d * abreast;
      ring.begin(stage, 2 * d, low_line + at * W, at < packs && low_row < extent);
      ring.begin(stage, 2 * d + 1, high_line + at * W, at < packs && high_row < extent);
    }
  };

  float sum[EIGHTS][2][4] = {};
  const int own = (warp & (warps - 1)) * 4 + t;
  ring.fill((packs + step - 1) / (4 * DEEP) >> log, [&](int s) { load(s, own + s * step); });
#pragma unroll 1
  for (int q0 = 0; q0 < packs; q0 += work.chunk) {
    if (q0 > 0) __syncthreads();
    stage_along_rows<8 * EIGHTS, 4 / EIGHTS>(xs, pitch, p, part, phase, q0, work.chunk);
    __syncthreads();
    int end = q0 + work.chunk < packs ? q0 + work.chunk : packs;
#pragma unroll 1
    for (int q = q0 + own; q - own < end; q += step) {
      Part u[RING_PACKS];
      ring.take(u);
#pragma unroll
      for (int d = 0; d < DEEP; d++) {
        int at = q + d * abreast, e = at * W - phase;
        if (at < packs &&
            (e < 0 || e + W > part.length))  // beside the piece: of other rows, or of other pieces
#pragma unroll
          for (int w = 0; w < W; w++)
            if (e + w < 0 || e + w >= part.length) u[2 * d].v[w] = u[2 * d + 1].v[w] = T(0.0f);
        uint4 a = words_of(u[2 * d]), a8 = words_of(u[2 * d + 1]);
#pragma unroll
        for (int f = 0; f < EIGHTS; f++) {
          uint4 b = {};
          if (at < packs)
            b = *reinterpret_cast<const uint4*>(xs + (f * 8 + g) * pitch + (at - q0) * W);
          multiply_add_halves(sum[f][0], MmaA{a.x, a8.x, a.y, a8.y}, MmaB{b.x, b.y}, T{});
          multiply_add_halves(sum[f][1], MmaA{a.z, a8.z, a.w, a8.w}, MmaB{b.z, b.w}, T{});
        }
      }
      int next = q + RING_STAGES * step;
      ring.refill(next - own < packs, [&](int s) { load(s, next); });
    }
  }

  float *parts = reinterpret_cast<float*>(memory),
        *totals = parts + WARPS * N;  // [warp][row][f], [group][row][f]
  __syncthreads();
#pragma unroll
  for (int f = 0; f < EIGHTS; f++)
#pragma unroll
    for (int i = 0; i < 4; i++)
      parts[warp * N + (g + i / 2 * 8) * 8 * EIGHTS + f * 8 + 2 * t + i % 2] =
          sum[f][0][i] + sum[f][1][i];
  __syncthreads();
  store_totals(
      p, batch, totals, groups * N,
      [&](int v) {
        const float* mine = parts + v / N * warps * N + v % N;
        float total = mine[0];
        for (int w = 1; w < warps; w++) total += mine[w * N];
        return total;
      },
      [&](int v) -> int64_t {
        int64_t i = work.row(part.group, groups, v / N, MMA_ROWS, v % N / (8 * EIGHTS));
        int f = v % (8 * EIGHTS);
        return i < extent && f < p.few.extent ? i * p.i_step + f * p.f_step : -1;
      });
#endif
}

// ---- Columns: the matrix is contiguous across k. As in vector_columns, with 8 lanes: thread (g,
// t) reads 4 lines, of 8 neighbouring columns at 8 g. Words of two lines are put together, column
// by column; columns 2 m and 2 m + 1 of all threads are rows g and g + 8 of product m.

constexpr int MMA_COLUMNS = 64, MMA_COLUMNS_LOG = 3;

// Vectors 32 bytes apart for the sake of the banks; and the sums, [warp][f][column in a
// pack][pack], 16.
CDN_FN constexpr int mma_column_pitch(int chunk) { return chunk + 16; }
constexpr int MMA_SUMS_PITCH = MMA_COLUMNS + 4;

template <int EIGHTS, class T>
__global__ void __launch_bounds__(BLOCK, VECTOR_BLOCKS)
    vector_columns_mma(VectorProduct<T> p, Batch batch, ColumnWork work) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  constexpr int W = 8, WARPS = BLOCK / 32, F = 8 * EIGHTS, STEP = 8 * 4 * RING_PACKS;
  using Part = Pack<T, W>;
  extern __shared__ __align__(32) char memory[];
  T* xs = reinterpret_cast<T*>(memory);  // [f][line]
  float *parts = reinterpret_cast<float*>(memory + work.ring),
        *totals = reinterpret_cast<float*>(memory);
  const VectorPart<T> part(p, batch);
  const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  const int pitch = mma_column_pitch(work.chunk);
  const int64_t extent = p.matrix.extent, c0 = static_cast<int64_t>(part.group) * work.own;
  const int first_phase = phase_of<W>(part.matrix),
            shift = static_cast<int>(extent % W);  // begin is a multiple of 8
  const int phase = (first_phase + warp * shift) % W, own_line = warp + 8 * t;
  const bool active = c0 - phase + g * W < extent;
  const T* from = part.matrix + (part.begin + own_line) * extent + c0 - phase + g * W;

  PackRing<T> ring(memory + work.ring);
  auto load = [&](int stage, int line) {  // steps come in order
#pragma unroll
    for (int j = 0; j < RING_PACKS; j++)
      ring.begin(stage, j, from + j * 32 * extent,
                 active && line + own_line + j * 32 < part.length);
    from += STEP * extent;
  };

  float sum[EIGHTS][4][4] = {};
  ring.fill((part.length + STEP - 1) / STEP, [&](int s) { load(s, s * STEP); });
#pragma unroll 1
  for (int first = 0; first < part.length; first += work.chunk) {
    if (first > 0) __syncthreads();
    int count = part.length - first < work.chunk ? part.length - first : work.chunk;
    stage_along_columns<F, 2>(xs, pitch, p, part, first, count, MMA_COLUMNS_LOG);
    __syncthreads();
#pragma unroll 1
    for (int line = 0; line < count; line += STEP) {
      Part u[RING_PACKS];
      ring.take(u);
      uint32_t words[RING_PACKS][4];
#pragma unroll
      for (int j = 0; j < RING_PACKS; j++) memcpy(words[j], &u[j], 16);
#pragma unroll
      for (int f = 0; f < EIGHTS; f++) {
        const T* x = xs + (f * 8 + g) * pitch + line + warp * (STEP / 8) + t * RING_PACKS;
        MmaB b;
        memcpy(&b, __builtin_assume_aligned(x, 8), 8);
#pragma unroll
        for (int m = 0; m < 4; m++) {
          MmaA a{__byte_perm(words[0][m], words[1][m], 0x5410),
                 __byte_perm(words[0][m], words[1][m], 0x7632),
                 __byte_perm(words[2][m], words[3][m], 0x5410),
                 __byte_perm(words[2][m], words[3][m], 0x7632)};
          multiply_add_halves(sum[f][m], a, b, T{});
        }
      }
      int next = first + line + RING_STAGES * STEP;
      ring.refill(next < part.length, [&](int s) { load(s, next); });
    }
  }

  __syncthreads();  // all have read their packs
#pragma unroll
  for (int f = 0; f < EIGHTS; f++)
#pragma unroll
    for (int m = 0; m < 4; m++)
#pragma unroll
      for (int i = 0; i < 4; i++)
        parts[(warp * F + f * 8 + 2 * t + i % 2) * MMA_SUMS_PITCH + (2 * m + i / 2) * 8 + g] =
            sum[f][m][i];
  __syncthreads();
  store_totals(
      p, batch, totals, static_cast<int>(p.few.extent) * MMA_COLUMNS,
      [&](int v) {
        const int f = v / MMA_COLUMNS, column = v % MMA_COLUMNS;
        float total = 0;
        if (column < work.own)
#pragma unroll
          for (int w = 0; w < WARPS; w++) {
            int c = column + (first_phase + w * shift) % W;
            total += parts[(w * F + f) * MMA_SUMS_PITCH + c % W * 8 + c / W];
          }
        return total;
      },
      [&](int v) -> int64_t {
        const int f = v / MMA_COLUMNS, column = v % MMA_COLUMNS;
        int64_t i = c0 + column;
        return column < work.own && i < extent ? i * p.i_step + f * p.f_step : -1;
      });
#endif
}

}  // namespace cdn
