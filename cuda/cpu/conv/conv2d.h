// Of convolutions the CPU has one kernel of its own, depthwise.h: im2col's matrix of a few images
// stays in its caches.
#pragma once
#include "cpu/conv/depthwise.h"

namespace cdn {

template <class... Arguments> bool implicit_conv2d(Arguments&&...) { return false; }
template <class... Arguments> bool implicit_grad_input(Arguments&&...) { return false; }
template <class... Arguments> bool implicit_grad_weight(Arguments&&...) { return false; }
template <class... Arguments> void cudnn_convolve(Arguments&&...) {}

template <class T> struct DirectKernels {
  template <class... Arguments> static bool conv2d(Arguments&&...) { return false; }
  template <class... Arguments> static bool conv2d_pooled(Arguments&&...) { return false; }
  template <class... Arguments> static bool grad_input(Arguments&&...) { return false; }
  template <class... Arguments> static bool grad_weight(Arguments&&...) { return false; }
};
template <class T> using MmaKernels = DirectKernels<T>;
using WinogradKernels = DirectKernels<float>;

template <class T> int64_t columns_ld(const ConvGeometry& g) { return g.group_depth(); }
template <class... Arguments> bool gather_columns(Arguments&&...) { return false; }

}  // namespace cdn
