// cdn_attention and cdn_attention_grad: their arguments, checked once for both backends.
#include "ops/attention/attention.h"

#include "kernel/functions.h"

using namespace cdn;

namespace {

// The numbers that both functions are given, one after another.
class Sequence {
 public:
  explicit Sequence(const int64_t* numbers) : next_(numbers) {}
  int64_t size(const char* name) { return checked_size(name, *next_++); }
  int64_t within(const char* name, int64_t low, int64_t high) {
    const int64_t x = *next_++;
    if (x < low || x > high)
      CDN_FAIL(CDN_BAD_ARGUMENT, "%s is %lld; it must be in %lld..%lld", name, (long long)x,
               (long long)low, (long long)high);
    return x;
  }
  // `side` elements side by side, at axes of these extents with the strides that come next.
  template <class... Extent> Layout axes(const char* name, int64_t side, Extent... extents) {
    Layout x;
    auto add = [&x](int64_t extent, int64_t stride) {
      x.extent[x.rank] = extent;
      x.stride[0][x.rank++] = stride;
    };
    (add(extents, size(name)), ...);
    add(side, 1);
    return x;
  }

 private:
  const int64_t* next_;
};

// Elements from the first to the end of the last.
int64_t span_of(const char* name, const Layout& x) {
  int64_t last = 0;
  for (int32_t d = 0; d < x.rank; d++) {
    if (x.extent[d] == 0) return 0;
    last = checked_size(name, last + checked_product(name, x.extent[d] - 1, x.stride[0][d]));
  }
  return last + 1;
}

HeadStrides strides_of(const Layout& x) { return {x.stride[0][0], x.stride[0][1], x.stride[0][2]}; }

// An output. Two elements written to one place would make the result depend on the order of
// threads.
template <class T> T* written(Call& call, uint32_t handle, const char* name, const Layout& x) {
  const int64_t span = span_of(name, x);
  Layout axes;
  for (int32_t d = 0; d < x.rank; d++)
    if (x.extent[d] > 1)
      axes.extent[axes.rank] = x.extent[d], axes.stride[0][axes.rank++] = x.stride[0][d];
  if (span) check_apart(axes);
  return call.out<T>(handle, name, span);
}

MaskKind mask_kind(int32_t dtype, int32_t mask_dtype) {
  if (mask_dtype == CDN_UINT8) return MaskKind::BOOLEAN;
  const bool wider = dtype_bytes(dtype) == 2 && mask_dtype == CDN_FLOAT32;
  if (mask_dtype != dtype && !wider)
    unsupported(mask_dtype, "uint8, that of the operands, or float32 for 16-bit ones");
  return static_cast<MaskKind>(mask_dtype);
}

void check_probability(double p) {
  if (!(p >= 0 && p <= 1))
    CDN_FAIL(CDN_BAD_ARGUMENT, "p is %g; it must be a probability, in [0, 1]", p);
}

// What both functions are given beside tensors of heads.
struct Request {
  uint32_t mask, lengths, state;
  Sequence numbers;
  double scale, p;
  int64_t seed, offset;
  int32_t dtype, mask_dtype, precision;
  Layout q, k, v, y, mask_axes;

  template <class T> void read(Attention<T>& x) {
    x.batch = numbers.size("batch"), x.heads = numbers.size("heads");
    x.kv_heads = numbers.size("kv_heads");
    x.queries = numbers.size("queries"), x.keys = numbers.size("keys");
    x.features = numbers.size("features"), x.out_features = numbers.size("out_features");
    if (x.kv_heads == 0 ? x.heads != 0 : x.heads % x.kv_heads != 0)
      CDN_FAIL(CDN_BAD_ARGUMENT, "heads is %lld; it must be a multiple of kv_heads, %lld",
               (long long)x.heads, (long long)x.kv_heads);
    check_probability(p);
    if (precision < 0 || precision > PRECISION_BFLOAT16)
      CDN_FAIL(CDN_BAD_ARGUMENT, "precision is %d; it must be in 0..%d", precision,
               PRECISION_BFLOAT16);
    AttentionRules& r = x.rules;
    r.queries = x.queries, r.keys = x.keys;
    r.offset = numbers.within("offset", -MAX_BYTES, MAX_BYTES);
    r.from_end = numbers.within("from_end", 0, 1) == 1;
    r.left = numbers.within("left", -1, MAX_BYTES);
    r.right = numbers.within("right", -1, MAX_BYTES);
    mask_axes = numbers.axes("mask", 1, x.batch, x.heads, x.queries, x.keys);
    r.mask_at = strides_of(mask_axes), r.mask_column = mask_axes.stride[0][3];
    q = heads(x.q_at, "q", x.batch, x.heads, x.queries, x.features);
    k = heads(x.k_at, "k", x.batch, x.kv_heads, x.keys, x.features);
    v = heads(x.v_at, "v", x.batch, x.kv_heads, x.keys, x.out_features);
    y = heads(x.y_at, "y", x.batch, x.heads, x.queries, x.out_features);
    checked_product("batch, heads", x.batch, x.heads);
    checked_product("batch, kv_heads", x.batch, x.kv_heads);
    checked_product("batch, heads, queries", x.batch * x.heads, x.queries);
    x.scale = static_cast<Compute<T>>(scale);
    x.precision = precision;
    r.kind = mask ? mask_kind(dtype, mask_dtype) : MaskKind::NONE;
  }
  Layout heads(HeadStrides& at, const char* name, int64_t batch, int64_t heads, int64_t rows,
               int64_t features) {
    const Layout x = numbers.axes(name, features, batch, heads, rows);
    at = strides_of(x);
    return x;
  }
  // After the outputs.
  template <class T>
  void take(Call& call, Attention<T>& x, uint32_t q_, uint32_t k_, uint32_t v_) const {
    x.q = call.in<T>(q_, "q", span_of("q", q));
    x.k = call.in<T>(k_, "k", span_of("k", k));
    x.v = call.in<T>(v_, "v", span_of("v", v));
    AttentionRules& r = x.rules;
    r.mask =
        mask ? call.take(mask, "mask", span_of("mask", mask_axes), dtype_bytes(mask_dtype), false)
             : nullptr;
    r.lengths = call.optional<int32_t>(lengths, "lengths", x.batch);
    r.dropout = weight_dropout(call, x.queries, x.keys, state, p, seed, offset);
  }
};

template <class T> struct KeptWeights {
  T* y;
  WeightDropout dropout;
  CDN_FN void operator()(int64_t i) const {
    const int64_t row = quotient(i, dropout.keys), head = quotient(row, dropout.queries);
    const bool kept = dropout.kept(head, row - head * dropout.queries, i - row * dropout.keys);
    y[i] = T(kept ? dropout.scale : 0.0);
  }
};

}  // namespace

