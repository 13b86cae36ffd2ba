// The second pass where k was cut over blocks: pieces [piece][matrix][m][n] are added, a thread
// taking 16 bytes of each. A pass of its own instead of atomics, so that the order is fixed and
// results repeat bit by bit.
#pragma once
#include "gpu/gemm/product.h"

namespace cdn {

// store(i, sum over s of pieces[s][i], in the order of s), for W values at a time.
template <int W, class T, class Store>
__global__ void __launch_bounds__(BLOCK, 4)
    sum_pieces(Store store, const T* pieces, int64_t count, int64_t splits) {
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
    store(i, sum);
  }
}

template <class Y> struct StoreSums {
  Y* y;
  template <int W, class T>
  __device__ __forceinline__ void operator()(int64_t i, const Pack<T, W>& sum) const {
    Pack<Y, W> out;
#pragma unroll
    for (int w = 0; w < W; w++) out.v[w] = static_cast<Y>(sum.v[w]);
    reinterpret_cast<Pack<Y, W>*>(y)[i] = out;
  }
};
template <class Y, class T>
void sum_split_k(Call& call, Y* y, const T* pieces, int64_t count, int64_t splits) {
  constexpr int W = 16 / sizeof(T);
  const bool wide = aligned16(y) && aligned16(pieces) && count % W == 0;
  auto kernel = wide ? sum_pieces<W, T, StoreSums<Y>> : sum_pieces<1, T, StoreSums<Y>>;
  launch(call, kernel, for_each_of(wide ? count / W : count), StoreSums<Y>{y}, pieces, count,
         splits);
}

// The same, and what is to follow.
template <class F> struct FinishSums {
  F finish;
  template <class T>
  __device__ __forceinline__ void operator()(int64_t i, const Pack<T, 1>& sum) const {
    finish(sum.v[0], i, i - quotient(i, finish.cols) * finish.cols);
  }
};
template <class F, class T>
void finish_split_k(Call& call, const F& finish, const T* pieces, int64_t count, int64_t splits) {
  launch(call, sum_pieces<1, T, FinishSums<F>>, for_each_of(count), FinishSums<F>{finish}, pieces,
         count, splits);
}

}  // namespace cdn
