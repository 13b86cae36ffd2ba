#include "gpu/gemm/fp32_emulation/tensor.h"

#include "gpu/device/launch.h"
#include "gpu/gemm/fp32_emulation/extremes.h"

namespace cdn {
namespace {

struct FindInfo {
  using Acc = Extremes;
  const float* x;
  int32_t* info;
  __device__ Acc start() const { return {}; }
  __device__ Acc load(int64_t at, int64_t) const {
    Acc one;
    see(one, x[at]);
    return one;
  }
  __device__ Acc join(Acc a, const Acc& b) const {
    cdn::join(a, b);
    return a;
  }
  __device__ void store(int64_t part, const Acc& seen) const { info[part] = info_of(seen); }
};

template <int PLANES>
__global__ void __launch_bounds__(BLOCK)
    cut(const float4* x, const int32_t* info, float16* hi, int64_t packs, int64_t of_part) {
  const int64_t to_lo = packs * 4;
  for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < packs;
       i += (int64_t)gridDim.x * BLOCK) {
    const float4 four = x[i];
    const PowerOfTwo power(SplitInfo::exponent(info[quotient(i, of_part)]));
    store_four<PLANES>({four.x, four.y, four.z, four.w}, {power, power, power, power}, hi + i * 4,
                       to_lo);
  }
}

}  // namespace

CutTensor cut_tensor(Call& call, const float* x, int64_t parts, int64_t size, int planes) {
  int32_t* info = call.scratch<int32_t>(parts);
  reduce(call, parts, size, 1, FindInfo{x, info});
  const int64_t packs = parts * size / 4;
  float16* to = call.scratch<float16>(planes * packs * 4);
  launch(call, planes == 2 ? cut<2> : cut<1>, for_each_of(packs),
         reinterpret_cast<const float4*>(x), info, to, packs, size / 4);
  return {to, info};
}

}  // namespace cdn
