// Products with few rows or columns, by plain multiply-adds: float and double (matmul_vector_mma.h is for the 16-bit
// types). The larger operand, the matrix, is read once, so what counts is having enough of it on its way; the other
// one, of up to F vectors, is in shared memory. Every read of the matrix is an aligned pack of 16 bytes, whatever the
// alignment of its lines: a block of rows (or a thread, of columns) works on lines that begin at the same place within
// a pack, which repeats after at most a pack's number of lines, and the vectors (or the sums) are shifted to match.
// Sums over the threads, warps and blocks that share k are added in a fixed order.
#pragma once
#include "hopper.h"
#include "matmul_common.h"

namespace cdn {

template <class T> constexpr int PACK = 16 / static_cast<int>(sizeof(T));

// y[i i_step + f f_step] = vector i of the matrix . vector f of the few, at each place of a batch. A block sums a piece
// of k, a multiple of 8 but for the last. The pieces are added up by the blocks of a cluster (joined), or left in
// `pieces`, [piece][y], for a second pass.
template <class T> struct VectorProduct {
  T* y;
  Compute<T>* pieces;
  Operand<T> matrix, few;
  int64_t i_step, f_step;
  int input;  // which one of the batch's layout the matrix is
  int piece, splits;
  bool joined;
};

// What a block has of it: the operands of its place in the batch, and its piece of k.
template <class T> struct VectorPart {
  const T *matrix, *few;
  int group;  // the block's number among those of a piece
  int begin, length;

  __device__ VectorPart(const VectorProduct<T>& p, const Batch& batch) {
#if defined(CDN_HOPPER)
    hopper::wait_for_previous_kernel();
    hopper::let_next_kernel_start();
#endif
    BatchOffsets at = batch_offsets(batch.layout, batch.first + blockIdx.z);
    matrix = p.matrix.data + (p.input == 0 ? at.a : at.b);
    few = p.few.data + (p.input == 0 ? at.b : at.a);
    group = static_cast<int>(blockIdx.x / p.splits);
    begin = static_cast<int>(blockIdx.x % p.splits) * p.piece;
    int left = static_cast<int>(p.matrix.k) - begin;
    length = left < p.piece ? left : p.piece;
  }
};

// How many numbers lie between p and the 16 bytes' boundary (or that of another pack) before it.
template <int W, class T> __device__ __forceinline__ int phase_of(const T* p) {
  return static_cast<int>(reinterpret_cast<uintptr_t>(p) / sizeof(T) % W);
}

// The aligned pack at `at`, in which there is a number of the operand. The others may be those beside it, or lie beside
// the operand, but not beside its memory, which the allocator gives out in multiples of 256 bytes.
template <int W, class T> __device__ __forceinline__ Pack<T, W> read_pack(const T* at) {
  return *reinterpret_cast<const Pack<T, W>*>(at);
}

// Runs of `count` neighbouring numbers, `apart` from one another: a block reads them in packs
// whatever their alignment, N packs a thread and round, all on their way at once. read() and write() are two steps, so
// that other reads can be begun between them. store(run, place in the run, number).
template <int N, class T> struct RunReader {
  static constexpr int W = PACK<T>;
  const T* start;
  int64_t apart;
  int count, each, packs, first;
  Pack<T, W> pack[N];

  __device__ RunReader(const T* start, int64_t apart, int runs, int count)
      : start(start),
        apart(apart),
        count(count),
        each((count + W - 1) / W + 1),  // one more than it takes if the run is aligned
        packs(runs * each),
        first(threadIdx.x) {}

  __device__ void read() {
#pragma unroll
    for (int j = 0; j < N; j++) {
      int q = first + j * BLOCK, run = q / each;
      const T* line = start + run * apart;
      int e = (q - run * each) * W - phase_of<W>(line);
      if (q < packs && e < count) pack[j] = read_pack<W>(line + e);
    }
  }
  template <class Store> __device__ void write(Store&& store) {
#pragma unroll
    for (int j = 0; j < N; j++) {
      int q = first + j * BLOCK, run = q / each, e = (q - run * each) * W - phase_of<W>(start + run * apart);
      if (q >= packs) continue;
#pragma unroll
      for (int w = 0; w < W; w++)
        if (e + w >= 0 && e + w < count) store(run, e + w, pack[j].v[w]);
    }
    first += N * BLOCK;
  }
  template <class Store> __device__ void rest(Store&& store) {
    while (first < packs) {
      read();
      write(store);
    }
  }
};

// x / d for x < 2^28 and 2 <= d <= 16.
struct SmallDivisor {
  uint32_t magic;
  __device__ explicit SmallDivisor(int d) : magic(0xffffffffu / static_cast<uint32_t>(d) + 1) {}
  __device__ int operator()(int x) const { return static_cast<int>(__umulhi(static_cast<uint32_t>(x), magic)); }
};

// A thread's reads of the few vectors at a time, as its sums leave registers for them.
template <int F, class T> constexpr int PACKS_READ = F * sizeof(T) <= 32 ? 4 : F * sizeof(T) <= 64 ? 2 : 1;

// Numbers [e, e + count) of the piece of all of the few vectors, F at most (one is always contiguous along k): put(f,
// number of these, value).
template <int F, int N, class T, class Put>
__device__ __forceinline__ void read_few(const VectorProduct<T>& p, const VectorPart<T>& part, int e, int count,
                                         Put put) {
  int few = static_cast<int>(p.few.extent);
  int64_t k = part.begin + e;
  if (F == 1 || p.few.k_contiguous) {
    RunReader<N, T>(part.few + k, p.few.k, few, count).rest(put);
  } else {
    const SmallDivisor by(few);
    RunReader<N, T>(part.few + k * few, 0, 1, count * few).rest([&](int, int i, T value) {
      int kk = by(i);
      put(i - kk * few, kk, value);
    });
  }
}

#if defined(CDN_HOPPER)
__device__ __forceinline__ float read_in_block(const float* here, int block) {
  float v;
  asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(v) : "r"(hopper::address_in_block(here, block)));
  return v;
}
__device__ __forceinline__ double read_in_block(const double* here, int block) {
  double v;
  asm volatile("ld.shared::cluster.f64 %0, [%1];" : "=d"(v) : "r"(hopper::address_in_block(here, block)));
  return v;
}
#endif

