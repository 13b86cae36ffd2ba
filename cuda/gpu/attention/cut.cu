#include "gpu/attention/cut.h"

#include <algorithm>

namespace cdn {
namespace {

__global__ void __launch_bounds__(BLOCK) cut_kernel(const __grid_constant__ Cuts cuts) {
  follow_previous_kernel();
  const CutHeads& own = cuts.of[blockIdx.y];
  const int64_t tiles = (own.lines + cuts.each - 1) / cuts.each,
                features = cuts.features[blockIdx.y],
                plane = cuts.batch * own.heads * own.lines * features;
  const int packs = static_cast<int>(features / 4);
  for (int64_t task = blockIdx.x; task < tiles * cuts.batch * own.heads; task += gridDim.x) {
    const int64_t z = quotient(task, tiles), tile = task - z * tiles, b = quotient(z, own.heads),
                  h = z - b * own.heads, first = tile * cuts.each;
    const int rows = static_cast<int>(min(int64_t{cuts.each}, own.lines - first));
    const float* from = own.x + own.at(b, h, first);
    const AttentionRules& rules = cuts.rules;
    const Span seen = own.of_keys ? rules.columns(b, 0, rules.queries - 1)
                                  : rules.rows(b, 0, rules.keys_of(b) - 1);
    float16* to = own.planes + (z * own.lines + first) * features;
    auto each_pack = [&](auto f) {
      for (int i = threadIdx.x; i < rows * packs; i += BLOCK) {
        const int row = i / packs, column = (i - row * packs) * 4;
        const bool counts = first + row >= seen.begin && first + row < seen.end;
        f(counts ? *reinterpret_cast<const float4*>(from + row * own.at.row + column) : float4{},
          row * features + column);
      }
    };
    float most = 0;
    each_pack([&](float4 x, int64_t) {
      for (float v : {x.x, x.y, x.z, x.w})
        if (fabsf(v) <= 0x1.fffffep127f) most = fmaxf(most, fabsf(v));
    });
    most = join_group<BLOCK>(most, [](float a, float b) { return fmaxf(a, b); });
    const int exponent = most == 0 ? 0 : min(14 - ((__float_as_int(most) >> 23) - 127), own.most);
    const float lift = __int_as_float((exponent + 127) << 23);
    if (threadIdx.x == 0) own.scales[task] = __int_as_float((127 - exponent) << 23);
    each_pack([&](float4 x, int64_t at) {
      const float v[4] = {x.x, x.y, x.z, x.w};
      Pack<float16, 4> hi, lo;
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const float lifted = v[i] * lift;
        hi.v[i] = static_cast<float16>(lifted);
        const float rest = lifted - wide(hi.v[i]);
        lo.v[i] = static_cast<float16>(rest - rest == 0 ? rest : 0.0f);
      }
      *reinterpret_cast<Pack<float16, 4>*>(to + at) = hi;
      if (cuts.planes == 2) *reinterpret_cast<Pack<float16, 4>*>(to + plane + at) = lo;
    });
  }
}

}  // namespace

void cut_heads(Call& call, const Cuts& cuts) {
  int64_t tasks = 0;
  for (int i = 0; i < cuts.count; i++)
    tasks = std::max(tasks, ceil_div(cuts.of[i].lines, cuts.each) * cuts.batch * cuts.of[i].heads);
  Launch how{dim3(grid_for(tasks), static_cast<unsigned>(cuts.count))};
  launch(call, cut_kernel, following(call, how), cuts);
}

}  // namespace cdn
