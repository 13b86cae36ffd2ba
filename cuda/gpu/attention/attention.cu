// Attention on the GPU: by the kernels for tensor cores where they take it, else by plain.h's.
#include <algorithm>

#include "gpu/attention/plain.h"

namespace cdn {
namespace {

// A block for each 64 rows of each head, times as many as it takes for a row's features.
Launch blocks_of(int64_t heads, int64_t tiles, int64_t features) {
  const int64_t groups = ceil_div(features, plain::OUT * plain::SIDE);
  return {dim3(grid_for(heads * tiles), static_cast<unsigned>(groups < 1 ? 1 : groups)), BLOCK};
}

template <class T> void attend(Call& call, const Attention<T>& x) {
  if constexpr (!std::is_same<T, double>::value)
    if (hopper_attention(call, x)) return;
  const int64_t tiles = ceil_div(x.queries, plain::SIDE);
  launch(call, plain::forward<T>, blocks_of(x.batch * x.heads, tiles, x.out_features), x, tiles);
}

template <class T> void attend_grad(Call& call, const AttentionGrad<T>& x) {
  if constexpr (!std::is_same<T, double>::value)
    if (hopper_attention_grad(call, x)) return;
  const int64_t rows = x.batch * x.heads * x.queries, row_tiles = ceil_div(x.queries, plain::SIDE),
                tiles = ceil_div(x.keys, plain::SIDE);
  Compute<T>* inner = call.scratch<Compute<T>>(rows);
  if (rows > 0) {
    launch(call, plain::inner_products<T>, for_each_of(rows * 32), x, inner);
    launch(call, plain::grad_rows<T>, blocks_of(x.batch * x.heads, row_tiles, x.features), x, inner,
           row_tiles);
  }
  if (x.keys > 0)
    launch(call, plain::grad_columns<T>,
           blocks_of(x.batch * x.kv_heads, tiles, std::max(x.features, x.out_features)), x, inner,
           tiles);
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