constexpr int MOST_JOINED = 8;  // blocks of a cluster

// The block's sums, in shared memory, to where they belong: place(t) in y of number t, or -1.
template <class T, class Place>
__device__ __forceinline__ void store_totals(const VectorProduct<T>& p, const Batch& batch, const Compute<T>* totals,
                                             int count, Place place) {
  const int split = static_cast<int>(blockIdx.x % p.splits);
  const int64_t z = batch.first + blockIdx.z, size = p.matrix.extent * p.few.extent;
  __syncthreads();
#if defined(CDN_HOPPER)
  if (p.joined) {
    hopper::cluster_sync_all();
    for (int t = split * BLOCK + threadIdx.x; t < count; t += p.splits * BLOCK) {
      Compute<T> v[MOST_JOINED];
#pragma unroll
      for (int r = 0; r < MOST_JOINED; r++) v[r] = r < p.splits ? read_in_block(totals + t, r) : Compute<T>(0);
#pragma unroll
      for (int r = 1; r < MOST_JOINED; r++)
        if (r < p.splits) v[0] += v[r];
      int64_t at = place(t);
      if (at >= 0) p.y[z * size + at] = static_cast<T>(v[0]);
    }
    __syncwarp();
    hopper::cluster_sync();  // no block leaves before the others have read its sums
    return;
  }
#endif
  for (int t = threadIdx.x; t < count; t += BLOCK) {
    int64_t at = place(t);
    if (at < 0) continue;
    if (p.pieces)
      p.pieces[(split * batch.layout.n + z) * size + at] = totals[t];
    else
      p.y[z * size + at] = static_cast<T>(totals[t]);
  }
}

