// What the radix sort is made of. A block takes a tile of up to 4096 keys (2048 of 64 bits): each
// warp a stretch of it, whose keys it ranks by their digit in order, peers finding one another by
// ballots; then the tile is put in order in shared memory, so that what goes out to one digit's
// place in memory goes out side by side. A pass over memory is: count digits by block, scan each
// digit's counts over the blocks, and move. No atomic decides an order, but that in which a digit's
// keys of one tile come where it does not matter.
#pragma once
#include "kernel/sort.h"
#include "kernel/sum.h"

namespace cdn {

constexpr int DIGITS = 256, WARPS = BLOCK / 32;
static_assert(BLOCK == DIGITS, "a thread for each digit");

template <class Key> constexpr int ITEMS = sizeof(Key) == 4 ? 16 : 8;  // of a thread
template <class Key> constexpr int TILE = BLOCK * ITEMS<Key>;

template <class Key, class Value = Place> struct Tile {
  uint32_t count[WARPS][DIGITS];  // keys of a warp by digit, then where those of the warp begin
                                  // among the digit's
  uint32_t start[DIGITS];         // where a digit's keys begin in the tile
  Key key[TILE<Key>];
  Value value[TILE<Key>];
};

using CountUp = Adding<uint32_t>;

template <class Key> __device__ uint32_t digit_of(Key key, int shift) {
  return static_cast<uint32_t>(key >> shift) & (DIGITS - 1);
}

// The j-th key of this thread: warps have stretches of the tile, in which lanes are neighbours.
template <class Key> __device__ int item_at(int j) {
  return threadIdx.x / 32 * (32 * ITEMS<Key>)+j * 32 + threadIdx.x % 32;
}

// Puts the first n keys of a tile, given by item_at, in order of a digit into tile.key, and what
// goes with them into tile.value. STABLE: those of one digit in the order that they had.
template <bool STABLE = true, class Key, class Value>
__device__ void order_tile(Tile<Key, Value>& tile, const Key (&key)[ITEMS<Key>],
                           const Value (&value)[ITEMS<Key>], int n, int shift) {
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int d = lane; d < DIGITS; d += 32) tile.count[warp][d] = 0;
  __syncwarp();
  uint16_t rank[ITEMS<Key>];  // among the keys of this digit in this warp
#pragma unroll
  for (int j = 0; j < ITEMS<Key>; j++) {
    bool valid = item_at<Key>(j) < n;
    uint32_t digit = digit_of(key[j], shift);
    if constexpr (!STABLE) {
      if (valid) rank[j] = static_cast<uint16_t>(atomicAdd(&tile.count[warp][digit], 1u));
      continue;
    }
    uint32_t peers = __ballot_sync(0xffffffffu, valid);
    if (peers == 0) break;  // the same for the whole warp
#pragma unroll
    for (int bit = 0; bit < 8; bit++) {
      uint32_t set = __ballot_sync(0xffffffffu, digit >> bit & 1);
      peers &= digit >> bit & 1 ? set : ~set;
    }
    uint32_t earlier = __popc(peers & ((1u << lane) - 1)), before = tile.count[warp][digit];
    __syncwarp();
    if (valid && earlier == 0) tile.count[warp][digit] = before + __popc(peers);
    __syncwarp();
    rank[j] = static_cast<uint16_t>(before + earlier);
  }
  __syncthreads();
  uint32_t total = 0, all;
#pragma unroll
  for (int w = 0; w < WARPS; w++) {
    uint32_t count = tile.count[w][threadIdx.x];
    tile.count[w][threadIdx.x] = total;
    total += count;
  }
  tile.start[threadIdx.x] = scan_group<BLOCK>(CountUp{}, total, &all);
  __syncthreads();
#pragma unroll
  for (int j = 0; j < ITEMS<Key>; j++) {
    if (item_at<Key>(j) >= n) break;
    uint32_t digit = digit_of(key[j], shift);
    uint32_t to = tile.start[digit] + tile.count[warp][digit] + rank[j];
    tile.key[to] = key[j];
    tile.value[to] = value[j];
  }
  __syncthreads();
}

template <class Key> __device__ int tile_size(int64_t n, int64_t block) {
  int64_t left = n - block * TILE<Key>;
  return static_cast<int>(left < TILE<Key> ? left : TILE<Key>);
}

// counts[digit, block] of keys[i], which may be worked out.
template <class Key, class Keys>
__global__ void __launch_bounds__(BLOCK)
    count_digits_kernel(int64_t n, Keys keys, uint32_t* counts, int64_t blocks, int shift) {
  __shared__ uint32_t count[WARPS][DIGITS];  // by warp, so that fewer threads meet at one counter
  follow_previous_kernel();
  for (int64_t block = blockIdx.x; block < blocks; block += gridDim.x) {
    for (int w = 0; w < WARPS; w++) count[w][threadIdx.x] = 0;
    __syncthreads();
    int size = tile_size<Key>(n, block);
    constexpr int AHEAD = 4;  // under way before the first is counted
#pragma unroll 1
    for (int from = 0; from < ITEMS<Key>; from += AHEAD) {
      Key key[AHEAD];
#pragma unroll
      for (int j = 0; j < AHEAD; j++)
        if (item_at<Key>(from + j) < size)
          key[j] = keys[block * TILE<Key> + item_at<Key>(from + j)];
#pragma unroll
      for (int j = 0; j < AHEAD; j++)
        if (item_at<Key>(from + j) < size)  // whole numbers: the order does not matter
          atomicAdd(&count[threadIdx.x / 32][digit_of(key[j], shift)], 1u);
    }
    __syncthreads();
    uint32_t total = 0;
    for (int w = 0; w < WARPS; w++) total += count[w][threadIdx.x];
    counts[threadIdx.x * blocks + block] = total;
    __syncthreads();
  }
}

