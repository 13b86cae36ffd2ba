// Products with few rows or columns. The larger operand, the matrix, is read once, so what counts
// is having enough of it on its way; the other one, of up to F vectors, is in shared memory. Every
// read of the matrix is an aligned pack of 16 bytes, whatever the alignment of its lines: a block
// of rows (or a warp, of columns) works on lines that begin at the same place within a pack, which
// repeats after at most a pack's number of lines, and the vectors (or the sums) are shifted to
// match. A thread's packs come to shared memory in the background, and only that thread reads them,
// so that there is nothing to wait for but the packs themselves. Sums over the threads, warps and
// blocks that share k are added in a fixed order.
//
// rows.h and columns.h have a kernel each for the two directions that can be contiguous, with two
// ways to sum: by plain multiply-adds, and, for 16-bit numbers, on tensor cores. Not for their
// speed at multiplying: a 2-byte number that comes from memory leaves time for 13 multiply-adds of
// plain floats, conversions included, and a product with 8 vectors would be bound by those.
// mma.sync takes its operands from registers, and which numbers of k meet in one instruction is
// free as long as both operands agree. So a thread's 16-byte packs go there as they come from
// memory, 16 vectors of the matrix by 8 of the few at a time.
#pragma once
#include "gpu/tile/async_copy.h"
#include "gpu/tile/hopper.h"
#include "gpu/tile/mma.h"
#include "gpu/gemm/product.h"

namespace cdn {

template <class T> constexpr int PACK = 16 / static_cast<int>(sizeof(T));
constexpr int VECTOR_BLOCKS = 2;  // to a multiprocessor

// y[i i_step + f f_step] = vector i of the matrix . vector f of the few, at each place of a batch.
// A block sums one split of k: split_k numbers, a multiple of 8, or those that are left. The
// partial sums are reduced by a cluster, whose blocks have the splits, or left in `partials`,
// [split][y], for a second pass.
template <class T> struct VectorProduct {
  T* y;
  Operand<T> matrix, few;
  int64_t i_step, f_step;
  int input;  // which one of the batch's layout the matrix is
  int split_k = 0, splits = 1;
  Divisor by_splits = {};
  bool by_cluster = false;
  Compute<T>* partials = nullptr;
};

// How it is shared out among blocks. 2^log threads share rows, or have a pack of columns each.
struct VectorWork {
  int log;
  int chunk;  // of the few vectors: packs, or lines, that are in shared memory at a time
  int ring;   // where the packs are, in bytes; the few vectors are before them
  int stride = 1, classes = 1;  // rows.h
  Divisor by_classes = {};
  int own = 0;  // columns.h: columns of a block
};

// What a block has of the product: the operands of its place in the batch, and its split of k.
template <class T> struct VectorPart {
  const T *matrix, *few;
  int group;  // the block's number among those of a split
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
    begin = (static_cast<int>(blockIdx.x) - group * p.splits) * p.split_k;
    int left = static_cast<int>(p.matrix.k) - begin;
    length = left < p.split_k ? left : p.split_k;
  }
};

// How many numbers lie between p and the 16 bytes' boundary (or that of another pack) before it.
template <int W, class T> __device__ __forceinline__ int phase_of(const T* p) {
  return static_cast<int>(reinterpret_cast<uintptr_t>(p) / sizeof(T) % W);
}

// Runs of `count` neighbouring numbers, `apart` from one another: a block reads them in packs
// whatever their alignment, N packs a thread and round, all on their way at once. A pack holds a
// number of the operand at least; the others may be those beside it, or lie beside the operand, but
// not beside its memory, which the allocator gives out in multiples of 256 bytes. read() and
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
      if (q < packs && e < count) pack[j] = *reinterpret_cast<const Pack<T, W>*>(line + e);
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
  template <class Store> __device__ void write_all(Store&& store) {
    write(store);
    rest(store);
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

// sum += a b. (Products of 16-bit numbers come here on sm_80 and later only.)
template <class T>
__device__ __forceinline__ void multiply_add_halves(float (&sum)[4], const MmaA& a, const MmaB& b) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  multiply_add<T>(sum, a, b, sum);
#endif
}

// Packs of the matrix on their way to a thread: RING_STAGES times RING_PACKS, 64 KB of a block, so
// that one block to a multiprocessor is enough. Stages that a short split leaves out need no
// memory.
constexpr int RING_PACKS = 4, RING_STAGES = 4, RING_STAGE_BYTES = RING_PACKS * BLOCK * 16;

