// Attention on the GPU: by the kernels for tensor cores where they take it, else by plain.h's.
#include <algorithm>

#include "gpu/attention/plain.h"

namespace cdn {
namespace {

template <class T> void attend(Call& call, const Attention<T>& x) {
  if constexpr (!std::is_same<T, double>::value)
    if (hopper_attention(call, x)) return;
  const plain::Units units(x.batch * x.heads, x.queries, x.out_features);
  launch(call, plain::forward<T>, {grid_for(units.count)}, x, units);
}

template <class T> void attend_grad(Call& call, const AttentionGrad<T>& x) {
  if constexpr (is_half<T>)
    if (hopper_attention_grad(call, x)) return;
  const int64_t rows = x.batch * x.heads * x.queries;
  Compute<T>* inner = call.scratch<Compute<T>>(rows);
  if (rows > 0) launch(call, plain::inner_products<T>, for_each_of(rows * 32), x, inner);
  if constexpr (std::is_same<T, float>::value)
    if (hopper_takes_grad(call, x)) return hopper_attention_grad(call, x, inner);
  if (rows > 0) {
    const plain::Units units(x.batch * x.heads, x.queries, x.features);
    launch(call, plain::grad_rows<T>, {grid_for(units.count)}, x, inner, units);
  }
  if (x.keys > 0) {
    const plain::Units units(x.batch * x.kv_heads, x.keys, std::max(x.features, x.out_features));
    launch(call, plain::grad_columns<T>, {grid_for(units.count)}, x, inner, units);
  }
}

}  // namespace

namespace backend {

void attention(Call& call, const Attention<float>& x) { attend(call, x); }
void attention(Call& call, const Attention<double>& x) { attend(call, x); }
void attention(Call& call, const Attention<float16>& x) { attend(call, x); }
void attention(Call& call, const Attention<bfloat16>& x) { attend(call, x); }
void attention_grad(Call& call, const AttentionGrad<float>& x) { attend_grad(call, x); }
void attention_grad(Call& call, const AttentionGrad<double>& x) { attend_grad(call, x); }
void attention_grad(Call& call, const AttentionGrad<float16>& x) { attend_grad(call, x); }
void attention_grad(Call& call, const AttentionGrad<bfloat16>& x) { attend_grad(call, x); }

}  // namespace backend
}  // namespace cdn
