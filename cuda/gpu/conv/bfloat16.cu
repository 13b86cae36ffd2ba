#include "gpu/conv/instances.h"

namespace cdn {

template WgmmaKernel conv_kernel<bfloat16>(WgmmaExtent, bool b_mn, bool fused);
template WgmmaKernel conv_grad_weight_kernel<bfloat16>(WgmmaExtent);

}  // namespace cdn
