#include "gpu/conv/instances.h"

namespace cdn {

template WgmmaKernel conv_kernel<float16>(WgmmaExtent, bool b_mn, bool fused);
template WgmmaKernel conv_grad_weight_kernel<float16>(WgmmaExtent);

}  // namespace cdn
