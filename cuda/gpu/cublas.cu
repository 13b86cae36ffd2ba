#include "cublas.h"

#include <dlfcn.h>

#include <cstdlib>
#include <map>
#include <string>
#include <vector>

namespace cdn {
namespace {

// The part of cuBLAS's C interface that is used. Only the C ABI matters, so that no header of cuBLAS is needed to
// build.
using Handle = void*;
using Create = int (*)(Handle*);
using SetStream = int (*)(Handle, void*);
using SetMathMode = int (*)(Handle, int);
template <class T>
using Gemm = int (*)(Handle, int trans_a, int trans_b, int m, int n, int k, const T* alpha, const T* a, int lda,
                     const T* b, int ldb, const T* beta, T* c, int ldc);

constexpr int NO_TRANSPOSE = 0, TRANSPOSE = 1, DEFAULT_MATH = 0;

struct Cublas {
  void* library = nullptr;
  std::string why_not;
  Create create;
  SetStream set_stream;
  SetMathMode set_math_mode;
  Gemm<float> sgemm;
  Gemm<double> dgemm;
  std::map<int32_t, Handle> handles;  // by device; kept until the process ends
};

// Where to look: CUDENO_CUBLAS (the library, or the directory it is in) if set, else the usual names and places.
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
  find(cublas, cublas.set_math_mode, "cublasSetMathMode");
  find(cublas, cublas.sgemm, "cublasSgemm_v2");
  find(cublas, cublas.dgemm, "cublasDgemm_v2");
  return cublas;
}

Cublas& cublas() {
  static Cublas opened = open_cublas();  // calls hold the library's mutex
  return opened;
}

void check(int status, const char* what) {
  if (status != 0) CDN_FAIL(CDN_CUDA_FAILURE, "%s: cuBLAS status %d", what, status);
}

Gemm<float> gemm_of(const Cublas& library, float) { return library.sgemm; }
Gemm<double> gemm_of(const Cublas& library, double) { return library.dgemm; }

// cuBLAS is column-major, where our row-major c is c transposed: c^T[n, m] = op(b)^T op(a)^T.
template <class T>
void matmul(Call& call, T* c, const T* a, const T* b, int64_t m, int64_t n, int64_t k, bool trans_a, bool trans_b) {
  Cublas& library = cublas();
  if (!library.why_not.empty())
    CDN_FAIL(CDN_UNSUPPORTED, "variant cublas: cuBLAS could not be opened (CUDENO_CUBLAS can name it): %s",
             library.why_not.c_str());
  if (m > INT32_MAX || n > INT32_MAX || k > INT32_MAX)
    CDN_FAIL(CDN_UNSUPPORTED, "variant cublas: m = %lld, n = %lld, k = %lld; each must be below 2^31", (long long)m,
             (long long)n, (long long)k);
  Handle& handle = library.handles[call.device().index];
  if (!handle) {
    Handle fresh = nullptr;
    check(library.create(&fresh), "cublasCreate");
    handle = fresh;
    check(library.set_math_mode(handle, DEFAULT_MATH), "cublasSetMathMode");
  }
  check(library.set_stream(handle, call.stream()), "cublasSetStream");
  const T one = 1, zero = 0;
  check(gemm_of(library, T{})(handle, trans_b ? TRANSPOSE : NO_TRANSPOSE, trans_a ? TRANSPOSE : NO_TRANSPOSE, (int)n,
                              (int)m, (int)k, &one, b, (int)(trans_b ? k : n), a, (int)(trans_a ? m : k), &zero, c,
                              (int)n),
        "cublasSgemm or cublasDgemm");
}

}  // namespace

void cublas_matmul(Call& call, float* c, const float* a, const float* b, int64_t m, int64_t n, int64_t k, bool trans_a,
                   bool trans_b) {
  matmul(call, c, a, b, m, n, k, trans_a, trans_b);
}
void cublas_matmul(Call& call, double* c, const double* a, const double* b, int64_t m, int64_t n, int64_t k,
                   bool trans_a, bool trans_b) {
  matmul(call, c, a, b, m, n, k, trans_a, trans_b);
}

}  // namespace cdn
