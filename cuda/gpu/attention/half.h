// The kernels of attention on Hopper for 16-bit numbers, with tiles and stages as they fit in
// shared memory and registers.
#pragma once
#include "gpu/attention/backward.h"
#include "gpu/attention/forward.h"
#include "gpu/attention/kernels.h"

namespace cdn {

template <template <class> class Pass, class Tile> AttentionKernel attention_kernel() {
  return {reinterpret_cast<const void*>(attention_pass<Pass<Tile>>), Tile::ROWS, Tile::C,
          Tile::THREADS, Tile::SHARED_BYTES};
}
template <class Tile> using ForwardByTurns = ForwardPass<Tile, true>;
template <class Tile> using Forward = ForwardPass<Tile, false>;

template <class T> AttentionKernel forward_kernel(int features, bool wide) {
  if (features > 128) return attention_kernel<Forward, AttentionTile<T, 256, 2, 64, 2, 1, false>>();
  if (features > 64)
    return attention_kernel<ForwardByTurns, AttentionTile<T, 128, 2, 128, 3, 1, false>>();
  return wide ? attention_kernel<Forward, AttentionTile<T, 64, 3, 128, 6, 1, false>>()
              : attention_kernel<Forward, AttentionTile<T, 64, 2, 128, 6, 1, false>>();
}
template <class T> AttentionKernel query_grad_kernel(int features) {
  return features > 64
             ? attention_kernel<QueryGradPass, AttentionTile<T, 128, 2, 64, 4, 2, false>>()
             : attention_kernel<QueryGradPass, AttentionTile<T, 64, 2, 128, 5, 2, false>>();
}
template <class T> AttentionKernel key_grad_kernel(int features) {
  return features > 64 ? attention_kernel<KeyGradPass, AttentionTile<T, 128, 2, 64, 4, 2, true>>()
                       : attention_kernel<KeyGradPass, AttentionTile<T, 64, 2, 128, 5, 2, true>>();
}

}  // namespace cdn
