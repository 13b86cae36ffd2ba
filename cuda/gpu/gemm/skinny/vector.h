// Products with few rows or columns, by plain multiply-adds (vector_mma.h has 16-bit numbers
// on tensor cores). The larger operand, the matrix, is read once, so what counts is having enough
// of it on its way; the other one, of up to F vectors, is in shared memory. Every read of the
// matrix is an aligned pack of 16 bytes, whatever the alignment of its lines: a block of rows (or a
// warp, of columns) works on lines that begin at the same place within a pack, which repeats after
// at most a pack's number of lines, and the vectors (or the sums) are shifted to match. A thread's
// packs come to shared memory in the background, and only that thread reads them, so that there is
// nothing to wait for but the packs themselves. Sums over the threads, warps and blocks that share
// k are added in a fixed order.
#pragma once
#include "gpu/tile/hopper.h"
#include "gpu/tile/async_copy.h"
#include "gpu/gemm/product.h"

namespace cdn {

template <class T> constexpr int PACK = 16 / static_cast<int>(sizeof(T));
constexpr int VECTOR_BLOCKS = 2;  // to a multiprocessor

// y[i i_step + f f_step] = vector i of the matrix . vector f of the few, at each place of a batch.
// A block sums a piece of k, a multiple of 8 but for the last. The pieces are added up by the
// blocks of a cluster (joined), or left in `pieces`, [piece][y], for a second pass.
template <class T> struct VectorProduct {
  T* y;
  Compute<T>* pieces;
  Operand<T> matrix, few;
  int64_t i_step, f_step;
  int input;  // which one of the batch's layout the matrix is
  int piece, splits;
  bool joined;
  Divisor by_splits;
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
    group = static_cast<int>(p.by_splits(blockIdx.x));
    begin = (static_cast<int>(blockIdx.x) - group * p.splits) * p.piece;
    int left = static_cast<int>(p.matrix.k) - begin;
    length = left < p.piece ? left : p.piece;
  }
};

// How many numbers lie between p and the 16 bytes' boundary (or that of another pack) before it.
template <int W, class T> __device__ __forceinline__ int phase_of(const T* p) {
  return static_cast<int>(reinterpret_cast<uintptr_t>(p) / sizeof(T) % W);
}

// The aligned pack at `at`, in which there is a number of the operand. The others may be those
// beside it, or lie beside the operand, but not beside its memory, which the allocator gives out in
// multiples of 256 bytes.
template <int W, class T> __device__ __forceinline__ Pack<T, W> read_pack(const T* at) {
  return *reinterpret_cast<const Pack<T, W>*>(at);
}

// Runs of `count` neighbouring numbers, `apart` from one another: a block reads them in packs
// whatever their alignment, N packs a thread and round, all on their way at once. read() and
// write() are two steps, so that other reads can be begun between them. store(run, place in the
// run, number).
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
      int q = first + j * BLOCK, run = q / each,
          e = (q - run * each) * W - phase_of<W>(start + run * apart);
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
  __device__ int operator()(int x) const {
    return static_cast<int>(__umulhi(static_cast<uint32_t>(x), magic));
  }
};

// Packs of the matrix on their way to a thread: RING_STAGES times RING_PACKS, 64 KB of a block, so
// that one block to a multiprocessor is enough. Stages that a short piece leaves out need no
// memory.
constexpr int RING_PACKS = 4, RING_STAGES = 4, RING_STAGE_BYTES = RING_PACKS * BLOCK * 16;

