// Products of few rows whose operands both run along k: dot products, which need no packing. R rows
// of a meet four of b at a time, and a vector of sums for each pair is added up over its lanes at
// the end. Included by kernel.cpp only.
#pragma once
#include "cpu/gemm/kernel.h"
#include "cpu/gemm/vector.h"

namespace cdn {
namespace {

constexpr int DOT_COLS = 4;  // sums_of_lanes
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int DOT_ROWS = 4;
#else
constexpr int DOT_ROWS = 2;
#endif

template <class T, int R>
void dot_tile(const T* a, int64_t a_row, const T* const* b, int64_t k, T* c, int64_t c_row,
              int64_t c_col, int64_t cols) {
  constexpr int CHAINS = R == 1 ? 2 : 1;  // enough sums to hide the latency of a multiply-add
  Vector<T> sum[CHAINS][R][DOT_COLS];
#pragma GCC unroll 2
  for (int q = 0; q < CHAINS; q++)
#pragma GCC unroll 4
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
      for (int j = 0; j < DOT_COLS; j++) sum[q][r][j] = Vector<T>{};
  const T *b0 = b[0], *b1 = b[1], *b2 = b[2], *b3 = b[3];
  auto step = [&](auto load_at, int chain) __attribute__((always_inline)) {
    Vector<T> y[DOT_COLS] = {load_at(b0), load_at(b1), load_at(b2), load_at(b3)};
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) {
      Vector<T> x = load_at(a + r * a_row);
#pragma GCC unroll 4
      for (int j = 0; j < DOT_COLS; j++) sum[chain][r][j] += x * y[j];
    }
    a += LANES<T>, b0 += LANES<T>, b1 += LANES<T>, b2 += LANES<T>, b3 += LANES<T>;
  };
  auto whole = [](const T* p) __attribute__((always_inline)) { return load<Vector<T>>(p); };
  for (; k >= CHAINS * LANES<T>; k -= CHAINS * LANES<T>) {
    step(whole, 0);
    if (CHAINS == 2) step(whole, CHAINS - 1);
  }
  if (CHAINS == 2 && k >= LANES<T>) {
    step(whole, 0);
    k -= LANES<T>;
  }
  if (k > 0) {
    const Part<T> part(k);
    step([&](const T* p) __attribute__((always_inline)) { return part.load(p); }, CHAINS - 1);
  }
  T y[R][DOT_COLS];
#pragma GCC unroll 4
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
    for (int j = 0; CHAINS == 2 && j < DOT_COLS; j++) sum[0][r][j] += sum[CHAINS - 1][r][j];
    sums_of_lanes(y[r], sum[0][r]);
  }
  if (cols == DOT_COLS) {
    for (int r = 0; r < R; r++)
      for (int j = 0; j < DOT_COLS; j++) c[r * c_row + j * c_col] = y[r][j];
  } else {
    for (int r = 0; r < R; r++)
      for (int j = 0; j < cols; j++) c[r * c_row + j * c_col] = y[r][j];
  }
}

template <class T> void dots(const DotProducts<T>& x, int64_t begin, int64_t end) {
  for (int64_t j = begin; j < end; j += DOT_COLS) {
    const int64_t cols = end - j < DOT_COLS ? end - j : DOT_COLS;
    const T* b[DOT_COLS];  // past the end the last column, for nothing
    for (int64_t i = 0; i < DOT_COLS; i++) b[i] = x.b + (j + (i < cols ? i : cols - 1)) * x.b_row;
    for (int64_t i = 0; i < x.m;) {
      const T* a = x.a + i * x.a_row;
      T* c = x.c + i * x.c_row + j * x.c_col;
      const int64_t rows = x.m - i < DOT_ROWS ? x.m - i : DOT_ROWS;
      if (rows == 1) dot_tile<T, 1>(a, x.a_row, b, x.k, c, x.c_row, x.c_col, cols);
      if (rows == 2) dot_tile<T, 2>(a, x.a_row, b, x.k, c, x.c_row, x.c_col, cols);
      if constexpr (DOT_ROWS == 4) {
        if (rows == 3) dot_tile<T, 3>(a, x.a_row, b, x.k, c, x.c_row, x.c_col, cols);
        if (rows == 4) dot_tile<T, 4>(a, x.a_row, b, x.k, c, x.c_row, x.c_col, cols);
      }
      i += rows;
    }
  }
}

}  // namespace
}  // namespace cdn
