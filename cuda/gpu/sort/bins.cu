// Sums by place without a sort: one pass brings elements to bins, by the first digit of the place;
// a bin's places fit in shared memory. A block finds the largest exponent at each of them, then
// adds whole numbers, each element as a multiple of a unit so far below its place's largest one
// that their sum, which has 64 bits, can't leave them. Whole numbers give one sum in any order, so
// the threads add as they come. A bin that holds far more than others is cut into chunks, whose
// sums are added up in order.
#include "gpu/sort/radix.h"
#include "gpu/sort/sums.h"

namespace cdn {
namespace {

constexpr int MOST_PLACES = 4096;  // of a bin

// What the kernels share. Tasks are counted bin by bin; one bin has 2^shift places.
template <class T> struct Bins {
  const uint16_t* keys;
  const uint32_t* sums;
  const T *src, *x;
  T* y;
  Sum<T>* partial;  // [task, 2^shift], of bins of several chunks
  int64_t blocks, limit;
  uint32_t chunk;
  int shift, bits;  // that an element may have

  __device__ void add(int64_t bin, int i, Sum<T> sum) const {
    int64_t to = (bin << shift) + i;
    if (to < limit) y[to] = static_cast<T>(sum + (x ? wide(x[to]) : wide(static_cast<T>(0.0f))));
  }
  // Of a bin's elements, how many there are before a chunk that would begin at `at`: up to the end
  // of a tile, whose elements have no order.
  __device__ uint32_t cut(int64_t bin, uint32_t at, uint32_t total) const {
    if (at == 0 || at >= total) return at < total ? at : total;
    const uint32_t* counted = sums + bin * blocks;
    int64_t low = 0, high = blocks - 1;
    while (low < high) {
      int64_t middle = (low + high) / 2;
      if (counted[middle] < at)
        low = middle + 1;
      else
        high = middle;
    }
    return counted[low];
  }
};

// A thread has a bin: the task that its first chunk is; how many it has.
template <class T>
__device__ uint32_t first_task(const Bins<T>& bins, uint32_t total, uint32_t* chunks) {
  uint32_t all;
  *chunks = total > bins.chunk ? (total + bins.chunk - 1) / bins.chunk : 1;
  return scan_group<BLOCK>(CountUp{}, *chunks, &all);
}

// The sum at one place of a block's. top: how large an element is that has been seen.
struct Slots {
  uint32_t top[MOST_PLACES], low[MOST_PLACES], high[MOST_PLACES];

  // 0: nothing but -0; up to 255: the biased exponent, 1 for all below; then infinities and NaN.
  static constexpr uint32_t INFINITE = 256;
  __device__ static uint32_t size_of(float x) {
    const uint32_t word = __float_as_uint(x), size = word << 1 >> 24;
    if (word == 0x80000000u) return 0;
    if (size == 255) return word << 9 ? INFINITE + 1 : INFINITE;
    return size ? size : 1;
  }
  // x 2^power, by two factors: neither of them nor a product on the way leaves float's range.
  __device__ static float scaled(float x, int power) {
    int half = power / 2;
    return x * __uint_as_float((half + 127) << 23) * __uint_as_float((power - half + 127) << 23);
  }
  // |x| < 2^(size - 126).
  __device__ static int power(uint32_t size, int bits) {
    return bits + 126 - static_cast<int>(size);
  }

  __device__ void see(int i, float x) {
    uint32_t size = size_of(x);
    if (size > top[i]) atomicMax(&top[i], size);
  }
  __device__ void add(int i, float x, int bits) {
    long long units;
    if (top[i] < INFINITE) {
      units = __float2ll_rn(scaled(x, power(top[i], bits)));
    } else {  // how many infinities there are, those below 0 in the upper half
      units = size_of(x) == INFINITE ? x > 0 ? 1ll : 1ll << 32 : 0;
    }
    uint32_t part = static_cast<uint32_t>(units), carry = 0;
    if (part) carry = atomicAdd(&low[i], part) + part < part;
    uint32_t rest = static_cast<uint32_t>(units >> 32) + carry;
    if (rest) atomicAdd(&high[i], rest);
  }
  __device__ WideFloat sum(int i, int bits) const {
    if (top[i] == 0) return -0.0f;
    if (top[i] >= INFINITE) {
      bool nan = top[i] > INFINITE || (low[i] && high[i]);
      return __uint_as_float(nan ? 0x7fc00000u : low[i] ? 0x7f800000u : 0xff800000u);
    }
    auto units = static_cast<long long>(static_cast<uint64_t>(high[i]) << 32 | low[i]);
    double sum = ldexp(static_cast<double>(units), -power(top[i], bits));
    float rounded = static_cast<float>(sum);
    return {rounded, is_nan(rounded - rounded) ? 0 : static_cast<float>(sum - rounded)};
  }