template <class T> struct PackRing {
  using Part = Pack<T, PACK<T>>;
  Part* own;
  int slot = 0;  // of the oldest stage

  __device__ explicit PackRing(void* memory) : own(static_cast<Part*>(memory) + threadIdx.x) {}

  // Begins a pack: `from` is aligned; zeros where it is not valid. As for reads, a pack holds a
  // number of the operand at least; the others may be those beside it, or lie beside the operand,
  // but not beside its memory, which the allocator gives out in multiples of 256 bytes.
  __device__ void begin(int stage, int pack, const T* from, bool valid) {
    copy_async_or_zero<16>(own + (stage * RING_PACKS + pack) * BLOCK, from, valid);
  }
  // The first stages: load(stage) for those that there are.
  template <class Load> __device__ __forceinline__ void fill(int stages, Load&& load) {
#pragma unroll
    for (int s = 0; s < RING_STAGES; s++) {
      if (s < stages) load(s);
      commit_copies();
    }
  }
  // The oldest stage's packs, then they make room.
  __device__ void take(Part (&u)[RING_PACKS]) const {
    wait_copies<RING_STAGES - 1>();
#pragma unroll
    for (int i = 0; i < RING_PACKS; i++) u[i] = own[(slot * RING_PACKS + i) * BLOCK];
  }
  // After the stage's packs have been used: load(stage) for a later one, if there is any.
  template <class Load> __device__ __forceinline__ void refill(bool any, Load&& load) {
    if (any) load(slot);
    commit_copies();
    slot = slot + 1 == RING_STAGES ? 0 : slot + 1;
  }
};

// A thread's reads of the few vectors at a time, as its sums leave registers for them.
template <int F, class T>
constexpr int PACKS_READ = F * sizeof(T) <= 16   ? 4
                           : F * sizeof(T) <= 32 ? 2
                                                 : 1;

