// Two passes: blocks look at pieces of the parts, and tell what they have seen; then each block
// joins what was seen of its part, and cuts a piece. The second finds much of the first's in L2.
#include "gpu/gemm/fp32_emulation/tensor.h"

#include <algorithm>

#include "gpu/device/launch.h"
#include "gpu/gemm/fp32_emulation/extremes.h"
#include "gpu/tile/hopper.h"

namespace cdn {
namespace {

// Of a part; and of all, so that the last blocks, with no others beside them, are few.
constexpr int64_t LEAST_PACKS = 4 * BLOCK, MOST_PIECES = 1024, PIECES = 8192;

// A tensor's share of the grid: pieces of `length` packs of four.
struct Piecewise {
  const float4* x;
  Extremes* seen;  // [part][piece]
  int32_t* info;
  float16* hi;
  int64_t packs;  // of a part
  uint32_t parts, pieces;
  int64_t length;
};
struct Both {
  Piecewise of[2];
};

Piecewise piecewise(Call& call, const FloatTensor& t, const CutTensor& cut) {
  const int64_t packs = t.size / 4, fair = ceil_div(PIECES, t.parts),
                pieces = std::clamp(std::min(packs / LEAST_PACKS, fair), int64_t{1}, MOST_PIECES);
  return {reinterpret_cast<const float4*>(t.x),
          call.scratch<Extremes>(t.parts * pieces),
          cut.info,
          cut.planes,
          packs,
          static_cast<uint32_t>(t.parts),
          static_cast<uint32_t>(pieces),
          ceil_div(packs, pieces)};
}

// Which piece a block has.
struct Piece {
  const Piecewise* of;
  uint32_t part, piece;
  int64_t first, last;  // packs of the tensor
  __device__ __forceinline__ explicit Piece(const Both& both) {
    const uint32_t blocks = both.of[0].parts * both.of[0].pieces;
    of = &both.of[blockIdx.x >= blocks];
    const uint32_t at = blockIdx.x >= blocks ? blockIdx.x - blocks : blockIdx.x;
    part = at / of->pieces, piece = at - part * of->pieces;
    const int64_t begin = piece * of->length, end = begin + of->length;
    first = part * of->packs + begin;
    last = part * of->packs + (end < of->packs ? end : of->packs);
  }
};

// What all threads of the block have seen, in thread 0.
__device__ __forceinline__ Extremes joined(Extremes seen) {
  __shared__ Extremes of_warps[BLOCK / 32];
#pragma unroll
  for (int apart = 16; apart > 0; apart /= 2) join(seen, shuffled(seen, apart));
  if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = seen;
  __syncthreads();
  if (threadIdx.x == 0)
    for (int warp = 1; warp < BLOCK / 32; warp++) join(seen, of_warps[warp]);
  return seen;
}

__global__ void __launch_bounds__(BLOCK) look(const __grid_constant__ Both both) {
#if defined(CDN_HOPPER)
  hopper::let_next_kernel_start();
  hopper::wait_for_previous_kernel();
#endif
  const Piece mine(both);
  Extremes seen;
#pragma unroll 4
  for (int64_t i = mine.first + threadIdx.x; i < mine.last; i += BLOCK) {
    const float4 four = mine.of->x[i];
    see(seen, four.x), see(seen, four.y), see(seen, four.z), see(seen, four.w);
  }
  seen = joined(seen);
  if (threadIdx.x == 0) mine.of->seen[mine.part * mine.of->pieces + mine.piece] = seen;
}

template <int PLANES>
__global__ void __launch_bounds__(BLOCK) cut(const __grid_constant__ Both both) {
#if defined(CDN_HOPPER)
  hopper::let_next_kernel_start();
  hopper::wait_for_previous_kernel();
#endif
  __shared__ int32_t shared_info;
  const Piece mine(both);
  const Piecewise& tensor = *mine.of;
  Extremes seen;
  for (uint32_t i = threadIdx.x; i < tensor.pieces; i += BLOCK)
    join(seen, tensor.seen[mine.part * tensor.pieces + i]);
  seen = joined(seen);
  if (threadIdx.x == 0) {
    // Without LOST: of so many numbers some always are much smaller than the largest, and what they
    // lose is nothing beside what float sums of them all lose.
    const int32_t info = info_of(seen);
    shared_info =
        SplitInfo::make(SplitInfo::exponent(info), SplitInfo::marks(info) & ~SplitInfo::LOST);
    if (mine.piece == 0) tensor.info[mine.part] = shared_info;
  }
  __syncthreads();
  const PowerOfTwo power(SplitInfo::exponent(shared_info));
  const int64_t to_lo = tensor.parts * tensor.packs * 4;
#pragma unroll 4
  for (int64_t i = mine.first + threadIdx.x; i < mine.last; i += BLOCK) {
    const float4 four = tensor.x[i];
    store_four<PLANES>({four.x, four.y, four.z, four.w}, {power, power, power, power},
                       tensor.hi + i * 4, to_lo);
  }
}

}  // namespace

std::pair<CutTensor, CutTensor> cut_tensors(Call& call, const FloatTensor& a, const FloatTensor& b,
                                            int planes) {
  auto room = [&](const FloatTensor& t) {
    return CutTensor{call.scratch<float16>(planes * t.parts * t.size),
                     call.scratch<int32_t>(t.parts)};
  };
  const CutTensor cut_a = room(a), cut_b = room(b);
  const Both both{{piecewise(call, a, cut_a), piecewise(call, b, cut_b)}};
  const unsigned blocks =
      both.of[0].parts * both.of[0].pieces + both.of[1].parts * both.of[1].pieces;
  Launch how{dim3(blocks)};
  how.pdl = hopper_device(call);
  launch(call, look, how, both);
  launch(call, planes == 2 ? cut<2> : cut<1>, how, both);
  return {cut_a, cut_b};
}

}  // namespace cdn
