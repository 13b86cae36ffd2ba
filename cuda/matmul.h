// What a backend provides for cdn_matmul: gpu/matmul.cu and cpu/matmul.cpp.
#pragma once
#include "drivers.h"

namespace cdn {

// c = op(a) op(b) for each place of a batch. The matrices are dense; those of c follow one another, those of a and b
// lie as far apart as the layout's strides say, in elements: 0 where one is used again. No extent is 0.
template <class T> struct BatchProduct {
  T* c;
  const T *a, *b;
  int64_t m, n, k;
  bool trans_a, trans_b;
  Layout batch;
};

// How far the matrices at place z of a batch are from the first ones.
struct BatchOffsets {
  int64_t a = 0, b = 0;
};

CDN_FN BatchOffsets batch_offsets(const Layout& batch, int64_t z) {
  BatchOffsets at;
  for (int32_t d = batch.rank - 1; d >= 0; d--) {
    int64_t rest = z / batch.extent[d], i = z - rest * batch.extent[d];
    at.a += i * batch.stride[0][d];
    at.b += i * batch.stride[1][d];
    z = rest;
  }
  return at;
}

namespace backend {

const char* matmul_variant(int32_t variant);  // nullptr for a number that is none

void matmul(Call& call, const BatchProduct<float>& x, int32_t variant);
void matmul(Call& call, const BatchProduct<double>& x, int32_t variant);

}  // namespace backend
}  // namespace cdn
