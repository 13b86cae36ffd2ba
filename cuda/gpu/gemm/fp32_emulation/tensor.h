// Whole tensors of floats as planes of scaled float16, for products whose rows are not rows of
// memory: see split.h for what that is.
#pragma once
#include "gpu/gemm/fp32_emulation/split.h"

namespace cdn {

// Planes [plane][element]; a word of SplitInfo for each part.
struct CutTensor {
  const float16* planes;
  const int32_t* info;
};

// x as `parts` of `size` elements, a multiple of 4, with a scale each.
CutTensor cut_tensor(Call& call, const float* x, int64_t parts, int64_t size, int planes);

}  // namespace cdn
