// Products that are bound by memory, whatever multiplies: of few rows, few columns or a short k.
#pragma once
#include "gpu/gemm/product.h"

namespace cdn {

// c = a b if the product is skinny; false, and nothing done, if it is not. T is float, double,
// float16 or bfloat16.
template <class T> bool try_matmul_thin(Call& call, const Product<T>& p, const Layout& batch);

}  // namespace cdn
