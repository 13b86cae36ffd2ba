// The radix sort. Where a tile is all there is, or one row of many, every pass happens in shared
// memory and the sort is one launch. Otherwise a pass is three.
#include "gpu/sort/radix.h"

namespace cdn {
namespace {

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
                               : tile.value[i];
      }
      order_tile(tile, key, place, cols, 8 * pass);
    }
    for (int i = threadIdx.x; i < cols; i += BLOCK) {
      keys[row * cols + i] = tile.key[i];
      places[row * cols + i] = tile.value[i];
    }
    __syncthreads();
  }
}

template <class Key> Pairs<Key> pairs(Call& call, int64_t n) {
  return {call.scratch<Key>(n), call.scratch<Place>(n)};
}

// `from` and `to` change places after every pass; the last `to` is returned. counted: from.value is
// 0, 1, 2, … unwritten. The bits below `shift` are in order already.
template <class Key>
Pairs<Key> sort_pairs(Call& call, int64_t n, Pairs<Key> from, Pairs<Key> to, bool counted, int bits,
                      int shift = 0) {
  uint32_t* sums = call.scratch<uint32_t>(DIGITS * tiles_of<Key>(n));
  for (; shift < bits; shift += 8) {
    const Place* places = counted && shift == 0 ? nullptr : from.value;
    order_by_digit<Key, Place>(call, n, static_cast<const Key*>(from.key), places, to, sums, shift);
    std::swap(from, to);
  }
  return from;
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
  Pairs<Key> from{keys, call.scratch<Place>(n)};
  if (n <= TILE<Key>)
    launch(call, sort_tiles_kernel<Key>, {1}, 1, static_cast<int>(n), keys, from.value,
           (bits + 7) / 8);
  else
    from = sort_pairs<Key>(call, n, from, pairs<Key>(call, n), true, bits);
  return {from.key, from.value};
}

template <class Key>
const Place* sort_rows(Call& call, int64_t rows, int64_t cols, Key* keys, int bits) {
  int64_t n = rows * cols;
  if (rows == 1) return sort_keys(call, n, keys, bits).place;
  if (cols <= TILE<Key>) {
    Place* places = call.scratch<Place>(n);
    launch(call, sort_tiles_kernel<Key>, {grid_for(rows)}, rows, static_cast<int>(cols), keys,
           places, (bits + 7) / 8);
    return places;
  }
  // All keys at once, then by row, which the order of the keys within a row survives.
  const Place* places = sort_keys(call, n, keys, bits).place;
  Pairs<uint32_t> from{call.scratch<uint32_t>(n), const_cast<Place*>(places)};
  each(call, n, RowOf{places, from.key, static_cast<uint32_t>(cols)});
  return sort_pairs<uint32_t>(call, n, from, pairs<uint32_t>(call, n), false,
                              bits_of(static_cast<uint64_t>(rows - 1)))
      .value;
}

template <class Key>
const Place* sort_rest(Call& call, int64_t n, Pairs<Key> from, int shift, int bits) {
  return sort_pairs<Key>(call, n, from, pairs<Key>(call, n), false, bits, shift).value;
}

template Sorted<uint32_t> sort_keys(Call&, int64_t, uint32_t*, int);
template Sorted<uint64_t> sort_keys(Call&, int64_t, uint64_t*, int);
template const Place* sort_rows(Call&, int64_t, int64_t, uint32_t*, int);
template const Place* sort_rows(Call&, int64_t, int64_t, uint64_t*, int);
template const Place* sort_rest(Call&, int64_t, Pairs<uint32_t>, int, int);
template const Place* sort_rest(Call&, int64_t, Pairs<uint64_t>, int, int);

}  // namespace cdn
