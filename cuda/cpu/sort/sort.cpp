// The radix sort as loops. Long rows are cut into chunks, one a task: each counts its digits, the
// counts are summed up digit by digit and chunk by chunk, and each moves its keys to where its own
// begin. Of many rows each is a task; short ones, and those of which only a few are wanted, are
// sorted by comparing. A pass whose keys all have one digit is left out.
#include "kernel/sort.h"

#include <algorithm>

namespace cdn {
namespace {

constexpr int64_t DIGITS = 256;
constexpr int64_t SHORT = 64, LONG = 1 << 16;  // rows
constexpr int64_t SORT_CHUNK = 1 << 14;

template <class Key> struct Pairs {
  Key* key;
  Place* place;
};

// Turns counts[chunk][digit] into where each begins. False: all keys have one digit.
bool begin_digits(int64_t n, int64_t chunks, int64_t* counts) {
  int64_t sum = 0;
  for (int64_t d = 0; d < DIGITS; d++) {
    const int64_t before = sum;
    for (int64_t c = 0; c < chunks; c++) {
      const int64_t count = counts[c * DIGITS + d];
      counts[c * DIGITS + d] = sum;
      sum += count;
    }
    if (sum - before == n) return false;
  }
  return true;
}

// One row, by all threads where there are several chunks. counts: [chunks][DIGITS].
template <class Key>
Pairs<Key> radix_sort(int64_t n, Pairs<Key> from, Pairs<Key> to, int64_t* counts, int64_t chunk,
                      int bits) {
  const int64_t chunks = ceil_div(n, chunk);
  for (int shift = 0; shift < bits; shift += 8) {
    auto digit = [shift](Key key) { return static_cast<int64_t>(key >> shift & (DIGITS - 1)); };
    parallel_each(chunks, 1, [=](int64_t c) {
      int64_t* count = counts + c * DIGITS;
      const Key *key = from.key + c * chunk, *end = from.key + std::min((c + 1) * chunk, n);
      std::fill(count, count + DIGITS, 0);
      for (; key < end; key++) count[digit(*key)]++;
    });
    if (!begin_digits(n, chunks, counts)) continue;
    parallel_each(chunks, 1, [=](int64_t c) {
      int64_t* next = counts + c * DIGITS;
      const Pairs<Key> x = from, y = to;
      for (int64_t i = c * chunk, end = std::min(i + chunk, n); i < end; i++) {
        const int64_t at = next[digit(x.key[i])]++;
        y.key[at] = x.key[i];
        y.place[at] = x.place[i];
      }
    });
    std::swap(from, to);
  }
  return from;
}

// One row by one thread. keys: those of all rows, by place. The result is in `from`, its first
// `first` at least.
template <class Key>
void sort_row(const Key* keys, int64_t n, Pairs<Key> from, Pairs<Key> to, int64_t first, int bits) {
  if (n <= SHORT || first < n / 16)
    return std::partial_sort(from.place, from.place + first, from.place + n, [=](Place a, Place b) {
      return keys[a] != keys[b] ? keys[a] < keys[b] : a < b;
    });
  int64_t counts[DIGITS];
  const Pairs<Key> sorted = radix_sort(n, from, to, counts, n, bits);
  if (sorted.place != from.place) std::copy(sorted.place, sorted.place + n, from.place);
}

template <class Key> Pairs<Key> pairs(Call& call, int64_t n) {
  return {call.scratch<Key>(n), call.scratch<Place>(n)};
}

int64_t* counts_of(Call& call, int64_t n) {
  return call.scratch<int64_t>(ceil_div(n, SORT_CHUNK) * DIGITS);
}

void count_up(int64_t n, Place* place) {
  parallel_each(n, GRAIN, [=](int64_t i) { place[i] = static_cast<Place>(i); });
}

}  // namespace

template <class Key> Sorted<Key> sort_keys(Call& call, int64_t n, Key* keys, int bits) {
  Pairs<Key> from{keys, call.scratch<Place>(n)}, to = pairs<Key>(call, n);
  count_up(n, from.place);
  from = radix_sort(n, from, to, counts_of(call, n), SORT_CHUNK, bits);
  return {from.key, from.place};
}

template <class T>
First first_of_rows(Call& call, int64_t rows, int64_t cols, const T* x, int64_t first,
                    bool descending) {
  using Key = typename SortKey<T>::Key;
  constexpr int bits = SortKey<T>::BITS;
  Key* keys = keys_of(call, rows * cols, x, descending);
  Pairs<Key> from{keys, call.scratch<Place>(rows * cols)};
  count_up(rows * cols, from.place);
  if (cols <= LONG || first < cols / 16) {
    Pairs<Key> to = pairs<Key>(call, rows * cols);
    parallel_each(rows, GRAIN / 8 / cols + 1, [=](int64_t r) {
      const int64_t at = r * cols;
      sort_row<Key>(keys, cols, {from.key + at, from.place + at}, {to.key + at, to.place + at},
                    first, bits);
    });
    return {from.place, cols};
  }
  Pairs<Key> to = pairs<Key>(call, cols);
  int64_t* counts = counts_of(call, cols);
  for (int64_t r = 0; r < rows; r++) {
    const Pairs<Key> row = {from.key + r * cols, from.place + r * cols};
    const Pairs<Key> sorted = radix_sort(cols, row, to, counts, SORT_CHUNK, bits);
    if (sorted.place != row.place) std::copy(sorted.place, sorted.place + cols, row.place);
  }
  return {from.place, cols};
}

template Sorted<uint32_t> sort_keys(Call&, int64_t, uint32_t*, int);
template Sorted<uint64_t> sort_keys(Call&, int64_t, uint64_t*, int);
template First first_of_rows(Call&, int64_t, int64_t, const uint8_t*, int64_t, bool);
template First first_of_rows(Call&, int64_t, int64_t, const int32_t*, int64_t, bool);
template First first_of_rows(Call&, int64_t, int64_t, const float*, int64_t, bool);
template First first_of_rows(Call&, int64_t, int64_t, const double*, int64_t, bool);
template First first_of_rows(Call&, int64_t, int64_t, const float16*, int64_t, bool);
template First first_of_rows(Call&, int64_t, int64_t, const bfloat16*, int64_t, bool);

}  // namespace cdn
