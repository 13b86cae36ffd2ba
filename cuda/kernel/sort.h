// Sorting by integer keys, the one primitive behind topK, sort and the scatters that add: a stable
// radix sort, 8 bits at a time from the lowest, in gpu/sort and cpu/sort; of which a few are wanted
// are chosen first. The result of a stable sort is unique, so both agree, and every run and every
// number of threads give the same.
#pragma once
#include "kernel/functions.h"

namespace cdn {

using Place = uint32_t;  // which limits a sort to MAX_SORTED elements
constexpr int64_t MAX_SORTED = 0xfffffffe;

template <class Key> struct Sorted {
  const Key* key;
  const Place* place;  // where each was before
};

// n keys, ascending, equal ones in the order of their places. They have `bits` bits at most. `keys`
// is used up.
template <class Key> Sorted<Key> sort_keys(Call& call, int64_t n, Key* keys, int bits);

inline void check_sortable(const char* name, int64_t n) {
  if (n > MAX_SORTED)
    CDN_FAIL(CDN_UNSUPPORTED, "%s: %lld elements are more than can be sorted, %lld", name,
             (long long)n, (long long)MAX_SORTED);
}

// The bits that numbers up to and including `largest` need; at least 1.
inline int bits_of(uint64_t largest) {
  int bits = 1;
  while (largest >>= 1) bits++;
  return bits;
}

// Keys that are ordered as the values are: NaN above all, whatever its sign, and the two zeros
// equal.
template <class T> struct SortKey {
  using Key = typename std::conditional<sizeof(T) == 8, uint64_t, uint32_t>::type;
  using Word = typename std::conditional<
      sizeof(T) == 8, uint64_t,
      typename std::conditional<
          sizeof(T) == 4, uint32_t,
          typename std::conditional<sizeof(T) == 2, uint16_t, uint8_t>::type>::type>::type;
  static constexpr int BITS = 8 * sizeof(T);
  static constexpr Word SIGN = static_cast<Word>(Word(1) << (BITS - 1)),
                        ALL = static_cast<Word>(~Word(0));

  CDN_FN static Key of(T x, bool descending) {
    Word word = bits_as<Word>(x);
    if constexpr (is_real<T>) {
      auto value = wide(x);
      if (is_nan(value))
        word = ALL;
      else if (value == decltype(value)(0))
        word = SIGN;
      else
        word = static_cast<Word>(word & SIGN ? ~word : word | SIGN);
    } else if constexpr (std::is_signed<T>::value) {
      word = static_cast<Word>(word ^ SIGN);
    }
    return static_cast<Key>(static_cast<Word>(descending ? ~word : word));
  }
};

template <class T> struct KeyOf {
  typename SortKey<T>::Key* key;
  const T* x;
  bool descending;
  CDN_FN void operator()(int64_t i) const { key[i] = SortKey<T>::of(x[i], descending); }
};

template <class T>
typename SortKey<T>::Key* keys_of(Call& call, int64_t n, const T* x, bool descending) {
  auto* keys = call.scratch<typename SortKey<T>::Key>(n);
  each(call, n, KeyOf<T>{keys, x, descending});
  return keys;
}

// The places, counted through all rows, of the first elements of rows in order; those of a row
// begin `pitch` behind those of the row before it.
struct First {
  const Place* place;
  int64_t pitch;
};
// The first `first` at least of each row of x[rows, cols], none of the three being 0.
template <class T>
First first_of_rows(Call& call, int64_t rows, int64_t cols, const T* x, int64_t first,
                    bool descending);

}  // namespace cdn
