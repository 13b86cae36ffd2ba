// c = op(a) op(b) on the CPU.
#include "ops/linalg/matmul.h"

#include "cpu/gemm/blas.h"
#include "cpu/gemm/blocked.h"

namespace cdn {
namespace {

// default is blocked, always: it keeps up with OpenBLAS (bench/results/cpu) but for tiny products
// and few rows times a large matrix, and needs no library and no second thread pool.
enum Variant : int32_t { DEFAULT, NAIVE, BLOCKED, BLAS };
constexpr const char* VARIANTS[] = {"default", "naive", "blocked", "blas"};
constexpr int32_t VARIANT_COUNT = sizeof VARIANTS / sizeof *VARIANTS;

// The definition, on one thread: the reference that the others are read and tested against. Rows of
// c are built up from rows of b, so that the inner loop runs along memory unless b is transposed.
template <class T> void naive(const OneProduct<T>& x) {
  for (int64_t i = 0; i < x.m; i++) {
    for (int64_t j = 0; j < x.n; j++) x.c.at(i, j) = 0;
    for (int64_t p = 0; p < x.k; p++)
      for (int64_t j = 0; j < x.n; j++) x.c.at(i, j) += x.a.at(i, p) * x.b.at(p, j);
  }
}

template <class T> void multiply(Call& call, const BatchProduct<T>& x, int32_t variant) {
  if (variant == BLAS) return blas::matmul(x);
  if (variant != NAIVE) return blocked_batch(call, x);
  for (int64_t z = 0; z < x.batch.n; z++) naive(product_at(x, z));
}

}  // namespace

namespace backend {

const char* matmul_variant(int32_t variant) {
  return variant >= 0 && variant < VARIANT_COUNT ? VARIANTS[variant] : nullptr;
}

// All precisions are float32 here.
void matmul(Call& call, const BatchProduct<float>& x, Precision, int32_t variant) {
  multiply(call, x, variant);
}
void matmul(Call& call, const BatchProduct<double>& x, Precision, int32_t variant) {
  multiply(call, x, variant);
}

bool matmul_half(Call&, const BatchProduct<float16>&, int32_t) { return false; }
bool matmul_half(Call&, const BatchProduct<bfloat16>&, int32_t) { return false; }

bool matmul_fused(Call&, const BatchProduct<float>&, const Epilogue&, Precision, int32_t) {
  return false;
}
bool matmul_fused(Call&, const BatchProduct<double>&, const Epilogue&, Precision, int32_t) {
  return false;
}
bool matmul_fused(Call&, const BatchProduct<float16>&, const Epilogue&, Precision, int32_t) {
  return false;
}
bool matmul_fused(Call&, const BatchProduct<bfloat16>&, const Epilogue&, Precision, int32_t) {
  return false;
}

}  // namespace backend
}  // namespace cdn
