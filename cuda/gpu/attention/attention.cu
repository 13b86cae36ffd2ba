#include "gpu/attention/attention.h"

namespace cdn {
namespace {

template <class T> void attend(Call& call, const Attention<T>& x) {
  if constexpr (!std::is_same<T, double>::value)
    if (hopper_attention(call, x)) return;
  CDN_FAIL(CDN_UNSUPPORTED, "not yet");
}

template <class T> void attend_grad(Call& call, const AttentionGrad<T>& x) {
  if constexpr (!std::is_same<T, double>::value)
    if (hopper_attention_grad(call, x)) return;
  CDN_FAIL(CDN_UNSUPPORTED, "not yet");
}

}  // namespace

namespace backend {

void attention(Call& call, const Attention<float>& x) { attend(call, x); }
void attention(Call& call, const Attention<double>& x) { attend(call, x); }
void attention(Call& call, const Attention<float16>& x) { attend(call, x); }
void attention(Call& call, const Attention<bfloat16>& x) { attend(call, x); }
void attention_grad(Call& call, const AttentionGrad<float>& x) { attend_grad(call, x); }
void attention_grad(Call& call, const AttentionGrad<double>& x) { attend_grad(call, x); }
void attention_grad(Call& call, const AttentionGrad<float16>& x) { attend_grad(call, x); }
void attention_grad(Call& call, const AttentionGrad<bfloat16>& x) { attend_grad(call, x); }

}  // namespace backend
}  // namespace cdn
