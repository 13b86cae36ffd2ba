// multiply_by_wgmma for bfloat16: of that type, or floats rounded to it.
#include "gpu/gemm/wgmma/half.h"

namespace cdn {

template WgmmaKernel wgmma_half<bfloat16>(WgmmaExtent, WgmmaCase);

}  // namespace cdn
