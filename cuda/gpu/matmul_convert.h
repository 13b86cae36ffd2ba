// matmul_convert: float products for shapes that are small or narrow, where cutting the operands beforehand
// (matmul_split.h) would take longer than the product. A cluster of blocks takes a 64 x 64 tile of c, each block a piece
// of k. In a block, two warpgroups read the next 64 of k of a and of b and cut every number into three bfloat16,
//
//   x = x0 + x1 + x2     8 bits each: all 24 bits of a float, and its exponents, so that nothing need be scaled
//
// while the third one multiplies, a b = x0 y0 + (x0 y1 + x1 y0 + x0 y2 + x1 y1 + x2 y0), and adds what tensor cores summed
// over 64 of k by ordinary additions. In the end the blocks add up their pieces, each a part of the tile, in the order of
// k. Elements that come out infinite or NaN, or so small that bits below bfloat16's range could matter, are computed again
// in plain float.
#pragma once
#include "hopper.h"
#include "matmul_common.h"

namespace cdn {

struct ConvertWork {
  Product<float> p;
  Batch batch;
  TileGrid grid;
  int32_t pieces, steps_per_piece;  // pieces of k, as many as a cluster has blocks; steps of 64
  bool wide_a, wide_b;
};

struct ConvertTile {
  static constexpr int BM = 64, BN = 64, BK = 64, STAGES = 4, PLANES = 3;
  static constexpr int THREADS = 384, ELEMENTS = 64 * 64;  // of a plane of a or b
  static constexpr int STAGE_BYTES = 2 * PLANES * ELEMENTS * 2;
  static constexpr int PITCH = BN + 4;  // of the sums, on their way to other blocks
  static constexpr int SHARED_BYTES = 1024 + STAGES * STAGE_BYTES + 256;
  static_assert(STAGES * STAGE_BYTES >= BM * PITCH * 4, "the sums take the place of the stages");
};

#if defined(CDN_HOPPER)

// One of the two converting warpgroups: a 64 x 64 box of an operand a step, in lines of 64 numbers as they lie in memory.
// A thread takes four numbers of every eighth line.
template <bool K_CONTIGUOUS> struct Converter {
  static constexpr int HELD = 8;
  Operand<float> x;
  int64_t first, end_k;
  bool wide;
  int line, piece;  // of the box: 0..7 and the four numbers 4 piece..
  float held[HELD][4];

  __device__ __forceinline__ Converter(const Operand<float>& x, int64_t first, int64_t end_k, bool wide, int thread)
      : x(x), first(first), end_k(end_k), wide(wide), line(thread / 16), piece(thread % 16) {}

  __device__ __forceinline__ void load(int64_t k) {
#pragma unroll
    for (int h = 0; h < HELD; h++) {
      const int64_t across = (K_CONTIGUOUS ? first : k) + line + h * 8, along = (K_CONTIGUOUS ? k : first) + piece * 4;
      const int64_t across_end = K_CONTIGUOUS ? x.extent : end_k, along_end = K_CONTIGUOUS ? end_k : x.extent;
      const float* at = x.data + across * x.ld() + along;
      if (across < across_end && wide && along + 4 <= along_end) {
        float4 four = *reinterpret_cast<const float4*>(at);
        held[h][0] = four.x, held[h][1] = four.y, held[h][2] = four.z, held[h][3] = four.w;
      } else {
#pragma unroll
        for (int i = 0; i < 4; i++) held[h][i] = across < across_end && along + i < along_end ? at[i] : 0.0f;
      }
    }
  }

  // To the planes in TMA's 128-byte swizzle. Returns nothing; notes the largest magnitude, and if some are so small
  // that their last bits are below what bfloat16 can hold.
  __device__ __forceinline__ void store(bfloat16* planes, uint32_t* largest, uint32_t* tiny) const {
#pragma unroll
    for (int h = 0; h < HELD; h++) {
      const int to = (line + h * 8) * 64 + ((piece / 2) ^ (line % 8)) * 8 + piece % 2 * 4;
      uint32_t out[3][2];
#pragma unroll
      for (int pair = 0; pair < 2; pair++) {
        float u = held[h][pair * 2], v = held[h][pair * 2 + 1];
#pragma unroll
        for (int i = 0; i < 2; i++) {
          const uint32_t bits = __float_as_uint(i ? v : u) & 0x7fffffff;
          *largest = max(*largest, bits);
          if (bits - 1 < (27u << 23) - 1) *tiny = 1;  // 0 < |x| < 2^-100
        }
#pragma unroll
        for (int plane = 0; plane < 3; plane++) {
          uint32_t both;
          asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(v), "f"(u));
          out[plane][pair] = both;
          u -= __uint_as_float(both << 16);
          v -= __uint_as_float(both & 0xffff0000);
        }
      }
#pragma unroll
      for (int plane = 0; plane < 3; plane++)
        *reinterpret_cast<uint2*>(planes + plane * ConvertTile::ELEMENTS + to) = uint2{out[plane][0], out[plane][1]};
    }
  }
};

