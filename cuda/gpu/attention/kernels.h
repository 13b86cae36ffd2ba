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

// For so many features at most, with dropout or without. The forward pass of pieces of the keys has
// none.
enum class ForwardKind { WHOLE, DROPS, PIECES };
template <class T> AttentionKernel forward_kernel(int features, ForwardKind kind);
template <class T> AttentionKernel query_grad_kernel(int features, bool drops);
template <class T> AttentionKernel key_grad_kernel(int features, bool drops);

// For float32 that was cut into so many planes.
template <int PLANES> AttentionKernel cut_forward_kernel(int features, ForwardKind kind);
template <int PLANES> AttentionKernel cut_query_grad_kernel(int features, bool drops);
// Where there are two, the first makes dk, the second dv.
template <int PLANES> std::vector<AttentionKernel> cut_key_grad_kernels(int features, bool drops);

// f(whether there is dropout, whether keys come in pieces, as constants).
template <class F> auto with_kind(ForwardKind kind, F&& f) {
  switch (kind) {
    case ForwardKind::DROPS: return f(std::true_type{}, std::false_type{});
    case ForwardKind::PIECES: return f(std::false_type{}, std::true_type{});
    default: return f(std::false_type{}, std::false_type{});
  }
}
// f(drops as a constant).
template <class F> auto with_drops(bool drops, F&& f) {
  return drops ? f(std::true_type{}) : f(std::false_type{});
}

}  // namespace cdn
