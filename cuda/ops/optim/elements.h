// Lists of tensors element by element: an optimizer's step, an average, a limit.
#pragma once
#include "ops/optim/clock.h"

namespace cdn {

constexpr int64_t CHUNK_SIZE = 1024;  // small, since layers have many tensors of few elements

// A functor of each_row over chunks. f(x) gives the new element of the first list, which is of type
// Y, from x, those of all lists at one place in Compute<T>. It may change those of the last STATES
// lists, which are of Compute<T> and written too. f.begin() is called once for each chunk, and says
// whether there is anything to do.
template <class T, class Y, int STATES, int LISTS, class F> struct Elements {
  using C = Compute<T>;
  static constexpr int READ = LISTS - STATES;
  Tensors<LISTS> table;
  F f;

  struct Row {
    Chunk<LISTS> chunk;
    int64_t count;
    F f;
    CDN_FN void operator()(int64_t i) const {
      C x[LISTS];
      x[0] = wide(chunk.template list<Y>(0)[i]);
      for (int l = 1; l < READ; l++) x[l] = wide(chunk.template list<T>(l)[i]);
      for (int l = READ; l < LISTS; l++) x[l] = chunk.template list<C>(l)[i];
      const auto y = f(x);
      for (int l = READ; l < LISTS; l++) chunk.template list<C>(l)[i] = x[l];
      chunk.template list<Y>(0)[i] = static_cast<Y>(y);
    }
  };
  CDN_FN Row row(int64_t c) const {
    Chunk<LISTS> chunk = chunk_of<CHUNK_SIZE>(table, c);
    Row row{chunk, 0, f};
    if (row.f.begin()) row.count = chunk.count;
    return row;
  }
};

// `advance` comes first, once all was checked.
template <class T, class Y, int STATES = 0, int LISTS, class F, class Values>
void each_element(Call& call, const List (&lists)[LISTS], const int64_t* sizes, int32_t count,
                  const F& f, const Advance<Values>& advance) {
  using Functor = Elements<T, Y, STATES, LISTS, F>;
  static_assert(sizeof(Functor) <= 4096 - 64, "a kernel's arguments take at most 4 KiB");
  const auto tables = read_lists<CHUNK_SIZE, T>(call, lists, sizes, count);
  advance.queue(call);
  for (const auto& table : tables) each_row(call, table.chunks(), CHUNK_SIZE, Functor{table, f});
}

}  // namespace cdn
