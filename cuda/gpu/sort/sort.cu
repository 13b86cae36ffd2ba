// The radix sort as kernels. A block takes a tile of up to 4096 keys (2048 of 64 bits): each warp a
// stretch of it, whose keys it ranks by their digit in order, peers finding one another by ballots;
// then the tile is put in order in shared memory, so that what goes out to one digit's place in
// memory goes out side by side. Where a tile is all there is, or one row of many, every pass
// happens in shared memory and the sort is one launch. Otherwise a pass is: count digits by block,
// scan the counts (digit by digit, block by block), and move. No atomic decides an order.
#include "kernel/sort.h"
#include "kernel/sum.h"

namespace cdn {
namespace {

constexpr int DIGITS = 256, WARPS = BLOCK / 32;
static_assert(BLOCK == DIGITS, "a thread for each digit");

template <class Key> constexpr int ITEMS = sizeof(Key) == 4 ? 16 : 8;  // of a thread
template <class Key> constexpr int TILE = BLOCK * ITEMS<Key>;

template <class Key> struct Tile {
  uint32_t count[WARPS][DIGITS];  // keys of a warp by digit, then where those of the warp begin
                                  // among the digit's
  uint32_t start[DIGITS];         // where a digit's keys begin in the tile
  Key key[TILE<Key>];
  Place place[TILE<Key>];
};

using CountUp = Adding<uint32_t>;

template <class Key> __device__ uint32_t digit_of(Key key, int shift) {
  return static_cast<uint32_t>(key >> shift) & (DIGITS - 1);
}

// The j-th key of this thread: warps have stretches of the tile, in which lanes are neighbours.
template <class Key> __device__ int item_at(int j) {
  return threadIdx.x / 32 * (32 * ITEMS<Key>)+j * 32 + threadIdx.x % 32;
}

// Puts the first n keys of a tile, given by item_at, in order of a digit into tile.key and
// tile.place.
template <class Key>
__device__ void order_tile(Tile<Key>& tile, const Key (&key)[ITEMS<Key>],
                           const Place (&place)[ITEMS<Key>], int n, int shift) {
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int d = lane; d < DIGITS; d += 32) tile.count[warp][d] = 0;
  __syncwarp();
  uint32_t rank[ITEMS<Key>];  // among the keys of this digit in this warp
#pragma unroll
  for (int j = 0; j < ITEMS<Key>; j++) {
    bool valid = item_at<Key>(j) < n;
    uint32_t digit = digit_of(key[j], shift);
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
    rank[j] = before + earlier;
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
    tile.place[to] = place[j];
  }
  __syncthreads();
}

// Each row is a tile: all passes at once.
template <class Key>
__global__ void __launch_bounds__(BLOCK)
    sort_tiles_kernel(int64_t rows, int cols, Key* keys, Place* places, int passes) {
  __shared__ Tile<Key> tile;
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    Key key[ITEMS<Key>];
    Place place[ITEMS<Key>];
    for (int pass = 0; pass < passes; pass++) {
#pragma unroll
      for (int j = 0; j < ITEMS<Key>; j++) {
        int i = item_at<Key>(j);
        key[j] = i >= cols ? Key(0) : pass == 0 ? keys[row * cols + i] : tile.key[i];
        place[j] = i >= cols   ? Place(0)
                   : pass == 0 ? static_cast<Place>(row * cols + i)
                               : tile.place[i];
      }
      order_tile<Key>(tile, key, place, cols, 8 * pass);
    }
    for (int i = threadIdx.x; i < cols; i += BLOCK) {
      keys[row * cols + i] = tile.key[i];
      places[row * cols + i] = tile.place[i];
    }
    __syncthreads();
  }
}

template <class Key> __device__ int tile_size(int64_t n, int64_t block) {
  int64_t left = n - block * TILE<Key>;
  return static_cast<int>(left < TILE<Key> ? left : TILE<Key>);
}

// counts[digit, block]
template <class Key>
__global__ void __launch_bounds__(BLOCK)
    count_digits_kernel(int64_t n, const Key* keys, uint32_t* counts, int64_t blocks, int shift) {
  __shared__ uint32_t count[WARPS][DIGITS];  // by warp, so that fewer threads meet at one counter
  for (int64_t block = blockIdx.x; block < blocks; block += gridDim.x) {
    for (int w = 0; w < WARPS; w++) count[w][threadIdx.x] = 0;
    __syncthreads();
    int size = tile_size<Key>(n, block);
    for (int i = threadIdx.x; i < size; i += BLOCK)
      // Whole numbers: the order does not matter.
      atomicAdd(&count[threadIdx.x / 32][digit_of(keys[block * TILE<Key> + i], shift)], 1u);
    __syncthreads();
    uint32_t total = 0;
    for (int w = 0; w < WARPS; w++) total += count[w][threadIdx.x];
    counts[threadIdx.x * blocks + block] = total;
    __syncthreads();
  }
}

