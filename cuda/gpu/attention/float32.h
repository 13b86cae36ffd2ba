// The kernels of attention on Hopper for float32 that was cut into PLANES of float16, with tiles
// and stages as they fit in shared memory and registers.
#pragma once
#include "gpu/attention/backward.h"
#include "gpu/attention/forward.h"
#include "gpu/attention/kernels.h"

namespace cdn {

template <class Tile> using CutKeyGrad = KeyGradPass<Tile>;
template <class Tile> using CutGradOfKeys = KeyGradPass<Tile, true, false>;
template <class Tile> using CutGradOfValues = KeyGradPass<Tile, false, true>;

// Of D features and C columns at a time.
template <int D, int GROUPS, int C, int STAGES, int ROW_TENSORS, bool STATS, bool DROPS, int PLANES>
using CutTile = AttentionTile<float16, D, GROUPS, C, STAGES, ROW_TENSORS, 1, STATS, DROPS, PLANES>;

template <int PLANES> AttentionKernel cut_forward_kernel(int features, ForwardKind kind) {
  return with_drops(kind == ForwardKind::DROPS, [&](auto drops) {
    constexpr bool D = drops, P = false;  // results are float in any case
    if (features > 64) return forward_of<CutTile<128, 2, 64, 2, 1, false, D, PLANES>, false, P>();
    if (features > 32) return forward_of<CutTile<64, 2, 128, 3, 1, false, D, PLANES>, false, P>();
    return forward_of<CutTile<32, 2, 128, 3, 1, false, D, PLANES>, false, P>();
  });
}
template <int PLANES> AttentionKernel cut_query_grad_kernel(int features, bool drops) {
  return with_drops(drops, [&](auto d) {
    constexpr bool D = d;
    if (features > 64)
      return attention_kernel<QueryGradPass, CutTile<128, 1, 64, 2, 2, false, D, PLANES>>();
    if (features > 32)
      return attention_kernel<QueryGradPass, CutTile<64, 2, 64, 4, 2, false, D, PLANES>>();
    return attention_kernel<QueryGradPass, CutTile<32, 2, 64, 4, 2, false, D, PLANES>>();
  });
}
template <int PLANES> std::vector<AttentionKernel> cut_key_grad_kernels(int features, bool drops) {
  using Kernels = std::vector<AttentionKernel>;
  return with_drops(drops, [&](auto d) -> Kernels {
    constexpr bool D = d;
    if (features > 64) {
      using Tile = CutTile<128, 1, 64, 2, 2, true, D, PLANES>;
      return {attention_kernel<CutGradOfKeys, Tile>(), attention_kernel<CutGradOfValues, Tile>()};
    }
    if (features > 32)
      return {attention_kernel<CutKeyGrad, CutTile<64, 2, 64, 4, 2, true, D, PLANES>>()};
    return {attention_kernel<CutKeyGrad, CutTile<32, 2, 64, 4, 2, true, D, PLANES>>()};
  });
}

}  // namespace cdn
