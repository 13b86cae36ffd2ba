// The CPU has no convolution as an implicit product: im2col's matrix of a few images stays in its
// caches.
#pragma once
#include "ops/conv/geometry.h"

namespace cdn {

template <class... Arguments> bool implicit_conv2d(Arguments&&...) { return false; }
template <class... Arguments> bool implicit_grad_input(Arguments&&...) { return false; }
template <class... Arguments> bool implicit_grad_weight(Arguments&&...) { return false; }

template <class T> int64_t columns_ld(const ConvGeometry& g) { return g.group_depth(); }
template <class... Arguments> bool gather_columns(Arguments&&...) { return false; }

}  // namespace cdn