// sums[digit, block]: how many of a digit there are up to the end of a block. A thread has a digit;
// this is where its keys begin.
__device__ inline uint32_t digit_start(const uint32_t* sums, int64_t blocks, uint32_t* total) {
  uint32_t all;
  *total = sums[(threadIdx.x + 1) * blocks - 1];
  return scan_group<BLOCK>(CountUp{}, *total, &all);
}

// values: of places nullptr stands for 0, 1, 2, …; others are put in no order among those of a tile
// and a digit, and are -0 where the key is none below keys.limit. A grid covers what can be sorted:
// a block has one tile.
template <class Key, class Value, class To, class Keys>
__global__ void __launch_bounds__(BLOCK, 3)
    move_keys_kernel(int64_t n, Keys keys, const Value* values, To* to_keys, Value* to_values,
                     const uint32_t* sums, int64_t blocks, int shift) {
  constexpr bool PLACES = std::is_same<Value, Place>::value;
  __shared__ Tile<Key, Value> tile;
  __shared__ uint32_t shift_by[DIGITS];  // from a place in the tile to one in memory, modulo 2^32
  int64_t block = blockIdx.x;
  follow_previous_kernel();
  uint32_t total, earlier = block ? sums[threadIdx.x * blocks + block - 1] : 0;
  shift_by[threadIdx.x] = digit_start(sums, blocks, &total) + earlier;
  int size = tile_size<Key>(n, block);
  Key key[ITEMS<Key>];
  Value value[ITEMS<Key>];
#pragma unroll
  for (int j = 0; j < ITEMS<Key>; j++) {
    int i = item_at<Key>(j);
    int64_t at = block * TILE<Key> + i;
    key[j] = i < size ? keys[at] : Key(0);
    if constexpr (PLACES)
      value[j] = i >= size ? Place(0) : values ? values[at] : static_cast<Place>(at);
    else if (i < size)
      value[j] = values[at];
  }
  if constexpr (!PLACES)
#pragma unroll
    for (int j = 0; j < ITEMS<Key>; j++)
      if (key[j] >= keys.limit) value[j] = static_cast<Value>(-0.0f);
  order_tile<PLACES>(tile, key, value, size, shift);
  shift_by[threadIdx.x] -= tile.start[threadIdx.x];
  __syncthreads();
  for (int i = threadIdx.x; i < size; i += BLOCK) {
    Key moved = tile.key[i];
    uint32_t to = i + shift_by[digit_of(moved, shift)];
    to_keys[to] = static_cast<To>(moved);
    to_values[to] = tile.value[i];
  }
}

struct SumCounts : CountUp {  // in place
  using Base = CountUp;
  uint32_t* counts;
  CDN_FN uint32_t load(int64_t at, int64_t) const { return counts[at]; }
  CDN_FN void store(int64_t at, int64_t, uint32_t sum) const { counts[at] = sum; }
};

template <class Key, class Value = Place> struct Pairs {
  Key* key;
  Value* value;
};

template <class Key> int64_t tiles_of(int64_t n) { return ceil_div(n, TILE<Key>); }

// Moves n pairs into the order of a digit. sums: of tiles_of(n) blocks, left as digit_start() reads
// them. Of keys[] `to` gets as many bits as it has.
template <class Key, class Value, class To, class Keys>
void order_by_digit(Call& call, int64_t n, Keys keys, const Value* values, Pairs<To, Value> to,
                    uint32_t* sums, int shift) {
  int64_t blocks = tiles_of<Key>(n);
  SumCounts scanned;
  scanned.counts = sums;
  const Launch how = following(call, {grid_for(blocks)});
  launch(call, count_digits_kernel<Key, Keys>, how, n, keys, sums, blocks, shift);
  scan(call, DIGITS, blocks, 1, false, scanned);
  launch(call, move_keys_kernel<Key, Value, To, Keys>, how, n, keys, values, to.key, to.value, sums,
         blocks, shift);
}

// Of uint32_t and uint64_t keys, as in kernel/sort.h, but that those within rows are not made here.
template <class Key>
const Place* sort_rows(Call& call, int64_t rows, int64_t cols, Key* keys, int bits);

// What is in the order of the bits below `shift` already.
template <class Key>
const Place* sort_rest(Call& call, int64_t n, Pairs<Key> from, int shift, int bits);

}  // namespace cdn
