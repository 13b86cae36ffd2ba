// What matmul_kernel.cpp, compiled once for each instruction set, offers matmul.cpp. Only plain data lives here: an
// inline function could be compiled with AVX-512, and the linker could then keep that copy for everyone.
#pragma once
#include <stdint.h>

namespace cdn {

// One operand cut into panels of a register tile's width: panel i starts at first + i * stride, and its elements for
// the next k are `step` further. The last panel may lie elsewhere: packed and padded where the others are read in
// place.
template <class T> struct Panels {
  const T* first;
  int64_t stride, step;
  const T* last;
  int64_t last_step;
};

// c (+)= a b, with a in panels of rows and b in panels of columns. Element (i, j) of c is c[i * c_row + j * c_col].
template <class T> struct PanelProduct {
  Panels<T> a, b;
  T* c;
  int64_t m, n, k, c_row, c_col;
  int64_t chunk;  // row panels that stay in the L2 cache while one column panel after the other passes by
  bool add;
};

// c[i * c_row + j * c_col] = sum over p of a[i * a_row + p] * b[j * b_row + p], for i < m.
template <class T> struct DotProducts {
  const T *a, *b;
  T* c;
  int64_t m, k, a_row, b_row, c_row, c_col;
};

template <class T> struct TileKernel {
  // Element (w, p) of the source is x[w * width_stride + p * k_stride], 0 <= w < width.
  using Pack = void (*)(T* panel, const T* x, int64_t width, int64_t k, int64_t width_stride, int64_t k_stride);

  int64_t rows, cols;          // of the register tile
  int64_t row_step, col_step;  // tiles at the edges compute their rows and columns, rounded up to these
  Pack pack_rows, pack_cols;   // one panel
  void (*multiply)(const PanelProduct<T>& x, int64_t begin,
                   int64_t end);                                      // tiles of the ceil(m / rows) * ceil(n / cols)
  void (*dots)(const DotProducts<T>& x, int64_t begin, int64_t end);  // columns of c
};

struct MatmulKernel {
  const char* isa;
  TileKernel<float> f32;
  TileKernel<double> f64;
};

const MatmulKernel& matmul_kernel_base();
#if defined(__x86_64__)
const MatmulKernel& matmul_kernel_avx2();
const MatmulKernel& matmul_kernel_avx512();
#endif

}  // namespace cdn
