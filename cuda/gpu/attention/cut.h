// float32 heads as tensor cores take them: cut into planes of float16, x 2^e = hi + lo, where e is
// one for some rows of a head, so that the largest comes to between 2^14 and 2^15. Smaller ones
// keep 22 bits down to 2^-17 of that, and below an absolute 2^-40 of it.
#pragma once
#include "gpu/attention/attention.h"
#include "kernel/half.h"

namespace cdn {

struct CutHeads {
  const float* x;
  HeadStrides at;
  int64_t lines, heads;
  float16* planes;  // [plane][batch][head][line][feature]
  float* scales;    // 2^-e: [batch][head][lines / each]
  int32_t most;     // e is no more
  bool of_keys;     // else of queries: those that nothing sees, or that see nothing, become 0
};
constexpr int MOST_CUTS = 4;
struct Cuts {
  CutHeads of[MOST_CUTS];
  AttentionRules rules;
  int64_t batch, features[MOST_CUTS];
  int32_t count, each, planes;  // of tensors; rows with one e
};

// Whether reads of 16 bytes meet them.
inline bool cuttable(const float* x, const HeadStrides& at) {
  return aligned16(x) && at.row % 4 == 0 && at.head % 4 == 0 && at.batch % 4 == 0;
}

void cut_heads(Call& call, const Cuts& cuts);

}  // namespace cdn