// ---- Rows: the matrix is contiguous along k

// The rows of a block begin at the same place within a pack: they are `stride` apart. lanes: threads that share the
// rows of a group; chunk: packs of the few vectors that are in shared memory at a time.
struct RowWork {
  int lanes, chunk;
  int stride, classes;  // classes: min(stride, rows)

  // Row r of a group of `each` rows, `groups` groups a block.
  __device__ int64_t row(int block, int groups, int group, int each, int r) const {
    int64_t first = static_cast<int64_t>(block / classes) * groups + group;
    return block % classes + stride * (first * each + r);
  }
};

// Sums over the warp of N values a thread. The values are halved with the lanes, so that it takes about N exchanges in
// place of 5 N. A thread is left with v[0] (and on, if N > 32); the result is the number of the first of them.
template <int N, int MASK = 16, class T> __device__ __forceinline__ int fold_warp(T* v) {
  int at = 0;
  if constexpr (N > 1) {
    constexpr int HALF = N / 2;
    bool upper = threadIdx.x & MASK;
#pragma unroll
    for (int i = 0; i < HALF; i++) {
      T sent = upper ? v[i] : v[i + HALF], kept = upper ? v[i + HALF] : v[i];
      v[i] = kept + __shfl_xor_sync(0xffffffffu, sent, MASK);
    }
    at = upper ? HALF : 0;
  } else {
    v[0] += __shfl_xor_sync(0xffffffffu, v[0], MASK);
  }
  if constexpr (MASK > 1) at += fold_warp<(N > 1 ? N / 2 : 1), MASK / 2>(v);
  return at;
}

// The few vectors as the rows' packs see them: vector f at xs + f * pitch, packs [q0, q0 + chunk) of the piece, shifted
// by the rows' phase, with zeros beside the piece in its first and last pack.
template <int F, int N, class T>
__device__ __forceinline__ void stage_along_rows(T* xs, int pitch, const VectorProduct<T>& p, const VectorPart<T>& part,
                                                 int phase, int q0, int chunk) {
  constexpr int W = PACK<T>;
  int start = q0 * W - phase, first = start < 0 ? 0 : start;
  int end = start + chunk * W < part.length ? start + chunk * W : part.length, before = first - start;
  if (threadIdx.x < p.few.extent) {
    T* x = xs + threadIdx.x * pitch;
    for (int e = 0; e < before; e++) x[e] = T(0.0f);
    for (int e = end - start; e % W != 0; e++) x[e] = T(0.0f);
  }
  read_few<F, N>(p, part, first, end - first, [&](int f, int e, T value) { xs[f * pitch + before + e] = value; });
}

