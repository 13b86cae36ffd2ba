// What a backend provides for cdn_matmul and cdn_matmul_fused, in gpu/gemm/gemm.cu and
// cpu/gemm/gemm.cpp.
#pragma once
#include "ops/linalg/epilogue.h"

namespace cdn {

// How float32 operands may be multiplied; see cudeno.h.
enum Precision : int32_t {
  PRECISION_FLOAT32 = CDN_PRECISION_FLOAT32,
  PRECISION_IEEE = CDN_PRECISION_IEEE,
  PRECISION_TF32 = CDN_PRECISION_TF32,
  PRECISION_BFLOAT16 = CDN_PRECISION_BFLOAT16
};

// c = op(a) op(b) for each place of a batch. ld is the distance from one stored row of a matrix to
// the next, at least its length. The matrices of a, b and c lie as far apart as the layout's
// strides 0, 1 and 2 say, in elements: 0 where one of a or b is used again. No extent is 0.
template <class T> struct BatchProduct {
  T* c;
  const T *a, *b;
  int64_t m, n, k, lda, ldb, ldc;
  bool trans_a, trans_b;
  Layout batch;

  // Elements from the first of a, or of b, to the end of the last.
  int64_t a_span() const { return span(trans_a ? k : m, trans_a ? m : k, lda, 0); }
  int64_t b_span() const { return span(trans_b ? n : k, trans_b ? k : n, ldb, 1); }

 private:
  int64_t span(int64_t lines, int64_t length, int64_t ld, int input) const {
    int64_t last = (lines - 1) * ld + length;
    for (int32_t d = 0; d < batch.rank; d++) last += (batch.extent[d] - 1) * batch.stride[input][d];
    return last;
  }
};

// Where the matrices of c lie that a layout was not told of: one after another.
inline void follow_one_another(Layout& batch, int64_t size) {
  for (int32_t d = batch.rank - 1; d >= 0; d--) {
    batch.stride[2][d] = size;
    size *= batch.extent[d];
  }
}

// How far the matrices at place z of a batch are from the first ones.
struct BatchOffsets {
  int64_t a = 0, b = 0;
};

CDN_FN BatchOffsets batch_offsets(const Layout& batch, int64_t z) {
  BatchOffsets at;
  for (int32_t d = batch.rank - 1; d >= 0; d--) {
    int64_t rest = d ? z / batch.extent[d] : 0, i = z - rest * batch.extent[d];
    at.a += i * batch.stride[0][d];
    at.b += i * batch.stride[1][d];
    z = rest;
  }
  return at;
}

// The same for c.
CDN_FN int64_t c_offset(const Layout& batch, int64_t z) {
  int64_t at = 0;
  for (int32_t d = batch.rank - 1; d >= 0; d--) {
    int64_t rest = z / batch.extent[d];
    at += (z - rest * batch.extent[d]) * batch.stride[2][d];
    z = rest;
  }
  return at;
}

// Where the rows of c lie, by their number in the whole batch.
struct Places {
  int64_t m, n, ld;
  Layout batch;
  bool dense;
  Places(const Layout& batch, int64_t m, int64_t n, int64_t ld)
      : m(m), n(n), ld(ld), batch(batch), dense(ld == n) {
    Layout other = batch;
    follow_one_another(other, m * n);
    for (int32_t d = 0; d < batch.rank; d++)
      dense = dense && other.stride[2][d] == batch.stride[2][d];
  }
  int64_t rows() const { return batch.n * m; }
  CDN_FN int64_t operator()(int64_t row) const {
    if (dense) return row * n;
    int64_t z = quotient(row, m);
    return c_offset(batch, z) + (row - z * m) * ld;
  }
};

// For each_row: dense rows x to their places in y, and from their places.
template <class T, class U> struct CopyRow {
  T* to;
  const U* from;
  int64_t count;
  CDN_FN void operator()(int64_t c) const { to[c] = Converted<T>{}(wide(from[c])); }
};
template <class T, class U> struct PutRows {
  T* y;
  const U* x;
  Places places;
  CDN_FN CopyRow<T, U> row(int64_t r) const { return {y + places(r), x + r * places.n, places.n}; }
};
template <class T> struct TakeRows {
  T* y;
  const T* x;
  Places places;
  CDN_FN CopyRow<T, T> row(int64_t r) const { return {y + r * places.n, x + places(r), places.n}; }
};

// A product of which the epilogue's c, which lies as x.c would, is the output; by the backend's
// kernels, or in steps. T, Out: float and a 16-bit type or the other way round, or the same.
template <class T, class Out>
void multiply_fused(Call& call, const BatchProduct<T>& x, Epilogue epilogue, Precision precision,
                    int32_t variant);

namespace backend {

const char* matmul_variant(int32_t variant);  // nullptr for a number that is none

void matmul(Call& call, const BatchProduct<float>& x, Precision precision, int32_t variant);
void matmul(Call& call, const BatchProduct<double>& x, Precision precision, int32_t variant);

// The two below may leave the work undone and return false; then it is done in steps: of matmul
// above, and passes.

bool matmul_half(Call& call, const BatchProduct<float16>& x, int32_t variant);
bool matmul_half(Call& call, const BatchProduct<bfloat16>& x, int32_t variant);

// The output is the epilogue's c; that of x is nullptr.
bool matmul_fused(Call& call, const BatchProduct<float>& x, const Epilogue& epilogue,
                  Precision precision, int32_t variant);
bool matmul_fused(Call& call, const BatchProduct<double>& x, const Epilogue& epilogue,
                  Precision precision, int32_t variant);
bool matmul_fused(Call& call, const BatchProduct<float16>& x, const Epilogue& epilogue,
                  Precision precision, int32_t variant);
bool matmul_fused(Call& call, const BatchProduct<bfloat16>& x, const Epilogue& epilogue,
                  Precision precision, int32_t variant);

}  // namespace backend
}  // namespace cdn
