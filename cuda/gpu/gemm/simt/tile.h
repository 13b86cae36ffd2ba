// What the kernels of plain multiply-adds share: how a tile of c is cut for warps and threads, what
// a thread reads and multiplies for one k, and the two ways in which the tiles of an operand come
// to shared memory, [k][i] in both. All is by cp.async, without a register between, so that a block
// can have many tiles on their way.
#pragma once
#include "gpu/tile/async_copy.h"
#include "gpu/gemm/tile_work.h"

namespace cdn {

// In which order a thread multiplies its TM x TN pairs. Neighbours in that order share a number,
// which then need not be read from the registers again; it is also what the compiler starts from
// when it hands out registers.
enum class Walk {
  ROWS,     // along the rows, to and fro
  COLUMNS,  // down the columns, to and fro
};

// The block computes a BM x BN tile of c, walking along k in steps of BK. Its warps form SLICES
// groups; each group covers the whole tile with WARPS_M x WARPS_N warps and takes BK / SLICES of
// each step's k, so that a small tile still has 8 warps to hide latency with. A thread computes TM
// x TN outputs, a warp LANES_M x LANES_N threads.
template <class T_, int BM_, int BN_, int BK_, int TM_, int TN_, int LANES_M_, int SLICES_,
          Walk WALK_ = Walk::ROWS>
struct TileShape {
  using T = T_;
  using Shape = TileShape;
  static constexpr int BM = BM_, BN = BN_, BK = BK_, TM = TM_, TN = TN_, SLICES = SLICES_;
  static constexpr Walk WALK = WALK_;
  static constexpr int LANES_M = LANES_M_, LANES_N = 32 / LANES_M;
  static constexpr int WM = LANES_M * TM, WN = LANES_N * TN;  // a warp's part of the tile
  static constexpr int WARPS_M = BM / WM, WARPS_N = BN / WN, SLICE_THREADS = 32 * WARPS_M * WARPS_N;
  static constexpr int THREADS = SLICE_THREADS * SLICES, DEPTH = BK / SLICES;
  static constexpr int W = 16 / sizeof(T);  // numbers in a 16-byte access
  static constexpr int PITCH_A = BM + W,
                       PITCH_B = BN + W;  // one access of padding: see LoadTransposed
  static constexpr int STAGE = BK * (PITCH_A + PITCH_B);  // numbers per stage: a's tile, then b's

