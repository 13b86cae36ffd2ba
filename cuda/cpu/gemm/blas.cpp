#include "cpu/gemm/blas.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>

#include "runtime/status.h"
#include "cpu/device/threads.h"

namespace cdn {
namespace blas {
namespace {

// From the C interface to BLAS; its integers are 32 bits wide in the libraries looked for here.
enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112 };
template <class T>
using Gemm = void (*)(int order, int trans_a, int trans_b, int m, int n, int k, T alpha, const T* a,
                      int lda, const T* b, int ldb, T beta, T* c, int ldc);

// Not libblas: under that name lies, as often as not, the reference BLAS, which is slower than our
// own loops.
#if defined(__APPLE__)
const char* const CANDIDATES[] = {"/System/Library/Frameworks/Accelerate.framework/Accelerate"};
#else
const char* const CANDIDATES[] = {"libopenblas.so.0", "libopenblas.so"};
#endif

struct Library {
  Gemm<float> sgemm = nullptr;
  Gemm<double> dgemm = nullptr;
  std::string why_none;
};

bool try_open(Library* library, const char* path) {
  void* handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (handle) {
    library->sgemm = reinterpret_cast<Gemm<float>>(dlsym(handle, "cblas_sgemm"));
    library->dgemm = reinterpret_cast<Gemm<double>>(dlsym(handle, "cblas_dgemm"));
    if (library->sgemm && library->dgemm) {
      using SetThreads = void (*)(int);
      auto set_threads = reinterpret_cast<SetThreads>(dlsym(handle, "openblas_set_num_threads"));
      if (set_threads) set_threads(threads::count());
      return true;  // never closed: its threads would have to end first
    }
  }
  const char* why = dlerror();
  if (!library->why_none.empty()) library->why_none += "; ";
  library->why_none += why ? why : path;
  if (handle) dlclose(handle);
  return false;
}

Library open() {
  Library library;
  const char* path = getenv("CUDENO_BLAS");
  if (path && strcmp(path, "off") == 0) {
    library.why_none = "CUDENO_BLAS is off";
  } else if (path && *path) {
    try_open(&library, path);
  } else {
    for (const char* candidate : CANDIDATES)
      if (try_open(&library, candidate)) break;
  }
  return library;
}

const Library& opened() {
  static const auto* library =
      new Library(open());  // never destroyed: at exit another thread may be multiplying
  if (!library->sgemm || !library->dgemm)
    CDN_FAIL(CDN_UNSUPPORTED, "variant blas: no BLAS could be opened: %s",
             library->why_none.c_str());
  return *library;
}

template <class T>
void call(Gemm<T> gemm, T* c, const T* a, const T* b, int64_t m, int64_t n, int64_t k, int64_t lda,
          int64_t ldb, int64_t ldc, bool trans_a, bool trans_b) {
  if (std::max({m, n, k, lda, ldb, ldc}) > INT32_MAX)
    CDN_FAIL(CDN_UNSUPPORTED, "variant blas: a BLAS takes sizes up to %d", INT32_MAX);
  auto narrow = [](int64_t size) { return static_cast<int>(size); };
  gemm(ROW_MAJOR, trans_a ? TRANS : NO_TRANS, trans_b ? TRANS : NO_TRANS, narrow(m), narrow(n),
       narrow(k), T(1), a, narrow(lda), b, narrow(ldb), T(0), c, narrow(ldc));
}

}  // namespace

void matmul(float* c, const float* a, const float* b, int64_t m, int64_t n, int64_t k, int64_t lda,
            int64_t ldb, int64_t ldc, bool trans_a, bool trans_b) {
  call(opened().sgemm, c, a, b, m, n, k, lda, ldb, ldc, trans_a, trans_b);
}
void matmul(double* c, const double* a, const double* b, int64_t m, int64_t n, int64_t k,
            int64_t lda, int64_t ldb, int64_t ldc, bool trans_a, bool trans_b) {
  call(opened().dgemm, c, a, b, m, n, k, lda, ldb, ldc, trans_a, trans_b);
}

}  // namespace blas
}  // namespace cdn
