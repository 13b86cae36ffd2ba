// The GPU's methods of convolution, for all three directions. Each is false, and nothing was done,
// where it does not serve.
#pragma once
#include "ops/conv/geometry.h"

namespace cdn {

// An implicit product on Hopper's tensor cores: the pixels that taps meet are found by TMA, and no
// matrix of them is made. For 16-bit floats, and float32 cut into such, with as many channels and
// filters as TMA asks for, and one group.
template <class T> bool convolve_implicit(Call& call, const Convolution<T>& c);

// The same on the tensor cores of sm_80 and later GPUs: for what TMA does not take, such as groups,
// and for GPUs without it. Channels that are summed come in 16 bytes.
template <class T> bool convolve_by_mma(Call& call, const Convolution<T>& c);

// Few channels by sums over a tile of the image in shared memory: what the filters' sums are of is
// too short for tensor cores, or the images are small. One group, no dilation; pooled or not. Not
// where it would not pay, unless it was named.
template <class T> bool convolve_direct(Call& call, const Convolution<T>& c);

// A filter for each channel: bound by memory, if what windows share is read once. Square filters of
// 3, 5 or 7 taps and strides of 1 or 2.
template <class T> bool convolve_depthwise(Call& call, const Convolution<T>& c);

// With fewer multiplications (Winograd's F(2x2, 3x3)): 3 x 3 filters, a stride of 1, no dilation,
// one group; not the weights' gradient.
bool convolve_by_winograd(Call& call, const Convolution<float>& c);

// By the vendor's library, for comparison, opened at run time if it is there. Its fastest algorithm
// for each shape is found by trying, at the first call; that may add in another order at each call.
// Nothing is empty. Throws CDN_UNSUPPORTED where cuDNN is missing, or has no algorithm.
template <class T> bool convolve_by_cudnn(Call& call, const Convolution<T>& c);

// By the kernel that c's method names, or for IMPLICIT, unless it was named, the best that serves.
template <class T> bool convolve_by_kernel(Call& call, const Convolution<T>& c) {
  const bool any = c.method == IMPLICIT && !c.named;
  if constexpr (!std::is_same_v<T, double>) {
    if (c.method == DIRECT || (any && c.pooled && (c.g.c % 8 != 0 || c.g.k % 8 != 0)))
      return convolve_direct(call, c);
    if (c.pooled) return false;
    if (c.method == IMPLICIT)
      return convolve_implicit(call, c) ||
             (any && (convolve_by_mma(call, c) || convolve_direct(call, c)));
    if (c.method == MMA) return convolve_by_mma(call, c);
    if (c.method == DEPTHWISE) return convolve_depthwise(call, c);
  }
  if constexpr (std::is_same_v<T, float>)
    if (c.method == WINOGRAD) return convolve_by_winograd(call, c);
  return c.method == CUDNN && !c.pooled && convolve_by_cudnn(call, c);
}

// im2col's matrix by a kernel that divides once a line of y, not once an element. False where sizes
// are beyond it. `bytes`: of an element; from one row to the next are ld of them.
bool gather_columns(Call& call, const ConvGeometry& g, void* col, const void* x, int64_t ld,
                    int64_t bytes);

// Whole pieces of 16 bytes, as TMA asks for, unless that would waste much. What is behind a row's
// numbers is 0.
template <class T> int64_t columns_ld(const ConvGeometry& g) {
  constexpr int64_t PIECE = 16 / sizeof(T);
  const int64_t depth = g.group_depth();
  return depth < 2 * PIECE ? depth : ceil_div(depth, PIECE) * PIECE;
}

}  // namespace cdn
