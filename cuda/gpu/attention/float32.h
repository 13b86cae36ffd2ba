// The kernels of attention on Hopper for float32 that was cut into PLANES of float16, with tiles
// and stages as they fit in shared memory and registers.
#pragma once
#include "gpu/attention/backward.h"
#include "gpu/attention/forward.h"
#include "gpu/attention/kernels.h"

namespace cdn {

template <class Tile> using CutForward = ForwardPass<Tile, false>;
template <class Tile> using CutKeyGrad = KeyGradPass<Tile>;
template <class Tile> using CutGradOfKeys = KeyGradPass<Tile, true, false>;
template <class Tile> using CutGradOfValues = KeyGradPass<Tile, false, true>;

template <int PLANES> AttentionKernel cut_forward_kernel(int features) {
  if (features > 64)
    return attention_kernel<CutForward,
                            AttentionTile<float16, 128, 2, 64, 2, 1, 1, false, PLANES>>();
  if (features > 32)
    return attention_kernel<CutForward,
                            AttentionTile<float16, 64, 2, 128, 3, 1, 1, false, PLANES>>();
  return attention_kernel<CutForward, AttentionTile<float16, 32, 2, 128, 3, 1, 1, false, PLANES>>();
}
template <int PLANES> AttentionKernel cut_query_grad_kernel(int features) {
  if (features > 64)
    return attention_kernel<QueryGradPass,
                            AttentionTile<float16, 128, 1, 64, 2, 2, 1, false, PLANES>>();
  if (features > 32)
    return attention_kernel<QueryGradPass,
                            AttentionTile<float16, 64, 2, 64, 4, 2, 1, false, PLANES>>();
  return attention_kernel<QueryGradPass,
                          AttentionTile<float16, 32, 2, 64, 4, 2, 1, false, PLANES>>();
}
template <int PLANES> std::vector<AttentionKernel> cut_key_grad_kernels(int features) {
  if (features > 64) {
    using Tile = AttentionTile<float16, 128, 1, 64, 2, 2, 1, true, PLANES>;
    return {attention_kernel<CutGradOfKeys, Tile>(), attention_kernel<CutGradOfValues, Tile>()};
  }
  if (features > 32)
    return {
        attention_kernel<CutKeyGrad, AttentionTile<float16, 64, 2, 64, 4, 2, 1, true, PLANES>>()};
  return {attention_kernel<CutKeyGrad, AttentionTile<float16, 32, 2, 64, 4, 2, 1, true, PLANES>>()};
}

}  // namespace cdn
