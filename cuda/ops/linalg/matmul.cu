// cdn_matmul and cdn_matmul_fused: their arguments, checked once for both backends, the types that
// are multiplied as others, and the fused product in steps, for where a backend has nothing better.
#include "ops/linalg/matmul.h"

#include "kernel/sum.h"

#include <string>

using namespace cdn;

namespace {

template <class T> struct ZeroRows {
  T* y;
  Places places;
  struct Row {
    T* to;
    int64_t count;
    CDN_FN void operator()(int64_t c) const { to[c] = T(0.0f); }
  };
  CDN_FN Row row(int64_t r) const { return {y + places(r), places.n}; }
};

// How many elements of c, a and b a call touches: from the first matrix to the end of the last one;
// and how many c has.
struct Counts {
  int64_t c, a, b, all;
};

// The product as it is computed. 16-bit floats are multiplied as float, into which the operands are
// widened.
template <class T>
void multiply(Call& call, Compute<T>* c, const BatchProduct<T>& x, Precision precision,
              int32_t variant) {
  using C = Compute<T>;
  BatchProduct<C> product{c,     nullptr, nullptr, x.m,       x.n,       x.k,
                          x.lda, x.ldb,   x.n,     x.trans_a, x.trans_b, x.batch};
  follow_one_another(product.batch, x.m * x.n);
  if constexpr (is_half<T>) {
    const int64_t a_count = x.a_span(), b_count = x.b_span();
    C *a = call.scratch<C>(a_count), *b = call.scratch<C>(b_count);
    map(call, a_count, Converted<C>{}, a, x.a);
    map(call, b_count, Converted<C>{}, b, x.b);
    product.a = a, product.b = b;
  } else {
    product.a = x.a, product.b = x.b;
  }
  backend::matmul(call, product, precision, variant);
}

// ---- The fused product in steps

// Over k of op(a), where each matrix of the batch is there for itself.
template <class T> struct SumDense : Adding<Sum<T>>, Taking<T> {
  T* sums;
  CDN_FN Compute<T> operator()(int, const Compute<T> (&v)[1]) const { return v[0]; }
  CDN_FN void store(int64_t at, Sum<T> sum) const { sums[at] = static_cast<T>(sum); }
};

// The same wherever they are, by the offset that an element would have if they were dense.
template <class T> struct SumA : Adding<Sum<T>> {
  const T* a;
  T* sums;
  Layout batch;
  int64_t size, cols, ld;
  CDN_FN Compute<T> load(int64_t at, int64_t) const {
    int64_t z = quotient(at, size), rest = at - z * size, row = quotient(rest, cols);
    return wide(a[batch_offsets(batch, z).a + row * ld + (rest - row * cols)]);
  }
  CDN_FN void store(int64_t at, Sum<T> sum) const { sums[at] = static_cast<T>(sum); }
};

template <class T> void sum_a(Call& call, T* sums, const BatchProduct<T>& x) {
  int64_t size = x.m * x.k, count = x.batch.n, cols = x.trans_a ? x.m : x.k;
  bool dense = x.lda == cols && (count == 1 || (x.batch.rank == 1 && x.batch.stride[0][0] == size));
  auto add = [&](const auto& op) {
    x.trans_a ? reduce(call, count, x.k, x.m, op) : reduce(call, count * x.m, x.k, 1, op);
  };
  if (dense)
    add(SumDense<T>{{}, {{{x.a}}}, sums});
  else
    add(SumA<T>{{}, x.a, sums, x.batch, size, cols, x.lda});
}

template <class T, class Out>
void matmul_in_steps(Call& call, const BatchProduct<T>& x, const Epilogue& epilogue,
                     Precision precision, int32_t variant) {
  const int64_t all = x.batch.n * x.m * x.n;
  using C = Compute<T>;
  Finish<C, T, Out> finish(epilogue, x.n);
  C* product = nullptr;
  if (x.k > 0) {
    if constexpr (std::is_same<C, Out>::value)
      if (finish.beta == C(0)) product = finish.c;
    if (!product) product = call.scratch<C>(all);
    multiply(call, product, x, precision, variant);
    if (static_cast<void*>(product) == epilogue.c && epilogue.plain()) return;
  }
  each_run(call, all, FinishRuns<C, T, Out>{finish, product});
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

// The elements from the start of a matrix to its end. ld: 0 for that of a dense one, which it
// becomes.
int64_t span_of(const char* name, int64_t rows, int64_t cols, int64_t& ld) {
  if (ld == 0) ld = cols;
  if (ld < cols)
    CDN_FAIL(CDN_BAD_ARGUMENT, "%s is %lld; it must be at least a row's %lld elements, or 0", name,
             (long long)ld, (long long)cols);
  checked_product("rows, cols", rows, cols);
  checked_product(name, rows, ld);
  return rows > 0 && cols > 0 ? (rows - 1) * ld + cols : 0;
}

// Two elements written to one place would make the result depend on the order of threads.
void check_rows_apart(const Layout& batch, int64_t m, int64_t n, int64_t ld) {
  Layout all = batch;
  if (all.rank > MAX_RANK - 2)
    CDN_FAIL(CDN_UNSUPPORTED, "layout: with an ldc, a batch has at most %d axes", MAX_RANK - 2);
  for (int32_t d = 0; d < all.rank; d++) all.stride[0][d] = all.stride[2][d];
  auto add = [&all](int64_t extent, int64_t stride) {
    if (extent == 1) return;
    all.extent[all.rank] = extent;
    all.stride[0][all.rank++] = stride;
  };
  add(m, ld);
  add(n, 1);
  check_apart(all);
}

// What both functions are asked to multiply, but for the matrices themselves.
struct Request {
  int64_t m, n, k, lda, ldb, ldc;
  bool trans_a, trans_b;
  Layout batch;
  Counts counts;
  Precision precision;

  Request(const int64_t* layout, int32_t rank, int64_t m, int64_t n, int64_t k, int64_t lda,
          int64_t ldb, int64_t ldc, int32_t trans_a, int32_t trans_b, int32_t precision,
          int32_t variant)
      : m(m),
        n(n),
        k(k),
        lda(lda),
        ldb(ldb),
        ldc(ldc),
        trans_a(trans_a == 1),
        trans_b(trans_b == 1) {
    check_flag("trans_a", trans_a);
    check_flag("trans_b", trans_b);
    check_choice("precision", precision, PRECISION_BFLOAT16);
    check_variant(variant);
    this->precision = static_cast<Precision>(precision);
    Reach reach[3];
    const bool placed = ldc != 0;
    batch = read_layout(layout, rank, placed ? 3 : 2, reach);
    if (reach[0].low < 0 || reach[1].low < 0 || reach[2].low < 0)
      CDN_FAIL(CDN_BAD_ARGUMENT, "layout: strides must not be negative here");
    const int64_t all = checked_product("batch, m, n", batch.n, checked_product("m, n", m, n));
    // Matrices without elements are nowhere.
    auto through = [](int64_t span, const Reach& reach) { return span ? span + reach.high : 0; };
    counts = {through(span_of("ldc", m, n, this->ldc), reach[2]),
              through(span_of("lda", trans_a ? k : m, trans_a ? m : k, this->lda), reach[0]),
              through(span_of("ldb", trans_b ? n : k, trans_b ? k : n, this->ldb), reach[1]), all};
    if (batch.n == 0) counts.a = counts.b = 0;
    if (!placed || all == 0) {
      counts.c = all;
      this->ldc = n;
      follow_one_another(batch, m * n);
    } else {
      check_rows_apart(batch, m, n, ldc);
    }
  }
  template <class T> BatchProduct<T> of(T* c, const T* a, const T* b) const {
    return {c, a, b, m, n, k, lda, ldb, ldc, trans_a, trans_b, batch};
  }
  Places places() const { return {batch, m, n, ldc}; }
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

template <class T, class Out>
void cdn::multiply_fused(Call& call, const BatchProduct<T>& x, Epilogue epilogue,
                         Precision precision, int32_t variant) {
  const int64_t all = x.batch.n * x.m * x.n;
  if (all == 0) return;
  epilogue.out_dtype = dtype_of<Out>;
  // What is to lie apart is made in one piece first.
  const Places places(x.batch, x.m, x.n, x.ldc);
  Out *const to = static_cast<Out*>(epilogue.c),
             *dense = places.dense ? to : call.scratch<Out>(all);
  if (!places.dense && epilogue.beta != 0)
    each_row(call, places.rows(), x.n, TakeRows<Out>{dense, to, places});
  epilogue.c = dense;
  if (x.k == 0 || !backend::matmul_fused(call, x, epilogue, precision, variant))
    matmul_in_steps<T, Out>(call, x, epilogue, precision, variant);
  if (!places.dense) each_row(call, places.rows(), x.n, PutRows<Out, Out>{to, dense, places});
}

template void cdn::multiply_fused<float, float>(Call&, const BatchProduct<float>&, Epilogue,
                                                Precision, int32_t);
template void cdn::multiply_fused<double, double>(Call&, const BatchProduct<double>&, Epilogue,
                                                  Precision, int32_t);
template void cdn::multiply_fused<float16, float16>(Call&, const BatchProduct<float16>&, Epilogue,
                                                    Precision, int32_t);
template void cdn::multiply_fused<float16, float>(Call&, const BatchProduct<float16>&, Epilogue,
                                                  Precision, int32_t);
template void cdn::multiply_fused<bfloat16, bfloat16>(Call&, const BatchProduct<bfloat16>&,
                                                      Epilogue, Precision, int32_t);
template void cdn::multiply_fused<bfloat16, float>(Call&, const BatchProduct<bfloat16>&, Epilogue,
                                                   Precision, int32_t);

CDN_API int32_t cdn_matmul(uint32_t c, uint32_t a, uint32_t b, const int64_t* layout, int32_t rank,
                           int64_t m, int64_t n, int64_t k, int64_t lda, int64_t ldb, int64_t ldc,
                           int32_t trans_a, int32_t trans_b, int32_t dtype, int32_t precision,
                           int32_t variant) {
  return run("cdn_matmul", [&](Call& call) {
    Request request(layout, rank, m, n, k, lda, ldb, ldc, trans_a, trans_b, precision, variant);
    const Counts& counts = request.counts;
    with_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      T* out = call.out<T>(c, "c", counts.c);
      const T* left = call.in<T>(a, "a", counts.a);
      BatchProduct<T> x = request.of(out, left, call.in<T>(b, "b", counts.b));
      if (counts.all == 0) return;
      const Places places = request.places();
      if (k == 0) return each_row(call, places.rows(), n, ZeroRows<T>{out, places});
      if constexpr (is_half<T>) {
        if (backend::matmul_half(call, x, variant)) return;
        float* product = call.scratch<float>(counts.all);
        multiply(call, product, x, request.precision, variant);
        places.dense
            ? map(call, counts.all, Converted<T>{}, out, static_cast<const float*>(product))
            : each_row(call, places.rows(), n, PutRows<T, float>{out, product, places});
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
                                 int64_t k, int64_t lda, int64_t ldb, int64_t ldc, int32_t trans_a,
                                 int32_t trans_b, double alpha, double beta, int32_t activation,
                                 int32_t dtype, int32_t out_dtype, int32_t precision,
                                 int32_t variant) {
  return run("cdn_matmul_fused", [&](Call& call) {
    Request request(layout, rank, m, n, k, lda, ldb, ldc, trans_a, trans_b, precision, variant);
    check_choice("activation", activation, ACTIVATION_SILU);
    const Counts& counts = request.counts;
    if (a_sums) checked_product("batch, m, k", request.batch.n, checked_product("m, k", m, k));
    with_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      with_output<T>(dtype, out_dtype, [&](auto out_zero) {
        using Out = decltype(out_zero);
        auto given = [&](uint32_t handle, const char* name) {
          return handle ? call.in<Out>(handle, name, counts.all) : nullptr;
        };
        Epilogue epilogue;
        Out* to = call.out<Out>(c, "c", counts.c);
        if (z) epilogue.z = call.out<Out>(z, "z", counts.all);
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
        epilogue.c = to;
        multiply_fused<T, Out>(call, x, epilogue, request.precision, variant);
        if (sums) sum_a(call, sums, x);
      });
    });
  });
}
