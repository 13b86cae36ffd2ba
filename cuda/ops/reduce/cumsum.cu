// Cumulative sums of x[outer, axis, inner] along axis, in float64 (int32: in int64, which wraps as
// int32 does).
#include "kernel/drivers.h"

using namespace cdn;

namespace {

template <class A> struct SumUp {
  using Acc = A;
  CDN_FN Acc start() const { return Acc(0); }
  CDN_FN Acc join(Acc a, Acc b) const { return a + b; }
};

template <class T>
struct CumSum
    : SumUp<typename std::conditional<std::is_same<T, int32_t>::value, int64_t, double>::type> {
  using Base =
      SumUp<typename std::conditional<std::is_same<T, int32_t>::value, int64_t, double>::type>;
  using Acc = typename Base::Acc;
  const T* x;
  T* y;
  CDN_FN Acc load(int64_t at, int64_t) const { return static_cast<Acc>(x[at]); }
  CDN_FN void store(int64_t at, int64_t, Acc sum) const { y[at] = static_cast<T>(sum); }
};

}  // namespace

CDN_API int32_t cdn_cumsum(uint32_t y, uint32_t x, int64_t outer, int64_t axis, int64_t inner,
                           int32_t reverse, int32_t dtype) {
  return run("cdn_cumsum", [&](Call& call) {
    int64_t n = checked_product("outer, axis, inner", outer, axis, inner);
    with_number(dtype, [&](auto zero) {
      CumSum<decltype(zero)> op;
      op.y = call.out<decltype(zero)>(y, "y", n);
      op.x = call.in<decltype(zero)>(x, "x", n);
      scan(call, outer, axis, inner, reverse != 0, op);
    });
  });
}
