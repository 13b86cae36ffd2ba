#include "ops/attention/attention.h"

namespace cdn::backend {

void attention(Call&, const Attention<float>&) { CDN_FAIL(CDN_UNSUPPORTED, "not yet"); }
void attention(Call&, const Attention<double>&) { CDN_FAIL(CDN_UNSUPPORTED, "not yet"); }
void attention(Call&, const Attention<float16>&) { CDN_FAIL(CDN_UNSUPPORTED, "not yet"); }
void attention(Call&, const Attention<bfloat16>&) { CDN_FAIL(CDN_UNSUPPORTED, "not yet"); }
void attention_grad(Call&, const AttentionGrad<float>&) { CDN_FAIL(CDN_UNSUPPORTED, "not yet"); }
void attention_grad(Call&, const AttentionGrad<double>&) { CDN_FAIL(CDN_UNSUPPORTED, "not yet"); }
void attention_grad(Call&, const AttentionGrad<float16>&) { CDN_FAIL(CDN_UNSUPPORTED, "not yet"); }
void attention_grad(Call&, const AttentionGrad<bfloat16>&) { CDN_FAIL(CDN_UNSUPPORTED, "not yet"); }

}  // namespace cdn::backend
