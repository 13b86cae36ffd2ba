// Rows of up to 32 elements a lane, each sorted by a warp in registers. An element is its key above
// its place in the row, so that no two are equal and the sort is stable; the network is bitonic, in
// the form in which a run first meets its mirror image and all comparisons go the same way.
#pragma once
#include "gpu/sort/radix.h"

namespace cdn {

template <class T>
using Ranked = std::conditional_t<sizeof(T) == 8, unsigned __int128,
                                  std::conditional_t<sizeof(T) == 4, uint64_t, uint32_t>>;
template <class T> constexpr int MOST_OF_LANE = sizeof(T) == 8 ? 8 : 32;

template <class Word> __device__ __forceinline__ void put_in_order(Word& a, Word& b) {
  Word low = a < b ? a : b;
  b = a < b ? b : a;
  a = low;
}

// Sorts N elements that are runs of `apart` against `apart` already, each element of a run not
// above what the other has at its place.
template <int N, class Word> __device__ __forceinline__ void halve(Word (&x)[N], int run) {
#pragma unroll
  for (int apart = run / 2; apart > 0; apart /= 2)
#pragma unroll
    for (int i = 0; i < N; i++)
      if (!(i & apart)) put_in_order(x[i], x[i + apart]);
}

// With the same elements of another lane, or with the mirrored ones: the lower lane keeps the lower
// of each two.
template <bool MIRRORED, int N, class Word>
__device__ __forceinline__ void meet(Word (&x)[N], int mask) {
  bool lower = threadIdx.x < (threadIdx.x ^ mask);
  auto keep = [=](Word own, Word other) { return (other < own) == lower ? other : own; };
#pragma unroll
  for (int i = 0; i < N / 2; i++) {
    int j = N - 1 - i;
    Word low = shuffle_xor(x[i], mask, 32), high = shuffle_xor(x[j], mask, 32);
    x[i] = keep(x[i], MIRRORED ? high : low);
    x[j] = keep(x[j], MIRRORED ? low : high);
  }
}

// Lane by lane, N of each.
template <int N, class Word> __device__ __forceinline__ void sort_in_warp(Word (&x)[N]) {
#pragma unroll
  for (int run = 2; run <= N; run *= 2) {
#pragma unroll
    for (int i = 0; i < N; i++)
      if (i < (i ^ (run - 1))) put_in_order(x[i], x[i ^ (run - 1)]);
    halve(x, run / 2);
  }
#pragma unroll 1
  for (int lanes = 2; lanes <= 32; lanes *= 2) {
    meet<true>(x, lanes - 1);
#pragma unroll 1
    for (int apart = lanes / 4; apart > 0; apart /= 2) meet<false>(x, apart);
    halve(x, N);
  }
}

// first[rows, k]: the places, counted through all rows, of the first k of each.
template <class T, int N>
__global__ void __launch_bounds__(BLOCK, 2)
    sort_in_warps_kernel(int64_t rows, int cols, int k, const T* x, bool descending, Place* first) {
  using Word = Ranked<T>;
  using Key = typename SortKey<T>::Key;
  __shared__ uint16_t places[WARPS][32 * (N + 1)];
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int64_t row = (int64_t)blockIdx.x * WARPS + warp; row < rows;
       row += (int64_t)gridDim.x * WARPS) {
    Word word[N];
#pragma unroll
    for (int j = 0; j < N; j++) {
      int i = j * 32 + lane;  // there is nothing behind the last key and the last place
      Key key =
          i < cols ? SortKey<T>::of(x[row * cols + i], descending) : static_cast<Key>(~Key(0));
      word[j] = Word(key) << 4 * sizeof(Word) | Word(i);
    }
    sort_in_warp(word);
#pragma unroll
    for (int j = 0; j < N; j++) places[warp][lane * (N + 1) + j] = static_cast<uint16_t>(word[j]);
    __syncwarp();
    for (int i = lane; i < k; i += 32)
      first[row * k + i] = static_cast<Place>(row * cols + places[warp][i + i / N]);
    __syncwarp();
  }
}

// Where `cols` are up to 32 MOST_OF_LANE<T>.
template <class T, int N = 2>
void sort_in_warps(Call& call, int64_t rows, int64_t cols, int64_t k, const T* x, bool descending,
                   Place* first) {
  if constexpr (N < MOST_OF_LANE<T>)
    if (cols > 32 * N)
      return sort_in_warps<T, N == 2 ? 8 : 2 * N>(call, rows, cols, k, x, descending, first);
  launch(call, sort_in_warps_kernel<T, N>, {grid_for(ceil_div(rows, WARPS))}, rows,
         static_cast<int>(cols), static_cast<int>(k), x, descending, first);
}

}  // namespace cdn
