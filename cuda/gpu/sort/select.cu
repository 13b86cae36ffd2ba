// The first few of each row, without sorting the others. A block chooses from a tile, which it
// holds in registers: it counts the first digit of all keys, finds the digit at which the number
// wanted is reached, and goes on with the next digit of those that have it; the places serve as the
// last digits, so that of equal keys the first are chosen. The few are then sorted in shared
// memory. Longer rows are cut into tiles, and among what was chosen from each the block chooses
// again. Short rows are sorted whole.
#include "gpu/sort/warp.h"

namespace cdn {
namespace {

template <class Key> constexpr int MOST = TILE<Key> / 4;  // of a tile

template <class Key> struct Chosen {
  Key key;
  uint32_t i;  // in the tile
  __device__ bool before(const Chosen& other) const {
    return key < other.key || (key == other.key && i < other.i);
  }
};

// Bitonic: of 2^j elements, of which the first n are given.
template <class Key> __device__ void sort_chosen(Chosen<Key>* chosen, int n) {
  int size = 2;
  while (size < n) size *= 2;
  for (int i = n + threadIdx.x; i < size; i += BLOCK) chosen[i] = {static_cast<Key>(~Key(0)), ~0u};
  for (int run = 2; run <= size; run *= 2)
    for (int apart = run / 2; apart > 0; apart /= 2) {
      __syncthreads();
      for (int t = threadIdx.x; t < size / 2; t += BLOCK) {
        int low = 2 * t - (t & (apart - 1)), high = low + apart;
        Chosen<Key> a = chosen[low], b = chosen[high];
        if (b.before(a) != ((low & run) == 0)) continue;
        chosen[low] = b;
        chosen[high] = a;
      }
    }
  __syncthreads();
}

// A row is cut into `pieces` of about the same length, up to a tile's. candidates: of x, the places
// of those to choose from, [rows, cols]; nullptr: x[rows, cols] itself. first[rows, pieces, k].
template <class T>
__global__ void __launch_bounds__(BLOCK, 4)
    choose_kernel(int64_t rows, int64_t cols, int64_t pieces, int k, const T* x,
                  const Place* candidates, bool descending, Place* first) {
  using Key = typename SortKey<T>::Key;
  constexpr int BITS = SortKey<T>::BITS, OF_KEY = BITS / 8, OF_PLACE = 2;  // digits
  __shared__ uint32_t count[DIGITS];
  __shared__ struct {
    uint32_t digit, before, count;  // where the number wanted is reached
  } reached;
  __shared__ Chosen<Key> chosen[MOST<Key>];
  __shared__ int found;
  count[threadIdx.x] = 0;
  for (int64_t task = blockIdx.x; task < rows * pieces; task += gridDim.x) {
    int64_t row = quotient(task, pieces), piece = task - row * pieces,
            begin = quotient(cols * piece, pieces), base = row * cols + begin;
    int n = static_cast<int>(quotient(cols * (piece + 1), pieces) - begin);
    auto place_at = [=](int i) { return candidates ? candidates[base + i] : Place(base + i); };
    Key key[ITEMS<Key>];
    uint32_t open = 0, taken = 0, wanted = k;  // a bit for each item of this thread
#pragma unroll
    for (int j = 0; j < ITEMS<Key>; j++) {
      int i = j * BLOCK + threadIdx.x;
      if (i >= n) break;
      key[j] = SortKey<T>::of(x[place_at(i)], descending);
      open |= 1u << j;
    }
    if (threadIdx.x == 0) found = 0;
    __syncthreads();
    for (int pass = n == k ? OF_KEY + OF_PLACE : 0;; pass++) {
      if (pass == OF_KEY + OF_PLACE) {  // no two places are the same
        taken |= open;
        break;
      }
      auto digit = [&](int j) {
        if (pass < OF_KEY) return digit_of(key[j], BITS - 8 - 8 * pass);
        return digit_of<uint32_t>(j * BLOCK + threadIdx.x, pass == OF_KEY ? 8 : 0);
      };
#pragma unroll
      for (int j = 0; j < ITEMS<Key>; j++)
        if (open >> j & 1) atomicAdd(&count[digit(j)], 1u);  // whole numbers, in any order
      __syncthreads();
      uint32_t all, own = count[threadIdx.x], before = scan_group<BLOCK>(CountUp{}, own, &all);
      count[threadIdx.x] = 0;
      if (before < wanted && wanted <= before + own) reached = {threadIdx.x, before, own};
      __syncthreads();
      wanted -= reached.before;
#pragma unroll
      for (int j = 0; j < ITEMS<Key>; j++) {
        if (!(open >> j & 1)) continue;
        uint32_t own_digit = digit(j);
        if (own_digit < reached.digit) taken |= 1u << j;
        if (own_digit != reached.digit) open &= ~(1u << j);
      }
      if (reached.count == wanted) {
        taken |= open;
        break;
      }
    }
#pragma unroll
    for (int j = 0; j < ITEMS<Key>; j++)  // in any order: they are sorted next
      if (taken >> j & 1) chosen[atomicAdd(&found, 1)] = {key[j], j * BLOCK + threadIdx.x};
    sort_chosen(chosen, k);
    for (int i = threadIdx.x; i < k; i += BLOCK) first[task * k + i] = place_at(chosen[i].i);
    __syncthreads();
  }
}

// Keys worked out as they are read.
template <class T> struct KeysOf {
  const T* x;
  bool descending;
  __device__ auto operator[](int64_t i) const { return SortKey<T>::of(x[i], descending); }
};

}  // namespace

template <class T>
First first_of_rows(Call& call, int64_t rows, int64_t cols, const T* x, int64_t first,
                    bool descending) {
  using Key = typename SortKey<T>::Key;
  int64_t n = rows * cols;
  // Of the longer of these rows and wider elements a few are sooner chosen.
  if (cols <= 32 * MOST_OF_LANE<T> && (cols <= 256 || sizeof(T) < 4 || first > cols / 8)) {
    Place* places = call.scratch<Place>(rows * first);
    sort_in_warps(call, rows, cols, first, x, descending, places);
    return {places, first};
  }
  if (first > MOST<Key> && rows == 1 && n > TILE<Key>) {
    Pairs<Key> by_digit{call.scratch<Key>(n), call.scratch<Place>(n)};
    uint32_t* sums = call.scratch<uint32_t>(DIGITS * tiles_of<Key>(n));
    order_by_digit<Key, Place>(call, n, KeysOf<T>{x, descending}, nullptr, by_digit, sums, 0);
    return {sort_rest(call, n, by_digit, 8, SortKey<T>::BITS), cols};
  }
  if (first > MOST<Key>)
    return {sort_rows(call, rows, cols, keys_of(call, n, x, descending), SortKey<T>::BITS), cols};
  const Place* candidates = nullptr;
  for (int64_t pieces = 0; pieces != 1; cols = pieces * first) {
    pieces = tiles_of<Key>(cols);
    Place* places = call.scratch<Place>(rows * pieces * first);
    launch(call, choose_kernel<T>, {grid_for(rows * pieces)}, rows, cols, pieces,
           static_cast<int>(first), x, candidates, descending, places);
    candidates = places;
  }
  return {candidates, first};
}

template First first_of_rows(Call&, int64_t, int64_t, const uint8_t*, int64_t, bool);
template First first_of_rows(Call&, int64_t, int64_t, const int32_t*, int64_t, bool);
template First first_of_rows(Call&, int64_t, int64_t, const float*, int64_t, bool);
template First first_of_rows(Call&, int64_t, int64_t, const double*, int64_t, bool);
template First first_of_rows(Call&, int64_t, int64_t, const float16*, int64_t, bool);
template First first_of_rows(Call&, int64_t, int64_t, const bfloat16*, int64_t, bool);

}  // namespace cdn
