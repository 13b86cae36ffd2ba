// What the kernels of convolutions that are no products share: numbers in 32 bits, the end of a
// sum, and the pass that adds up partial sums of filters' gradients.
#pragma once
#include <array>
#include <bit>

#include "gpu/gemm/product.h"
#include "ops/conv/geometry.h"
#include "ops/linalg/matmul.h"

namespace cdn {

// A convolution's geometry as kernels count.
struct ConvExtents {
  int n, h, w, c, k, r, s, p, q, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, groups;

  // Whether they can, within an image.
  static bool hold(const ConvGeometry& g) {
    constexpr int64_t MOST = 1 << 24;
    for (int64_t number : std::bit_cast<std::array<int64_t, 16>>(g))
      if (number > MOST || number < -MOST) return false;
    const int64_t h = g.h + g.p * g.stride_h + (g.r - 1) * g.dilation_h,
                  w = g.w + g.q * g.stride_w + (g.s - 1) * g.dilation_w;
    return h < MOST && w < MOST && h * w < (int64_t{1} << 30) / (g.c + g.k + 1);
  }
  static ConvExtents of(const ConvGeometry& g) {
    const auto from = std::bit_cast<std::array<int64_t, 16>>(g);
    std::array<int, 16> to;
    for (int i = 0; i < 16; i++) to[i] = static_cast<int>(from[i]);
    return std::bit_cast<ConvExtents>(to);
  }
};

// The part of an epilogue that such kernels take along: bias, z and ReLU.
template <class T> struct ConvEnding {
  T *y, *z;
  const T* bias;
  bool relu, packs = false;  // packs: places and filters are such that they may be stored

  static bool serves(const Epilogue& e) {
    return !e.residual && !e.mask && e.alpha == 1 && e.beta == 0 &&
           (e.activation == ACTIVATION_NONE || e.activation == ACTIVATION_RELU);
  }
  explicit ConvEnding(const Epilogue& e)
      : y(static_cast<T*>(e.c)),
        z(static_cast<T*>(e.z)),
        bias(static_cast<const T*>(e.bias)),
        relu(e.activation == ACTIVATION_RELU) {}
  // For packs of up to 32 bytes.
  bool aligned() const {
    auto aligned = [](const T* p) { return reinterpret_cast<uintptr_t>(p) % 32 == 0; };
    return aligned(y) && aligned(z);
  }

  // The bias of filters from k on, of which there are `filters`.
  template <int W> __device__ __forceinline__ Pack<float, W> bias_of(int k, int filters) const {
    Pack<float, W> b = {};
#pragma unroll
    for (int i = 0; i < W; i++)
      if (bias && k + i < filters) b.v[i] = wide(bias[k + i]);
    return b;
  }
  // Sums of neighbouring filters, with their bias, to place `at` of y.
  template <int W>
  __device__ __forceinline__ void store(Pack<float, W> v, const Pack<float, W>& b,
                                        int64_t at) const {
#pragma unroll
    for (int i = 0; i < W; i++) v.v[i] += b.v[i];
    if (z) put(z + at, v);
#pragma unroll
    for (int i = 0; i < W; i++) v.v[i] = relu ? Relu{}(v.v[i]) : v.v[i];
    put(y + at, v);
  }

 private:
  template <int W> static __device__ __forceinline__ void put(T* to, const Pack<float, W>& v) {
    Pack<T, W> out;
#pragma unroll
    for (int i = 0; i < W; i++) out.v[i] = static_cast<T>(v.v[i]);
    *reinterpret_cast<Pack<T, W>*>(to) = out;
  }
};

// As many blocks' sums are kept for the second pass: a number that no device changes, so that all
// add in the same order.
constexpr int64_t PARTIAL_SUMS = 264;

constexpr int SUM_LANES = 32;  // columns of a block, and threads down each

// dw[k, j] = the sum of partial[.., j, k], of `count` of them.
template <class T>
__global__ void __launch_bounds__(SUM_LANES* SUM_LANES)
    sum_partial_filters(T* dw, const float* partial, int count, int depth, int filters) {
  __shared__ float sums[SUM_LANES][SUM_LANES + 1];
  const int lane = threadIdx.x % SUM_LANES, down = threadIdx.x / SUM_LANES, n = depth * filters;
  const int first = (int)blockIdx.x * SUM_LANES;
  float sum = 0;
  if (first + lane < n)
#pragma unroll 4
    for (int s = down; s < count; s += SUM_LANES) sum += partial[(int64_t)s * n + first + lane];
  sums[down][lane] = sum;
  __syncthreads();
  sum = sums[lane][down];
#pragma unroll
  for (int mask = SUM_LANES / 2; mask > 0; mask /= 2) sum += shuffle_xor(sum, mask, SUM_LANES);
  const int i = first + down;
  if (lane == 0 && i < n) dw[i % filters * depth + i / filters] = static_cast<T>(sum);
}

template <class T>
void sum_filters(Call& call, T* dw, const float* partial, int64_t count, int64_t depth,
                 int64_t filters) {
  launch(call, sum_partial_filters<T>,
         {grid_for(ceil_div(depth * filters, SUM_LANES)), SUM_LANES * SUM_LANES}, dw, partial,
         static_cast<int>(count), static_cast<int>(depth), static_cast<int>(filters));
}

}  // namespace cdn
