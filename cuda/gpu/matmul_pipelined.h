// The last step of plain multiply-adds: tiles for the block, the warp and the thread, and loads that run while the
// multiply-adds do. STAGES tiles of both operands, [k][i], are in shared memory or on their way there; two sets of
// registers hold the numbers of this k and of the next. Nothing waits for memory, and the widths are parameters, as no
// tile suits all shapes.
#pragma once
#include "matmul_async_copy.h"
#include "matmul_common.h"

namespace cdn {

// How the work is cut. The block computes a BM x BN tile of c, walking along k in steps of BK. Its warps form SLICES
// groups; each group covers the whole tile with WARPS_M x WARPS_N warps and takes BK / SLICES of each step's k, so that
// a small tile still has 8 warps to hide latency with. A thread computes TM x TN outputs, a warp LANES_M x LANES_N
// threads. STAGES tiles are in shared memory or on their way there. MIN_BLOCKS per multiprocessor bounds the registers.
template <class T_, int BM_, int BN_, int BK_, int TM_, int TN_, int LANES_M_, int SLICES_, int STAGES_,
          int MIN_BLOCKS_>
struct BlockTile {
  using T = T_;
  static constexpr int BM = BM_, BN = BN_, BK = BK_, TM = TM_, TN = TN_, SLICES = SLICES_, STAGES = STAGES_,
                       MIN_BLOCKS = MIN_BLOCKS_;
  static constexpr int LANES_M = LANES_M_, LANES_N = 32 / LANES_M;
  static constexpr int WM = LANES_M * TM, WN = LANES_N * TN;  // a warp's part of the tile
  static constexpr int WARPS_M = BM / WM, WARPS_N = BN / WN, SLICE_THREADS = 32 * WARPS_M * WARPS_N;
  static constexpr int THREADS = SLICE_THREADS * SLICES, DEPTH = BK / SLICES;
  static constexpr int W = 16 / sizeof(T);                           // numbers in a 16-byte access
  static constexpr int PITCH_A = BM + W, PITCH_B = BN + W;           // one access of padding: see LoadTransposed
  static constexpr int STAGE = BK * (PITCH_A + PITCH_B);             // numbers per stage: a's tile, then b's
  static constexpr int SUMS = SLICES > 1 ? SLICES / 2 * BM* BN : 0;  // for adding up the slices, after the last stage
  static constexpr int SHARED_BYTES = (STAGES * STAGE > SUMS ? STAGES * STAGE : SUMS) * (int)sizeof(T);

