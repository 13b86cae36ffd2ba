// The kernels that take attention of some dtypes, sizes, strides and masks, on devices that have
// what they are made of: those that leave the work undone return false.
#pragma once
#include "gpu/device/launch.h"
#include "ops/attention/attention.h"

namespace cdn {

// By wgmma and TMA.
bool hopper_attention(Call& call, const Attention<float>& x);
bool hopper_attention(Call& call, const Attention<float16>& x);
bool hopper_attention(Call& call, const Attention<bfloat16>& x);
bool hopper_attention_grad(Call& call, const AttentionGrad<float16>& x);
bool hopper_attention_grad(Call& call, const AttentionGrad<bfloat16>& x);

// float32 needs the inner products of dy and y, [batch, heads, queries].
bool hopper_takes_grad(const Call& call, const AttentionGrad<float>& x);
void hopper_attention_grad(Call& call, const AttentionGrad<float>& x, float* inner);

}  // namespace cdn
