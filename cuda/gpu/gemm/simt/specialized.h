// matmul_specialized: float products by plain multiply-adds, for Hopper. Four warps do nothing but
// copy the tiles of a and b to shared memory, and eight others nothing but multiply: their loop has
// few instructions that are no multiply-adds, each of them has 232 registers, and they wait only
// for the tile they need next, not for one another. Where c has few tiles, the blocks of a cluster
// each take a piece of k and add up their sums.
#pragma once
#include "gpu/gemm/simt/sums.h"

namespace cdn {

// STAGES tiles are in shared memory or on their way there. UNROLLED k are written out in the
// multiplying loop.
template <class Shape, int STAGES_, int UNROLLED_ = Shape::DEPTH> struct SpecializedTile : Shape {
  using T = typename Shape::T;
  static constexpr int STAGES = STAGES_, UNROLLED = UNROLLED_, LOADERS = 128,
                       BLOCK_THREADS = LOADERS + Shape::THREADS;
  static constexpr int STAGE_BYTES = STAGES * Shape::STAGE * (int)sizeof(T);
  static constexpr int SUMS_BYTES = SimtSums<Shape>::BYTES;  // in the place of the stages
  static constexpr int BARRIERS_AT = SUMS_BYTES > STAGE_BYTES ? SUMS_BYTES : STAGE_BYTES;
  static constexpr int SHARED_BYTES = BARRIERS_AT + 2 * STAGES * 8;
  static_assert(Shape::DEPTH % UNROLLED == 0 && UNROLLED % 2 == 0,
                "fragments alternate between two sets of registers");
  static_assert(Shape::THREADS == 256, "two warpgroups multiply: as many registers as there are");
  static_assert(SHARED_BYTES <= 227 * 1024, "fits a multiprocessor of sm_90");
};

#if defined(CDN_HOPPER)

template <class Tile, bool A_K_CONTIGUOUS, bool B_K_CONTIGUOUS>
__device__ __forceinline__ void load_stages(const Product<typename Tile::T>& p,
                                            const TileBlock& block,
                                            const TileWork<typename Tile::T>& work,
                                            typename Tile::T* shared, uint64_t* full,
                                            uint64_t* empty) {
  StageLoader<Tile, Tile::LOADERS, A_K_CONTIGUOUS, B_K_CONTIGUOUS> loader(p, block, work);
  hopper::PipelineState<Tile::STAGES> at;
  for (int64_t k_left = block.k_count; k_left > 0; k_left -= Tile::BK) {
    hopper::barrier_wait(&empty[at.stage], at.phase ^ 1);
    loader.load(shared + at.stage * Tile::STAGE, k_left);
    hopper::barrier_arrive_after_copies(&full[at.stage]);
    at.next();
  }
}

// sum = the products of the piece's k. A fragment is read while the one before it is multiplied,
// also where it is the first of the next stage.
template <class Tile>
__device__ __forceinline__ void multiply_stages(typename Tile::T (&sum)[Tile::TM][Tile::TN],
                                                const TileThread<typename Tile::Shape>& own,
                                                const typename Tile::T* shared, uint64_t* full,
                                                uint64_t* empty, int64_t k_count) {
  using T = typename Tile::T;
  constexpr int UNROLLED = Tile::UNROLLED;
  const T *a_at = shared + own.a_at(), *b_at = shared + own.b_at();
  const bool first_lane = threadIdx.x % 32 == 0;
  Fragment<typename Tile::Shape> x[2];
  hopper::PipelineState<Tile::STAGES> at;
  hopper::barrier_wait(&full[0], 0);
  x[0].read(a_at, b_at, 0);
  for (int steps = (int)((k_count + Tile::BK - 1) / Tile::BK); steps > 0; steps--) {
    const T *a = a_at + at.stage * Tile::STAGE, *b = b_at + at.stage * Tile::STAGE;
#pragma unroll 1
    for (int k = 0; k < Tile::DEPTH; k += UNROLLED) {
#pragma unroll
      for (int kk = 0; kk < UNROLLED; kk++) {
        if (kk == UNROLLED - 1) {
          a += UNROLLED * Tile::PITCH_A;
          b += UNROLLED * Tile::PITCH_B;
          if (k + UNROLLED == Tile::DEPTH) {  // on to the next stage
            __syncwarp();
            if (first_lane)
              hopper::barrier_arrive(&empty[at.stage]);  // what the warp read, it read before
            at.next();
            if (steps > 1) hopper::barrier_wait(&full[at.stage], at.phase);
            a = a_at + at.stage * Tile::STAGE;
            b = b_at + at.stage * Tile::STAGE;
          }
        }
        x[(kk + 1) % 2].read(a, b, (kk + 1) % UNROLLED);
        multiply<typename Tile::Shape>(sum, x[kk % 2]);
      }
    }
  }
}

#endif  // CDN_HOPPER

template <class Tile>
__global__ void __launch_bounds__(Tile::BLOCK_THREADS, 1)
    matmul_specialized(Product<typename Tile::T> p, Batch batch, TileGrid grid,
                       TileWork<typename Tile::T> work) {
#if defined(CDN_HOPPER)
  using namespace hopper;
  using T = typename Tile::T;
  extern __shared__ __align__(16) char memory[];
  T* shared = reinterpret_cast<T*>(memory);  // [stage][a: BK][PITCH_A], then [b: BK][PITCH_B]
  uint64_t *full = reinterpret_cast<uint64_t*>(memory + Tile::BARRIERS_AT),
           *empty = full + Tile::STAGES;
  let_next_kernel_start();
  if (threadIdx.x == 0) {
    for (int s = 0; s < Tile::STAGES; s++) {
      barrier_init(&full[s], Tile::LOADERS);
      barrier_init(&empty[s], Tile::THREADS / 32);
    }
    barriers_visible();
  }
  __syncthreads();
  const TileBlock block(p, grid, work, Tile::BM, Tile::BN);

  if (threadIdx.x < Tile::LOADERS) {
    lower_registers<40>();
    wait_for_previous_kernel();
    p.move_to(batch.layout, batch.first + blockIdx.z);
    by_transposition(p.a.k_contiguous, p.b.k_contiguous, [&](auto a, auto b) {
      load_stages<Tile, decltype(a)::value, decltype(b)::value>(p, block, work, shared, full,
                                                                empty);
    });
    if (work.joined > 1) {
      __syncwarp();
      cluster_sync_all();
      cluster_sync();
    }
  } else {
    raise_registers<232>();
    const TileThread<typename Tile::Shape> own(threadIdx.x - Tile::LOADERS);
    T sum[Tile::TM][Tile::TN] = {};
    if (block.k_count > 0) multiply_stages<Tile>(sum, own, shared, full, empty, block.k_count);
    using Sync = NamedBarrier<1, Tile::THREADS>;
    const Sync sync;
    sync();                      // all have read the stages
    wait_for_previous_kernel();  // it may still read what is written here
    store_sums<typename Tile::Shape, Sync>(
        {shared, output_of<Tile>(p, block, batch, work), (int)threadIdx.x - Tile::LOADERS, sync},
        sum, own, block.rank, work.joined);
  }
#endif
}

}  // namespace cdn
