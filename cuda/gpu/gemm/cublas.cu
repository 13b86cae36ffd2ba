#include "gpu/gemm/cublas.h"

#include <dlfcn.h>

#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <type_traits>
#include <vector>

namespace cdn {
namespace {

// The part of cuBLAS's C interface that is used. Only the C ABI matters, so that no header of
// cuBLAS is needed to build.
using Handle = void*;
using Create = int (*)(Handle*);
using SetStream = int (*)(Handle, void*);
using SetWorkspace = int (*)(Handle, void*, size_t bytes);
using SetMathMode = int (*)(Handle, int);
template <class T>
using Gemm = int (*)(Handle, int trans_a, int trans_b, int m, int n, int k, const T* alpha,
                     const T* a, int lda, const T* b, int ldb, const T* beta, T* c, int ldc);
using GemmEx = int (*)(Handle, int trans_a, int trans_b, int m, int n, int k, const void* alpha,
                       const void* a, int a_type, int lda, const void* b, int b_type, int ldb,
                       const void* beta, void* c, int c_type, int ldc, int compute, int algorithm);
using GemmBatch = int (*)(Handle, int trans_a, int trans_b, int m, int n, int k, const void* alpha,
                          const void* a, int a_type, int lda, long long a_distance, const void* b,
                          int b_type, int ldb, long long b_distance, const void* beta, void* c,
                          int c_type, int ldc, long long c_distance, int count, int compute,
                          int algorithm);

constexpr int NO_TRANSPOSE = 0, TRANSPOSE = 1, DEFAULT_MATH = 0, DEFAULT_ALGORITHM = -1;
constexpr int COMPUTE_32F = 68, COMPUTE_64F = 70, COMPUTE_32F_FAST_TF32 = 77;
constexpr int64_t WORKSPACE =
    32 << 20;  // what its documentation recommends for Hopper; others need less

// cudaDataType
constexpr int type_code(float) { return 0; }
constexpr int type_code(double) { return 1; }
constexpr int type_code(float16) { return 2; }
constexpr int type_code(bfloat16) { return 14; }

struct Cublas {
  void* library = nullptr;
  std::string why_not;
  Create create;
  SetStream set_stream;
  SetWorkspace set_workspace;
  SetMathMode set_math_mode;
  Gemm<float> sgemm;
  Gemm<double> dgemm;
  GemmEx gemm_ex;
  GemmBatch gemm_batch;
  std::map<int32_t, Handle> handles;  // by device; kept until the process ends
};

// Where to look: CUDENO_CUBLAS (the library, or the directory it is in) if set, else the usual
// names and places.
std::vector<std::string> candidates() {
  const std::vector<std::string> names = {"libcublas.so.13", "libcublas.so.12", "libcublas.so"};
  std::vector<std::string> paths;
  const char* given = getenv("CUDENO_CUBLAS");
  if (given && *given) {
    paths.push_back(given);
    for (const std::string& name : names) paths.push_back(std::string(given) + "/" + name);
    return paths;
  }
  for (const std::string& name : names) paths.push_back(name);
  for (const std::string& name : names) paths.push_back("/usr/local/cuda/lib64/" + name);
  return paths;
}

template <class F> void find(Cublas& cublas, F& function, const char* name) {
  function = reinterpret_cast<F>(dlsym(cublas.library, name));
  if (!function && cublas.why_not.empty()) cublas.why_not = std::string("it has no ") + name;
}

Cublas open_cublas() {
  Cublas cublas;
  std::string errors;
  for (const std::string& path : candidates()) {
    cublas.library = dlopen(path.c_str(), RTLD_LAZY | RTLD_LOCAL);
    if (cublas.library) break;
    const char* error = dlerror();
    errors += std::string(errors.empty() ? "" : "; ") + (error ? error : path.c_str());
  }
  if (!cublas.library) {
    cublas.why_not = errors;
    return cublas;
  }
  find(cublas, cublas.create, "cublasCreate_v2");
  find(cublas, cublas.set_stream, "cublasSetStream_v2");
  find(cublas, cublas.set_workspace, "cublasSetWorkspace_v2");
  find(cublas, cublas.set_math_mode, "cublasSetMathMode");
  find(cublas, cublas.sgemm, "cublasSgemm_v2");
  find(cublas, cublas.dgemm, "cublasDgemm_v2");
  find(cublas, cublas.gemm_ex, "cublasGemmEx");
  find(cublas, cublas.gemm_batch, "cublasGemmStridedBatchedEx");
  return cublas;
}

Cublas& cublas() {
  static auto* opened =
      new Cublas(open_cublas());  // never destroyed: at exit another thread may be multiplying
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

// Products of one shape, `count` of them at the distances given. cuBLAS is column-major, where our
// row-major c is c transposed: c^T[n, m] = op(b)^T op(a)^T, so that a and b change places.
template <class T> struct Products {
  T* c;
  const T *a, *b;
  int64_t m, n, k, lda, ldb;
  bool trans_a, trans_b;
  int64_t a_distance = 0, b_distance = 0, count = 1;
};

template <class T> void multiply(Call& call, const Products<T>& x, bool tf32) {
  Cublas& library = cublas();
  if (!library.why_not.empty())
    CDN_FAIL(CDN_UNSUPPORTED,
             "variant cublas: cuBLAS could not be opened (CUDENO_CUBLAS can name it): %s",
             library.why_not.c_str());
  if (x.m > INT32_MAX || x.n > INT32_MAX || x.k > INT32_MAX || x.count > INT32_MAX ||
      x.lda > INT32_MAX || x.ldb > INT32_MAX)
    CDN_FAIL(CDN_UNSUPPORTED,
             "variant cublas: m = %lld, n = %lld, k = %lld, batch %lld; each must be below 2^31",
             (long long)x.m, (long long)x.n, (long long)x.k, (long long)x.count);
  std::lock_guard<std::mutex> lock(handles_mutex);
  Handle handle = handle_of(library, call.device());
  check(library.set_stream(handle, call.stream()),
        "cublasSetStream");  // which forgets the workspace
  // Of the call, not of the handle: so the allocator sees to it that two streams never share one.
  check(library.set_workspace(handle, call.scratch<char>(WORKSPACE), WORKSPACE),
        "cublasSetWorkspace");

  const int m = (int)x.m, n = (int)x.n, k = (int)x.k, lda = (int)x.lda, ldb = (int)x.ldb;
  const int trans_a = x.trans_a ? TRANSPOSE : NO_TRANSPOSE,
            trans_b = x.trans_b ? TRANSPOSE : NO_TRANSPOSE;
  const Compute<T> one = 1, zero = 0;
  constexpr int TYPE = type_code(T{}),
                PLAIN = std::is_same_v<T, double> ? COMPUTE_64F : COMPUTE_32F;
  const int compute = std::is_same_v<T, float> && tf32 ? COMPUTE_32F_FAST_TF32 : PLAIN;
  if (x.count > 1)
    return check(library.gemm_batch(handle, trans_b, trans_a, n, m, k, &one, x.b, TYPE, ldb,
                                    x.b_distance, x.a, TYPE, lda, x.a_distance, &zero, x.c, TYPE, n,
                                    x.m * x.n, (int)x.count, compute, DEFAULT_ALGORITHM),
                 "cublasGemmStridedBatchedEx");
  if constexpr (std::is_same_v<T, double>)
    return check(
        library.dgemm(handle, trans_b, trans_a, n, m, k, &one, x.b, ldb, x.a, lda, &zero, x.c, n),
        "cublasDgemm");
  if constexpr (std::is_same_v<T, float>)
    if (!tf32)
      return check(
          library.sgemm(handle, trans_b, trans_a, n, m, k, &one, x.b, ldb, x.a, lda, &zero, x.c, n),
          "cublasSgemm");
  check(library.gemm_ex(handle, trans_b, trans_a, n, m, k, &one, x.b, TYPE, ldb, x.a, TYPE, lda,
                        &zero, x.c, TYPE, n, compute, DEFAULT_ALGORITHM),
        "cublasGemmEx");
}

}  // namespace

template <class T> void cublas_matmul(Call& call, const BatchProduct<T>& x, bool tf32) {
  Products<T> products{x.c, x.a, x.b, x.m, x.n, x.k, x.lda, x.ldb, x.trans_a, x.trans_b};
  if (x.batch.rank <= 1) {
    if (x.batch.rank == 1) {
      products.a_distance = x.batch.stride[0][0];
      products.b_distance = x.batch.stride[1][0];
      products.count = x.batch.n;
    }
    return multiply(call, products, tf32);
  }
  for (int64_t z = 0; z < x.batch.n; z++) {
    BatchOffsets at = batch_offsets(x.batch, z);
    products.c = x.c + z * x.m * x.n;
    products.a = x.a + at.a;
    products.b = x.b + at.b;
    multiply(call, products, tf32);
  }
}

template void cublas_matmul(Call&, const BatchProduct<float>&, bool tf32);
template void cublas_matmul(Call&, const BatchProduct<double>&, bool tf32);
template void cublas_matmul(Call&, const BatchProduct<float16>&, bool tf32);
template void cublas_matmul(Call&, const BatchProduct<bfloat16>&, bool tf32);

}  // namespace cdn
