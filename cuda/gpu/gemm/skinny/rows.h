// Products with few rows or columns whose matrix is contiguous along k: groups of threads take the
// dot products of rows.
#pragma once
#include "gpu/gemm/skinny/vector.h"

namespace cdn {

// The rows of a block begin at the same place within a pack: they are of one class, work.stride
// apart.
__device__ __forceinline__ int row_class(const VectorWork& work, int block) {
  return block - static_cast<int>(work.by_classes(static_cast<unsigned>(block))) * work.classes;
}
// Row r of a group of `each` rows, `groups` groups a block.
__device__ __forceinline__ int64_t row_of(const VectorWork& work, int block, int groups, int group,
                                          int each, int r) {
  const int64_t first =
      static_cast<int64_t>(work.by_classes(static_cast<unsigned>(block))) * groups + group;
  return row_class(work, block) + work.stride * (first * each + r);
}

// The sums of a thread's rows by plain multiply-adds. ABREAST threads of a warp share READ rows;
// the others have the rows between, so that a group has ROWS. PAD: packs from one vector to the
// next beside a chunk; CHUNK: packs that there is room for; WORK: cycles of a block's multiply-adds
// for each byte of the matrix.
template <int VECTORS, int ROWS_READ, class T> struct RowSums {
  static constexpr int F = VECTORS, READ = ROWS_READ, ROWS = READ, ABREAST = 32, PAD = 1,
                       CHUNK = 32 * 1024 / (16 * F), N = ROWS * F, W = PACK<T>;
  static constexpr double WORK = F / 280.0;
  T sum[N] = {};

  // A pack of each row, by those at xs.
  __device__ __forceinline__ void add(const Pack<T, W>* rows, const T* xs, int pitch, bool inside) {
    if (!inside) return;
#pragma unroll
    for (int f = 0; f < F; f++) {
      const Pack<T, W> x = *reinterpret_cast<const Pack<T, W>*>(xs + f * pitch);
#pragma unroll
      for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int w = 0; w < W; w++) sum[r * F + f] = fma(rows[r].v[w], x.v[w], sum[r * F + f]);
    }
  }
  // The warp's sums, [row][f].
  __device__ __forceinline__ void store(T* parts) {
    constexpr int LEFT = N > 32 ? N / 32 : 1;
    int left, at = fold_warp<N>(sum, 1, left);
    __syncthreads();  // all have read their packs
    if (N >= 32 || threadIdx.x % (N < 32 ? 32 / N : 1) == 0)
#pragma unroll
      for (int i = 0; i < LEFT; i++) parts[at + i] = sum[i];
  }
};

// The same on tensor cores. Thread (g, t) of a warp reads packs t, t + 4, … of rows g and g + 8
// (the warps of a group taking turns), and the same packs of vector g of the few: pairs 0 and 1 of
// a pack are one product's k, 2 and 3 the next one's. PAD is such that the 8 threads that read at
// once do so from different banks.
template <int EIGHTS, class T> struct MmaRowSums {
  static constexpr int F = 8 * EIGHTS, READ = 2, ROWS = 16, ABREAST = 4, PAD = 4,
                       CHUNK = 256 / EIGHTS, W = 8;
  static constexpr double WORK = 0.01;
  float sum[EIGHTS][2][4] = {};

  __device__ __forceinline__ void add(const Pack<T, W>* rows, const T* xs, int pitch, bool inside) {
    const int g = threadIdx.x % 32 / 4;
    const uint4 a = bits_as<uint4>(rows[0]), a8 = bits_as<uint4>(rows[1]);
#pragma unroll
    for (int f = 0; f < EIGHTS; f++) {
      uint4 b = {};
      if (inside) b = *reinterpret_cast<const uint4*>(xs + (f * 8 + g) * pitch);
      multiply_add_halves<T>(sum[f][0], MmaA{a.x, a8.x, a.y, a8.y}, MmaB{b.x, b.y});
      multiply_add_halves<T>(sum[f][1], MmaA{a.z, a8.z, a.w, a8.w}, MmaB{b.z, b.w});
    }
  }
  __device__ __forceinline__ void store(float* parts) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    __syncthreads();
#pragma unroll
    for (int f = 0; f < EIGHTS; f++)
#pragma unroll
      for (int i = 0; i < 4; i++)
        parts[(g + i / 2 * 8) * F + f * 8 + 2 * t + i % 2] = sum[f][0][i] + sum[f][1][i];
  }
};