  static_assert(LANES_M == 4 || LANES_M == 8,
                "4 x 8 or 8 x 4 lanes, for TileThread's numbering of them");
  static_assert(BM % WM == 0 && BN % WN == 0 && TM % W == 0 && TN % W == 0,
                "warps fill the tile, packs fill a thread's part");
  static_assert(BK % SLICES == 0 && DEPTH % 2 == 0,
                "fragments alternate between two sets of registers");
};

// The place of a thread, of Tile::THREADS that compute. Lanes are numbered in pairs along the side
// of 8, so that each half of a warp reads 128 bytes or fewer at a time.
template <class Tile> struct TileThread {
  using T = typename Tile::T;
  static constexpr int W = Tile::W, TM = Tile::TM, TN = Tile::TN;
  using Part = Pack<T, W>;
  int slice, row,
      col;  // of the thread's first pack in the tile; the next ones are LANES_M W rows, LANES_N W
            // columns on

  __device__ __forceinline__ explicit TileThread(int thread) {
    int lane = thread % 32, warp = thread % Tile::SLICE_THREADS / 32;
    int of8 = lane / 2 % 8, of4 = lane / 16 * 2 + lane % 2;
    slice = thread / Tile::SLICE_THREADS;
    row = warp / Tile::WARPS_N * Tile::WM + (Tile::LANES_M == 8 ? of8 : of4) * W;
    col = warp % Tile::WARPS_N * Tile::WN + (Tile::LANES_M == 8 ? of4 : of8) * W;
  }
  __device__ __forceinline__ int row_of(int i) const {
    return row + i / W * Tile::LANES_M * W + i % W;
  }
  __device__ __forceinline__ int col_of(int j) const {
    return col + j / W * Tile::LANES_N * W + j % W;
  }

  // Where the thread begins to read in a stage.
  __device__ __forceinline__ int a_at() const { return slice * Tile::DEPTH * Tile::PITCH_A + row; }
  __device__ __forceinline__ int b_at() const {
    return Tile::BK * Tile::PITCH_A + slice * Tile::DEPTH * Tile::PITCH_B + col;
  }
};

// A thread's numbers of one k.
template <class Tile> struct Fragment {
  using T = typename Tile::T;
  static constexpr int W = Tile::W;
  Pack<T, W> a[Tile::TM / W], b[Tile::TN / W];

  __device__ __forceinline__ void read(const T* a_at, const T* b_at, int kk) {
    using Part = Pack<T, W>;
#pragma unroll
    for (int i = 0; i < Tile::TM / W; i++)
      a[i] = *reinterpret_cast<const Part*>(a_at + kk * Tile::PITCH_A + i * Tile::LANES_M * W);
#pragma unroll
    for (int j = 0; j < Tile::TN / W; j++)
      b[j] = *reinterpret_cast<const Part*>(b_at + kk * Tile::PITCH_B + j * Tile::LANES_N * W);
  }
};

template <class Tile>
__device__ __forceinline__ void multiply(typename Tile::T (&sum)[Tile::TM][Tile::TN],
                                         const Fragment<Tile>& x) {
  constexpr int TM = Tile::TM, TN = Tile::TN, W = Tile::W;
  auto add = [&](int i, int j) {
    sum[i][j] = fma(x.a[i / W].v[i % W], x.b[j / W].v[j % W], sum[i][j]);
  };
  if (Tile::WALK == Walk::ROWS) {
#pragma unroll
    for (int i = 0; i < TM; i++)
#pragma unroll
      for (int j = 0; j < TN; j++) add(i, i % 2 ? TN - 1 - j : j);
  } else {
#pragma unroll
    for (int j = 0; j < TN; j++)
#pragma unroll
      for (int i = 0; i < TM; i++) add(j % 2 ? TM - 1 - i : i, j);
  }
}

// The loaders: the share of one of LOADERS threads, the block's first, of copying EXTENT vectors by
// BK of an operand to shared[k][i]. Each call of load() takes the next tile along k. In place of
// vectors past the operand's last, whose products nobody stores, the last is read again, so that
// tiles at the edge cost no more than others. Where k ends within the tile (ENDS, and k_left are
// there), zeros take its place.

// From an operand contiguous along k: single numbers, transposed on the way. 8 neighbouring lanes
// read 8 neighbouring k (a whole 32-byte sector of floats) and the next 8 lanes the next vector;
// with PITCH = EXTENT + W their words then lie in different banks.
template <class Tile, int EXTENT, int LOADERS> struct LoadTransposed {
  using T = typename Tile::T;
  static constexpr int PITCH = EXTENT + Tile::W, STEP = LOADERS / 8, COPIES = EXTENT / STEP;
  static_assert(Tile::BK % 8 == 0 && EXTENT % STEP == 0, "threads fill the tile evenly");
  const T* from;
  int64_t step;
  int last;   // of the copies, that of another vector than the one before
  int place;  // of the first copy in the tile

  __device__ __forceinline__ LoadTransposed(const Operand<T>& x, int64_t first, int64_t k_first,
                                            bool) {
    const int64_t left = x.extent - 1 - (first + i());
    from = x.data + (left < 0 ? x.extent - 1 : first + i()) * x.ld + k_first + k();
    step = STEP * x.ld;
    last = left < 0 ? 0 : left >= EXTENT ? COPIES : static_cast<int>(left) / STEP;
    place = k() * PITCH + i();
  }
  static __device__ __forceinline__ int k() { return threadIdx.x % 8; }
  static __device__ __forceinline__ int i() { return threadIdx.x / 8; }
  template <bool ENDS> __device__ __forceinline__ void load(T* shared, int64_t k_left) {
    const T* at = from;
#pragma unroll(ENDS ? 1 : COPIES)
    for (int c = 0; c < COPIES; c++) {
#pragma unroll
      for (int kk = 0; kk < Tile::BK; kk += 8) {
        T* to = shared + place + c * STEP + kk * PITCH;
        if (ENDS)
          copy_async_or_zero<sizeof(T)>(to, at + kk, k() + kk < k_left);
        else
          copy_async<sizeof(T)>(to, at + kk);
      }
      if (c < last) at += step;
    }
    from += Tile::BK;
  }
};

// From an operand contiguous along i, as shared memory is: 16 bytes at a time where the operand's
// lines allow it (wide), else single numbers; neighbouring threads copy neighbouring places.
template <class Tile, int EXTENT, int LOADERS> struct LoadStraight {
  using T = typename Tile::T;
  static constexpr int PITCH = EXTENT + Tile::W, W = Tile::W;
  // By copies of WIDTH numbers: so many k lie between a thread's copies, and so many copies in one
  // k are its own.
  template <int WIDTH>
  static constexpr int K_STEP = LOADERS * WIDTH > EXTENT ? LOADERS * WIDTH / EXTENT : 1;
  template <int WIDTH>
  static constexpr int PER_K = LOADERS * WIDTH > EXTENT ? 1 : EXTENT / (LOADERS * WIDTH);
  static_assert(PER_K<1> <= 2 && PER_K<W> == 1, "one place between, at most");
  const T* from;
  int64_t ld;
  int place;  // of the first copy in the tile
  int apart;  // of the second copy in one k, if there is one
  bool wide;

  __device__ __forceinline__ LoadStraight(const Operand<T>& x, int64_t first, int64_t k_first,
                                          bool wide_)
      : ld(x.ld), wide(wide_) {
    const int width = wide ? W : 1;
    const int k = threadIdx.x / (EXTENT / width), i = threadIdx.x % (EXTENT / width) * width;
    const int64_t last = wide ? (x.extent - 1) & ~static_cast<int64_t>(W - 1) : x.extent - 1,
                  at = first + i < last ? first + i : last,
                  second = first + i + LOADERS < last ? first + i + LOADERS : last;
    from = x.data + (k_first + k) * ld + at;
    place = k * PITCH + i;
    apart = static_cast<int>(second - at);
  }
  template <bool ENDS> __device__ __forceinline__ void load(T* shared, int64_t k_left) {
    if (wide)
      copy<ENDS, W>(shared, k_left);
    else
      copy<ENDS, 1>(shared, k_left);
    from += Tile::BK * ld;
  }
  template <bool ENDS, int WIDTH> __device__ __forceinline__ void copy(T* shared, int64_t k_left) {
    constexpr int STEP = K_STEP<WIDTH>, EACH = PER_K<WIDTH>,
                  COPIES = STEP < Tile::BK ? Tile::BK / STEP : 1;
    static_assert((EXTENT / WIDTH) % LOADERS == 0 || LOADERS % (EXTENT / WIDTH) == 0,
                  "threads fill lines evenly");
    static_assert(STEP >= Tile::BK || Tile::BK % STEP == 0, "and the tile");
    const T* at = from;
    const int k = threadIdx.x / (EXTENT / WIDTH);
    if (STEP > Tile::BK && k >= Tile::BK) return;  // more threads than copies
#pragma unroll(ENDS ? 2 : COPIES > 16 ? 8 / EACH : COPIES)
    for (int c = 0; c < COPIES; c++) {
#pragma unroll
      for (int e = 0; e < EACH; e++) {
        T* to = shared + place + c * STEP * PITCH + e * LOADERS * WIDTH;
        const T* next = e == 0 ? at : at + apart;
        if (ENDS)
          copy_async_or_zero<WIDTH * sizeof(T)>(to, next, k + c * STEP < k_left);
        else
          copy_async<WIDTH * sizeof(T)>(to, next);
      }
      at += STEP * ld;
    }
  }
};

template <class Tile, int EXTENT, int LOADERS, bool K_CONTIGUOUS>
using Loader = std::conditional_t<K_CONTIGUOUS, LoadTransposed<Tile, EXTENT, LOADERS>,
                                  LoadStraight<Tile, EXTENT, LOADERS>>;

// Both operands' next tiles along k to a stage, [k][PITCH_A] and behind it [k][PITCH_B].
template <class Tile, int LOADERS, bool A_K_CONTIGUOUS, bool B_K_CONTIGUOUS> struct StageLoader {
  using T = typename Tile::T;
  Loader<Tile, Tile::BM, LOADERS, A_K_CONTIGUOUS> load_a;
  Loader<Tile, Tile::BN, LOADERS, B_K_CONTIGUOUS> load_b;

  __device__ __forceinline__ StageLoader(const Product<T>& p, const TileBlock& block,
                                         const TileWork<T>& work)
      : load_a(p.a, block.first_row, block.k_first, work.wide_a),
        load_b(p.b, block.first_col, block.k_first, work.wide_b) {}
  __device__ __forceinline__ void load(T* a, int64_t k_left) {
    T* b = a + Tile::BK * Tile::PITCH_A;
    if (k_left >= Tile::BK) {
      load_a.template load<false>(a, k_left);
      load_b.template load<false>(b, k_left);
    } else if (k_left > 0) {
      load_a.template load<true>(a, k_left);
      load_b.template load<true>(b, k_left);
    }
  }
};

}  // namespace cdn
