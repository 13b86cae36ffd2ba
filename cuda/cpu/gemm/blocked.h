// The blocked product of gemm.cpp's variants, and the matrices that these work on.
#pragma once
#include "cpu/gemm/kernel.h"
#include "ops/linalg/matmul.h"

namespace cdn {

// Element (i, j) is data[i * row + j * col]: a transposed matrix is one with its strides exchanged.
template <class T> struct Matrix {
  T* data;
  int64_t row, col;
  T& at(int64_t i, int64_t j) const { return data[i * row + j * col]; }
  Matrix turned() const { return {data, col, row}; }
};

template <class T> struct OneProduct {  // c = a b
  Matrix<T> c;
  Matrix<const T> a, b;
  int64_t m, n, k;
};

// The matrices at place z of the batch.
template <class T> OneProduct<T> product_at(const BatchProduct<T>& x, int64_t z) {
  BatchOffsets at = batch_offsets(x.batch, z);
  const T *a = x.a + at.a, *b = x.b + at.b;
  return {{x.c + c_offset(x.batch, z), x.ldc, 1},
          x.trans_a ? Matrix<const T>{a, 1, x.lda} : Matrix<const T>{a, x.lda, 1},
          x.trans_b ? Matrix<const T>{b, 1, x.ldb} : Matrix<const T>{b, x.ldb, 1},
          x.m,
          x.n,
          x.k};
}

// The inner loops for the processor at hand; T: float or double.
template <class T> const TileKernel<T>& tile_kernel();

void blocked_batch(Call& call, const BatchProduct<float>& x);
void blocked_batch(Call& call, const BatchProduct<double>& x);

}  // namespace cdn
