// The kernels of attention on Hopper by their sizes: a file for each dtype, as they take long to
// compile.
#pragma once
#include "gpu/attention/pass.h"

namespace cdn {

struct AttentionKernel {
  const void* function;
  int rows, columns;  // of a tile
  int threads, shared_bytes;
};

// For so many features at most.
template <class T> AttentionKernel forward_kernel(int features);
template <class T> AttentionKernel query_grad_kernel(int features);
template <class T> AttentionKernel key_grad_kernel(int features);

}  // namespace cdn
