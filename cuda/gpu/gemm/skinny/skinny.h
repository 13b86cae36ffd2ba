// Products that are bound by memory, whatever multiplies: of few rows, few columns or a short k.
#pragma once
#include "gpu/gemm/product.h"

namespace cdn {

// c = a b if the product is thin; false, and nothing done, if it is not.
bool try_matmul_thin(Call& call, const Product<float>& p, const Layout& batch);
bool try_matmul_thin(Call& call, const Product<double>& p, const Layout& batch);
bool try_matmul_thin(Call& call, const Product<float16>& p, const Layout& batch);
bool try_matmul_thin(Call& call, const Product<bfloat16>& p, const Layout& batch);

}  // namespace cdn
