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

template <class Key> int64_t digit_of(Key key, int shift) {
  return static_cast<int64_t>(key >> shift & (DIGITS - 1));
}

// Turns counts[digit] or counts[chunk][digit] into where each begins. False: all keys have one
// digit.
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

// One row by one thread. keys: those of all rows, by place. The result is in `from`, its first
// `first` at least.
template <class Key>
void sort_row(const Key* keys, int64_t n, Pairs<Key> from, Pairs<Key> to, int64_t first, int bits) {
  if (n <= SHORT || first < n / 16) {
    std::partial_sort(from.place, from.place + first, from.place + n, [=](Place a, Place b) {
      return keys[a] != keys[b] ? keys[a] < keys[b] : a < b;
    });
    return;
  }
  Place* const result = from.place;
  for (int shift = 0; shift < bits; shift += 8) {
    int64_t next[DIGITS] = {};
    for (int64_t i = 0; i < n; i++) next[digit_of(from.key[i], shift)]++;
    if (!begin_digits(n, 1, next)) continue;
    for (int64_t i = 0; i < n; i++) {
      const int64_t at = next[digit_of(from.key[i], shift)]++;
      to.key[at] = from.key[i];
      to.place[at] = from.place[i];
    }
    std::swap(from, to);
  }
  if (from.place != result) std::copy(from.place, from.place + n, result);
}

// One row by all threads.
template <class Key>
Pairs<Key> sort_long(int64_t n, Pairs<Key> from, Pairs<Key> to, int64_t* counts, int64_t chunks,
                     int bits) {
  auto each_chunk = [&](auto body) {
    parallel_for(chunks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; c++)
        body(counts + c * DIGITS, c * SORT_CHUNK,
             (c + 1) * SORT_CHUNK < n ? (c + 1) * SORT_CHUNK : n);
    });
  };
  for (int shift = 0; shift < bits; shift += 8) {
    each_chunk([&](int64_t* count, int64_t begin, int64_t end) {
      std::fill(count, count + DIGITS, 0);
      for (int64_t i = begin; i < end; i++) count[digit_of(from.key[i], shift)]++;
    });
    if (!begin_digits(n, chunks, counts)) continue;
    each_chunk([&](int64_t* next, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const int64_t at = next[digit_of(from.key[i], shift)]++;
        to.key[at] = from.key[i];
        to.place[at] = from.place[i];
      }
    });
    std::swap(from, to);
  }
  return from;
}

template <class Key> Pairs<Key> pairs(Call& call, int64_t n) {
  return {call.scratch<Key>(n), call.scratch<Place>(n)};
}

void count_up(int64_t n, Place* place) {
  parallel_for(n, GRAIN, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) place[i] = static_cast<Place>(i);
  });
}

}  // namespace

template <class Key> Sorted<Key> sort_keys(Call& call, int64_t n, Key* keys, int bits) {
  Pairs<Key> from{keys, call.scratch<Place>(n)}, to = pairs<Key>(call, n);
  const int64_t chunks = (n + SORT_CHUNK - 1) / SORT_CHUNK;
  int64_t* counts = call.scratch<int64_t>(chunks * DIGITS);
  count_up(n, from.place);
  from = sort_long(n, from, to, counts, chunks, bits);
  return {from.key, from.place};
}

template <class Key>
const Place* sort_rows(Call& call, int64_t rows, int64_t cols, Key* keys, int64_t first, int bits) {
  if (rows * cols == 0) return nullptr;
  Pairs<Key> from{keys, call.scratch<Place>(rows * cols)};
  count_up(rows * cols, from.place);
  if (cols <= LONG || first < cols / 16) {
    Pairs<Key> to = pairs<Key>(call, rows * cols);
    parallel_for(rows, GRAIN / 8 / cols + 1, [=](int64_t begin, int64_t end) {
      for (int64_t at = begin * cols; at < end * cols; at += cols)
        sort_row<Key>(keys, cols, {from.key + at, from.place + at}, {to.key + at, to.place + at},
                      first, bits);
    });
    return from.place;
  }
  Pairs<Key> to = pairs<Key>(call, cols);
  const int64_t chunks = (cols + SORT_CHUNK - 1) / SORT_CHUNK;
  int64_t* counts = call.scratch<int64_t>(chunks * DIGITS);
  for (int64_t r = 0; r < rows; r++) {
    Place* row = from.place + r * cols;
    Pairs<Key> sorted = sort_long<Key>(cols, {from.key + r * cols, row}, to, counts, chunks, bits);
    if (sorted.place != row) std::copy(sorted.place, sorted.place + cols, row);
  }
  return from.place;
}

template Sorted<uint32_t> sort_keys(Call&, int64_t, uint32_t*, int);
template Sorted<uint64_t> sort_keys(Call&, int64_t, uint64_t*, int);
template const Place* sort_rows(Call&, int64_t, int64_t, uint32_t*, int64_t, int);
template const Place* sort_rows(Call&, int64_t, int64_t, uint64_t*, int64_t, int);

}  // namespace cdn
