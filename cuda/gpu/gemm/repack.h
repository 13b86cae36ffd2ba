// Copies of operands in lines of whole 16-byte pieces, zeros at their ends, as TMA wants them: of
// both operands by one kernel, a thread for 16 bytes at a time. 16-bit numbers that lie at odd
// places are read in words of 4 bytes, of which pairs are shifted together.
#pragma once
#include "gpu/tile/hopper.h"
#include "gpu/gemm/product.h"

namespace cdn {

// The matrices of a layout's input 0, of lines x length numbers, to lines of to_ld numbers that
// follow one another. Nothing to do where chunks is 0.
template <class To, class From> struct LinesCopy {
  static constexpr int W = 16 / sizeof(To);
  To* to = nullptr;
  Operand<From> from = {};
  Layout matrices = {};
  int64_t to_ld = 0, chunks = 0;  // chunks: pieces of W numbers, of all lines
  bool wide = false;              // `from` allows reads of 16 bytes
};

// A copy of an operand as To, of each matrix once, to be made; its strides go to the layout.
template <class To, class From>
LinesCopy<To, From> copy_of(Call& call, const Operand<From>& x, const Layout& batch, int input,
                            Operand<To>* to, Layout* strides) {
  const int64_t ld = ceil_div(x.length() * sizeof(To), 16) * (16 / sizeof(To));
  Layout matrices;  // those that differ
  for (int32_t d = 0; d < batch.rank; d++) {
    if (batch.stride[input][d] == 0) continue;
    matrices.extent[matrices.rank] = batch.extent[d];
    matrices.stride[0][matrices.rank++] = batch.stride[input][d];
    matrices.n *= batch.extent[d];
  }
  int64_t distance = x.lines() * ld;
  for (int32_t d = batch.rank - 1; d >= 0; d--) {
    if (batch.stride[input][d] == 0) continue;
    strides->stride[input][d] = distance;
    distance *= batch.extent[d];
  }
  To* copy = call.scratch<To>(distance);
  const bool wide = wide_lines(x, matrices, 0);
  *to = {copy, x.extent, x.k, x.k_contiguous, ld};
  return {copy, x, matrices, ld, matrices.n * x.lines() * (ld / LinesCopy<To, From>::W), wide};
}

// W numbers from x on, of which those from `left` on are 0.
template <class From, int W>
__device__ __forceinline__ void read_numbers(const From* x, int64_t left, bool wide, From (&v)[W]) {
  constexpr int PACK = 16 / sizeof(From);
  if (left >= W && wide) {
#pragma unroll
    for (int w = 0; w < W; w += PACK) {
      Pack<From, PACK> part = *reinterpret_cast<const Pack<From, PACK>*>(x + w);
#pragma unroll
      for (int i = 0; i < PACK; i++) v[w + i] = part.v[i];
    }
  } else if (left >= W && sizeof(From) == 2) {
    const uintptr_t at = reinterpret_cast<uintptr_t>(x);
    const uint32_t* words = reinterpret_cast<const uint32_t*>(at & ~static_cast<uintptr_t>(3));
    const bool odd = at & 2;
    uint32_t word[W / 2 + 1];
#pragma unroll
    for (int i = 0; i < W / 2; i++) word[i] = words[i];
    word[W / 2] = odd ? words[W / 2] : 0;  // it holds the last number
#pragma unroll
    for (int i = 0; i < W / 2; i++) {
      const uint32_t both = odd ? __funnelshift_r(word[i], word[i + 1], 16) : word[i];
      memcpy(&v[2 * i], &both, 4);
    }
  } else {
#pragma unroll
    for (int w = 0; w < W; w++) v[w] = w < left ? x[w] : From();
  }
}

template <class To, class From>
__device__ __forceinline__ void copy_chunk(const LinesCopy<To, From>& s, int64_t i) {
  constexpr int W = LinesCopy<To, From>::W;
  const int64_t per_line = s.to_ld / W, lines = s.from.lines(), line = quotient(i, per_line),
                col = (i - line * per_line) * W, z = s.matrices.n == 1 ? 0 : quotient(line, lines);
  From v[W];
  read_numbers<From, W>(
      s.from.data + batch_offsets(s.matrices, z).a + (line - z * lines) * s.from.ld + col,
      s.from.length() - col, s.wide, v);
  Pack<To, W> out;
#pragma unroll
  for (int w = 0; w < W; w++) {
    if constexpr (std::is_same<To, From>::value)
      out.v[w] = v[w];
    else
      out.v[w] = static_cast<To>(wide(v[w]));
  }
  reinterpret_cast<Pack<To, W>*>(s.to)[i] = out;
}

template <class To, class From>
__global__ void __launch_bounds__(BLOCK) copy_lines(const __grid_constant__ LinesCopy<To, From> a,
                                                    const __grid_constant__ LinesCopy<To, From> b) {
#if defined(CDN_HOPPER)
  hopper::let_next_kernel_start();
  hopper::wait_for_previous_kernel();
#endif
  const int64_t count = a.chunks + b.chunks, apart = (int64_t)gridDim.x * BLOCK;
  for (int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x; i < count; i += apart)
    i < a.chunks ? copy_chunk(a, i) : copy_chunk(b, i - a.chunks);
}

// Either may have nothing to do.
template <class To, class From>
void repack(Call& call, const LinesCopy<To, From>& a, const LinesCopy<To, From>& b) {
  if (a.chunks + b.chunks == 0) return;
  Launch how = for_each_of(a.chunks + b.chunks);
  how.pdl = hopper_device(call);
  launch(call, copy_lines<To, From>, how, a, b);
}

// Puts copies in the place of p's operands, which copies[input] asks for.
template <class To, class From>
void copy_operands(Call& call, Product<From> p, const Layout& batch, const bool (&copies)[2],
                   Product<To>* to, Layout* strides) {
  LinesCopy<To, From> lines[2];
  for (int input : {0, 1})
    if (copies[input])
      lines[input] = copy_of(call, p.operand(input), batch, input, &to->operand(input), strides);
  repack(call, lines[0], lines[1]);
}

}  // namespace cdn