// A group of threads has ROWS rows; a thread takes DEEP packs of each at a time, which are on their way while the
// others are multiplied or the next chunk of the few vectors comes.
template <int F, int ROWS, int DEEP, class T>
__global__ void __launch_bounds__(BLOCK, ROWS == 4 && F * sizeof(T) == 4 ? 3 : 2)
    vector_rows(VectorProduct<T> p, Batch batch, RowWork work) {
  constexpr int W = PACK<T>, N = ROWS * F;
  using Part = Pack<T, W>;
  extern __shared__ __align__(32) char memory[];
  T* xs = reinterpret_cast<T*>(memory);
  const VectorPart<T> part(p, batch);
  const int lane = threadIdx.x % work.lanes, group = threadIdx.x / work.lanes, groups = BLOCK / work.lanes;
  const int64_t extent = p.matrix.extent, k = p.matrix.k, apart = work.stride * k;
  const int64_t first_row = work.row(part.group, groups, group, ROWS, 0);
  const int phase = phase_of<W>(part.matrix + part.group % work.classes * k);  // begin is a multiple of W
  const int packs = (part.length + phase + W - 1) / W, step = work.lanes * DEEP, pitch = (work.chunk + 1) * W;
  const T* line = part.matrix + first_row * k + part.begin - phase;

  int rows = 0;  // that there are
#pragma unroll
  for (int r = 0; r < ROWS; r++) rows += first_row + r * work.stride < extent;

  Part u[DEEP][ROWS];
  auto load = [&](int q) {
#pragma unroll
    for (int d = 0; d < DEEP; d++)
#pragma unroll
      for (int r = 0; r < ROWS; r++) {
        int at = q + d * work.lanes;
        if (at < packs && r < rows)
          u[d][r] = read_pack<W>(line + r * apart + at * W);
        else
          u[d][r] = {};
      }
  };

  T sum[N] = {};
  load(lane);
#pragma unroll 1
  for (int q0 = 0; q0 < packs; q0 += work.chunk) {
    if (q0 > 0) __syncthreads();
    stage_along_rows<F, PACKS_READ<F, T>>(xs, pitch, p, part, phase, q0, work.chunk);
    __syncthreads();
    int end = q0 + work.chunk < packs ? q0 + work.chunk : packs;
#pragma unroll 1
    for (int q = q0 + lane; q - lane < end; q += step) {
#pragma unroll
      for (int d = 0; d < DEEP; d++) {
        int at = q + d * work.lanes, e = at * W - phase;
        if (at >= packs) continue;
        if (e < 0 || e + W > part.length)  // beside the piece: of other rows, or of other pieces
#pragma unroll
          for (int w = 0; w < W; w++)
            if (e + w < 0 || e + w >= part.length)
#pragma unroll
              for (int r = 0; r < ROWS; r++) u[d][r].v[w] = T(0);
#pragma unroll
        for (int f = 0; f < F; f++) {
          Part x = *reinterpret_cast<const Part*>(xs + f * pitch + (at - q0) * W);
#pragma unroll
          for (int r = 0; r < ROWS; r++)
#pragma unroll
            for (int w = 0; w < W; w++) sum[r * F + f] = fma(u[d][r].v[w], x.v[w], sum[r * F + f]);
        }
      }
      load(q + step);
    }
  }

  constexpr int WARPS = BLOCK / 32, LEFT = N > 32 ? N / 32 : 1;
  T *parts = xs, *totals = xs + WARPS * N;  // [warp][row][f], [group][row][f]
  int at = fold_warp<N>(sum);
  __syncthreads();
  if (N >= 32 || threadIdx.x % (N < 32 ? 32 / N : 1) == 0)
#pragma unroll
    for (int i = 0; i < LEFT; i++) parts[threadIdx.x / 32 * N + at + i] = sum[i];
  __syncthreads();
  const int warps = work.lanes / 32;  // of a group
  for (int t = threadIdx.x; t < groups * N; t += BLOCK) {
    const T* mine = parts + t / N * warps * N + t % N;
    T total = mine[0];
    for (int w = 1; w < warps; w++) total += mine[w * N];
    totals[t] = total;
  }
  store_totals(p, batch, totals, groups * N, [&](int t) -> int64_t {
    int64_t i = work.row(part.group, groups, t / N, ROWS, t % N / F);
    int f = t % F;
    return i < extent && f < p.few.extent ? i * p.i_step + f * p.f_step : -1;
  });
}

// ---- Columns: the matrix is contiguous across k

// A block has `own` columns, `lanes` threads side by side with a pack each, and the other threads take further lines.
// Where lines are not aligned a lane has to spare for the shift. chunk: lines of the few vectors in shared memory.
struct ColumnWork {
  int lanes, own, chunk;
};

constexpr int COLUMN_LINES = 4;  // a thread reads so many lines at a time

// Where number e of a chunk lies: a thread's lines, e apart, beside one another. 2^log threads take further lines.
__device__ __forceinline__ int line_place(int e, int log) {
  int threads = 1 << log;
  return (e & -(threads * COLUMN_LINES)) | (e & (threads - 1)) * COLUMN_LINES | (e >> log & (COLUMN_LINES - 1));
}