template <class T> struct PackRing {
  using Part = Pack<T, PACK<T>>;
  Part* own;

  __device__ explicit PackRing(void* memory) : own(static_cast<Part*>(memory) + threadIdx.x) {}

  // Begins a pack: `from` is aligned; zeros where it is not valid. Of what else is in it the same
  // holds as for RunReader.
  __device__ void begin(int stage, int pack, const T* from, bool valid) {
    copy_async_or_zero<16>(own + (stage * RING_PACKS + pack) * BLOCK, from, valid);
  }

  // The main loop: along `length` packs or lines, `step` at a time. load(stage, at) begins the
  // packs of the step at `at`, in order; stage(first, count) brings the next of the few vectors to
  // shared memory, at most `chunk` each time; multiply(packs, first, at, count) adds a step's
  // products.
  template <class Load, class Stage, class Multiply>
  __device__ __forceinline__ void main_loop(int length, int step, int chunk, Load&& load,
                                            Stage&& stage, Multiply&& multiply) {
#pragma unroll
    for (int s = 0; s < RING_STAGES; s++) {
      if (s * step < length) load(s, s * step);
      commit_copies();
    }
    int slot = 0;  // of the oldest stage
#pragma unroll 1
    for (int first = 0; first < length; first += chunk) {
      const int count = length - first < chunk ? length - first : chunk;
      if (first > 0) __syncthreads();
      stage(first, count);
      __syncthreads();
#pragma unroll 1
      for (int at = 0; at < count; at += step) {
        Part u[RING_PACKS];
        wait_copies<RING_STAGES - 1>();
#pragma unroll
        for (int i = 0; i < RING_PACKS; i++) u[i] = own[(slot * RING_PACKS + i) * BLOCK];
        multiply(u, first, at, count);
        const int next = first + at + RING_STAGES * step;
        if (next < length) load(slot, next);
        commit_copies();
        slot = slot + 1 == RING_STAGES ? 0 : slot + 1;
      }
    }
  }
};

// A thread's reads of the few vectors at a time, as its sums leave registers for them.
template <int F, class T>
constexpr int PACKS_READ = F * sizeof(T) <= 16   ? 4
                           : F * sizeof(T) <= 32 ? 2
                                                 : 1;

// Numbers [e, e + count) of the split of all of the few vectors, F at most (one is always
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

constexpr int MOST_CLUSTER = 8;                      // blocks of a cluster
constexpr int SPARE_TOTALS = 32 * MOST_CLUSTER + 4;  // see store_totals

// The block's sums to where they belong: number t is value(t), which goes to place(t) in y, or
// nowhere if that is -1. totals: shared memory for `count` of them and SPARE_TOTALS. In a cluster,
// a block reduces each splits-th run of 32 numbers, for which all blocks send it theirs.
template <class T, class Value, class Place>
__device__ __forceinline__ void store_totals(const VectorProduct<T>& p, const VectorPart<T>& part,
                                             const Batch& batch, Compute<T>* totals, int count,
                                             Value value, Place place) {
  const int split = static_cast<int>(blockIdx.x) - part.group * p.splits;
  const int64_t z = batch.first + blockIdx.z, size = p.matrix.extent * p.few.extent;
#if defined(CDN_HOPPER)
  auto quotient = [&](int x) { return static_cast<int>(p.by_splits(static_cast<unsigned>(x))); };
  auto turns = [&](int runs) { return quotient(runs + p.splits - 1); };
  if (p.by_cluster) {
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
      for (int r = 1; r < MOST_CLUSTER; r++)
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
    if (p.partials)
      p.partials[(split * batch.layout.n + z) * size + at] = value(t);
    else
      p.y[z * size + at] = static_cast<T>(value(t));
  }
}

// The second pass: y[i] = the sum of its partial sums, [split][i]. A block has 32 numbers, and a
// warp every eighth split.
template <class T>
__global__ void __launch_bounds__(BLOCK)
    sum_partials(T* y, const Compute<T>* partials, int64_t count, int splits) {
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
    for (int s = warp; s < splits; s += WARPS) sum += partials[s * count + i];
  parts[warp][lane] = sum;
  __syncthreads();
  if (warp > 0 || i >= count) return;
#pragma unroll
  for (int w = 1; w < WARPS; w++) sum += parts[w][lane];
  y[i] = static_cast<T>(sum);
}

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

}  // namespace cdn
