// Convolution as an implicit product on Hopper's tensor cores: the pixels that taps meet are found
// by TMA, and no matrix of them is made. For 16-bit floats, and float32 cut into such, with as many
// channels and filters as TMA asks for, and one group. False where that does not hold, and nothing
// was done.
#pragma once
#include "ops/conv/geometry.h"
#include "ops/linalg/matmul.h"

namespace cdn {

template <class T>
bool implicit_conv2d(Call& call, const ConvGeometry& g, const T* x, const T* w,
                     const Epilogue& epilogue, Precision precision);
template <class T>
bool implicit_grad_input(Call& call, const ConvGeometry& g, T* dx, const T* dy, const T* w,
                         Precision precision);
template <class T>
bool implicit_grad_weight(Call& call, const ConvGeometry& g, T* dw, const T* dy, const T* x,
                          Precision precision);

}  // namespace cdn
