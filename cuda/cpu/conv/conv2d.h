// The CPU has no convolutions of its own: im2col's matrix of a few images stays in its caches.
#pragma once
#include "ops/conv/geometry.h"

namespace cdn {

template <class... Arguments> bool implicit_conv2d(Arguments&&...) { return false; }
template <class... Arguments> bool implicit_grad_input(Arguments&&...) { return false; }
template <class... Arguments> bool implicit_grad_weight(Arguments&&...) { return false; }

template <class T> struct NoKernels {
  template <class... Arguments> static bool conv2d(Arguments&&...) { return false; }
  template <class... Arguments> static bool conv2d_pooled(Arguments&&...) { return false; }
  template <class... Arguments> static bool grad_input(Arguments&&...) { return false; }
  template <class... Arguments> static bool grad_weight(Arguments&&...) { return false; }
};
template <class T> using DirectKernels = NoKernels<T>;
template <class T> using DepthwiseKernels = NoKernels<T>;

template <class T> int64_t columns_ld(const ConvGeometry& g) { return g.group_depth(); }
template <class... Arguments> bool gather_columns(Arguments&&...) { return false; }

}  // namespace cdn
