// cdn_matmul and cdn_matmul_fused: their arguments, checked once for both backends, the types that
// are multiplied as others, and the fused product in steps, for where a backend has nothing better.
#include "ops/linalg/matmul.h"

#include <string>

using namespace cdn;

namespace {

template <class T> struct Zero {
  T* y;
  CDN_FN void operator()(int64_t i) const { y[i] = T(0.0f); }
};

// How many elements of c, a and b a call touches: from the first matrix to the end of the last one.
struct Counts {
  int64_t c, a, b;
};

// The product as it is computed. 16-bit floats are multiplied as float, into which the operands are
// widened.
template <class T>
void multiply(Call& call, Compute<T>* c, const BatchProduct<T>& x, const Counts& counts,
              Precision precision, int32_t variant) {
  using C = Compute<T>;
  BatchProduct<C> product{c, nullptr, nullptr, x.m, x.n, x.k, x.trans_a, x.trans_b, x.batch};
  if constexpr (is_half<T>) {
    C *a = call.scratch<C>(counts.a), *b = call.scratch<C>(counts.b);
    map(call, counts.a, Converted<C>{}, a, x.a);
    map(call, counts.b, Converted<C>{}, b, x.b);
    product.a = a, product.b = b;
  } else {
    product.a = x.a, product.b = x.b;
  }
  backend::matmul(call, product, precision, variant);
}

// ---- The fused product in steps

template <class C, class In, class Out> struct FinishRuns {
  Finish<C, In, Out> finish;
  const C* product;  // nullptr: a sum of nothing
  template <int N> CDN_FN void run(int64_t i, int count) const {
    C v[N];
    for (int t = 0; t < count; t++) v[t] = product ? product[i + t] : C(0);
    finish(v, i, i - quotient(i, finish.cols) * finish.cols, count);
  }
};

// Over k of op(a), by the offset that it would have if each matrix of the batch were there for
// itself.
template <class T> struct SumA {
  using Acc = double;
  const T* a;
  T* sums;
  Layout batch;
  int64_t size;
  bool dense;  // it is there for itself
  CDN_FN Acc start() const { return 0; }
  CDN_FN Acc load(int64_t at, int64_t) const {
    if (dense) return wide(a[at]);
    int64_t z = quotient(at, size);
    return wide(a[batch_offsets(batch, z).a + (at - z * size)]);
  }
  CDN_FN Acc join(Acc x, Acc y) const { return x + y; }
  CDN_FN void store(int64_t at, Acc sum) const { sums[at] = static_cast<T>(sum); }
};

template <class T> void sum_a(Call& call, T* sums, const BatchProduct<T>& x) {
  int64_t size = x.m * x.k, count = x.batch.n;
  bool dense = count == 1 || (x.batch.rank == 1 && x.batch.stride[0][0] == size);
  SumA<T> op{x.a, sums, x.batch, size, dense};
  x.trans_a ? reduce(call, count, x.k, x.m, op) : reduce(call, count * x.m, x.k, 1, op);
}

template <class T, class Out>
void matmul_in_steps(Call& call, const BatchProduct<T>& x, const Epilogue& epilogue,
                     const Counts& counts, Precision precision, int32_t variant) {
  using C = Compute<T>;
  Finish<C, T, Out> finish(epilogue, x.n);
  C* product = nullptr;
  if (x.k > 0) {
    if constexpr (std::is_same<C, Out>::value)
      if (finish.beta == C(0)) product = finish.c;
    if (!product) product = call.scratch<C>(counts.c);
    multiply(call, product, x, counts, precision, variant);
    if (static_cast<void*>(product) == epilogue.c && epilogue.plain()) return;
  }
  each_run(call, counts.c, FinishRuns<C, T, Out>{finish, product});
}

// ---- Arguments

void check_flag(const char* name, int32_t flag) {
  if (flag != 0 && flag != 1) CDN_FAIL(CDN_BAD_ARGUMENT, "%s is %d; it must be 0 or 1", name, flag);
}

void check_choice(const char* name, int32_t value, int32_t last) {
  if (value < 0 || value > last)
    CDN_FAIL(CDN_BAD_ARGUMENT, "%s is %d; it must be in 0..%d", name, value, last);
}

void check_variant(int32_t variant) {
  if (backend::matmul_variant(variant)) return;
  std::string names;
  for (int32_t i = 0; const char* name = backend::matmul_variant(i); i++)
    names += (i ? ", " : "") + std::to_string(i) + " " + name;
  CDN_FAIL(CDN_BAD_ARGUMENT, "variant is %d; known are %s", variant, names.c_str());
}

// What both functions are asked to multiply, but for the matrices themselves.
struct Request {
  int64_t m, n, k;
  bool trans_a, trans_b;
  Layout batch;
  Counts counts;
  Precision precision;

