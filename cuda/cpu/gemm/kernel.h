// What kernel.cpp, compiled once for each instruction set, offers gemm.cpp. Only plain
// data lives here: an inline function could be compiled with AVX-512, and the linker could then
// keep that copy for everyone.
#pragma once
#include <stdint.h>

namespace cdn {

// c (+)= a b in register tiles. a is cut into panels of `height` rows, b into panels of `width`
// columns; the last ones may be smaller. Element (i, p) of a panel of a is at i * a_row + p *
// a_step, (p, j) of one of b at p * b_step + j; a_panel and b_panel lead from one panel to the
// next. Element (i, j) of c is c[i * c_row + j * c_col].
template <class T> struct TileProduct {
  const T *a, *b;
  T* c;
  int64_t m, n, k, height, width;
  int64_t a_panel, a_row, a_step, b_panel, b_step, c_row, c_col;
  bool add;
};

// c[i * c_row + j * c_col] = sum over p of a[i * a_row + p] * b[j * b_row + p], for i < m.
template <class T> struct DotProducts {
  const T *a, *b;
  T* c;
  int64_t m, k, a_row, b_row, c_row, c_col;
};

template <class T> struct TileKernel {
  // Packs panels of `each` elements. Element (w, p) of the source is x[w * width_stride + p *
  // k_stride], 0 <= w < width; one of the strides is 1. See pack.h.
  using Pack = void (*)(T* packed, const T* x, int64_t width, int64_t k, int64_t each,
                        int64_t width_stride, int64_t k_stride);

  // For the plan's cost model: vectors multiplied and added in a cycle, and the cycles that one
  // takes in dot products, which load more.
  double per_cycle, dot_cost;
  int64_t rows, lanes;  // a tile has up to `rows` rows of 2 vectors, or fewer of 4 or 8: most_rows
  int64_t half;         // columns of the smallest tile: a whole or half a vector
  int64_t panel;        // columns of a packed panel of b: 2 vectors
  Pack pack_rows, pack_cols;  // a panel's elements next in k are `rows` or `panel` further
  // to[p * to_stride + w] = x[w * x_stride + p], w < width, p < k
  void (*transpose)(T* to, int64_t to_stride, const T* x, int64_t x_stride, int64_t width,
                    int64_t k);
  void (*multiply)(const TileProduct<T>& x);
  void (*dots)(const DotProducts<T>& x, int64_t begin, int64_t end);  // columns of c
};

struct MatmulKernel {
  TileKernel<float> f32;
  TileKernel<double> f64;
};

const MatmulKernel& matmul_kernel_base();
#if defined(__x86_64__)
const MatmulKernel& matmul_kernel_avx2();
const MatmulKernel& matmul_kernel_avx512();
#endif

}  // namespace cdn
