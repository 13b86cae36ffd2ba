// The first k of each row of x[rows, cols] in order, and where they were. Equal elements keep their
// order in either direction; NaN counts as the largest.
#include "kernel/sort.h"

using namespace cdn;

namespace {

template <class T> struct TakeFirst {
  T* values;  // nullptr: not wanted
  int32_t* indices;
  const T* x;
  First first;
  int64_t cols, k;
  CDN_FN void operator()(int64_t i) const {
    int64_t r = quotient(i, k), from = first.place[r * first.pitch + (i - r * k)];
    if (values) values[i] = x[from];
    indices[i] = static_cast<int32_t>(from - r * cols);
  }
};

}  // namespace

CDN_API int32_t cdn_topk(uint32_t values, uint32_t indices, uint32_t x, int64_t rows, int64_t cols,
                         int64_t k, int32_t descending, int32_t dtype) {
  return run("cdn_topk", Any{}, dtype, [&]<class T>(Call& call, T) {
    int64_t n = checked_product("rows, cols", rows, cols);
    if (k < 0 || k > cols)
      CDN_FAIL(CDN_BAD_ARGUMENT, "k is %lld; it must be in 0..%lld", (long long)k, (long long)cols);
    if (cols > INT32_MAX)
      CDN_FAIL(CDN_UNSUPPORTED, "cols is %lld; an index must fit int32", (long long)cols);
    check_sortable("rows, cols", n);
    TakeFirst<T> take;
    take.indices = call.out<int32_t>(indices, "indices", rows * k);
    take.values = call.optional_out<T>(values, "values", rows * k);
    take.x = call.in<T>(x, "x", n);
    take.cols = cols;
    take.k = k;
    if (rows * k == 0) return;
    take.first = first_of_rows(call, rows, cols, take.x, k, descending != 0);
    each(call, rows * k, take);
  });
}