CDN_API int32_t cdn_attention(uint32_t y, uint32_t lse, uint32_t q, uint32_t k, uint32_t v,
                              uint32_t mask, uint32_t lengths, uint32_t state,
                              const int64_t* numbers, double scale, double p, int64_t seed,
                              int64_t offset, int32_t dtype, int32_t mask_dtype,
                              int32_t precision) {
  return run("cdn_attention", Floats{}, dtype, [&]<class T>(Call& call, T) {
    Request request{mask,   lengths, state,      Sequence(numbers), scale, p,  seed,
                    offset, dtype,   mask_dtype, precision,         {},    {}, {},
                    {},     {}};
    Attention<T> x;
    request.read(x);
    x.y = written<T>(call, y, "y", request.y);
    x.lse = call.optional_out<Compute<T>>(lse, "lse", x.lse_size());
    request.take(call, x, q, k, v);
    if (x.rows() > 0) backend::attention(call, x);
  });
}

CDN_API int32_t cdn_attention_grad(uint32_t dq, uint32_t dk, uint32_t dv, uint32_t dscores,
                                   uint32_t dy, uint32_t y, uint32_t lse, uint32_t q, uint32_t k,
                                   uint32_t v, uint32_t mask, uint32_t lengths, uint32_t state,
                                   const int64_t* numbers, double scale, double p, int64_t seed,
                                   int64_t offset, int32_t dtype, int32_t mask_dtype,
                                   int32_t precision) {
  return run("cdn_attention_grad", Floats{}, dtype, [&]<class T>(Call& call, T) {
    Request request{mask,   lengths, state,      Sequence(numbers), scale, p,  seed,
                    offset, dtype,   mask_dtype, precision,         {},    {}, {},
                    {},     {}};
    AttentionGrad<T> x;
    request.read(x);
    const Layout dq_axes = request.heads(x.dq_at, "dq", x.batch, x.heads, x.queries, x.features),
                 dk_axes = request.heads(x.dk_at, "dk", x.batch, x.kv_heads, x.keys, x.features),
                 dv_axes =
                     request.heads(x.dv_at, "dv", x.batch, x.kv_heads, x.keys, x.out_features),
                 dy_axes =
                     request.heads(x.dy_at, "dy", x.batch, x.heads, x.queries, x.out_features);
    call.allow(Call::UNCHECKED);  // which may lie in one another's gaps
    x.dq = written<T>(call, dq, "dq", dq_axes);
    x.dk = written<T>(call, dk, "dk", dk_axes);
    x.dv = written<T>(call, dv, "dv", dv_axes);
    call.allow(Call::NONE);
    const int64_t scores = dscores ? checked_product("batch, heads, queries, keys",
                                                     x.batch * x.heads, x.queries, x.keys)
                                   : 0;
    x.dscores = call.optional_out<Compute<T>>(dscores, "dscores", scores);
    x.dy = call.in<T>(dy, "dy", span_of("dy", dy_axes));
    x.y = const_cast<T*>(call.in<T>(y, "y", span_of("y", request.y)));
    x.lse = const_cast<Compute<T>*>(call.in<Compute<T>>(lse, "lse", x.lse_size()));
    request.take(call, x, q, k, v);
    if (scores) map(call, scores, Constant<Compute<T>>{0}, x.dscores);  // kernels skip hidden ones
    if (x.batch * x.kv_heads > 0) backend::attention_grad(call, x);
  });
}

CDN_API int32_t cdn_attention_dropout(uint32_t y, uint32_t state, int64_t heads, int64_t queries,
                                      int64_t keys, double p, int64_t seed, int64_t offset,
                                      int32_t dtype) {
  return run("cdn_attention_dropout", Floats{}, dtype, [&]<class T>(Call& call, T) {
    check_probability(p);
    const int64_t n = checked_product("heads, queries, keys", heads, queries, keys);
    T* to = call.out<T>(y, "y", n);
    each(call, n, KeptWeights<T>{to, weight_dropout(call, queries, keys, state, p, seed, offset)});
  });
}
