// The kernels of attention on Hopper by their sizes: a file for each dtype, as they take long to
// compile.
#pragma once
#include <vector>

#include "gpu/attention/pass.h"

namespace cdn {

struct AttentionKernel {
  const void* function;
  int rows, columns;  // of a tile
  int threads, shared_bytes;
};

template <template <class> class Pass, class Tile> AttentionKernel attention_kernel() {
  return {reinterpret_cast<const void*>(attention_pass<Pass<Tile>>), Tile::ROWS, Tile::C,
          Tile::THREADS, Tile::SHARED_BYTES};
}

// For so many features at most.
template <class T> AttentionKernel forward_kernel(int features);
template <class T> AttentionKernel query_grad_kernel(int features);
template <class T> AttentionKernel key_grad_kernel(int features);

// For float32 that was cut into so many planes.
template <int PLANES> AttentionKernel cut_forward_kernel(int features);
template <int PLANES> AttentionKernel cut_query_grad_kernel(int features);
// Where there are two, the first makes dk, the second dv.
template <int PLANES> std::vector<AttentionKernel> cut_key_grad_kernels(int features);

}  // namespace cdn
