// Rows by index.
#include "kernel/row_walk.h"

using namespace cdn;

namespace {

template <class Y, class X> struct GatherRows {
  Y* y;
  const X* x;
  const int32_t* index;
  int64_t cols;
  double scale, shift;
  IndexedAxis rows;

  struct Row {
    Y* to;
    const X* from;  // nullptr: the index was bad
    int64_t count;
    double scale, shift;
    CDN_FN void operator()(int64_t c) const { to[c] = from ? convert(from[c]) : static_cast<Y>(0); }
    CDN_FN Y convert(X value) const {
      using C = Compute<Y>;
      if constexpr (is_real<Y>)
        return static_cast<Y>(static_cast<C>(value) * static_cast<C>(scale) +
                              static_cast<C>(shift));
      else
        return static_cast<Y>(value);
    }
  };
  CDN_FN Row row(int64_t r) const {
    int64_t from = rows.place(index[r]);
    return {y + r * cols, from < 0 ? nullptr : x + from * cols, cols, scale, shift};
  }
};

}  // namespace

CDN_API int32_t cdn_gather_rows(uint32_t y, uint32_t x, uint32_t index, int64_t rows, int64_t cols,
                                int64_t x_rows, double scale, double shift, int32_t y_dtype,
                                int32_t x_dtype) {
  return run("cdn_gather_rows", [&](Call& call) {
    if ((y_dtype == CDN_INT32 || y_dtype == CDN_UINT8) && (scale != 1 || shift != 0))
      CDN_FAIL(CDN_UNSUPPORTED, "%s is not scaled: scale must be 1 and shift 0",
               dtype_name(y_dtype));
    int64_t n = checked_product("rows, cols", rows, cols),
            x_n = checked_product("x_rows, cols", x_rows, cols);
    auto launch = [&]<class Y, class X>(Y, X) {
      GatherRows<Y, X> op{call.out<Y>(y, "y", n),
                          call.in<X>(x, "x", x_n),
                          call.in<int32_t>(index, "index", rows),
                          cols,
                          scale,
                          shift,
                          {x_rows, cols, FAULT_GATHER_ROWS, call.fault()}};
      if (n) each_row(call, rows, cols, op);
    };
    if (y_dtype == x_dtype) return with_any(y_dtype, [&](auto zero) { launch(zero, zero); });
    if (x_dtype != CDN_UINT8)
      CDN_FAIL(CDN_UNSUPPORTED, "from %s to %s: only uint8 is converted on the way",
               dtype_name(x_dtype), dtype_name(y_dtype));
    with_number(y_dtype, [&](auto zero) { launch(zero, uint8_t{}); });
  });
}