template <int F, class T>
__global__ void __launch_bounds__(BLOCK, F > 1 ? 2 : 3)
    vector_columns(VectorProduct<T> p, Batch batch, ColumnWork work) {
  constexpr int W = PACK<T>, LINES = COLUMN_LINES, AT_ONCE = F < 8 ? F : 8;
  using Part = Pack<T, W>;
  using Factors = Pack<T, LINES>;
  extern __shared__ __align__(32) char memory[];
  const int columns = work.lanes * W;
  T *totals = reinterpret_cast<T*>(memory), *xs = totals + F * columns;  // [f][column], [f][line]
  const VectorPart<T> part(p, batch);
  const int tx = threadIdx.x % work.lanes, ty = threadIdx.x / work.lanes, down = BLOCK / work.lanes;
  const int log = 31 - __clz(down), step = down * LINES, pitch = work.chunk + LINES;
  const int64_t extent = p.matrix.extent, c0 = static_cast<int64_t>(part.group) * work.own;
  // The same for all of the thread's lines, as `down` and the beginning are multiples of W.
  const int phase = (phase_of<W>(part.matrix) + ty * static_cast<int>(extent % W)) % W;
  const bool active = c0 - phase + tx * W < extent;
  const T* from = part.matrix + (part.begin + ty) * extent + c0 - phase + tx * W;

  Part u[LINES];
  auto load = [&](int line) {
#pragma unroll
    for (int j = 0; j < LINES; j++)
      if (active && line + j * down < part.length)
        u[j] = read_pack<W>(from + j * down * extent);
      else
        u[j] = {};
    from += step * extent;
  };

  T sum[F][W] = {};
  load(ty);
#pragma unroll 1
  for (int first = 0; first < part.length; first += work.chunk) {
    if (first > 0) __syncthreads();
    int count = part.length - first < work.chunk ? part.length - first : work.chunk;
    read_few<F, PACKS_READ<F, T>>(p, part, first, count,
                                  [&](int f, int e, T value) { xs[f * pitch + line_place(e, log)] = value; });
    for (int e = count + threadIdx.x; e < (count + step - 1) / step * step; e += BLOCK)
      for (int f = 0; f < p.few.extent; f++) xs[f * pitch + line_place(e, log)] = T(0);
    __syncthreads();
#pragma unroll 1
    for (int line = 0; line < count; line += step) {
#pragma unroll
      for (int f = 0; f < F; f++) {
        Factors x = *reinterpret_cast<const Factors*>(xs + f * pitch + line + ty * LINES);
#pragma unroll
        for (int j = 0; j < LINES; j++)
#pragma unroll
          for (int w = 0; w < W; w++) sum[f][w] = fma(u[j].v[w], x.v[j], sum[f][w]);
      }
      load(first + line + step + ty);
    }
  }

  // [f][ty][column], a pack to the left of c0, so that all threads' sums of a column lie below one another.
  const int width = columns + W;
#pragma unroll
  for (int f0 = 0; f0 < F; f0 += AT_ONCE) {
    __syncthreads();
#pragma unroll
    for (int f = 0; f < AT_ONCE; f++)
#pragma unroll
      for (int w = 0; w < W; w++) xs[(f * down + ty) * width + W - phase + tx * W + w] = sum[f0 + f][w];
    __syncthreads();
    for (int t = threadIdx.x; t < AT_ONCE * columns; t += BLOCK) {
      int f = t / columns, column = t % columns;
      if (column >= work.own) continue;
      const T* mine = xs + f * down * width + W + column;
      T total = mine[0];
#pragma unroll 8
      for (int d = 1; d < down; d++) total += mine[d * width];
      totals[f0 * columns + t] = total;
    }
  }
  store_totals(p, batch, totals, F * columns, [&](int t) -> int64_t {
    int f = t / columns, column = t % columns;
    int64_t i = c0 + column;
    return column < work.own && i < extent && f < p.few.extent ? i * p.i_step + f * p.f_step : -1;
  });
}

}  // namespace cdn