template <bool K_CONTIGUOUS>
__device__ __forceinline__ void convert_all(const Operand<float>& x, int64_t first, int64_t first_k, int64_t end_k,
                                            bool wide, bfloat16* planes, uint64_t* full, uint64_t* empty,
                                            uint32_t* largest_of_all, uint32_t* tiny_of_all) {
  using Tile = ConvertTile;
  // Two steps ahead, in two sets of registers: a load from memory takes longer than a step.
  Converter<K_CONTIGUOUS> even(x, first, end_k, wide, (int)threadIdx.x % 128), odd = even;
  uint32_t largest = 0, tiny = 0, phase = 0;
  int stage = 0;
  auto pass_on = [&](Converter<K_CONTIGUOUS>& box, int64_t k) {
    hopper::barrier_wait(&empty[stage], phase ^ 1);
    box.store(planes + stage * (Tile::STAGE_BYTES / 2), &largest, &tiny);
    hopper::fence_async();
    hopper::barrier_arrive(&full[stage]);
    if (++stage == Tile::STAGES) stage = 0, phase ^= 1;
    if (k + 2 * Tile::BK < end_k) box.load(k + 2 * Tile::BK);
  };
  if (first_k < end_k) even.load(first_k);
  if (first_k + Tile::BK < end_k) odd.load(first_k + Tile::BK);
  for (int64_t k = first_k; k < end_k; k += 2 * Tile::BK) {
    pass_on(even, k);
    if (k + Tile::BK < end_k) pass_on(odd, k + Tile::BK);
  }
  atomicMax(largest_of_all, __reduce_max_sync(0xffffffff, largest));
  atomicOr(tiny_of_all, __reduce_or_sync(0xffffffff, tiny));
}

template <bool A_MN, bool B_MN>
__device__ __forceinline__ void multiply_converted(float (&sum)[32], const bfloat16* stages, int steps, uint64_t* full,
                                                   uint64_t* empty) {
  using namespace hopper;
  using Tile = ConvertTile;
  // Pairs of planes, the smallest products first; those of the first planes by themselves.
  constexpr int A[] = {2, 1, 0, 1, 0}, B[] = {0, 1, 2, 0, 1};
  float large[32], small[32];
#pragma unroll
  for (int i = 0; i < 32; i++) sum[i] = 0;
  int stage = 0;
  uint32_t phase = 0;
  for (int step = 0; step < steps; step++) {
    barrier_wait(&full[stage], phase);
    const bfloat16 *a = stages + stage * (Tile::STAGE_BYTES / 2), *b = a + Tile::PLANES * Tile::ELEMENTS;
    auto multiply = [&](float(&d)[32], int plane_a, int plane_b, int kk, bool more) {
      constexpr int ALONG_A = A_MN ? 16 * 64 : 16, ALONG_B = B_MN ? 16 * 64 : 16;
      uint64_t from_a = matrix_at(a + plane_a * Tile::ELEMENTS + kk * ALONG_A, A_MN, 64 * 64 * 2);
      uint64_t from_b = matrix_at(b + plane_b * Tile::ELEMENTS + kk * ALONG_B, B_MN, 64 * 64 * 2);
      wgmma<A_MN, B_MN>(bfloat16{}, d, from_a, from_b, more);
    };
    wgmma_fence();
#pragma unroll
    for (int kk = 0; kk < 4; kk++) {
#pragma unroll
      for (int pair = 0; pair < 5; pair++) multiply(small, A[pair], B[pair], kk, kk > 0 || pair > 0);
      multiply(large, 0, 0, kk, kk > 0);
    }
    wgmma_commit();
    wgmma_wait<0>();
    if (threadIdx.x % 128 == 0) barrier_arrive(&empty[stage]);
    if (++stage == Tile::STAGES) stage = 0, phase ^= 1;
#pragma unroll
    for (int i = 0; i < 32; i++) sum[i] += large[i] + small[i];
  }
}

