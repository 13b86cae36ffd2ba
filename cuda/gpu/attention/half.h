// The kernels of attention on Hopper for 16-bit numbers, with tiles and stages as they fit in
// shared memory and registers.
#pragma once
#include "gpu/attention/backward.h"
#include "gpu/attention/forward.h"
#include "gpu/attention/kernels.h"

namespace cdn {

template <class Tile> using KeyGrad = KeyGradPass<Tile>;

template <class T> AttentionKernel forward_kernel(int features, ForwardKind kind) {
  return with_kind(kind, [&](auto drops, auto pieces) {
    constexpr bool D = drops, P = pieces;
    if (features > 128)
      return forward_of<AttentionTile<T, 256, 2, 64, 2, 1, 1, false, D>, false, P>();
    if (features > 64)
      return forward_of<AttentionTile<T, 128, 2, 128, 3, 1, 1, false, D>, true, P>();
    if (features > 32)
      return forward_of<AttentionTile<T, 64, 2, 128, 5, 1, 2, false, D>, true, P>();
    return forward_of<AttentionTile<T, 32, 2, 128, 5, 1, 2, false, D>, true, P>();
  });
}
template <class T> AttentionKernel query_grad_kernel(int features, bool drops) {
  return with_drops(drops, [&](auto d) {
    constexpr bool D = d;
    if (features > 64)
      return attention_kernel<QueryGradPass, AttentionTile<T, 128, 2, 64, 4, 3, 1, false, D>>();
    if (features > 32)
      return attention_kernel<QueryGradPass, AttentionTile<T, 64, 2, 128, 4, 3, 2, false, D>>();
    return attention_kernel<QueryGradPass, AttentionTile<T, 32, 2, 128, 4, 3, 2, false, D>>();
  });
}
template <class T> AttentionKernel key_grad_kernel(int features, bool drops) {
  return with_drops(drops, [&](auto d) {
    constexpr bool D = d;
    if (features > 64)
      return attention_kernel<KeyGrad, AttentionTile<T, 128, 2, 64, 4, 2, 1, true, D>>();
    if (features > 32)
      return attention_kernel<KeyGrad, AttentionTile<T, 64, 2, 128, 4, 2, 2, true, D>>();
    return attention_kernel<KeyGrad, AttentionTile<T, 32, 2, 128, 4, 2, 2, true, D>>();
  });
}

}  // namespace cdn