  // Whole numbers, modulo 2^32, which is what is kept of them.
  __device__ void see(int, int32_t) {}
  __device__ void add(int i, int32_t x, int) { atomicAdd(&low[i], static_cast<uint32_t>(x)); }
};

template <class T> __global__ void __launch_bounds__(BLOCK, 2) sum_bins_kernel(Bins<T> bins) {
  constexpr int N = ITEMS<uint32_t>;
  extern __shared__ __align__(16) char memory[];
  Slots& slots = *reinterpret_cast<Slots*>(memory);
  __shared__ struct {
    uint32_t bin, begin, end;
    bool there, whole;
  } task;
  if (threadIdx.x == 0) task = {};
  const int places = 1 << bins.shift;
  for (int i = threadIdx.x; i < places; i += BLOCK) slots.top[i] = slots.low[i] = slots.high[i] = 0;
  follow_previous_kernel();
  uint32_t total, chunks, start = digit_start(bins.sums, bins.blocks, &total),
                          first = first_task(bins, total, &chunks);
  if (blockIdx.x - first < chunks) {  // modulo 2^32
    uint32_t begin = (blockIdx.x - first) * bins.chunk;
    task = {threadIdx.x, start + bins.cut(threadIdx.x, begin, total),
            start + bins.cut(threadIdx.x, total - begin > bins.chunk ? begin + bins.chunk : total,
                             total),
            true, chunks == 1};
  }
  __syncthreads();
  if (!task.there) return;
  struct Items {
    uint16_t key[N];
    T value[N];
  };
  auto each_element = [&](auto f) {
    Items next;
    auto load = [&](uint32_t at) {
#pragma unroll
      for (int j = 0; j < N; j++) {
        uint32_t i = at + j * BLOCK + threadIdx.x;
        if (i < task.end && i >= at) next.key[j] = bins.keys[i], next.value[j] = bins.src[i];
      }
    };
    load(task.begin);
    for (uint32_t left = task.end - task.begin; left > 0;) {
      const Items now = next;
      const uint32_t size = left < N * BLOCK ? left : N * BLOCK;
      left -= size;
      if (left) load(task.end - left);  // under way while these are added
#pragma unroll
      for (int j = 0; j < N; j++)
        if (j * BLOCK + threadIdx.x < size) f(now.key[j] & (places - 1), wide(now.value[j]));
    }
  };
  if (is_real<T>) each_element([&](int i, auto x) { slots.see(i, x); });
  __syncthreads();
  each_element([&](int i, auto x) { slots.add(i, x, bins.bits); });
  __syncthreads();
  for (int i = threadIdx.x; i < places; i += BLOCK) {
    Sum<T> sum;
    if constexpr (is_real<T>)
      sum = slots.sum(i, bins.bits);
    else
      sum = static_cast<int32_t>(slots.low[i]);
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
bool sum_by_bins(Call& call, T* y, const T* x, const T* src, NamedKeys keys, int64_t n) {
  constexpr int64_t LEAST = 1 << 16, LEAST_PLACES = 4096, LEAST_CHUNK = 4 * TILE<uint32_t>;
  constexpr int LEAST_SHIFT = 6;
  const int64_t limit = keys.limit;
  if (n < LEAST || limit < LEAST_PLACES || limit > int64_t{MOST_PLACES} * DIGITS) return false;
  Pairs<uint16_t, T> binned{call.scratch<uint16_t>(n), call.scratch<T>(n)};
  int64_t blocks = tiles_of<uint32_t>(n), chunk = 2 * ceil_div(n, DIGITS);
  uint32_t* sums = call.scratch<uint32_t>(DIGITS * blocks);
  int shift = bits_of(static_cast<uint64_t>(limit - 1)) - 8;
  if (shift < LEAST_SHIFT) shift = LEAST_SHIFT;
  if (chunk < LEAST_CHUNK) chunk = LEAST_CHUNK;
  int64_t tasks = DIGITS + n / chunk;
  order_by_digit<uint32_t, T>(call, n, keys, src, binned, sums, shift);
  auto* partial = call.scratch<Sum<T>>(tasks << shift);
  const int bits = 62 - bits_of(static_cast<uint64_t>(chunk + TILE<uint32_t>));
  Bins<T> bins{
      binned.key, sums, binned.value, x, y, partial, blocks, limit, static_cast<uint32_t>(chunk),
      shift,      bits};
  Launch how{static_cast<unsigned>(tasks)};
  how.shared_bytes = sizeof(Slots);
  launch(call, sum_bins_kernel<T>, following(call, how), bins);
  launch(call, sum_chunks_kernel<T>, following(call, {DIGITS}), bins);
  return true;
}

template bool sum_by_bins(Call&, float*, const float*, const float*, NamedKeys, int64_t);
template bool sum_by_bins(Call&, float16*, const float16*, const float16*, NamedKeys, int64_t);
template bool sum_by_bins(Call&, bfloat16*, const bfloat16*, const bfloat16*, NamedKeys, int64_t);
template bool sum_by_bins(Call&, int32_t*, const int32_t*, const int32_t*, NamedKeys, int64_t);

}  // namespace cdn