// Below this magnitude a sum may have suffered from bits that bfloat16 cannot hold, of numbers below 2^-100; 0 if there
// were none. seen: the largest of a and of b, and whether there were tiny ones, in each block of the cluster.
__device__ __forceinline__ float least_sound(const uint32_t* seen, int pieces, int lane, int64_t k) {
  uint32_t value = lane / 4 < pieces ? (pieces > 1 ? hopper::read_from_block(&seen[lane % 4], lane / 4) : seen[lane % 4]) : 0;
#pragma unroll
  for (int apart = 4; apart < 32; apart *= 2) value = max(value, __shfl_xor_sync(0xffffffff, value, apart));
  uint32_t largest = max(__shfl_sync(0xffffffff, value, 0), __shfl_sync(0xffffffff, value, 1));
  uint32_t tiny = __shfl_sync(0xffffffff, value, 2) | __shfl_sync(0xffffffff, value, 3);
  return tiny ? __uint_as_float(largest) * static_cast<float>(k) * 0x1p-105f : 0.0f;
}

// The element (i, j) of each lane that wants it, in plain float; the warp computes one after another.
__device__ __forceinline__ float plain_products(bool wanted, const Product<float>& p, int64_t i, int64_t j, int lane) {
  float mine = 0;
  uint32_t lanes = __ballot_sync(0xffffffff, wanted);
  while (lanes) {
    const int owner = __ffs((int)lanes) - 1;
    lanes &= lanes - 1;
    const int64_t row = __shfl_sync(0xffffffff, i, owner), col = __shfl_sync(0xffffffff, j, owner);
    float dot = 0;
    for (int64_t k = lane; k < p.k(); k += 32) dot = fmaf(p.a.at(row, k), p.b.at(col, k), dot);
#pragma unroll
    for (int apart = 16; apart > 0; apart /= 2) dot += __shfl_xor_sync(0xffffffff, dot, apart);
    if (lane == owner) mine = dot;
  }
  return mine;
}

#endif  // CDN_HOPPER

