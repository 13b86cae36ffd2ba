// What a backend provides for cdn_attention and its gradient, in gpu/attention/attention.cu and
// cpu/attention/attention.cpp.
#pragma once
#include "ops/attention/rules.h"
#include "ops/linalg/matmul.h"

namespace cdn {

// Arguments of cdn_attention. Batch, heads and queries are not 0, for the gradients batch and
// kv_heads are not; other extents may be. T: of q, k, v, y.
template <class T> struct Attention {
  using C = Compute<T>;
  int64_t batch, heads, kv_heads, queries, keys, features, out_features;
  const T *q, *k, *v;
  T* y;
  C* lse;  // [batch, heads, queries], and base(); null where no gradients are wanted
  HeadStrides q_at, k_at, v_at, y_at;
  AttentionRules rules;
  C scale;
  int32_t precision;  // of float32

  CDN_FN int64_t kv_head(int64_t h) const { return quotient(h, quotient(heads, kv_heads)); }
  CDN_FN int64_t rows() const { return batch * heads * queries; }
  // What scores lose before lse's powers are taken, as it has lost it; null: nothing.
  CDN_FN C* base() const { return lse && rules.adds() ? lse + rows() : nullptr; }
  int64_t lse_size() const { return rules.adds() ? 2 * rows() : rows(); }
  CDN_FN int64_t lse_at(int64_t b, int64_t h, int64_t r) const {
    return (b * heads + h) * queries + r;
  }
};

template <class T> struct AttentionGrad : Attention<T> {
  const T* dy;
  T *dq, *dk, *dv;
  Compute<T>* dscores;  // null, or [batch, heads, queries, keys]
  HeadStrides dq_at, dk_at, dv_at, dy_at;
};

namespace backend {

void attention(Call& call, const Attention<float>& x);
void attention(Call& call, const Attention<double>& x);
void attention(Call& call, const Attention<float16>& x);
void attention(Call& call, const Attention<bfloat16>& x);
void attention_grad(Call& call, const AttentionGrad<float>& x);
void attention_grad(Call& call, const AttentionGrad<double>& x);
void attention_grad(Call& call, const AttentionGrad<float16>& x);
void attention_grad(Call& call, const AttentionGrad<bfloat16>& x);

}  // namespace backend
}  // namespace cdn
