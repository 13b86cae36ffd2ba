// Lists of tensors element by element: an optimizer's step, an average, a limit.
#pragma once
#include "ops/optim/clock.h"

namespace cdn {

// Small, since layers have many tensors of few elements; as many bytes of 16-bit ones.
template <class T> constexpr int64_t CHUNK_SIZE = is_half<T> ? 2048 : 1024;

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
    static constexpr int WIDTH = is_half<Y> ? 8 : 16 / sizeof(C);
    Chunk<LISTS> chunk;
    int64_t count, packs;
    F f;
    template <class E> CDN_FN Pack<E, WIDTH>& pack_of(int l, int64_t i) const {
      return reinterpret_cast<Pack<E, WIDTH>*>(chunk.template list<E>(l))[i];
    }
    template <class E> CDN_FN void take(C (&x)[WIDTH][LISTS], int l, int64_t i) const {
      const Pack<E, WIDTH> from = pack_of<E>(l, i);
      for (int j = 0; j < WIDTH; j++) x[j][l] = wide(from.v[j]);
    }
    CDN_FN void pack(int64_t i) const {
      C x[WIDTH][LISTS];
      take<Y>(x, 0, i);
      for (int l = 1; l < READ; l++) take<T>(x, l, i);
      for (int l = READ; l < LISTS; l++) take<C>(x, l, i);
      Pack<Y, WIDTH> y;
      for (int j = 0; j < WIDTH; j++) y.v[j] = static_cast<Y>(f(x[j]));
      pack_of<Y>(0, i) = y;
      for (int l = READ; l < LISTS; l++) {
        Pack<C, WIDTH> state;
        for (int j = 0; j < WIDTH; j++) state.v[j] = x[j][l];
        pack_of<C>(l, i) = state;
      }
    }
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
    Row row{{}, 0, 0, f};
    const bool runs = row.f.begin();  // first, to read what it asks for during the search
    const Chunk<LISTS>& chunk = row.chunk = chunk_of<CHUNK_SIZE<Y>>(table, c);
    if (!runs) return row;
    bool aligned = true;
    for (int l = 0; l < LISTS; l++)
      aligned = aligned && reinterpret_cast<uintptr_t>(chunk.at[l]) % 16 == 0;
    row.count = chunk.count;
    row.packs = aligned ? chunk.count / Row::WIDTH : 0;
    return row;
  }
};

struct Unclocked {
  void queue(Call&) const {}
};

// `advance` comes first, once all was checked.
template <class T, class Y, int STATES = 0, int LISTS, class F, class Advance>
void each_element(Call& call, const List (&lists)[LISTS], const int64_t* sizes, int32_t count,
                  const F& f, const Advance& advance) {
  using Functor = Elements<T, Y, STATES, LISTS, F>;
  static_assert(sizeof(Functor) <= 4096 - 64, "a kernel's arguments take at most 4 KiB");
  const auto tables = read_lists<CHUNK_SIZE<Y>, T>(call, lists, sizes, count);
  advance.queue(call);
  for (const auto& table : tables) each_row(call, table.chunks(), CHUNK_SIZE<Y>, Functor{table, f});
}

}  // namespace cdn