template <class Sums, class T>
__global__ void __launch_bounds__(BLOCK, VECTOR_BLOCKS)
    vector_rows(VectorProduct<T> p, Batch batch, VectorWork work) {
  constexpr int W = PACK<T>, F = Sums::F, READ = Sums::READ, ROWS = Sums::ROWS,
                ABREAST = Sums::ABREAST, N = ROWS * F, DEEP = RING_PACKS / READ, WARPS = BLOCK / 32;
  extern __shared__ __align__(32) char memory[];
  T* xs = reinterpret_cast<T*>(memory);
  const VectorPart<T> part(p, batch);
  const int groups = BLOCK >> work.log, warps = 1 << work.log >> 5;  // warps: of a group
  const int group = threadIdx.x >> work.log, warp = threadIdx.x / 32;
  const int abreast = warps * ABREAST, step = abreast * DEEP,
            own = (warp & (warps - 1)) * ABREAST + threadIdx.x % ABREAST;
  const int64_t extent = p.matrix.extent, k = p.matrix.k;
  const int64_t between = ROWS / READ * work.stride,  // a thread's rows
      first_row = row_of(work, part.group, groups, group, ROWS, threadIdx.x % 32 / ABREAST);
  const int phase =
      phase_of<W>(part.matrix + row_class(work, part.group) * k);  // begin is a multiple of W
  const int packs = (part.length + phase + W - 1) / W, pitch = (work.chunk + Sums::PAD) * W;
  const T* line = part.matrix + first_row * k + part.begin - phase;
  int rows = 0;  // that there are
#pragma unroll
  for (int r = 0; r < READ; r++) rows += first_row + r * between < extent;

  PackRing<T> ring(memory + work.ring);
  auto load = [&](int stage, int q) {
#pragma unroll
    for (int d = 0; d < DEEP; d++)
#pragma unroll
      for (int r = 0; r < READ; r++) {
        const int at = q + own + d * abreast;
        ring.begin(stage, d * READ + r, line + r * between * k + at * W, at < packs && r < rows);
      }
  };
  // Vector f at xs + f * pitch, shifted by the rows' phase, with zeros beside the split in its
  // first and last pack.
  auto stage = [&](int q0, int) {
    const int start = q0 * W - phase, first = start < 0 ? 0 : start, before = first - start;
    const int end = start + work.chunk * W < part.length ? start + work.chunk * W : part.length;
    if (threadIdx.x < p.few.extent) {
      T* x = xs + threadIdx.x * pitch;
      for (int e = 0; e < before; e++) x[e] = T(0.0f);
      for (int e = end - start; e % W != 0; e++) x[e] = T(0.0f);
    }
    read_few<F, PACKS_READ<F, T>>(p, part, first, end - first, [&](int f, int e, T value) {
      xs[f * pitch + before + e] = value;
    });
  };
  Sums sums;
  auto multiply = [&](Pack<T, W>(&u)[RING_PACKS], int q0, int q, int) {
#pragma unroll
    for (int d = 0; d < DEEP; d++) {
      const int at = q + own + d * abreast, e = (q0 + at) * W - phase;
      const bool inside = q0 + at < packs;
      if (inside && (e < 0 || e + W > part.length))  // beside the split: of other rows or splits
#pragma unroll
        for (int w = 0; w < W; w++)
          if (e + w < 0 || e + w >= part.length)
#pragma unroll
            for (int r = 0; r < READ; r++) u[d * READ + r].v[w] = T(0.0f);
      sums.add(u + d * READ, xs + at * W, pitch, inside);
    }
  };
  ring.main_loop(packs, step, work.chunk, load, stage, multiply);

  Compute<T>*parts = reinterpret_cast<Compute<T>*>(memory),
  *totals = parts + WARPS * N;  // [warp][row][f], [group][row][f]
  sums.store(parts + warp * N);
  __syncthreads();
  store_totals(
      p, part, batch, totals, groups * N,
      [&](int t) {
        const Compute<T>* mine = parts + t / N * warps * N + t % N;
        Compute<T> total = mine[0];
        for (int w = 1; w < warps; w++) total += mine[w * N];
        return total;
      },
      [&](int t) -> int64_t {
        const int64_t i = row_of(work, part.group, groups, t / N, ROWS, t % N / F);
        const int f = t % F;
        return i < extent && f < p.few.extent ? i * p.i_step + f * p.f_step : -1;
      });
}

}  // namespace cdn
