// Copies of operands in lines of whole 16-byte pieces, zeros at their ends, as TMA wants them: of
// both operands by one kernel, a thread for 16 bytes at a time. 16-bit numbers that lie at odd
// places are read in words of 4 bytes, of which pairs are shifted together.
#pragma once
#include "gpu/tile/hopper.h"
#include "gpu/gemm/product.h"

namespace cdn {

// `count` matrices of lines x length numbers, step apart (0: the same one), to lines of ld numbers.
// Nothing to do where chunks is 0.
template <class To, class From> struct LinesCopy {
  static constexpr int W = 16 / sizeof(To);
  To* to = nullptr;
  const From* from = nullptr;
  int64_t count = 0, lines = 0, length = 0, ld = 0, step = 0,
          chunks = 0;  // chunks: pieces of W numbers, of all lines
  bool wide = false;   // `from` allows reads of 16 bytes
};

template <class To, class From>
LinesCopy<To, From> lines_copy(To* to, const From* from, int64_t count, int64_t lines,
                               int64_t length, int64_t ld, int64_t step) {
  bool wide = wide_lines(from, length) && step % (16 / (int64_t)sizeof(From)) == 0;
  return {to,  from, count, lines, length, ld, step, count * lines * (ld / LinesCopy<To, From>::W),
          wide};
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
  const int64_t per_line = s.ld / W, line = quotient(i, per_line), col = (i - line * per_line) * W,
                z = s.count == 1 ? 0 : quotient(line, s.lines);
  From v[W];
  read_numbers<From, W>(s.from + z * s.step + (line - z * s.lines) * s.length + col, s.length - col,
                        s.wide, v);
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

}  // namespace cdn