  static_assert(LANES_M == 4 || LANES_M == 8, "4 x 8 or 8 x 4 lanes, for matmul_pipelined's numbering of them");
  static_assert(BM % WM == 0 && BN % WN == 0 && TM % W == 0 && TN % W == 0,
                "warps fill the tile, packs fill a thread's part");
  static_assert(BK % SLICES == 0 && DEPTH % 2 == 0, "fragments alternate between two sets of registers");
  static_assert((SLICES & (SLICES - 1)) == 0 && STAGES >= 2, "slices are added pair by pair");
  static_assert(SHARED_BYTES <= 64 * 1024, "fits the shared memory of sm_75");
};

// The loaders: a thread's share of copying EXTENT vectors by BK of an operand to shared[k][i]. Each call of load()
// takes the next tile along k. k_left is how many k remain, from this tile's first on; CHECKED puts zeros outside the
// operand (what only it needs is computed again from threadIdx, since registers are short).

// From an operand contiguous along k: single numbers, transposed on the way. 8 neighbouring lanes read 8 neighbouring k
// (a whole 32-byte sector of floats) and the next 8 lanes the next vector; with PITCH = EXTENT + W their words then lie
// in different banks.
template <class Tile, int EXTENT> struct LoadTransposed {
  using T = typename Tile::T;
  static constexpr int PITCH = EXTENT + Tile::W, OCTETS = Tile::BK / 8, WARPS = Tile::THREADS / 32;
  static constexpr int STEP = 4 * (WARPS / OCTETS), COPIES = EXTENT / STEP;  // vectors between a thread's copies
  static_assert(Tile::BK % 8 == 0 && WARPS % OCTETS == 0 && EXTENT % STEP == 0, "threads fill the tile evenly");
  const T* from;
  int64_t step, first, extent;
  int place;  // of the first copy in the tile

  __device__ LoadTransposed(const Operand<T>& x, int64_t first_, int64_t k_first, bool)
      : first(first_), extent(x.extent) {
    from = x.data + (first + i()) * x.k + k_first + k();
    step = STEP * x.k;
    place = k() * PITCH + i();
  }
  static __device__ int k() { return threadIdx.x % 8 + threadIdx.x / 32 % OCTETS * 8; }
  static __device__ int i() { return threadIdx.x % 32 / 8 + threadIdx.x / 32 / OCTETS * 4; }
  template <bool CHECKED> __device__ void load(T* shared, int64_t k_left) {
    const T* at = from;
#pragma unroll(CHECKED ? 1 : COPIES)
    for (int c = 0; c < COPIES; c++) {
      if (CHECKED)
        copy_async_or_zero<sizeof(T)>(shared + place + c * STEP, at, k() < k_left && first + i() + c * STEP < extent);
      else
        copy_async<sizeof(T)>(shared + place + c * STEP, at);
      at += step;
    }
    from += Tile::BK;
  }
};

// From an operand contiguous along i, as shared memory is: 16 bytes at a time where the operand's lines allow it
// (wide), else single numbers; neighbouring threads copy neighbouring places.
template <class Tile, int EXTENT> struct LoadStraight {
  using T = typename Tile::T;
  static constexpr int PITCH = EXTENT + Tile::W, W = Tile::W;
  static constexpr int STEP = Tile::THREADS / EXTENT, COPIES = Tile::BK / STEP;  // k between a thread's copies
  static constexpr int WIDE_STEP = Tile::THREADS / (EXTENT / W), WIDE_COPIES = Tile::BK / WIDE_STEP;
  static_assert(Tile::THREADS % EXTENT == 0 && Tile::BK % STEP == 0 && Tile::BK % WIDE_STEP == 0,
                "threads fill the tile evenly");
  const T* from;
  int64_t first, extent;
  int place;  // of the first copy in the tile
  bool wide;

  __device__ LoadStraight(const Operand<T>& x, int64_t first_, int64_t k_first, bool wide_)
      : first(first_), extent(x.extent), wide(wide_) {
    int k = wide ? threadIdx.x / (EXTENT / W) : threadIdx.x / EXTENT;
    int i = wide ? threadIdx.x % (EXTENT / W) * W : threadIdx.x % EXTENT;
    from = x.data + (k_first + k) * extent + first + i;
    place = k * PITCH + i;
  }
  template <bool CHECKED> __device__ void load(T* shared, int64_t k_left) {
    if (wide)
      copy<CHECKED, W, WIDE_STEP, WIDE_COPIES>(shared, k_left);
    else
      copy<CHECKED, 1, STEP, COPIES>(shared, k_left);
    from += Tile::BK * extent;
  }
  template <bool CHECKED, int WIDTH, int K_STEP, int COUNT> __device__ void copy(T* shared, int64_t k_left) {
    const T* at = from;
    int k = threadIdx.x / (EXTENT / WIDTH), i = threadIdx.x % (EXTENT / WIDTH) * WIDTH;
#pragma unroll(CHECKED ? 1 : COUNT)
    for (int c = 0; c < COUNT; c++) {
      if (CHECKED)
        copy_async_or_zero<WIDTH * sizeof(T)>(shared + place + c * K_STEP * PITCH, at,
                                              k + c * K_STEP < k_left && first + i < extent);
      else
        copy_async<WIDTH * sizeof(T)>(shared + place + c * K_STEP * PITCH, at);
      at += K_STEP * extent;
    }
  }
};

template <class Tile, int EXTENT, bool K_CONTIGUOUS>
using Loader = std::conditional_t<K_CONTIGUOUS, LoadTransposed<Tile, EXTENT>, LoadStraight<Tile, EXTENT>>;

// Adds the sums of the slices, halving their number until slice 0 has them all: an order fixed by the tile alone.
template <class Tile>
__device__ void add_slices(typename Tile::T (&sum)[Tile::TM][Tile::TN], typename Tile::T* shared) {
  using T = typename Tile::T;
  using Part = Pack<T, Tile::W>;
  constexpr int PARTS = Tile::TM * Tile::TN / Tile::W;
  int slice = threadIdx.x / Tile::SLICE_THREADS, thread = threadIdx.x % Tile::SLICE_THREADS;
  Part* parts = reinterpret_cast<Part*>(shared);  // [slice][part][thread]
#pragma unroll
  for (int half = Tile::SLICES / 2; half > 0; half /= 2) {
    __syncthreads();
    Part* mine = parts + slice % half * PARTS * Tile::SLICE_THREADS + thread;
    if (slice >= half && slice < 2 * half) {
#pragma unroll
      for (int q = 0; q < PARTS; q++) {
        Part part;
#pragma unroll
        for (int w = 0; w < Tile::W; w++) part.v[w] = sum[q * Tile::W / Tile::TN][q * Tile::W % Tile::TN + w];
        mine[q * Tile::SLICE_THREADS] = part;
      }
    }
    __syncthreads();
    if (slice < half) {
#pragma unroll
      for (int q = 0; q < PARTS; q++) {
        Part part = mine[q * Tile::SLICE_THREADS];
#pragma unroll
        for (int w = 0; w < Tile::W; w++) sum[q * Tile::W / Tile::TN][q * Tile::W % Tile::TN + w] += part.v[w];
      }
    }
  }
}

struct Pieces {
  int64_t k;            // of k per piece: blockIdx.y is the piece, a multiple of BK but for the last
  bool wide_a, wide_b;  // the operand allows 16-byte reads
  bool wide_c;          // 16-byte stores
};

// c = a b by tiles in three layers (block in shared memory, warp, thread in registers) and in a pipeline of two: while
// a thread multiplies the numbers of one k, those of the next are on their way from shared memory to its other
// registers; while the block works on one tile, cp.async brings the next STAGES - 1 tiles, and one barrier a tile keeps
// all in step. FFMA needs every issue slot on Hopper, so a thread's part is large (8 x 8 or 8 x 16): 4 or 6 loads per
// 64 or 128 multiply-adds. Piece y of k writes its sums to c + y (batch) m n; sum_pieces adds them when there is more
// than one.
template <class Tile, bool A_K_CONTIGUOUS, bool B_K_CONTIGUOUS>
__global__ void __launch_bounds__(Tile::THREADS, Tile::MIN_BLOCKS)
    matmul_pipelined(Product<typename Tile::T> p, Batch batch, TileGrid grid, Pieces pieces) {
  using T = typename Tile::T;
  constexpr int W = Tile::W, TM = Tile::TM, TN = Tile::TN, BK = Tile::BK, STAGES = Tile::STAGES, DEPTH = Tile::DEPTH;
  using Part = Pack<T, W>;
  extern __shared__ __align__(16) char memory[];
  T* shared = reinterpret_cast<T*>(memory);  // [stage][a: BK][PITCH_A], then [b: BK][PITCH_B]

  p.move_to(batch.layout, batch.first + blockIdx.z);
  TilePlace place = tile_place(grid, blockIdx.x);
  int64_t first_row = (int64_t)place.row * Tile::BM, first_col = (int64_t)place.col * Tile::BN;
  int64_t k_first = blockIdx.y * pieces.k;
  int64_t k_count = p.k() - k_first < pieces.k ? p.k() - k_first : pieces.k;
  bool inside = first_row + Tile::BM <= p.m() && first_col + Tile::BN <= p.n();

  Loader<Tile, Tile::BM, A_K_CONTIGUOUS> load_a(p.a, first_row, k_first, pieces.wide_a);
  Loader<Tile, Tile::BN, B_K_CONTIGUOUS> load_b(p.b, first_col, k_first, pieces.wide_b);
  auto load_stage = [&](int stage, int64_t k_left) {
    T* a = shared + stage * Tile::STAGE;
    T* b = a + BK * Tile::PITCH_A;
    if (inside && k_left >= BK) {
      load_a.template load<false>(a, k_left);
      load_b.template load<false>(b, k_left);
    } else if (k_left > 0) {
      load_a.template load<true>(a, k_left);
      load_b.template load<true>(b, k_left);
    }
    commit_copies();  // past the end the group is empty, so that counting groups counts tiles
  };

  // Lanes are numbered in pairs along the side of 8, so that each half of a warp reads 128 bytes or fewer at a time.
  int lane = threadIdx.x % 32, warp = threadIdx.x % Tile::SLICE_THREADS / 32, slice = threadIdx.x / Tile::SLICE_THREADS;
  int of8 = lane / 2 % 8, of4 = lane / 16 * 2 + lane % 2;
  int row =
      warp / Tile::WARPS_N * Tile::WM + (Tile::LANES_M == 8 ? of8 : of4) * W;  // of the thread's first pack in the tile
  int col = warp % Tile::WARPS_N * Tile::WN + (Tile::LANES_M == 8 ? of4 : of8) * W;
  const T* a_at = shared + slice * DEPTH * Tile::PITCH_A + row;
  const T* b_at = shared + BK * Tile::PITCH_A + slice * DEPTH * Tile::PITCH_B + col;

  T sum[TM][TN] = {};
  Part a[2][TM / W], b[2][TN / W];
  auto read_parts = [&](int set, int stage, int kk) {
#pragma unroll
    for (int i = 0; i < TM / W; i++)
      a[set][i] =
          *reinterpret_cast<const Part*>(a_at + stage * Tile::STAGE + kk * Tile::PITCH_A + i * Tile::LANES_M * W);
#pragma unroll
    for (int j = 0; j < TN / W; j++)
      b[set][j] =
          *reinterpret_cast<const Part*>(b_at + stage * Tile::STAGE + kk * Tile::PITCH_B + j * Tile::LANES_N * W);
  };

  for (int s = 0; s < STAGES - 1; s++) load_stage(s, k_count - s * BK);
  wait_copies<STAGES - 2>();
  __syncthreads();
  read_parts(0, 0, 0);

  int stage = 0;
  for (int64_t k_left = k_count; k_left > 0; k_left -= BK) {
#pragma unroll
    for (int kk = 0; kk < DEPTH; kk++) {
      if (kk == DEPTH - 1) {  // all reads of this tile are done; the next tile has arrived, for all threads
        stage = stage + 1 == STAGES ? 0 : stage + 1;
        wait_copies<STAGES - 2>();
        __syncthreads();
      }
      read_parts((kk + 1) % 2, stage, (kk + 1) % DEPTH);
      if (kk == 0)
        load_stage(stage == 0 ? STAGES - 1 : stage - 1, k_left - (STAGES - 1) * BK);  // where the last tile was
#pragma unroll
      for (int i = 0; i < TM; i++)
#pragma unroll
        for (int jj = 0; jj < TN; jj++) {
          int j = i % 2 ? TN - 1 - jj : jj;  // to and fro: neighbouring multiply-adds share a register
          sum[i][j] = fma(a[kk % 2][i / W].v[i % W], b[kk % 2][j / W].v[j % W], sum[i][j]);
        }
    }
  }

  if (Tile::SLICES > 1) {
    wait_copies<0>();
    add_slices<Tile>(sum, shared);
    if (slice > 0) return;
  }

  T* c = p.c + blockIdx.y * batch.layout.n * p.size();
#pragma unroll
  for (int i = 0; i < TM; i++)
#pragma unroll
    for (int j = 0; j < TN / W; j++) {
      int64_t r = first_row + row + i / W * Tile::LANES_M * W + i % W, q = first_col + col + j * Tile::LANES_N * W;
      if (r >= p.m() || q >= p.n()) continue;
      T* to = c + r * p.n() + q;
      if (pieces.wide_c) {
        Part part;
#pragma unroll
        for (int w = 0; w < W; w++) part.v[w] = sum[i][j * W + w];
        *reinterpret_cast<Part*>(to) = part;
      } else {
#pragma unroll
        for (int w = 0; w < W; w++)
          if (q + w < p.n()) to[w] = sum[i][j * W + w];
      }
    }
}

}  // namespace cdn
