// The kernels for float32 rounded to tf32's bits.
#include "gpu/attention/float32.h"

namespace cdn {

template AttentionKernel cut_forward_kernel<1>(int, ForwardKind);
template AttentionKernel cut_query_grad_kernel<1>(int, bool);
template std::vector<AttentionKernel> cut_key_grad_kernels<1>(int, bool);

}  // namespace cdn