template <bool A_MN, bool B_MN> __global__ void __launch_bounds__(ConvertTile::THREADS, 1) matmul_convert(const ConvertWork w) {
#if defined(CDN_HOPPER)
  using namespace hopper;
  using Tile = ConvertTile;
  extern __shared__ char raw[];
  char* shared = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(raw) + 1023) & ~static_cast<uintptr_t>(1023));
  bfloat16* stages = reinterpret_cast<bfloat16*>(shared);
  float* sums = reinterpret_cast<float*>(shared);  // [BM][PITCH], when the stages have been read
  uint64_t* full = reinterpret_cast<uint64_t*>(shared + Tile::STAGES * Tile::STAGE_BYTES);
  uint64_t* empty = full + Tile::STAGES;
  uint32_t* seen = reinterpret_cast<uint32_t*>(empty + Tile::STAGES);  // largest of a, of b; tiny in a, in b
  const int rank = w.pieces > 1 ? (int)cluster_rank() : 0, group = (int)threadIdx.x / 128;
  if (threadIdx.x == 0) {
    for (int s = 0; s < Tile::STAGES; s++) {
      barrier_init(&full[s], 256);
      barrier_init(&empty[s], 1);
    }
    barriers_visible();
  }
  if (threadIdx.x < 4) seen[threadIdx.x] = 0;
  __syncthreads();
  let_next_kernel_start();
  wait_for_previous_kernel();

  Product<float> p = w.p;
  p.move_to(w.batch.layout, w.batch.first + blockIdx.z);
  const TilePlace place = tile_place(w.grid, blockIdx.x / (unsigned)w.pieces);
  const int64_t first_row = (int64_t)place.row * Tile::BM, first_col = (int64_t)place.col * Tile::BN;
  const int64_t k = p.k(), piece = (int64_t)w.steps_per_piece * Tile::BK;
  const int64_t first_k = min(k, rank * piece), end_k = min(k, first_k + piece);
  float sum[32];
  if (group == 0)
    multiply_converted<A_MN, B_MN>(sum, stages, (int)((end_k - first_k + Tile::BK - 1) / Tile::BK), full, empty);
  else if (group == 1)
    convert_all<!A_MN>(p.a, first_row, first_k, end_k, w.wide_a, stages, full, empty, &seen[0], &seen[2]);
  else
    convert_all<!B_MN>(p.b, first_col, first_k, end_k, w.wide_b, stages + Tile::PLANES * Tile::ELEMENTS, full, empty,
                       &seen[1], &seen[3]);
  __syncthreads();
  if (group == 0) {
    const int row = (int)threadIdx.x / 32 * 16 + (int)threadIdx.x % 32 / 4, col = (int)threadIdx.x % 4 * 2;
#pragma unroll
    for (int i = 0; i < 32; i++) sums[(row + i / 2 % 2 * 8) * Tile::PITCH + col + i / 4 * 8 + i % 2] = sum[i];
  }
  if (w.pieces > 1)
    cluster_sync_all();
  else
    __syncthreads();
  const int lane = (int)threadIdx.x % 32;
  const float least = least_sound(seen, w.pieces, lane, k);
  // Each block adds up and stores its share of the tile's lines, a thread four numbers of one.
  const int share = Tile::BM / w.pieces;
  const bool wide = p.n() % 4 == 0 && reinterpret_cast<uintptr_t>(p.c) % 16 == 0;
  for (int part = (int)threadIdx.x; part < share * 16; part += Tile::THREADS) {
    const int line = rank * share + part / 16, col = part % 16 * 4;
    const int64_t i = first_row + line, j = first_col + col;
    const float4* at = reinterpret_cast<const float4*>(&sums[line * Tile::PITCH + col]);
    float4 from[8];
#pragma unroll
    for (int r = 0; r < 8; r++)
      if (r < w.pieces) from[r] = w.pieces > 1 ? read_from_block(at, r) : *at;
    float v[4] = {from[0].x, from[0].y, from[0].z, from[0].w};
#pragma unroll
    for (int r = 1; r < 8; r++)
      if (r < w.pieces) v[0] += from[r].x, v[1] += from[r].y, v[2] += from[r].z, v[3] += from[r].w;
#pragma unroll
    for (int e = 0; e < 4; e++) {
      const bool bad = i < p.m() && j + e < p.n() && !(fabsf(v[e]) <= 3.4028235e38f && fabsf(v[e]) >= least);
      float again = plain_products(bad, p, i, j + e, lane);
      if (bad) v[e] = again;
    }
    if (i >= p.m() || j >= p.n()) continue;
    float* to = p.c + i * p.n() + j;
    if (wide) {
      *reinterpret_cast<float4*>(to) = float4{v[0], v[1], v[2], v[3]};
    } else {
#pragma unroll
      for (int e = 0; e < 4; e++)
        if (j + e < p.n()) to[e] = v[e];
    }
  }
  if (w.pieces > 1) cluster_sync_all();  // a block's memory must stay until all have read it
#endif
}

}  // namespace cdn