// Numbers [e, e + count) of the piece of all of the few vectors, F at most (one is always
// contiguous along k): put(f, number of these, value).
template <int F, int N, class T, class Put>
__device__ __forceinline__ void read_few(const VectorProduct<T>& p, const VectorPart<T>& part,
                                         int e, int count, Put put) {
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

constexpr int MOST_JOINED = 8;                      // blocks of a cluster
constexpr int SPARE_TOTALS = 32 * MOST_JOINED + 4;  // see store_totals

// The block's sums to where they belong: number t is value(t), which goes to place(t) in y, or
// nowhere if that is -1. totals: shared memory for `count` of them and SPARE_TOTALS. Where pieces
// are joined, a block adds up each splits-th run of 32 numbers, for which all blocks send it
// theirs.
template <class T, class Value, class Place>
__device__ __forceinline__ void store_totals(const VectorProduct<T>& p, const Batch& batch,
                                             Compute<T>* totals, int count, Value value,
                                             Place place) {
  const int split =
      static_cast<int>(blockIdx.x - p.by_splits(blockIdx.x) * static_cast<unsigned>(p.splits));
  const int64_t z = batch.first + blockIdx.z, size = p.matrix.extent * p.few.extent;
#if defined(CDN_HOPPER)
  auto quotient = [&](int x) { return static_cast<int>(p.by_splits(static_cast<unsigned>(x))); };
  auto turns = [&](int runs) { return quotient(runs + p.splits - 1); };
  if (p.joined) {
    const int runs = (count + 31) / 32, most = turns(runs),
              own = runs > split ? turns(runs - split) : 0;
    uint64_t& received = *reinterpret_cast<uint64_t*>(totals + p.splits * most * 32);
    if (threadIdx.x == 0) {
      hopper::barrier_init(&received, 1);
      hopper::barriers_visible();
      hopper::barrier_expect(&received, own * 32 * p.splits * static_cast<int>(sizeof(Compute<T>)));
    }
    __syncwarp();
    hopper::cluster_sync();  // the memory of all is free
    for (int t = threadIdx.x; t < runs * 32; t += BLOCK) {
      const int run = t / 32, turn = quotient(run), block = run - turn * p.splits;
      hopper::send(hopper::address_in_block(totals + (split * most + turn) * 32 + t % 32, block),
                   hopper::address_in_block(&received, block),
                   t < count ? value(t) : Compute<T>(0));
    }
    hopper::barrier_wait(&received, 0);
    for (int i = threadIdx.x; i < own * 32; i += BLOCK) {
      const int t = (i / 32 * p.splits + split) * 32 + i % 32;
      if (t >= count) continue;
      Compute<T> sum = totals[i];
#pragma unroll
      for (int r = 1; r < MOST_JOINED; r++)
        if (r < p.splits) sum += totals[r * most * 32 + i];
      int64_t at = place(t);
      if (at >= 0) p.y[z * size + at] = static_cast<T>(sum);
    }
    return;
  }
#endif
  for (int t = threadIdx.x; t < count; t += BLOCK) {
    int64_t at = place(t);
    if (at < 0) continue;
    if (p.pieces)
      p.pieces[(split * batch.layout.n + z) * size + at] = value(t);
    else
      p.y[z * size + at] = static_cast<T>(value(t));
  }
}

// The second pass: y[i] = the sum of its pieces, [piece][i]. A block has 32 numbers, and a warp
// every eighth piece.
template <class T>
__global__ void __launch_bounds__(BLOCK)
    sum_vector_pieces(T* y, const Compute<T>* pieces, int64_t count, int splits) {
  constexpr int WARPS = BLOCK / 32;
  __shared__ Compute<T> parts[WARPS][32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * 32 + lane;
#if defined(CDN_HOPPER)
  hopper::let_next_kernel_start();
  hopper::wait_for_previous_kernel();
#endif
  Compute<T> sum = 0;
  if (i < count)
#pragma unroll 8
    for (int s = warp; s < splits; s += WARPS) sum += pieces[s * count + i];
  parts[warp][lane] = sum;
  __syncthreads();
  if (warp > 0 || i >= count) return;
#pragma unroll
  for (int w = 1; w < WARPS; w++) sum += parts[w][lane];
  y[i] = static_cast<T>(sum);
}

// ---- Rows: the matrix is contiguous along k

// The rows of a block begin at the same place within a pack: they are `stride` apart. lanes:
// threads that share the rows of a group, 2^log of them; chunk: packs of the few vectors that are
// in shared memory at a time.
struct RowWork {
  int log, chunk;
  int stride, classes;  // classes: min(stride, rows)
  Divisor by_classes;
  int ring;  // where the packs are; the few vectors are before them

  __device__ int lanes() const { return 1 << log; }
  __device__ int class_of(int block) const {
    return block - static_cast<int>(by_classes(static_cast<unsigned>(block))) * classes;
  }
  // Row r of a group of `each` rows, `groups` groups a block.
  __device__ int64_t row(int block, int groups, int group, int each, int r) const {
    int64_t first = static_cast<int64_t>(by_classes(static_cast<unsigned>(block))) * groups + group;
    return class_of(block) + stride * (first * each + r);
  }
};

// Sums over the warp of N values a thread: over the threads that are a multiple of `least` apart.
// The values are halved with the lanes, so that it takes about N exchanges in place of 5 N. A
// thread is left with `left` of them, or with one, which others then have too, in v[0] and on; the
// result is the number of the first.
template <int N, int MASK = 16, class T>
__device__ __forceinline__ int fold_warp(T* v, int least, int& left) {
  left = N;
  if (MASK < least) return 0;
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
  if constexpr (MASK > 1)
    at += fold_warp<(N > 1 ? N / 2 : 1), MASK / 2>(v, least, left);
  else
    left = N > 1 ? N / 2 : 1;
  return at;
}

// The few vectors as the rows' packs see them: vector f at xs + f * pitch, packs [q0, q0 + chunk)
// of the piece, shifted by the rows' phase, with zeros beside the piece in its first and last pack.
template <int F, int N, class T>
__device__ __forceinline__ void stage_along_rows(T* xs, int pitch, const VectorProduct<T>& p,
                                                 const VectorPart<T>& part, int phase, int q0,
                                                 int chunk) {
  constexpr int W = PACK<T>;
  int start = q0 * W - phase, first = start < 0 ? 0 : start;
  int end = start + chunk * W < part.length ? start + chunk * W : part.length,
      before = first - start;
  if (threadIdx.x < p.few.extent) {
    T* x = xs + threadIdx.x * pitch;
    for (int e = 0; e < before; e++) x[e] = T(0.0f);
    for (int e = end - start; e % W != 0; e++) x[e] = T(0.0f);
  }
  read_few<F, N>(p, part, first, end - first,
                 [&](int f, int e, T value) { xs[f * pitch + before + e] = value; });
}

// A group of threads has ROWS rows; a thread takes DEEP packs of each at a time.
template <int F, int ROWS, class T>
__global__ void __launch_bounds__(BLOCK, VECTOR_BLOCKS)
    vector_rows(VectorProduct<T> p, Batch batch, RowWork work) {
  constexpr int W = PACK<T>, N = ROWS * F, DEEP = RING_PACKS / ROWS;
  using Part = Pack<T, W>;
  extern __shared__ __align__(32) char memory[];
  T* xs = reinterpret_cast<T*>(memory);
  const VectorPart<T> part(p, batch);
  const int lanes = work.lanes(), lane = threadIdx.x & (lanes - 1), group = threadIdx.x >> work.log,
            groups = BLOCK >> work.log;
  const int64_t extent = p.matrix.extent, k = p.matrix.k, apart = work.stride * k;
  const int64_t first_row = work.row(part.group, groups, group, ROWS, 0);
  const int phase =
      phase_of<W>(part.matrix + work.class_of(part.group) * k);  // begin is a multiple of W
  const int packs = (part.length + phase + W - 1) / W, step = lanes * DEEP,
            pitch = (work.chunk + 1) * W;
  const T* line = part.matrix + first_row * k + part.begin - phase;

  int rows = 0;  // that there are
#pragma unroll
  for (int r = 0; r < ROWS; r++) rows += first_row + r * work.stride < extent;

  PackRing<T> ring(memory + work.ring);
  auto load = [&](int stage, int q) {
#pragma unroll
    for (int d = 0; d < DEEP; d++)
#pragma unroll
      for (int r = 0; r < ROWS; r++) {
        int at = q + d * lanes;
        ring.begin(stage, d * ROWS + r, line + r * apart + at * W, at < packs && r < rows);
      }
  };

  T sum[N] = {};
  ring.fill((packs + step - 1) / DEEP >> work.log, [&](int s) { load(s, lane + s * step); });
#pragma unroll 1
  for (int q0 = 0; q0 < packs; q0 += work.chunk) {
    if (q0 > 0) __syncthreads();
    stage_along_rows<F, PACKS_READ<F, T>>(xs, pitch, p, part, phase, q0, work.chunk);
    __syncthreads();
    int end = q0 + work.chunk < packs ? q0 + work.chunk : packs;
#pragma unroll 1
    for (int q = q0 + lane; q - lane < end; q += step) {
      Part u[RING_PACKS];
      ring.take(u);
#pragma unroll
      for (int d = 0; d < DEEP; d++) {
        int at = q + d * lanes, e = at * W - phase;
        if (at >= packs) continue;
        if (e < 0 || e + W > part.length)  // beside the piece: of other rows, or of other pieces
#pragma unroll
          for (int w = 0; w < W; w++)
            if (e + w < 0 || e + w >= part.length)
#pragma unroll
              for (int r = 0; r < ROWS; r++) u[d * ROWS + r].v[w] = T(0);
#pragma unroll
        for (int f = 0; f < F; f++) {
          Part x = *reinterpret_cast<const Part*>(xs + f * pitch + (at - q0) * W);
#pragma unroll
          for (int r = 0; r < ROWS; r++)
#pragma unroll
            for (int w = 0; w < W; w++)
              sum[r * F + f] = fma(u[d * ROWS + r].v[w], x.v[w], sum[r * F + f]);
        }
      }
      int next = q + RING_STAGES * step;
      ring.refill(next - lane < packs, [&](int s) { load(s, next); });
    }
  }

  constexpr int WARPS = BLOCK / 32, LEFT = N > 32 ? N / 32 : 1;
  T *parts = xs, *totals = xs + WARPS * N;  // [warp][row][f], [group][row][f]
  int left, at = fold_warp<N>(sum, 1, left);
  __syncthreads();
  if (N >= 32 || threadIdx.x % (N < 32 ? 32 / N : 1) == 0)
#pragma unroll
    for (int i = 0; i < LEFT; i++) parts[threadIdx.x / 32 * N + at + i] = sum[i];
  __syncthreads();
  const int warps = lanes / 32;  // of a group
  store_totals(
      p, batch, totals, groups * N,
      [&](int t) {
        const T* mine = parts + t / N * warps * N + t % N;
        T total = mine[0];
        for (int w = 1; w < warps; w++) total += mine[w * N];
        return total;
      },
      [&](int t) -> int64_t {
        int64_t i = work.row(part.group, groups, t / N, ROWS, t % N / F);
        int f = t % F;
        return i < extent && f < p.few.extent ? i * p.i_step + f * p.f_step : -1;
      });
}

// ---- Columns: the matrix is contiguous across k

// A block has `own` columns, 2^log lanes side by side with a pack each; warp w takes lines w, w +
// 8, … of the piece, which all begin at the same place within a pack. In a step a thread takes four
// of them, each by turns with the threads of the warp that are below one another. Where lines are
// not aligned a lane has to spare for the shift. chunk: lines of the few vectors in shared memory
// at a time; ring: where the packs are, and later the warps' sums; the vectors, and later the
// block's sums, are before them.
struct ColumnWork {
  int log, own, chunk, ring;

  __device__ int step() const { return 8 * RING_PACKS << (5 - log); }
  __device__ int steps(int lines) const {
    return (lines + step() - 1) / (8 * RING_PACKS) >> (5 - log);
  }
};

// Where line e of the few vectors lies: those of a warp beside one another, and of these those of a
// thread.
__device__ __forceinline__ int line_place(int e, int log) {
  const int below = 32 >> log, step = below * 8 * RING_PACKS, line = (e & (step - 1)) / 8;
  return (e & -step) | (e % 8) * (step / 8) | (line & (below - 1)) * RING_PACKS | line >> (5 - log);
}

// Lines of the few vectors to xs, [f][line], with zeros up to whole steps.
template <int F, int N, class T, class X>
__device__ __forceinline__ void stage_along_columns(X* xs, int pitch, const VectorProduct<T>& p,
                                                    const VectorPart<T>& part, int first, int count,
                                                    int log) {
  const int few = static_cast<int>(p.few.extent), step = 32 * RING_PACKS * 8 >> log;
  for (int e = count + threadIdx.x; e < ((count + step - 1) & -step); e += BLOCK)
    for (int f = 0; f < few; f++) xs[f * pitch + line_place(e, log)] = X(0.0f);
  read_few<F, N>(p, part, first, count, [&](int f, int e, T value) {
    xs[f * pitch + line_place(e, log)] = static_cast<X>(value);
  });
}

// Of a warp's sums by vector and place in a pack, [f][w][lane], so that neither writes nor reads
// meet in banks.
CDN_FN constexpr int column_sums_pitch(int lanes) { return lanes > 8 ? lanes + 8 : 8; }

template <int F, class T>
__global__ void __launch_bounds__(BLOCK, VECTOR_BLOCKS)
    vector_columns(VectorProduct<T> p, Batch batch, ColumnWork work) {
  using C = Compute<T>;
  constexpr int W = PACK<T>, WARPS = BLOCK / 32, N = F * W;
  constexpr int AT_ONCE = sizeof(T) == 2 && N >= 64 ? 1
                          : N * sizeof(C) >= 256    ? 2
                                                    : 4;  // lines, as registers allow
  using Part = Pack<T, W>;
  using Factors = Pack<C, AT_ONCE>;
  extern __shared__ __align__(32) char memory[];
  const int lanes = 1 << work.log, columns = lanes * W, step = work.step(),
            pitch = work.chunk + RING_PACKS;
  C *xs = reinterpret_cast<C*>(memory), *totals = xs;   // [f][line], [f][column]
  C* parts = reinterpret_cast<C*>(memory + work.ring);  // [warp][f][w][lane]
  const VectorPart<T> part(p, batch);
  const int warp = threadIdx.x / 32, tx = threadIdx.x & (lanes - 1),
            ty = threadIdx.x % 32 >> work.log;
  const int64_t extent = p.matrix.extent, c0 = static_cast<int64_t>(part.group) * work.own;
  const int first_phase = phase_of<W>(part.matrix),
            shift = static_cast<int>(extent % W);  // begin is a multiple of 8
  const int phase = (first_phase + warp * shift) % W, own_line = warp + 8 * ty;
  const int apart = 256 >> work.log;  // of a thread's lines
  const bool active = c0 - phase + tx * W < extent;
  const T* from = part.matrix + (part.begin + own_line) * extent + c0 - phase + tx * W;

  PackRing<T> ring(memory + work.ring);
  auto load = [&](int stage, int line) {  // steps come in order
#pragma unroll
    for (int j = 0; j < RING_PACKS; j++)
      ring.begin(stage, j, from + j * apart * extent,
                 active && line + own_line + j * apart < part.length);
    from += step * extent;
  };

  C sum[N] = {};
  ring.fill(work.steps(part.length), [&](int s) { load(s, s * step); });
#pragma unroll 1
  for (int first = 0; first < part.length; first += work.chunk) {
    if (first > 0) __syncthreads();
    int count = part.length - first < work.chunk ? part.length - first : work.chunk;
    stage_along_columns<F, PACKS_READ<F, C>>(xs, pitch, p, part, first, count, work.log);
    __syncthreads();
#pragma unroll 1
    for (int line = 0; line < count; line += step) {
      Part u[RING_PACKS];
      ring.take(u);
      const C* x_at = xs + line + warp * (step / 8) + ty * RING_PACKS;
#pragma unroll
      for (int j0 = 0; j0 < RING_PACKS; j0 += AT_ONCE) {
        if (line + j0 * apart >= count) break;  // only zeros
#pragma unroll
        for (int f = 0; f < F; f++) {
          Factors x = *reinterpret_cast<const Factors*>(x_at + f * pitch + j0);
#pragma unroll
          for (int j = 0; j < AT_ONCE; j++)
#pragma unroll
            for (int w = 0; w < W; w++)
              sum[f * W + w] = fma(wide(u[j0 + j].v[w]), x.v[j], sum[f * W + w]);
        }
      }
      int next = first + line + RING_STAGES * step;
      ring.refill(next < part.length, [&](int s) { load(s, next); });
    }
  }

  const int sums_pitch = column_sums_pitch(lanes);
  int left, at = fold_warp<N>(sum, lanes, left);
  __syncthreads();  // all have read their packs
#pragma unroll
  for (int i = 0; i < N; i++)
    if (i < left) parts[(warp * N + at + i) * sums_pitch + tx] = sum[i];
  __syncthreads();
  const int log = work.log + (W == 8 ? 3 : W == 4 ? 2 : 1);
  store_totals(
      p, batch, totals, static_cast<int>(p.few.extent) << log,
      [&](int t) {
        const int f = t >> log, column = t & (columns - 1);
        C total = 0;
        if (column < work.own)
#pragma unroll
          for (int w = 0; w < WARPS; w++) {
            int c = column + (first_phase + w * shift) % W;
            total += parts[((w * F + f) * W + c % W) * sums_pitch + c / W];
          }
        return total;
      },
      [&](int t) -> int64_t {
        const int f = t >> log, column = t & (columns - 1);
        int64_t i = c0 + column;
        return column < work.own && i < extent ? i * p.i_step + f * p.f_step : -1;
      });
}

}  // namespace cdn
