// Lists of tensors, each list of one type, handled together in one launch for each 64 of them. The
// addresses travel as a kernel argument; each tensor is cut into chunks, and a chunk finds its
// tensor from their running count. A functor over the chunks goes to the drivers each_row and
// reduce_each, whose rows the chunks are.
#pragma once
#include <vector>

#include "kernel/functions.h"

namespace cdn {

constexpr int TENSORS = 64;  // a launch; further ones follow in further launches

// LISTS tensors of one size go together: a parameter, its gradient and its optimizer's state, say.
template <int LISTS> struct Tensors {
  void* at[LISTS][TENSORS];
  int64_t size[TENSORS];
  int64_t first_chunk[TENSORS + 1];
  int32_t count;

  int64_t chunks() const { return first_chunk[count]; }
};

// The elements of one chunk in each list.
template <int LISTS> struct Chunk {
  void* at[LISTS];
  int64_t begin, count;
  template <class T> CDN_FN T* list(int l) const { return static_cast<T*>(at[l]) + begin; }
};

template <int64_t SIZE, int LISTS>
CDN_FN Chunk<LISTS> chunk_of(const Tensors<LISTS>& table, int64_t c) {
  int low = 0, high = table.count;  // first_chunk[low] <= c < first_chunk[high]
  while (high - low > 1) {
    int middle = (low + high) / 2;
    if (table.first_chunk[middle] <= c)
      low = middle;
    else
      high = middle;
  }
  int64_t begin = (c - table.first_chunk[low]) * SIZE, left = table.size[low] - begin;
  Chunk<LISTS> chunk;
  for (int l = 0; l < LISTS; l++) chunk.at[l] = table.at[l][low];
  chunk.begin = begin;
  chunk.count = left < SIZE ? left : SIZE;
  return chunk;
}

// A list as an argument of the ABI. What is kept from step to step is wide: Compute<T> where the
// parameters are T.
struct List {
  const uint32_t* handles;
  const char* name;
  bool written = true, wide = true;
};

// The lists in portions for a launch each, all checked before the first of them. Functors only read
// what is not `written`.
template <int64_t SIZE, class T, int LISTS>
std::vector<Tensors<LISTS>> read_lists(Call& call, const List (&lists)[LISTS], const int64_t* sizes,
                                       int32_t count) {
  if (count < 0) CDN_FAIL(CDN_BAD_ARGUMENT, "count is %d; it must be 0 or more", count);
  if (count && !sizes) CDN_FAIL(CDN_BAD_ARGUMENT, "sizes is null");
  for (const List& list : lists)
    if (count && !list.handles) CDN_FAIL(CDN_BAD_ARGUMENT, "%s is null", list.name);
  std::vector<Tensors<LISTS>> tables((static_cast<size_t>(count) + TENSORS - 1) / TENSORS);
  for (int32_t i = 0; i < count; i++) {
    Tensors<LISTS>& table = tables[i / TENSORS];
    int t = table.count++;
    for (int l = 0; l < LISTS; l++) {
      const List& list = lists[l];
      auto find = [&](auto zero) -> void* {
        using E = decltype(zero);
        if (list.written) return call.out<E>(list.handles[i], list.name, sizes[i]);
        return const_cast<E*>(call.in<E>(list.handles[i], list.name, sizes[i]));
      };
      table.at[l][t] = list.wide ? find(Compute<T>{}) : find(T{});
    }
    table.size[t] = sizes[i];
    table.first_chunk[t + 1] = table.first_chunk[t] + (sizes[i] + SIZE - 1) / SIZE;
  }
  return tables;
}

}  // namespace cdn
