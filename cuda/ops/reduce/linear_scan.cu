// Linear recurrences y[k] = a[k] y[k - 1] + b[k] along axis of [outer, axis, inner], and without b
// cumulative products. Steps of a recurrence are maps y -> factor y + term, and joining is doing
// one after the other, so that a scan takes them in any grouping. In float64, as cumulative sums.
#include "ops/reduce/scans.h"

using namespace cdn;

namespace {

template <class T> struct CumProd : Multiplying<T> {
  using Base = Multiplying<T>;
  using A = typename Base::Acc;
  const T* x;
  ScanOutput<T> y;
  CDN_FN A load(int64_t at, int64_t) const { return static_cast<A>(wide(x[at])); }
  CDN_FN void store(int64_t at, int64_t k, A product) const { y.put(at, k, product, A(1)); }
};

struct Step {
  double factor, term;
};
struct OneAfterTheOther {
  using Acc = Step;
  CDN_FN Step start() const { return {1, 0}; }
  CDN_FN Step join(Step a, Step b) const {
    return {a.factor * b.factor, b.factor * a.term + b.term};
  }
};
template <class T> struct LinearScan : OneAfterTheOther {
  using Base = OneAfterTheOther;
  const T *a, *b;
  ScanOutput<T> y;
  CDN_FN Step load(int64_t at, int64_t) const {
    return {static_cast<double>(wide(a[at])), static_cast<double>(wide(b[at]))};
  }
  CDN_FN void store(int64_t at, int64_t k, Step step) const { y.put(at, k, step.term, 0.0); }
};

}  // namespace

CDN_API int32_t cdn_linear_scan(uint32_t y, uint32_t a, uint32_t b, int64_t outer, int64_t axis,
                                int64_t inner, int32_t reverse, int32_t exclusive, int32_t dtype) {
  return run("cdn_linear_scan", Numbers{}, dtype, [&]<class T>(Call& call, T) {
    int64_t n = checked_product("outer, axis, inner", outer, axis, inner);
    T* to = call.out<T>(y, "y", n);
    const T *factor = call.in<T>(a, "a", n), *term = call.optional<T>(b, "b", n);
    if (term && !is_real<T>) CDN_FAIL(CDN_UNSUPPORTED, "dtype is int32; with b it must be a float");
    if (n == 0) return;
    ScanOutput<T> out(to, axis, inner, reverse != 0, exclusive != 0);
    if (!term)
      scan(call, outer, axis, inner, reverse != 0, CumProd<T>{{}, factor, out});
    else if constexpr (is_real<T>)
      scan(call, outer, axis, inner, reverse != 0, LinearScan<T>{{}, factor, term, out});
  });
}