// places: nullptr stands for 0, 1, 2, …
template <class Key>
__global__ void __launch_bounds__(BLOCK)
    move_keys_kernel(int64_t n, const Key* keys, const Place* places, Key* to_keys,
                     Place* to_places, const uint32_t* offsets, int64_t blocks, int shift) {
  __shared__ Tile<Key> tile;
  __shared__ uint32_t shift_by[DIGITS];  // from a place in the tile to one in memory, modulo 2^32
  for (int64_t block = blockIdx.x; block < blocks; block += gridDim.x) {
    int size = tile_size<Key>(n, block);
    Key key[ITEMS<Key>];
    Place place[ITEMS<Key>];
#pragma unroll
    for (int j = 0; j < ITEMS<Key>; j++) {
      int i = item_at<Key>(j);
      int64_t at = block * TILE<Key> + i;
      key[j] = i < size ? keys[at] : Key(0);
      place[j] = i >= size ? Place(0) : places ? places[at] : static_cast<Place>(at);
    }
    order_tile<Key>(tile, key, place, size, shift);
    shift_by[threadIdx.x] = offsets[threadIdx.x * blocks + block] - tile.start[threadIdx.x];
    __syncthreads();
    for (int i = threadIdx.x; i < size; i += BLOCK) {
      Key value = tile.key[i];
      uint32_t to = i + shift_by[digit_of(value, shift)];
      to_keys[to] = value;
      to_places[to] = tile.place[i];
    }
    __syncthreads();
  }
}

struct Offsets : CountUp {  // a count's offset: the sum of the counts before it
  using Base = CountUp;
  const uint32_t* counts;
  uint32_t* offsets;
  CDN_FN uint32_t load(int64_t at, int64_t) const { return counts[at]; }
  CDN_FN void store(int64_t at, int64_t, uint32_t sum) const { offsets[at] = sum - counts[at]; }
};

template <class Key> struct Pairs {
  Key* key;
  Place* place;
};

// `from` and `to` change places after every pass; the last `to` is returned. counted: from.place is
// 0, 1, 2, … unwritten.
template <class Key>
Pairs<Key> sort_pairs(Call& call, int64_t n, Pairs<Key> from, Pairs<Key> to, bool counted,
                      int passes) {
  int64_t blocks = (n + TILE<Key> - 1) / TILE<Key>;
  uint32_t* counts = call.scratch<uint32_t>(2 * DIGITS * blocks);
  Offsets scanned;
  scanned.counts = counts;
  scanned.offsets = counts + DIGITS * blocks;
  unsigned grid = grid_for(blocks);
  for (int pass = 0; pass < passes; pass++) {
    launch(call, count_digits_kernel<Key>, {grid}, n, from.key, counts, blocks, 8 * pass);
    scan(call, 1, DIGITS * blocks, 1, false, scanned);
    launch(call, move_keys_kernel<Key>, {grid}, n, from.key,
           counted && pass == 0 ? nullptr : from.place, to.key, to.place, scanned.offsets, blocks,
           8 * pass);
    std::swap(from, to);
  }
  return from;
}

template <class Key> Pairs<Key> pairs(Call& call, int64_t n) {
  return {call.scratch<Key>(n), call.scratch<Place>(n)};
}

struct RowOf {
  const Place* place;
  uint32_t* row;
  uint32_t cols;
  CDN_FN void operator()(int64_t i) const { row[i] = place[i] / cols; }
};

}  // namespace

template <class Key> Sorted<Key> sort_keys(Call& call, int64_t n, Key* keys, int bits) {
  if (n == 0) return {keys, nullptr};
  int passes = (bits + 7) / 8;
  Pairs<Key> from{keys, call.scratch<Place>(n)};
  if (n <= TILE<Key>)
    launch(call, sort_tiles_kernel<Key>, {1}, 1, static_cast<int>(n), keys, from.place, passes);
  else
    from = sort_pairs<Key>(call, n, from, pairs<Key>(call, n), true, passes);
  return {from.key, from.place};
}

template <class Key>
const Place* sort_rows(Call& call, int64_t rows, int64_t cols, Key* keys, int64_t, int bits) {
  int64_t n = rows * cols;
  if (rows <= 1 || n == 0) return sort_keys(call, n, keys, bits).place;
  // A block a row, unless the rows are so short that most of its threads would idle, and so many
  // that it matters.
  if (cols <= TILE<Key> && (cols >= 128 || rows <= 4096)) {
    Place* places = call.scratch<Place>(n);
    launch(call, sort_tiles_kernel<Key>, {grid_for(rows)}, rows, static_cast<int>(cols), keys,
           places, (bits + 7) / 8);
    return places;
  }
  // All keys at once, then by row, which the order of the keys within a row survives.
  const Place* places = sort_keys(call, n, keys, bits).place;
  Pairs<uint32_t> from{call.scratch<uint32_t>(n), const_cast<Place*>(places)};
  each(call, n, RowOf{places, from.key, static_cast<uint32_t>(cols)});
  int passes = (bits_of(static_cast<uint64_t>(rows - 1)) + 7) / 8;
  return sort_pairs<uint32_t>(call, n, from, pairs<uint32_t>(call, n), false, passes).place;
}

template Sorted<uint32_t> sort_keys(Call&, int64_t, uint32_t*, int);
template Sorted<uint64_t> sort_keys(Call&, int64_t, uint64_t*, int);
template const Place* sort_rows(Call&, int64_t, int64_t, uint32_t*, int64_t, int);
template const Place* sort_rows(Call&, int64_t, int64_t, uint64_t*, int64_t, int);

}  // namespace cdn
