#include "gpu/attention/half.h"

namespace cdn {

template AttentionKernel forward_kernel<float16>(int, ForwardKind);
template AttentionKernel query_grad_kernel<float16>(int, bool);
template AttentionKernel key_grad_kernel<float16>(int, bool);

}  // namespace cdn