  Request(const int64_t* layout, int32_t rank, int64_t m, int64_t n, int64_t k, int32_t trans_a,
          int32_t trans_b, int32_t precision, int32_t variant)
      : m(m), n(n), k(k), trans_a(trans_a == 1), trans_b(trans_b == 1) {
    check_flag("trans_a", trans_a);
    check_flag("trans_b", trans_b);
    check_choice("precision", precision, PRECISION_BFLOAT16);
    check_variant(variant);
    this->precision = static_cast<Precision>(precision);
    Reach reach[2];
    batch = read_layout(layout, rank, 2, reach);
    if (reach[0].low < 0 || reach[1].low < 0)
      CDN_FAIL(CDN_BAD_ARGUMENT, "layout: strides must not be negative here");
    counts = {checked_product("batch, m, n", batch.n, checked_product("m, n", m, n)),
              checked_product("m, k", m, k) + reach[0].high,
              checked_product("k, n", k, n) + reach[1].high};
    if (batch.n == 0) counts.a = counts.b = 0;
  }
  template <class T> BatchProduct<T> of(T* c, const T* a, const T* b) const {
    return {c, a, b, m, n, k, trans_a, trans_b, batch};
  }
};

// The types that results may have, by those of the operands.
template <class T, class F> void with_output(int32_t dtype, int32_t out_dtype, F&& f) {
  if (out_dtype == dtype) return f(T{});
  if constexpr (is_half<T>) {
    if (out_dtype == CDN_FLOAT32) return f(float{});
  }
  if constexpr (std::is_same<T, float>::value) {
    if (out_dtype == CDN_FLOAT16) return f(float16{});
    if (out_dtype == CDN_BFLOAT16) return f(bfloat16{});
  }
  dtype_bytes(out_dtype);  // throws for one that does not exist
  CDN_FAIL(CDN_UNSUPPORTED,
           "out_dtype is %s for operands of %s; it must be the same, or one of them float32",
           dtype_name(out_dtype), dtype_name(dtype));
}

}  // namespace

CDN_API int32_t cdn_matmul(uint32_t c, uint32_t a, uint32_t b, const int64_t* layout, int32_t rank,
                           int64_t m, int64_t n, int64_t k, int32_t trans_a, int32_t trans_b,
                           int32_t dtype, int32_t precision, int32_t variant) {
  return run("cdn_matmul", [&](Call& call) {
    Request request(layout, rank, m, n, k, trans_a, trans_b, precision, variant);
    const Counts& counts = request.counts;
    with_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      T* out = call.out<T>(c, "c", counts.c);
      const T* left = call.in<T>(a, "a", counts.a);
      BatchProduct<T> x = request.of(out, left, call.in<T>(b, "b", counts.b));
      if (counts.c == 0) return;
      if (k == 0) return each(call, counts.c, Zero<T>{out});
      if constexpr (is_half<T>) {
        if (backend::matmul_half(call, x, variant)) return;
        float* product = call.scratch<float>(counts.c);
        multiply(call, product, x, counts, request.precision, variant);
        map(call, counts.c, Converted<T>{}, out, static_cast<const float*>(product));
      } else {
        backend::matmul(call, x, request.precision, variant);
      }
    });
  });
}

CDN_API const char* cdn_matmul_variant(int32_t variant) { return backend::matmul_variant(variant); }

CDN_API int32_t cdn_matmul_fused(uint32_t c, uint32_t z, uint32_t a_sums, uint32_t a, uint32_t b,
                                 uint32_t bias, uint32_t residual, uint32_t mask,
                                 const int64_t* layout, int32_t rank, int64_t m, int64_t n,
                                 int64_t k, int32_t trans_a, int32_t trans_b, double alpha,
                                 double beta, int32_t activation, int32_t dtype, int32_t out_dtype,
                                 int32_t precision, int32_t variant) {
  return run("cdn_matmul_fused", [&](Call& call) {
    Request request(layout, rank, m, n, k, trans_a, trans_b, precision, variant);
    check_choice("activation", activation, ACTIVATION_SILU);
    const Counts& counts = request.counts;
    if (a_sums) checked_product("batch, m, k", request.batch.n, checked_product("m, k", m, k));
    with_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      with_output<T>(dtype, out_dtype, [&](auto out_zero) {
        using Out = decltype(out_zero);
        auto given = [&](uint32_t handle, const char* name) {
          return handle ? call.in<Out>(handle, name, counts.c) : nullptr;
        };
        Epilogue epilogue;
        epilogue.c = call.out<Out>(c, "c", counts.c);
        if (z) epilogue.z = call.out<Out>(z, "z", counts.c);
        T* sums =
            a_sums ? call.out<T>(a_sums, "a_sums", checked_product("batch, m", request.batch.n, m))
                   : nullptr;
        const T* left = call.in<T>(a, "a", counts.a);
        BatchProduct<T> x = request.of<T>(nullptr, left, call.in<T>(b, "b", counts.b));
        if (bias) epilogue.bias = call.in<T>(bias, "bias", n);
        epilogue.residual = given(residual, "residual");
        epilogue.mask = given(mask, "mask");
        epilogue.alpha = alpha, epilogue.beta = beta;
        epilogue.activation = activation;
        epilogue.out_dtype = out_dtype;
        bool empty = counts.c == 0 || k == 0;
        bool done = !empty && backend::matmul_fused(call, x, epilogue, request.precision, variant);
        if (!done && counts.c > 0)
          matmul_in_steps<T, Out>(call, x, epilogue, counts, request.precision, variant);
        if (sums) sum_a(call, sums, x);
      });
    });
  });
}
