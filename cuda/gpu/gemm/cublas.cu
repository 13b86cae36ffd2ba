#include "gpu/gemm/cublas.h"

#include <map>
#include <mutex>
#include <type_traits>

#include "gpu/device/vendor.h"

namespace cdn {
namespace {

constexpr int NO_TRANSPOSE = 0, TRANSPOSE = 1, DEFAULT_MATH = 0, DEFAULT_ALGORITHM = -1;
constexpr int COMPUTE_32F = 68, COMPUTE_64F = 70, COMPUTE_32F_FAST_TF32 = 77;
constexpr int64_t WORKSPACE =
    32 << 20;  // what its documentation recommends for Hopper; others need less

// cudaDataType
constexpr int type_code(float) { return 0; }
constexpr int type_code(double) { return 1; }
constexpr int type_code(float16) { return 2; }
constexpr int type_code(bfloat16) { return 14; }

// The part of cuBLAS's C interface that is used.
using Handle = void*;
struct Cublas : VendorLibrary {
  int (*create)(Handle*);
  int (*set_stream)(Handle, void*);
  int (*set_workspace)(Handle, void*, size_t bytes);
  int (*set_math_mode)(Handle, int);
  int (*gemm)(Handle, int trans_a, int trans_b, int m, int n, int k, const void* alpha,
              const void* a, int a_type, int lda, long long a_distance, const void* b, int b_type,
              int ldb, long long b_distance, const void* beta, void* c, int c_type, int ldc,
              long long c_distance, int count, int compute, int algorithm);
  std::map<int32_t, Handle> handles;  // by device; kept until the process ends

  Cublas()
      : VendorLibrary("CUDENO_CUBLAS", {"libcublas.so.13", "libcublas.so.12", "libcublas.so"}) {
    find(create, "cublasCreate_v2");
    find(set_stream, "cublasSetStream_v2");
    find(set_workspace, "cublasSetWorkspace_v2");
    find(set_math_mode, "cublasSetMathMode");
    find(gemm, "cublasGemmStridedBatchedEx");
  }
};

Cublas& cublas() {
  static auto* opened = new Cublas;  // never destroyed: at exit another thread may be multiplying
  return *opened;
}

std::mutex handles_mutex;  // a handle is for one stream, and one thread, at a time

void check(int status, const char* what) {
  if (status != 0) CDN_FAIL(CDN_CUDA_FAILURE, "%s: cuBLAS status %d", what, status);
}

Handle handle_of(Cublas& library, int32_t device) {
  Handle& handle = library.handles[device];
  if (!handle) {
    Handle fresh = nullptr;
    check(library.create(&fresh), "cublasCreate");
    check(library.set_math_mode(fresh, DEFAULT_MATH), "cublasSetMathMode");
    handle = fresh;
  }
  return handle;
}

// `count` products at the distances given, from place z of the batch on; one without a batch, for
// which cuBLAS does the same as cublasSgemm and the like. It is column-major, where our row-major c
// is c transposed: c^T[n, m] = op(b)^T op(a)^T, so that a and b change places.
template <class T>
void multiply(Call& call, const BatchProduct<T>& x, int64_t z, int64_t count, int64_t a_distance,
              int64_t b_distance, bool tf32) {
  Cublas& library = cublas();
  if (!library.why_not.empty())
    CDN_FAIL(CDN_UNSUPPORTED,
             "variant cublas: cuBLAS could not be opened (CUDENO_CUBLAS can name it): %s",
             library.why_not.c_str());
  if (x.m > INT32_MAX || x.n > INT32_MAX || x.k > INT32_MAX || count > INT32_MAX ||
      x.lda > INT32_MAX || x.ldb > INT32_MAX)
    CDN_FAIL(CDN_UNSUPPORTED,
             "variant cublas: m = %lld, n = %lld, k = %lld, batch %lld; each must be below 2^31",
             (long long)x.m, (long long)x.n, (long long)x.k, (long long)count);
  std::lock_guard<std::mutex> lock(handles_mutex);
  Handle handle = handle_of(library, call.device());
  check(library.set_stream(handle, call.stream()),
        "cublasSetStream");  // which forgets the workspace
  // Of the call, not of the handle: so the allocator sees to it that two streams never share one.
  check(library.set_workspace(handle, call.scratch<char>(WORKSPACE), WORKSPACE),
        "cublasSetWorkspace");

  const BatchOffsets at = batch_offsets(x.batch, z);
  const int m = (int)x.m, n = (int)x.n, k = (int)x.k;
  const Compute<T> one = 1, zero = 0;
  constexpr int TYPE = type_code(T{}),
                PLAIN = std::is_same_v<T, double> ? COMPUTE_64F : COMPUTE_32F;
  const int compute = std::is_same_v<T, float> && tf32 ? COMPUTE_32F_FAST_TF32 : PLAIN;
  check(
      library.gemm(handle, x.trans_b ? TRANSPOSE : NO_TRANSPOSE,
                   x.trans_a ? TRANSPOSE : NO_TRANSPOSE, n, m, k, &one, x.b + at.b, TYPE,
                   (int)x.ldb, b_distance, x.a + at.a, TYPE, (int)x.lda, a_distance, &zero,
                   x.c + z * x.m * x.n, TYPE, n, x.m * x.n, (int)count, compute, DEFAULT_ALGORITHM),
      "cublasGemmStridedBatchedEx");
}

}  // namespace

template <class T> void cublas_matmul(Call& call, const BatchProduct<T>& x, bool tf32) {
  const auto& stride = x.batch.stride;
  if (x.batch.rank <= 1)
    return multiply(call, x, 0, x.batch.n, x.batch.rank ? stride[0][0] : 0,
                    x.batch.rank ? stride[1][0] : 0, tf32);
  for (int64_t z = 0; z < x.batch.n; z++) multiply(call, x, z, 1, 0, 0, tf32);
}

template void cublas_matmul(Call&, const BatchProduct<float>&, bool tf32);
template void cublas_matmul(Call&, const BatchProduct<double>&, bool tf32);
template void cublas_matmul(Call&, const BatchProduct<float16>&, bool tf32);
template void cublas_matmul(Call&, const BatchProduct<bfloat16>&, bool tf32);

}  // namespace cdn
