// cdn_matmul: its arguments, checked once for both backends, and the types that are multiplied as others.
#include "matmul.h"

#include <string>

#include "functions.h"

using namespace cdn;

namespace {

template <class T> struct Zero {
  T* y;
  CDN_FN void operator()(int64_t i) const { y[i] = T(0.0f); }
};

// 16-bit floats are multiplied as float: the operands are widened, and the result is rounded once.
template <class T>
void multiply_wide(Call& call, const BatchProduct<T>& x, int64_t c_count, int64_t a_count, int64_t b_count,
                   int32_t variant) {
  float *a = call.scratch<float>(a_count), *b = call.scratch<float>(b_count), *c = call.scratch<float>(c_count);
  map(call, a_count, Converted<float>{}, a, x.a);
  map(call, b_count, Converted<float>{}, b, x.b);
  backend::matmul(call, BatchProduct<float>{c, a, b, x.m, x.n, x.k, x.trans_a, x.trans_b, x.batch}, variant);
  map(call, c_count, Converted<T>{}, x.c, static_cast<const float*>(c));
}

void check_flag(const char* name, int32_t flag) {
  if (flag != 0 && flag != 1) CDN_FAIL(CDN_BAD_ARGUMENT, "%s is %d; it must be 0 or 1", name, flag);
}

void check_variant(int32_t variant) {
  if (backend::matmul_variant(variant)) return;
  std::string names;
  for (int32_t i = 0; const char* name = backend::matmul_variant(i); i++)
    names += (i ? ", " : "") + std::to_string(i) + " " + name;
  CDN_FAIL(CDN_BAD_ARGUMENT, "variant is %d; known are %s", variant, names.c_str());
}

}  // namespace

CDN_API int32_t cdn_matmul(uint32_t c, uint32_t a, uint32_t b, const int64_t* layout, int32_t rank, int64_t m,
                           int64_t n, int64_t k, int32_t trans_a, int32_t trans_b, int32_t dtype, int32_t variant) {
  return run("cdn_matmul", [&](Call& call) {
    check_flag("trans_a", trans_a);
    check_flag("trans_b", trans_b);
    check_variant(variant);
    Reach reach[2];
    Layout batch = read_layout(layout, rank, 2, reach);
    if (reach[0].low < 0 || reach[1].low < 0) CDN_FAIL(CDN_BAD_ARGUMENT, "layout: strides must not be negative here");
    // From the first matrix to the end of the last one.
    int64_t c_count = checked_product("batch, m, n", batch.n, checked_product("m, n", m, n)),
            a_count = checked_product("m, k", m, k) + reach[0].high,
            b_count = checked_product("k, n", k, n) + reach[1].high;
    if (batch.n == 0) a_count = b_count = 0;
    with_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      T* out = call.out<T>(c, "c", c_count);
      const T* left = call.in<T>(a, "a", a_count);
      BatchProduct<T> x{out, left, call.in<T>(b, "b", b_count), m, n, k, trans_a == 1, trans_b == 1, batch};
      if (c_count == 0) return;
      if (k == 0) return each(call, c_count, Zero<T>{out});
      if constexpr (is_half<T>)
        multiply_wide(call, x, c_count, a_count, b_count, variant);
      else
        backend::matmul(call, x, variant);
    });
  });
}

CDN_API const char* cdn_matmul_variant(int32_t variant) { return backend::matmul_variant(variant); }
