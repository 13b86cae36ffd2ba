// Sums by place without a whole sort: one pass brings elements to bins, by the first digit of the
// place; a bin's places fit in shared memory, each belonging to one thread. A block puts tile by
// tile of its bin in order of the threads that their places belong to, which then add them, in
// order. A bin that holds far more than others is cut into chunks, whose sums are added up last.
#include "gpu/sort/radix.h"
#include "gpu/sort/sums.h"

namespace cdn {
namespace {

constexpr int OWN = 16;  // places of a thread at most
constexpr int64_t MOST_PLACES = int64_t{OWN} * BLOCK * DIGITS;

template <class T> struct BinMemory {
  Tile<uint32_t, T> tile;
  Sum<T> sum[OWN][BLOCK + 1];
};

// What the kernels share. Tasks are counted bin by bin; one bin has 2^shift places.
template <class T> struct Bins {
  const uint32_t *keys, *sums;
  const T* src;
  T* y;
  Sum<T>* partial;  // [task, 2^shift], of bins of several chunks
  int64_t blocks, limit;
  uint32_t chunk;
  int shift;

  __device__ void add(int64_t bin, int i, Sum<T> sum) const {
    int64_t to = (bin << shift) + i;
    if (to < limit) y[to] = static_cast<T>(sum + wide(y[to]));
  }
};

// A thread has a bin: the task that its first chunk is; how many it has.
template <class T>
__device__ uint32_t first_task(const Bins<T>& bins, uint32_t total, uint32_t* chunks) {
  uint32_t all;
  *chunks = total > bins.chunk ? (total + bins.chunk - 1) / bins.chunk : 1;
  return scan_group<BLOCK>(CountUp{}, *chunks, &all);
}

template <class T> __global__ void __launch_bounds__(BLOCK, 2) sum_bins_kernel(Bins<T> bins) {
  constexpr int TILE_SIZE = TILE<uint32_t>;
  extern __shared__ __align__(16) char memory[];
  BinMemory<T>& own = *reinterpret_cast<BinMemory<T>*>(memory);
  __shared__ struct {
    uint32_t bin, begin, end;
    bool whole;
  } task;
  if (threadIdx.x == 0) task = {};
  follow_previous_kernel();
  uint32_t total, chunks, start = digit_start(bins.sums, bins.blocks, &total),
                          first = first_task(bins, total, &chunks);
  if (blockIdx.x - first < chunks) {  // modulo 2^32
    uint32_t begin = (blockIdx.x - first) * bins.chunk, left = total - begin;
    task = {threadIdx.x, start + begin, start + begin + (left < bins.chunk ? left : bins.chunk),
            chunks == 1};
  }
  for (int i = 0; i < OWN; i++) own.sum[i][threadIdx.x] = static_cast<Sum<T>>(-0.0f);  // -0 stays
  __syncthreads();
  if (task.begin == task.end) return;  // nothing to add, or no task
  int below = bins.shift - 8, mask = (1 << below) - 1;
  uint32_t key[ITEMS<uint32_t>];
  T value[ITEMS<uint32_t>];
  auto load = [&](uint32_t at) {
#pragma unroll
    for (int j = 0; j < ITEMS<uint32_t>; j++) {
      uint32_t i = at + item_at<uint32_t>(j);
      key[j] = i < task.end ? bins.keys[i] : 0;
      if (i < task.end) value[j] = bins.src[i];
    }
  };
  load(task.begin);
  for (uint32_t at = task.begin; at < task.end; at += TILE_SIZE) {
    uint32_t left = task.end - at;
    int size = left < TILE_SIZE ? left : TILE_SIZE;
    order_tile(own.tile, key, value, size, below);
    if (size == TILE_SIZE) load(at + TILE_SIZE);  // under way while this one is added
    int i = own.tile.start[threadIdx.x],
        end = threadIdx.x + 1 < BLOCK ? own.tile.start[threadIdx.x + 1] : size;
    uint32_t held = 0;  // in a register, while one place has many in a row
    Sum<T> sum = own.sum[held][threadIdx.x];
    for (; i < end; i++) {
      uint32_t to = own.tile.key[i];
      if (to >= bins.limit) continue;
      if ((to & mask) != held) {
        own.sum[held][threadIdx.x] = sum;
        held = to & mask;
        sum = own.sum[held][threadIdx.x];
      }
      sum = sum + wide(own.tile.value[i]);
    }
    own.sum[held][threadIdx.x] = sum;
  }
  __syncthreads();
  for (int i = threadIdx.x; i < 1 << bins.shift; i += BLOCK) {
    Sum<T> sum = own.sum[i & mask][i >> below];
    if (task.whole)
      bins.add(task.bin, i, sum);
    else
      bins.partial[(static_cast<int64_t>(blockIdx.x) << bins.shift) + i] = sum;
  }
}

// The chunks of bins that have several.
template <class T> __global__ void __launch_bounds__(BLOCK) sum_chunks_kernel(Bins<T> bins) {
  __shared__ uint32_t first, chunks;
  follow_previous_kernel();
  if (bins.sums[(blockIdx.x + 1) * bins.blocks - 1] <= bins.chunk) return;
  uint32_t own_chunks,
      own_first = first_task(bins, bins.sums[(threadIdx.x + 1) * bins.blocks - 1], &own_chunks);
  if (threadIdx.x == blockIdx.x) {
    first = own_first;
    chunks = own_chunks;
  }
  __syncthreads();
  for (int i = threadIdx.x; i < 1 << bins.shift; i += BLOCK) {
    Sum<T> sum = static_cast<Sum<T>>(-0.0f);
#pragma unroll 8
    for (uint32_t c = 0; c < chunks; c++)
      sum = sum + bins.partial[(static_cast<int64_t>(first + c) << bins.shift) + i];
    bins.add(blockIdx.x, i, sum);
  }
}

}  // namespace

template <class T>
bool sum_by_bins(Call& call, T* y, const T* src, NamedKeys keys, int64_t n, int64_t limit) {
  constexpr int64_t LEAST = 1 << 16, LEAST_PLACES = 4096, LEAST_CHUNK = 4 * TILE<uint32_t>;
  if (n < LEAST || limit < LEAST_PLACES || limit > MOST_PLACES) return false;
  Pairs<uint32_t, T> binned{call.scratch<uint32_t>(n), call.scratch<T>(n)};
  int64_t blocks = tiles_of<uint32_t>(n), chunk = 2 * ceil_div(n, DIGITS);
  uint32_t* sums = call.scratch<uint32_t>(DIGITS * blocks);
  int bits = bits_of(static_cast<uint64_t>(limit - 1)), shift = bits < 16 ? 8 : bits - 8;
  if (chunk < LEAST_CHUNK) chunk = LEAST_CHUNK;
  int64_t tasks = DIGITS + n / chunk;
  if (!keys.key) keys.key = call.scratch<uint32_t>(n);
  order_by_digit<uint32_t, T>(call, n, keys, {keys.key, src}, binned, sums, shift);
  auto* partial = call.scratch<Sum<T>>(tasks << shift);
  Bins<T> bins{binned.key, sums,   binned.value, y,
               partial,    blocks, limit,        static_cast<uint32_t>(chunk),
               shift};
  Launch how{static_cast<unsigned>(tasks)};
  how.shared_bytes = sizeof(BinMemory<T>);
  launch(call, sum_bins_kernel<T>, following(call, how), bins);
  launch(call, sum_chunks_kernel<T>, following(call, {DIGITS}), bins);
  return true;
}

template bool sum_by_bins(Call&, float*, const float*, NamedKeys, int64_t, int64_t);
template bool sum_by_bins(Call&, float16*, const float16*, NamedKeys, int64_t, int64_t);
template bool sum_by_bins(Call&, bfloat16*, const bfloat16*, NamedKeys, int64_t, int64_t);
template bool sum_by_bins(Call&, int32_t*, const int32_t*, NamedKeys, int64_t, int64_t);

}  // namespace cdn
