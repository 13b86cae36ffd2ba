// The last step of plain multiply-adds for every GPU: tiles for the block, the warp and the thread,
// and loads that run while the multiply-adds do. STAGES tiles of both operands, [k][i], are in
// shared memory or on their way there; two sets of registers hold the numbers of this k and of the
// next. Nothing waits for memory, and the widths are parameters, as no tile suits all shapes.
#pragma once
#include "gpu/gemm/simt/sums.h"

namespace cdn {

// STAGES tiles are in shared memory or on their way there. MIN_BLOCKS per multiprocessor bounds the
// registers.
template <class Shape, int STAGES_, int MIN_BLOCKS_> struct BlockTile : Shape {
  using T = typename Shape::T;
  static constexpr int STAGES = STAGES_, MIN_BLOCKS = MIN_BLOCKS_;
  static constexpr int STAGE_BYTES = STAGES * Shape::STAGE * (int)sizeof(T);
  static constexpr int SUMS_BYTES = SimtSums<Shape>::BYTES;  // in the place of the stages
  static_assert(STAGES >= 2, "one is read while others come");

  // Whether the sums leave through shared memory.
  static constexpr bool through_shared(bool joined, bool wide_c) {
    return Shape::SLICES > 1 || joined || (!wide_c && SUMS_BYTES <= 64 * 1024);
  }
  static constexpr int shared_bytes(bool joined, bool wide_c) {
    return through_shared(joined, wide_c) && SUMS_BYTES > STAGE_BYTES ? SUMS_BYTES : STAGE_BYTES;
  }
  static_assert((Shape::SLICES > 1 && SUMS_BYTES > STAGE_BYTES ? SUMS_BYTES : STAGE_BYTES) <=
                    64 * 1024,
                "fits the shared memory of sm_75");
};

// From the registers straight to c.
template <class Tile>
__device__ __forceinline__ void store_packs(const TileOutput<typename Tile::T>& to,
                                            const TileThread<typename Tile::Shape>& own,
                                            const typename Tile::T (&sum)[Tile::TM][Tile::TN]) {
  using T = typename Tile::T;
  constexpr int W = Tile::W;
#pragma unroll
  for (int i = 0; i < Tile::TM; i++)
#pragma unroll
    for (int j = 0; j < Tile::TN; j += W) {
      const int row = own.row_of(i), col = own.col_of(j);
      if (row >= to.rows || col >= to.cols) continue;
      if (to.wide) {
        Pack<T, W> pack;
#pragma unroll
        for (int w = 0; w < W; w++) pack.v[w] = sum[i][j + w];
        to.store(row, col, pack);
      } else {
#pragma unroll
        for (int w = 0; w < W; w++)
          if (col + w < to.cols) to.store(row, col + w, Pack<T, 1>{sum[i][j + w]});
      }
    }
}

// c = a b by tiles in three layers (block in shared memory, warp, thread in registers) and in a
// pipeline of two: while a thread multiplies the numbers of one k, those of the next are on their
// way from shared memory to its other registers; while the block works on one tile, cp.async brings
// the next STAGES - 1 tiles, and one barrier a tile keeps all in step. FFMA needs every issue slot
// on Hopper, so a thread's part is large (8 x 8 or 8 x 16): 4 or 6 loads per 64 or 128
// multiply-adds.
template <class Tile, bool A_K_CONTIGUOUS, bool B_K_CONTIGUOUS>
__global__ void __launch_bounds__(Tile::THREADS, Tile::MIN_BLOCKS)
    matmul_pipelined(Product<typename Tile::T> p, Batch batch, TileGrid grid,
                     TileWork<typename Tile::T> work) {
  using T = typename Tile::T;
  constexpr int BK = Tile::BK, STAGES = Tile::STAGES, DEPTH = Tile::DEPTH;
  extern __shared__ __align__(16) char memory[];
  T* shared = reinterpret_cast<T*>(memory);  // [stage][a: BK][PITCH_A], then [b: BK][PITCH_B]
#if defined(CDN_HOPPER)
  hopper::let_next_kernel_start();
#endif

  const TileBlock block(p, grid, work, Tile::BM, Tile::BN);
  const auto to = output_of<Tile>(p, block, batch, work);
  p.move_to(batch.layout, batch.first + blockIdx.z);
  StageLoader<Tile, Tile::THREADS, A_K_CONTIGUOUS, B_K_CONTIGUOUS> loader(p, block, work);
  auto load_stage = [&](int stage, int64_t k_left) {
    loader.load(shared + stage * Tile::STAGE, k_left);
    commit_copies();  // past the end the group is empty, so that counting groups counts tiles
  };

  const TileThread<typename Tile::Shape> own(threadIdx.x);
  const T *a_at = shared + own.a_at(), *b_at = shared + own.b_at();
  T sum[Tile::TM][Tile::TN] = {};
  Fragment<typename Tile::Shape> x[2];

#if defined(CDN_HOPPER)
  hopper::wait_for_previous_kernel();
#endif
  for (int s = 0; s < STAGES - 1; s++) load_stage(s, block.k_count - s * BK);
  wait_copies<STAGES - 2>();
  __syncthreads();
  x[0].read(a_at, b_at, 0);

  int stage = 0;
  for (int64_t k_left = block.k_count; k_left > 0; k_left -= BK) {
#pragma unroll
    for (int kk = 0; kk < DEPTH; kk++) {
      if (kk ==
          DEPTH -
              1) {  // all reads of this tile are done; the next tile has arrived, for all threads
        stage = stage + 1 == STAGES ? 0 : stage + 1;
        wait_copies<STAGES - 2>();
        __syncthreads();
      }
      x[(kk + 1) % 2].read(a_at + stage * Tile::STAGE, b_at + stage * Tile::STAGE,
                           (kk + 1) % DEPTH);
      if (kk == 0)
        load_stage(stage == 0 ? STAGES - 1 : stage - 1,
                   k_left - (STAGES - 1) * BK);  // where the last tile was
      multiply<typename Tile::Shape>(sum, x[kk % 2]);
    }
  }

  if (Tile::through_shared(work.joined > 1, work.wide_c)) {
    wait_copies<0>();
    __syncthreads();
    store_sums<typename Tile::Shape, BlockSync>({shared, to, (int)threadIdx.x}, sum, own,
                                                block.rank, work.joined);
  } else {
    store_packs<Tile>(to, own, sum);
  }
}

}  // namespace cdn
