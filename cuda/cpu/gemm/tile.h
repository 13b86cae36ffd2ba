// Register tiles: R rows by V vectors of c stay in registers over the whole k loop. A step loads V
// vectors of b, broadcasts R elements of a, and does R * V fused multiply-adds, so loads never
// limit it. Each element of c is the same chain of operations wherever its tile lies and whichever
// thread computes it. Included by kernel.cpp only.
#pragma once
#include "cpu/gemm/kernel.h"
#include "cpu/gemm/pack.h"

namespace cdn {
namespace {

// Enough sums to hide the latency of a multiply-add, and few enough to leave registers for the
// vectors of b and the elements of a: 24 of AVX-512's 32 registers, 16 of NEON's 32 (it keeps more
// of a at hand), 12 of AVX2's and SSE2's 16.
#if defined(__AVX512F__)
constexpr int ROWS = 12;
#elif defined(__aarch64__)
constexpr int ROWS = 8;
#else
constexpr int ROWS = 6;
#endif
constexpr int VECTORS = 2;

// Products of few rows take wider tiles, which read b in longer runs.
constexpr int most_rows(int vectors) {
  return vectors <= VECTORS ? ROWS : ROWS * VECTORS / vectors;
}

// At the last steps a tile goes row by row, so that its stores come between multiply-adds: all
// together, they would hold up those of the next tile. As many steps as there are registers left
// for b.
constexpr int last_steps(int vectors) { return VECTOR_BYTES == 64 && vectors <= VECTORS ? 3 : 1; }

// c (+)= R rows and V vectors (of BYTES) of the product, k >= last_steps(V). Of the last vector c
// has `last` columns; a WHOLE tile knows that it has all, since masks cost a little at every step.
// The loops over r and v must vanish for the sums to be registers; the pragmas see to it that they
// do before the compiler decides where the sums live.
template <class T, int BYTES, int R, int V, bool WHOLE>
void tile(const TileProduct<T>& x, const T* a_first, const T* b, T* c, int64_t last) {
  using Vec = Vector<T, BYTES>;
  constexpr int WIDTH = LANES<T, BYTES>, STEPS = last_steps(V);
  // Rows of a that share a pointer: as many as an address can tell apart cheaply.
  constexpr int GROUP = 4;
  const Part<T, BYTES> part(WHOLE ? WIDTH : last);
  auto get = [&part](const T* p, int v) __attribute__((always_inline)) {
    return WHOLE || v < V - 1 ? load<Vec>(p + v * WIDTH) : part.load(p + v * WIDTH);
  };
  Vec sum[R][V];
#pragma GCC unroll 16
  for (int r = 0; r < R; r++)
#pragma GCC unroll 8
    for (int v = 0; v < V; v++) sum[r][v] = Vec{};
  const T* a[(R + GROUP - 1) / GROUP];
  const int64_t a_row = x.a_row, a_step = x.a_step, b_step = x.b_step, c_row = x.c_row;
#pragma GCC unroll 16
  for (int g = 0; g < R; g += GROUP) a[g / GROUP] = a_first + g * a_row;

  for (int64_t k = x.k; k > STEPS; k--, b += b_step) {
    Vec wide[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; v++) wide[v] = get(b, v);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
      for (int v = 0; v < V; v++) sum[r][v] += a[r / GROUP][r % GROUP * a_row] * wide[v];
#pragma GCC unroll 16
    for (int g = 0; g < R; g += GROUP) a[g / GROUP] += a_step;
  }

  if (x.add)
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
      for (int v = 0; v < V; v++) sum[r][v] += get(c + r * c_row, v);
  Vec wide[STEPS][V];
#pragma GCC unroll 4
  for (int p = 0; p < STEPS; p++)
#pragma GCC unroll 8
    for (int v = 0; v < V; v++) wide[p][v] = get(b + p * b_step, v);
#pragma GCC unroll 16
  for (int r = 0; r < R; r++, c += c_row) {
#pragma GCC unroll 4
    for (int p = 0; p < STEPS; p++)
#pragma GCC unroll 8
      for (int v = 0; v < V; v++)
        sum[r][v] += a[r / GROUP][r % GROUP * a_row + p * a_step] * wide[p][v];
#pragma GCC unroll 8
    for (int v = 0; v < V; v++)
      if (WHOLE || v < V - 1)
        store(c + v * WIDTH, sum[r][v]);
      else
        part.store(c + v * WIDTH, sum[r][v]);
  }
}

// The same for as few steps as a tile has no loop for: all of a product's.
template <class T>
void few_steps(const TileProduct<T>& x, int64_t rows, int64_t cols, const T* a, const T* b, T* c) {
  for (int64_t i = 0; i < rows; i++, a += x.a_row, c += x.c_row)
    for (int64_t j = 0; j < cols; j += LANES<T>) {
      const Part<T> part(cols - j < LANES<T> ? cols - j : LANES<T>);
      Vector<T> sum = x.add ? part.load(c + j) : Vector<T>{};
      for (int64_t p = 0; p < x.k; p++) sum += a[p * x.a_step] * part.load(b + p * x.b_step + j);
      part.store(c + j, sum);
    }
}

template <class T>
using Tile = void (*)(const TileProduct<T>& x, const T* a, const T* b, T* c, int64_t last);

// The tiles of each number of rows.
template <class T, int BYTES, int V, bool WHOLE> struct Tiles {
  Tile<T> of[ROWS + 1] = {};
  constexpr Tiles() { fill<most_rows(V)>(); }
  template <int R> constexpr void fill() {
    if constexpr (R > 0) {
      of[R] = tile<T, BYTES, R, V, WHOLE>;
      fill<R - 1>();
    }
  }
};
template <class T, int BYTES, int V, bool WHOLE> constexpr Tiles<T, BYTES, V, WHOLE> TILES;

// `rows` rows and `cols` columns, in tiles as wide as can be.
template <class T>
void tiles_of_rows(const TileProduct<T>& x, int64_t rows, int64_t cols, const T* a, const T* b,
                   T* c) {
  constexpr int BYTES = VECTOR_BYTES;
  if (x.k < last_steps(1)) return few_steps(x, rows, cols, a, b, c);
  auto take = [&](Tile<T> tile, int64_t vectors, int64_t last) __attribute__((always_inline)) {
    tile(x, a, b, c, last);
    b += vectors * LANES<T>;
    c += vectors * LANES<T>;
    cols -= vectors * LANES<T>;
  };
  while (cols >= 8 * LANES<T> && rows <= most_rows(8))
    take(TILES<T, BYTES, 8, true>.of[rows], 8, LANES<T>);
  while (cols >= 4 * LANES<T> && rows <= most_rows(4))
    take(TILES<T, BYTES, 4, true>.of[rows], 4, LANES<T>);
  while (cols >= 2 * LANES<T>) take(TILES<T, BYTES, 2, true>.of[rows], 2, LANES<T>);
  constexpr int64_t HALF = HALF_BYTES < BYTES ? LANES<T, HALF_BYTES> : 0;
  if (cols > LANES<T> + HALF) return take(TILES<T, BYTES, 2, false>.of[rows], 2, cols - LANES<T>);
  if (cols > HALF) take(TILES<T, BYTES, 1, false>.of[rows], 1, cols < LANES<T> ? cols : LANES<T>);
  if (HALF > 0 && cols > 0) take(TILES<T, HALF_BYTES, 1, false>.of[rows], 1, cols);
}

// Row panel by row panel, in it tile by tile, so that a panel of a is used while it is in the L1
// cache.
template <class T> void multiply(const TileProduct<T>& x) {
  alignas(64)
      T aside[ROWS * 8 * LANES<T>];  // a tile of a transposed c, before it is written across
  TileProduct<T> to_aside;
  const bool across = x.c_col != 1;
  if (across) to_aside = x, to_aside.c_row = x.width, to_aside.add = false;
  const T* a = x.a;
  for (int64_t i = 0; i < x.m; i += x.height, a += x.a_panel) {
    const int64_t rows = x.m - i < x.height ? x.m - i : x.height;
    const T* b = x.b;
    for (int64_t j = 0; j < x.n; j += x.width, b += x.b_panel) {
      const int64_t cols = x.n - j < x.width ? x.n - j : x.width;
      T* c = x.c + i * x.c_row + j * x.c_col;
      tiles_of_rows(across ? to_aside : x, rows, cols, a, b, across ? aside : c);
      if (across && x.add) {
        for (int64_t q = 0; q < cols; q++)
          for (int64_t r = 0; r < rows; r++) c[r + q * x.c_col] += aside[r * x.width + q];
      } else if (across) {
        transpose(c, x.c_col, aside, x.width, rows, cols);
      }
    }
  }
}

}  // namespace
}  // namespace cdn
