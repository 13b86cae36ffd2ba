#include "gpu/conv/methods.h"
#include "gpu/conv/sums.h"

namespace cdn {
namespace {

// Where a word of a row comes from, seen from the first tap's pixel.
struct alignas(8) ColumnsTap {
  int offset;
  uint16_t down, across;
};
constexpr int NOWHERE = 0xffff;  // down: in the filling of a row

// A block takes lines of y, of the group that is its y; its table says where each word of a row
// comes from. Words do not cross pixels: ld is counted in them, as channels are here.
template <class Word>
__global__ void __launch_bounds__(BLOCK)
    gather_columns_kernel(ConvExtents g, Word* col, const Word* x, int ld) {
  extern __shared__ __align__(16) char memory[];
  ColumnsTap* taps = reinterpret_cast<ColumnsTap*>(memory);
  const int channels = g.c / g.groups;
  for (int e = threadIdx.x; e < ld; e += BLOCK) {
    const int tap = e / channels, r = tap / g.s, u = r * g.dilation_h,
              v = (tap - r * g.s) * g.dilation_w;
    taps[e] = {(u * g.w + v) * g.c + e - tap * channels,
               static_cast<uint16_t>(r < g.r ? u : NOWHERE), static_cast<uint16_t>(v)};
  }
  __syncthreads();
  const int step_q = BLOCK / ld, step_e = BLOCK % ld, first_q = (int)threadIdx.x / ld,
            first_e = (int)threadIdx.x % ld;
  const int64_t lines = (int64_t)g.n * g.p;
  for (int64_t line = blockIdx.x; line < lines; line += gridDim.x) {
    const int64_t n = quotient(line, g.p);
    const int top = (int)(line - n * g.p) * g.stride_h - g.pad_h;
    const Word* from = x + ((n * g.h + top) * g.w - g.pad_w) * g.c + (int64_t)blockIdx.y * channels;
    Word* to = col + (blockIdx.y * lines + line) * g.q * ld;
    int q = first_q, e = first_e;
#pragma unroll 4
    for (int i = threadIdx.x; i < g.q * ld; i += BLOCK) {
      const ColumnsTap tap = taps[e];
      const int h = top + tap.down, left = q * g.stride_w, column = left - g.pad_w + tap.across;
      Word word{};
      if (tap.down != NOWHERE && (unsigned)h < (unsigned)g.h && (unsigned)column < (unsigned)g.w)
        word = __ldg(from + (int64_t)left * g.c + tap.offset);
      to[i] = word;
      q += step_q, e += step_e;
      if (e >= ld) e -= ld, q++;
    }
  }
}

template <class Word>
bool gather(Call& call, ConvExtents g, void* col, const void* x, int64_t ld, int64_t bytes) {
  constexpr int64_t MOST_BLOCKS = 4096, MOST_SHARED = 48 * 1024, SIZE = sizeof(Word);
  const uintptr_t bits = g.c / g.groups * bytes | ld * bytes | reinterpret_cast<uintptr_t>(x) |
                         reinterpret_cast<uintptr_t>(col);
  const int64_t shared = ld * bytes / SIZE * sizeof(ColumnsTap), lines = (int64_t)g.n * g.p;
  if (bits % SIZE != 0 || shared > MOST_SHARED) return false;
  g.c = static_cast<int>(g.c * bytes / SIZE);
  launch(call, gather_columns_kernel<Word>,
         {{grid_for(lines < MOST_BLOCKS ? lines : MOST_BLOCKS), static_cast<unsigned>(g.groups)},
          BLOCK,
          static_cast<int>(shared)},
         g, static_cast<Word*>(col), static_cast<const Word*>(x),
         static_cast<int>(ld * bytes / SIZE));
  return true;
}

}  // namespace

bool gather_columns(Call& call, const ConvGeometry& g, void* col, const void* x, int64_t ld,
                    int64_t bytes) {
  if (!ConvExtents::hold(g) || (g.r - 1) * g.dilation_h >= NOWHERE ||
      (g.s - 1) * g.dilation_w >= NOWHERE || g.groups > 65535 || g.q * ld > INT32_MAX / 2)
    return false;
  const ConvExtents e = ConvExtents::of(g);
  return gather<uint4>(call, e, col, x, ld, bytes) || gather<uint2>(call, e, col, x, ld, bytes) ||
         gather<uint32_t>(call, e, col, x, ld, bytes) ||
         gather<uint16_t>(call, e, col, x, ld, bytes);
}

}  // namespace cdn
