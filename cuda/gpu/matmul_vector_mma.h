// Products with few rows or columns of 16-bit numbers: matmul_vector.h's ways to read the matrix, with tensor cores for
// the sums. Not for their speed at multiplying: a 2-byte number that comes from memory leaves time for 13 multiply-adds
// of plain floats, conversions included, and a product with 8 vectors would be bound by those. mma.sync takes its
// operands from registers, and which numbers of k meet in one instruction is free as long as both operands agree. So a
// thread's 16-byte packs go there as they come from memory, 16 vectors of the matrix by 8 of the few at a time.
#pragma once
#include "matmul_vector.h"
#include "mma.h"

namespace cdn {

__device__ __forceinline__ void multiply_add_halves(float (&sum)[4], const MmaA& a, const MmaB& b, float16) {
  multiply_add<float16>(sum, a, b, sum);
}
__device__ __forceinline__ void multiply_add_halves(float (&sum)[4], const MmaA& a, const MmaB& b, bfloat16) {
  multiply_add<bfloat16>(sum, a, b, sum);
}

template <class T> __device__ __forceinline__ uint4 words_of(const Pack<T, 8>& pack) {
  return *reinterpret_cast<const uint4*>(&pack);
}

// ---- Rows: the matrix is contiguous along k. A warp has 16 rows; thread (g, t) reads packs t, t + 4, … of rows g and
// g + 8, and the same packs of vector g of the few: pairs 0 and 1 of a pack are one product's k, 2 and 3 the next
// one's.

constexpr int MMA_ROWS = 16, MMA_DEEP = 4;  // a thread has packs of so many steps on their way

// Vectors a few packs apart in shared memory, so that the 8 threads that read at once do so from different banks.
CDN_FN constexpr int mma_row_pitch(int chunk) { return (chunk + 4) * 8; }

template <int EIGHTS, class T>
__global__ void __launch_bounds__(BLOCK, 2) vector_rows_mma(VectorProduct<T> p, Batch batch, RowWork work) {
  constexpr int W = 8, N = MMA_ROWS * 8 * EIGHTS, DEEP = MMA_DEEP, WARPS = BLOCK / 32;
  using Part = Pack<T, W>;
  extern __shared__ __align__(32) char memory[];
  T* xs = reinterpret_cast<T*>(memory);
  const VectorPart<T> part(p, batch);
  const int warp = threadIdx.x / 32, warps = work.lanes / 32, groups = WARPS / warps;
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  const int64_t extent = p.matrix.extent, k = p.matrix.k;
  const int64_t low_row = work.row(part.group, groups, warp / warps, MMA_ROWS, g), high_row = low_row + 8 * work.stride;
  const int phase = phase_of<W>(part.matrix + part.group % work.classes * k);
  const int packs = (part.length + phase + W - 1) / W, step = warps * 4 * DEEP, pitch = mma_row_pitch(work.chunk);
  const T* low_line = part.matrix + low_row * k + part.begin - phase;
  const T* high_line = low_line + 8 * work.stride * k;

  Part low[DEEP], high[DEEP];
  auto load = [&](int q) {
#pragma unroll
    for (int d = 0; d < DEEP; d++) {
      int at = q + d * 4;
      low[d] = {}, high[d] = {};
      if (at < packs && low_row < extent) low[d] = read_pack<W>(low_line + at * W);
      if (at < packs && high_row < extent) high[d] = read_pack<W>(high_line + at * W);
    }
  };

  float sum[EIGHTS][2][4] = {};
  const int q_first = warp % warps * 4 * DEEP + t;
  load(q_first);
#pragma unroll 1
  for (int q0 = 0; q0 < packs; q0 += work.chunk) {
    if (q0 > 0) __syncthreads();
    stage_along_rows<8 * EIGHTS, 2>(xs, pitch, p, part, phase, q0, work.chunk);
    __syncthreads();
    int end = q0 + work.chunk < packs ? q0 + work.chunk : packs;
#pragma unroll 1
    for (int q = q0 + q_first; q - q_first < end; q += step) {
#pragma unroll
      for (int d = 0; d < DEEP; d++) {
        int at = q + d * 4, e = at * W - phase;
        if (at < packs && (e < 0 || e + W > part.length))  // beside the piece: of other rows, or of other pieces
#pragma unroll
          for (int w = 0; w < W; w++)
            if (e + w < 0 || e + w >= part.length) low[d].v[w] = high[d].v[w] = T(0.0f);
        uint4 a = words_of(low[d]), a8 = words_of(high[d]);
#pragma unroll
        for (int f = 0; f < EIGHTS; f++) {
          uint4 b = {};
          if (at < packs) b = *reinterpret_cast<const uint4*>(xs + (f * 8 + g) * pitch + (at - q0) * W);
          multiply_add_halves(sum[f][0], MmaA{a.x, a8.x, a.y, a8.y}, MmaB{b.x, b.y}, T{});
          multiply_add_halves(sum[f][1], MmaA{a.z, a8.z, a.w, a8.w}, MmaB{b.z, b.w}, T{});
        }
      }
      load(q + step);
    }
  }

  float *parts = reinterpret_cast<float*>(memory), *totals = parts + WARPS * N;  // [warp][row][f], [group][row][f]
  __syncthreads();
#pragma unroll
  for (int f = 0; f < EIGHTS; f++)
#pragma unroll
    for (int i = 0; i < 4; i++)
      parts[warp * N + (g + i / 2 * 8) * 8 * EIGHTS + f * 8 + 2 * t + i % 2] = sum[f][0][i] + sum[f][1][i];
  __syncthreads();
  for (int v = threadIdx.x; v < groups * N; v += BLOCK) {
    const float* mine = parts + v / N * warps * N + v % N;
    float total = mine[0];
    for (int w = 1; w < warps; w++) total += mine[w * N];
    totals[v] = total;
  }
  store_totals(p, batch, totals, groups * N, [&](int v) -> int64_t {
    int64_t i = work.row(part.group, groups, v / N, MMA_ROWS, v % N / (8 * EIGHTS));
    int f = v % (8 * EIGHTS);
    return i < extent && f < p.few.extent ? i * p.i_step + f * p.f_step : -1;
  });
}

// ---- Columns: the matrix is contiguous across k. Warp w takes lines w, w + 8, … of the piece, which all begin at the
// same place within a pack. In a step it takes 16 of them; thread (g, t) reads 4, from 4 t on, of 8 neighbouring
// columns at 8 g (and, for more bytes on their way, 64 further on). Words of two lines are put together, column by
// column; columns 2 m and 2 m + 1 of all threads are rows g and g + 8 of product m.

constexpr int MMA_LINES = 4, MMA_SETS = 2, MMA_COLUMNS = 64 * MMA_SETS, MMA_STEP = 8 * 4 * MMA_LINES;

// Line e of a chunk: a warp's lines beside one another. Vectors 32 bytes apart for the sake of the banks.
__device__ __forceinline__ int mma_line_place(int e) {
  return (e & -MMA_STEP) | (e % 8) * (MMA_STEP / 8) | (e / 8 % (MMA_STEP / 8));
}
CDN_FN constexpr int mma_column_pitch(int chunk) { return chunk + 16; }

template <int EIGHTS, class T>
__global__ void __launch_bounds__(BLOCK, 2) vector_columns_mma(VectorProduct<T> p, Batch batch, ColumnWork work) {
  constexpr int W = 8, WARPS = BLOCK / 32, F = 8 * EIGHTS, WIDTH = MMA_COLUMNS + W;
  using Part = Pack<T, W>;
  extern __shared__ __align__(32) char memory[];
  float *totals = reinterpret_cast<float*>(memory),
        *parts = totals + F * MMA_COLUMNS;  // [f][column], [warp][f][column]
  T* xs = reinterpret_cast<T*>(parts);      // [f][line]
  const VectorPart<T> part(p, batch);
  const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  const int pitch = mma_column_pitch(work.chunk);
  const int64_t extent = p.matrix.extent, c0 = static_cast<int64_t>(part.group) * work.own;
  const int phase = (phase_of<W>(part.matrix) + warp * static_cast<int>(extent % W)) % W;  // begin is a multiple of 8
  const T* from = part.matrix + part.begin * extent + c0 - phase + g * W;
  const int columns_left = extent - c0 < MMA_COLUMNS ? static_cast<int>(extent - c0) + phase - g * W : MMA_COLUMNS;

  Part u[MMA_SETS][MMA_LINES];
  auto load = [&](int line) {
    const T* at = from + line * extent;
#pragma unroll
    for (int j = 0; j < MMA_LINES; j++, at += 8 * extent)
#pragma unroll
      for (int s = 0; s < MMA_SETS; s++)
        if (line + 8 * j < part.length && 64 * s < columns_left)
          u[s][j] = read_pack<W>(at + 64 * s);
        else
          u[s][j] = {};
  };

  float sum[EIGHTS][MMA_SETS][4][4] = {};
  const int first_line = warp + 8 * MMA_LINES * t;
  load(first_line);
#pragma unroll 1
  for (int first = 0; first < part.length; first += work.chunk) {
    if (first > 0) __syncthreads();
    int count = part.length - first < work.chunk ? part.length - first : work.chunk;
    read_few<F, 1>(p, part, first, count, [&](int f, int e, T value) { xs[f * pitch + mma_line_place(e)] = value; });
    for (int e = count + threadIdx.x; e < (count + MMA_STEP - 1) / MMA_STEP * MMA_STEP; e += BLOCK)
      for (int f = 0; f < p.few.extent; f++) xs[f * pitch + mma_line_place(e)] = T(0.0f);
    __syncthreads();
#pragma unroll 1
    for (int line = 0; line < count; line += MMA_STEP) {
      MmaB b[EIGHTS];
#pragma unroll
      for (int f = 0; f < EIGHTS; f++) {
        const T* x = xs + (f * 8 + g) * pitch + line + warp * (MMA_STEP / 8) + t * MMA_LINES;
        memcpy(&b[f], __builtin_assume_aligned(x, 8), 8);
      }
#pragma unroll
      for (int s = 0; s < MMA_SETS; s++) {
        uint32_t words[MMA_LINES][4];
#pragma unroll
        for (int j = 0; j < MMA_LINES; j++) memcpy(words[j], &u[s][j], 16);
#pragma unroll
        for (int m = 0; m < 4; m++) {
          MmaA a{__byte_perm(words[0][m], words[1][m], 0x5410), __byte_perm(words[0][m], words[1][m], 0x7632),
                 __byte_perm(words[2][m], words[3][m], 0x5410), __byte_perm(words[2][m], words[3][m], 0x7632)};
#pragma unroll
          for (int f = 0; f < EIGHTS; f++) multiply_add_halves(sum[f][s][m], a, b[f], T{});
        }
      }
      load(first + line + MMA_STEP + first_line);
    }
  }

  // Eight vectors at a time, for the room; shifted so that all warps' sums of a column are at the same place.
#pragma unroll
  for (int eight = 0; eight < EIGHTS; eight++) {
    __syncthreads();
#pragma unroll
    for (int s = 0; s < MMA_SETS; s++)
#pragma unroll
      for (int m = 0; m < 4; m++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
          int column = W - phase + 64 * s + g * W + 2 * m + i / 2, f = 2 * t + i % 2;
          parts[(warp * 8 + f) * WIDTH + column] = sum[eight][s][m][i];
        }
    __syncthreads();
#pragma unroll 1
    for (int v = threadIdx.x; v < 8 * MMA_COLUMNS; v += BLOCK) {
      int f = v / MMA_COLUMNS, column = v % MMA_COLUMNS;
      if (column >= work.own) continue;
      const float* mine = parts + f * WIDTH + W + column;
      float total = mine[0];
#pragma unroll
      for (int w = 1; w < WARPS; w++) total += mine[w * 8 * WIDTH];
      totals[eight * 8 * MMA_COLUMNS + v] = total;
    }
  }
  store_totals(p, batch, totals, F * MMA_COLUMNS, [&](int v) -> int64_t {
    int f = v / MMA_COLUMNS, column = v % MMA_COLUMNS;
    int64_t i = c0 + column;
    return column < work.own && i < extent && f < p.few.extent ? i * p.i_step + f * p.f_step : -1;
  });
}

}  // namespace cdn
