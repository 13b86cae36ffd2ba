// The second pass where k was cut over blocks: pieces [piece][matrix][m][n] are added, a thread
// taking 16 bytes of each. A pass of its own instead of atomics, so that the order is fixed and
// results repeat bit by bit.
#pragma once
#include "gpu/gemm/product.h"

namespace cdn {

// y[i] = sum over s of pieces[s][i], in the order of s.
template <int W, class Y, class T>
__global__ void __launch_bounds__(BLOCK, 4)
    sum_pieces(Y* y, const T* pieces, int64_t count, int64_t splits) {
  using Part = Pack<T, W>;
  int64_t packs = count / W;
  for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < packs;
       i += (int64_t)gridDim.x * BLOCK) {
    Part sum = reinterpret_cast<const Part*>(pieces)[i];
#pragma unroll 8
    for (int64_t s = 1; s < splits; s++) {
      Part part = reinterpret_cast<const Part*>(pieces)[s * packs + i];
#pragma unroll
      for (int w = 0; w < W; w++) sum.v[w] += part.v[w];
    }
    Pack<Y, W> out;
#pragma unroll
    for (int w = 0; w < W; w++) out.v[w] = static_cast<Y>(sum.v[w]);
    reinterpret_cast<Pack<Y, W>*>(y)[i] = out;
  }
}

template <class Y, class T>
void sum_all_pieces(Call& call, Y* y, const T* pieces, int64_t count, int64_t splits) {
  constexpr int W = 16 / sizeof(T);
  if (aligned16(y) && aligned16(pieces) && count % W == 0)
    launch(call, sum_pieces<W, Y, T>, for_each_of(count / W), y, pieces, count, splits);
  else
    launch(call, sum_pieces<1, Y, T>, for_each_of(count), y, pieces, count, splits);
}

}  // namespace cdn
