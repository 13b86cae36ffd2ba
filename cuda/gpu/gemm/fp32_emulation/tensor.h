// Whole tensors of floats as planes of scaled float16, for products whose rows are not rows of
// memory: see split.h for what that is.
#pragma once
#include <utility>

#include "gpu/gemm/fp32_emulation/split.h"

namespace cdn {

// `parts` of `size` elements, a multiple of 4, with a scale each.
struct FloatTensor {
  const float* x;
  int64_t parts, size;
};

// Planes [plane][element]; a word of SplitInfo for each part.
struct CutTensor {
  float16* planes;
  int32_t* info;
};

// Cuts two tensors by the same launches.
std::pair<CutTensor, CutTensor> cut_tensors(Call& call, const FloatTensor& a, const FloatTensor& b,
                                            int planes);

}  // namespace cdn
