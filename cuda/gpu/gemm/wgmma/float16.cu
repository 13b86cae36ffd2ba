// multiply_by_wgmma for float16.
#include "gpu/gemm/wgmma/half.h"

namespace cdn {

template WgmmaKernel wgmma_half<float16>(WgmmaExtent, WgmmaCase);

}  // namespace cdn
