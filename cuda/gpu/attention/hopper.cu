#include "gpu/attention/attention.h"

namespace cdn {

bool hopper_attention(Call&, const Attention<float>&) { return false; }
bool hopper_attention(Call&, const Attention<float16>&) { return false; }
bool hopper_attention(Call&, const Attention<bfloat16>&) { return false; }
bool hopper_attention_grad(Call&, const AttentionGrad<float>&) { return false; }
bool hopper_attention_grad(Call&, const AttentionGrad<float16>&) { return false; }
bool hopper_attention_grad(Call&, const AttentionGrad<bfloat16>&) { return false; }

}  // namespace cdn
