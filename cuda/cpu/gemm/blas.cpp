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

bool try_open(Library& library, const char* path) {
  void* handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (handle) {
    library.sgemm = reinterpret_cast<Gemm<float>>(dlsym(handle, "cblas_sgemm"));
    library.dgemm = reinterpret_cast<Gemm<double>>(dlsym(handle, "cblas_dgemm"));
    if (library.sgemm && library.dgemm) {
      using SetThreads = void (*)(int);
      auto set_threads = reinterpret_cast<SetThreads>(dlsym(handle, "openblas_set_num_threads"));
      if (set_threads) set_threads(threads::count());
      return true;  // never closed: its threads would have to end first
    }
  }
  const char* why = dlerror();
  if (!library.why_none.empty()) library.why_none += "; ";
  library.why_none += why ? why : path;
  if (handle) dlclose(handle);
  return false;
}

const Library& opened() {
  static const Library* library = [] {
    auto* opened = new Library;  // never destroyed: at exit another thread may be multiplying
    const char* path = getenv("CUDENO_BLAS");
    if (path && strcmp(path, "off") == 0) {
      opened->why_none = "CUDENO_BLAS is off";
    } else if (path && *path) {
      try_open(*opened, path);
    } else {
      for (const char* candidate : CANDIDATES)
        if (try_open(*opened, candidate)) break;
    }
    return opened;
  }();
  if (!library->sgemm || !library->dgemm)
    CDN_FAIL(CDN_UNSUPPORTED, "variant blas: no BLAS could be opened: %s",
             library->why_none.c_str());
  return *library;
}

template <class T> void batch(Gemm<T> gemm, const BatchProduct<T>& x) {
  if (std::max({x.m, x.n, x.k, x.lda, x.ldb, x.ldc}) > INT32_MAX)
    CDN_FAIL(CDN_UNSUPPORTED, "variant blas: a BLAS takes sizes up to %d", INT32_MAX);
  auto narrow = [](int64_t size) { return static_cast<int>(size); };
  for (int64_t z = 0; z < x.batch.n; z++) {
    const OneProduct<T> y = product_at(x, z);
    gemm(ROW_MAJOR, x.trans_a ? TRANS : NO_TRANS, x.trans_b ? TRANS : NO_TRANS, narrow(x.m),
         narrow(x.n), narrow(x.k), T(1), y.a.data, narrow(x.lda), y.b.data, narrow(x.ldb), T(0),
         y.c.data, narrow(x.ldc));
  }
}

}  // namespace

void matmul(const BatchProduct<float>& x) { batch(opened().sgemm, x); }
void matmul(const BatchProduct<double>& x) { batch(opened().dgemm, x); }

}  // namespace blas
}  // namespace cdn
