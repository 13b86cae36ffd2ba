#include "gpu/attention/half.h"

namespace cdn {

template AttentionKernel forward_kernel<bfloat16>(int, ForwardKind);
template AttentionKernel query_grad_kernel<bfloat16>(int, bool);
template AttentionKernel key_grad_kernel<bfloat16>(int, bool);

}  // namespace cdn
