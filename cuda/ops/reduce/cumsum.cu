// Cumulative sums of x[outer, axis, inner] along axis. In float64: a scan joins each number several
// times, which pairs of float32 would make the slower way.
#include "ops/reduce/scans.h"

using namespace cdn;

namespace {

template <class T> using Total = typename std::conditional<is_real<T>, double, Sum<T>>::type;

template <class T> struct CumSum : Adding<Total<T>> {
  using Base = Adding<Total<T>>;
  const T* x;
  ScanOutput<T> y;
  CDN_FN Total<T> load(int64_t at, int64_t) const { return static_cast<Total<T>>(wide(x[at])); }
  CDN_FN void store(int64_t at, int64_t k, Total<T> sum) const { y.put(at, k, sum, Total<T>(0)); }
};

}  // namespace

CDN_API int32_t cdn_cumsum(uint32_t y, uint32_t x, int64_t outer, int64_t axis, int64_t inner,
                           int32_t reverse, int32_t exclusive, int32_t dtype) {
  return run("cdn_cumsum", Numbers{}, dtype, [&]<class T>(Call& call, T) {
    int64_t n = checked_product("outer, axis, inner", outer, axis, inner);
    T* to = call.out<T>(y, "y", n);
    const T* from = call.in<T>(x, "x", n);
    if (n == 0) return;
    ScanOutput<T> out(to, axis, inner, reverse != 0, exclusive != 0);
    scan(call, outer, axis, inner, reverse != 0, CumSum<T>{{}, from, out});
  });
}
