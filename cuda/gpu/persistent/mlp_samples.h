// The samples of a batch: how a block fetches its slice of the features, and what a thread sees.
#pragma once
#include "gpu/persistent/mlp_shape.h"
#include "gpu/tile/async_copy.h"

namespace cdn {
#if defined(CDN_HOPPER)

// NORMALISED: scaled and shifted feature by feature. Bytes that are not are exact in tf32, and
// their one scale can wait for the products' sums.
template <class T, bool NORMALISED> struct MlpSamples {
  static constexpr bool EXACT = sizeof(T) == 1 && !NORMALISED;
  const T* all;    // the block's first feature of the first sample
  int64_t inputs;  // from sample to sample
  int features;    // that there are in this block
  const T* x;      // the step's batch
  int row;         // elements from one of its rows to the next
  const float *scale, *shift;

  __device__ __forceinline__ float at(int r, int c) const {
    const float value = static_cast<float>(x[r * row + c]);
    return NORMALISED ? value * scale[c] + shift[c] : value;
  }

  // Begins to fetch pieces [first, end) of samples r, r + step, … of a batch to `to`; a warp's
  // lanes begin at `lane`, `lanes` apart. A sample that is not there is 0.
  template <class Piece>
  __device__ __forceinline__ void fetch(T* to, const int32_t* index, int batch, int r, int step,
                                        int first, int end, int lane, int lanes) const {
    constexpr int EACH = sizeof(Piece) / sizeof(T);
    for (; r < batch; r += step) {
      const int32_t i = index[r];
      const T* from = all + (i < 0 ? 0 : i) * inputs;
      for (int p = first + lane; p < end; p += lanes)
        if constexpr (sizeof(Piece) >= 4)
          copy_async_or_zero<sizeof(Piece)>(to + r * row + p * EACH, from + p * EACH, i >= 0);
        else
          to[r * row + p] = i < 0 ? T(0) : from[p];
    }
  }
  // Columns [begin, end), the end as there are features.
  __device__ __forceinline__ void fetch_columns(bool words, T* to, const int32_t* index, int batch,
                                                int r, int step, int begin, int end, int lane,
                                                int lanes) const {
    constexpr int EACH = 16 / sizeof(T);
    end = min(end, features);
    if (words)
      fetch<uint4>(to, index, batch, r, step, begin / EACH, end / EACH, lane, lanes);
    else
      fetch<T>(to, index, batch, r, step, begin, end, lane, lanes);
  }
};

#endif
}  // namespace cdn
