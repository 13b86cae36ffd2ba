// The kernels for float32.
#include "gpu/attention/float32.h"

namespace cdn {

template AttentionKernel cut_forward_kernel<2>(int, ForwardKind);
template AttentionKernel cut_query_grad_kernel<2>(int, bool);
template std::vector<AttentionKernel> cut_key_grad_kernels<2>(int, bool);

}  // namespace cdn
