// multiply_by_wgmma: products on Hopper's tensor cores. A grid of one block per multiprocessor
// stays for the whole product and takes tile after tile of c, BM x BN. In a block, one thread asks
// TMA for the next 64 of k of both operands, STAGES ahead, and one or two warpgroups of 128 threads
// multiply what has landed, 64 rows each (producer and consumers meet at one pair of barriers a
// stage). Blocks in a cluster of two work on neighbouring rows and share what they read of b. Where
// c has few tiles, a cluster takes one of them, each block a piece of k, and adds up the pieces
// through shared memory.
//
// T is what the tensor cores multiply, 16 bits. PLANES = 1: a and b themselves. PLANES = 2: float
// matrices that were cut into two float16 each (fp32_emulation/split.h), x 2^e = hi + 2^-11 lo with
// one e a row of op(a) and a column of op(b): three products then give what a float product would,
// a b = hi hi + 2^-11 (hi lo + lo hi). Tensor cores cut off digits when they add, so that sums of
// more than 64 products are made by ordinary additions.
#pragma once
#include "gpu/tile/store.h"
#include "gpu/gemm/fp32_emulation/split.h"

namespace cdn {

// How a convolution's pixels are found: the output's, `width` in a line and `pixels` in an image,
// each `stride` apart in the input, where the first one's first tap is at `first`.
struct Im2ColWalk {
  int32_t taps, taps_w;  // of a filter, and of one of its lines
  int32_t width, pixels;
  int32_t in_w, in_h, channels;  // of the input
  int32_t pixel, line;           // from one to the next there, in elements
  int32_t stride_h, stride_w, first_h, first_w, dilation_h, dilation_w;
  bool turned;  // the filters' taps are met in the opposite order
  Divisor by_width, by_pixels;

  // Where a filter's line and column are, in dilations from the first tap.
  CDN_FN int32_t row_of(int32_t r) const { return turned ? taps / taps_w - 1 - r : r; }
  CDN_FN int32_t column_of(int32_t s) const { return turned ? taps_w - 1 - s : s; }
};

// What the kernel is to do, apart from where the operands lie. A work item is a tile of one matrix
// of the batch, and one of `splits` pieces of k; k counts in steps of 64.
struct WgmmaWork {
  TileGrid grid;  // a row of it has as many rows of tiles as a cluster has blocks
  int32_t m, n, steps, splits, steps_per_split, batch;
  int64_t k;
  int32_t cluster;  // blocks that share b: 1 or 2
  int32_t joined;   // blocks that add up pieces of k: 1, or 2, 4 or 8
  Divisor by_tiles, by_splits;
  // In z: from matrix to matrix, 0 or 1; from plane to plane.
  int32_t a_moves, b_moves, planes_apart_a, planes_apart_b;
  void* c;         // of T, or float where float_out; pieces of k follow one another
  bool float_out;  // else, where c's lines allow it, through TMA
  bool boxes_out;
  bool one_item;  // a cluster for each item; needed where pieces are joined
  bool float_in;  // the epilogue is of float operands
  Epilogue epilogue;
  CutOperands cut;    // of cut matrices
  Im2ColWalk im2col;  // of convolutions
};

// Tiles of which a block may take one only, where pieces are joined: not the widest, which have no
// registers to spare, nor those for small products as they are.
CDN_FN constexpr bool wgmma_has_one_item(int bm, int bn) {
  return bn == 64 || (bm == 128 && bn == 128);
}
// Tiles that have an epilogue.
CDN_FN constexpr bool wgmma_fuses(int bm, int bn) {
  return wgmma_has_one_item(bm, bn) || (bm == 128 && bn == 256);
}

// How the consumers' sums wait in the stages' place.
template <int BM, int BN> struct WgmmaSums {
  using Sum = float;
  static constexpr int ROWS = BM, COLS = BN, SLICES = 1, THREADS = BM * 2, PITCH = BN + 8;
  static __device__ __forceinline__ int place(int row, int col) { return row * PITCH + col; }
};

// TAPS > 1: b's columns are 64 channels at each of TAPS neighbouring pixels, and its lines pixels:
// the columns of a tap begin a line below those of the tap before, so that all are read from the
// same 64 + TAPS - 1 lines.
template <class T_, int BM_, int BN_, int STAGES_, int PLANES_, bool SCALED_, bool A_MN_,
          bool B_MN_, int TAPS_ = 1>
struct WgmmaTile {
  using T = T_;
  static constexpr int BM = BM_, BN = BN_, BK = 64, STAGES = STAGES_, PLANES = PLANES_,
                       CONSUMERS = BM / 64, TAPS = TAPS_;
  static constexpr bool SCALED = SCALED_, A_MN = A_MN_, B_MN = B_MN_;
  static_assert(TAPS == 1 || (B_MN && BN == TAPS * 64), "columns are taps");
  static constexpr int THREADS = 128 * (CONSUMERS + 1);
  // Of one plane: what comes, and the room for it.
  static constexpr int A_ELEMENTS = BM * BK, B_LOADED = (TAPS == 1 ? BN : 64 + TAPS - 1) * BK,
                       B_ELEMENTS = (B_LOADED + 511) / 512 * 512;
  static constexpr int STAGE_BYTES = (A_ELEMENTS + B_ELEMENTS) * PLANES * 2;
  static constexpr int OUT_COLS =
      BN < 128 ? BN : 128;  // the result leaves through shared memory in parts
  // With an epilogue, so many columns of floats; see finish_sums.
  static constexpr int FINISH_COLS = SCALED ? 32 : OUT_COLS / 2;
  static constexpr int OUT_BYTES = TAPS > 1 ? 0 : BM * FINISH_COLS * 4;
  static constexpr int SCALES = SCALED ? BM + BN : 0;  // see WgmmaScales
  static constexpr int SHARED_BYTES =
      STAGES * STAGE_BYTES + OUT_BYTES + 1024 + 2 * STAGES * 8 + 2 * SCALES * 4;
  static constexpr bool ONE_ITEM = wgmma_has_one_item(BM, BN), FUSES = wgmma_fuses(BM, BN);
  static_assert(BM * WgmmaSums<BM, BN>::PITCH * 4 <= STAGES * STAGE_BYTES, "they fit");
};

struct WgmmaPlace {
  int32_t z, split, row, col, first_step, last_step;  // row and col of c
};

// rank: of the block in its cluster.
CDN_FN WgmmaPlace wgmma_place(const WgmmaWork& w, int32_t bm, int32_t bn, int32_t item,
                              int32_t rank) {
  const uint32_t tiles = w.grid.rows * w.grid.cols, outer = w.by_tiles((uint32_t)item);
  const TilePlace at = tile_place(w.grid, (uint32_t)item - outer * tiles);
  WgmmaPlace p;
  p.z = (int32_t)(w.joined > 1 ? outer : w.by_splits(outer));
  p.split = w.joined > 1 ? rank : (int32_t)outer - p.z * w.splits;
  p.row = ((int32_t)at.row * w.cluster + (w.cluster > 1 ? rank : 0)) * bm;
  p.col = (int32_t)at.col * bn;
  p.first_step = p.split * w.steps_per_split;
  p.last_step = min(w.steps, p.first_step + w.steps_per_split);
  return p;
}

template <class Tile> struct ProductLoader;

#if defined(CDN_HOPPER)

// The items that a block's cluster takes.
struct WgmmaItems {
  int first, count, step;
  __device__ __forceinline__ explicit WgmmaItems(const WgmmaWork& w) {
    first = (int)hopper::cluster_index();
    step = (int)hopper::cluster_count();
    count = (int)(w.grid.rows * w.grid.cols) * w.batch * (w.joined > 1 ? 1 : w.splits);
  }
};

// An operand's part of a stage, EXTENT rows or columns of 64 of k. Where two blocks share it, each
// asks for one half, on behalf of both.
template <int EXTENT, bool MN, class T>
__device__ __forceinline__ void load_operand(T* to, const CUtensorMap* map, uint64_t* bar, int at,
                                             int k, int z, bool shared, int half) {
  constexpr uint16_t BOTH = 3;
  if constexpr (MN) {
#pragma unroll
    for (int i = 0; i < EXTENT; i += 64) {
      if (!shared)
        hopper::load_box(to + i * 64, map, bar, at + i, k, z);
      else if (i / (EXTENT / 2) == half)
        hopper::load_box_to_all(to + i * 64, map, bar, at + i, k, z, BOTH);
    }
  } else {
    const int from = half * (EXTENT / 2);
    if (!shared)
      hopper::load_box(to, map, bar, k, at, z);
    else
      hopper::load_box_to_all(to + from * 64, map, bar, k, at + from, z, BOTH);
  }
}

// c's map is free for an operand where c is not written by it.
struct WgmmaOperands {
  const CUtensorMap *a, *b, *c;
};

// Both operands' part of a stage: the boxes at one step of k.
template <class Tile> struct ProductLoader {
  using Exact = ExactProduct;
  static __device__ __forceinline__ Exact exact(const WgmmaWork& w, const WgmmaPlace& at) {
    return {w.cut, at.z, w.m, w.n};
  }
  WgmmaOperands maps;
  const WgmmaWork& w;
  int rank;
  WgmmaPlace at = {};

  __device__ __forceinline__ void start(const WgmmaPlace& place) { at = place; }
  __device__ __forceinline__ void load_a(typename Tile::T* a, uint64_t* landed, int step) {
#pragma unroll
    for (int plane = 0; plane < Tile::PLANES; plane++)
      load_operand<Tile::BM, Tile::A_MN>(a + plane * Tile::A_ELEMENTS, maps.a, landed, at.row,
                                         step * Tile::BK,
                                         at.z * w.a_moves + plane * w.planes_apart_a, false, 0);
  }
  __device__ __forceinline__ void load_b(typename Tile::T* b, uint64_t* landed, int step) {
#pragma unroll
    for (int plane = 0; plane < Tile::PLANES; plane++)
      load_operand<Tile::BN, Tile::B_MN>(
          b + plane * Tile::B_ELEMENTS, maps.b, landed, at.col, step * Tile::BK,
          at.z * w.b_moves + plane * w.planes_apart_b, w.cluster > 1, rank);
  }
};

// One thread's endless request for tiles of one operand: two threads ask for both, as a request
// takes longer than small tiles' products.
template <class Tile, bool OF_A, class Loader>
__device__ __forceinline__ void wgmma_load(Loader loader, const WgmmaWork& w,
                                           typename Tile::T* stages, uint64_t* full,
                                           uint64_t* empty, uint32_t rank) {
  using namespace hopper;
  PipelineState<Tile::STAGES> pipe;
  int unused = Tile::STAGES;
  const WgmmaItems items(w);
  auto place_of = [&](int item) { return wgmma_place(w, Tile::BM, Tile::BN, item, (int)rank); };
  int item = items.first;
  WgmmaPlace at = place_of(item);
  wait_for_previous_kernel();
  for (; item < items.count; item += items.step, at = place_of(item)) {
    loader.start(at);
    for (int step = at.first_step; step < at.last_step; step++) {
      if (unused > 0)
        unused--;
      else
        barrier_wait(&empty[pipe.stage], pipe.phase ^ 1);
      uint64_t* const landed = &full[pipe.stage];
      barrier_expect(landed, (OF_A ? Tile::A_ELEMENTS : Tile::B_LOADED) * Tile::PLANES * 2);
      typename Tile::T* a = stages + pipe.stage * (Tile::STAGE_BYTES / 2);
      if constexpr (OF_A)
        loader.load_a(a, landed, step);
      else
        loader.load_b(a + Tile::PLANES * Tile::A_ELEMENTS, landed, step);
      pipe.next();
    }
  }
}

// The stages as a consumer walks them, and how it says that it has read one.
template <class Tile> struct WgmmaStages : hopper::PipelineState<Tile::STAGES> {
  const typename Tile::T* stages;
  uint64_t *full, *empty;
  int cluster, thread;

  __device__ __forceinline__ void wait() { hopper::barrier_wait(&full[this->stage], this->phase); }
  __device__ __forceinline__ void release(int s) {  // to every block that may write there
    if (cluster == 1) {
      if (thread == 0) hopper::barrier_arrive(&empty[s]);
    } else if (thread < cluster) {
      hopper::barrier_arrive_at(&empty[s], (uint32_t)thread);
    }
  }
  __device__ __forceinline__ const typename Tile::T* a(int plane, int consumer) const {
    return stages + this->stage * (Tile::STAGE_BYTES / 2) + plane * Tile::A_ELEMENTS +
           consumer * 64 * Tile::BK;
  }
  __device__ __forceinline__ const typename Tile::T* b(int plane) const {
    return stages + this->stage * (Tile::STAGE_BYTES / 2) + Tile::PLANES * Tile::A_ELEMENTS +
           plane * Tile::B_ELEMENTS;
  }
};

// d (+)= a b over 16 of k, the kk-th 16 of a stage.
template <class Tile, int COUNT>
__device__ __forceinline__ void multiply_16(float (&d)[COUNT], const typename Tile::T* a,
                                            const typename Tile::T* b, int kk, bool accumulate) {
  constexpr int NEXT = 64 * Tile::BK * 2, LINE = 128, ALONG_MN = 16 * 64, ALONG_K = 16;
  uint64_t from_a = hopper::matrix_at(a + kk * (Tile::A_MN ? ALONG_MN : ALONG_K), Tile::A_MN, NEXT);
  uint64_t from_b = hopper::matrix_at(b + kk * (Tile::B_MN ? ALONG_MN : ALONG_K), Tile::B_MN,
                                      Tile::TAPS == 1 ? NEXT : LINE);
  hopper::wgmma<Tile::A_MN, Tile::B_MN>(typename Tile::T{}, d, from_a, from_b, accumulate);
}

// sum = the products of all steps, of which there is at least one, in one accumulator. A stage is
// given back when the next one's products are queued.
template <class Tile, int COUNT>
__device__ __forceinline__ void wgmma_sum(float (&sum)[COUNT], WgmmaStages<Tile>& s, int consumer,
                                          int steps) {
  using namespace hopper;
  int previous = -1;
  for (int step = 0; step < steps; step++) {
    s.wait();
    wgmma_fence();
#pragma unroll
    for (int kk = 0; kk < Tile::BK / 16; kk++)
      multiply_16<Tile>(sum, s.a(0, consumer), s.b(0), kk, step > 0 || kk > 0);
    wgmma_commit();
    wgmma_wait<1>();
    if (previous >= 0) s.release(previous);
    previous = s.stage;
    s.next();
  }
  wgmma_wait<0>();
  s.release(previous);
}

// sum = hi hi + 2^-11 (hi lo + lo hi); the first term is added up in the tensor cores for 64 of k
// only.
template <class Tile, int COUNT>
__device__ __forceinline__ void wgmma_split_sum(float (&sum)[COUNT], WgmmaStages<Tile>& s,
                                                int consumer, int steps) {
  using namespace hopper;
  float large[COUNT], small[COUNT];
#pragma unroll
  for (int i = 0; i < COUNT; i++) sum[i] = 0;
  for (int step = 0; step < steps; step++) {
    s.wait();
    wgmma_fence();
#pragma unroll
    for (int kk = 0; kk < Tile::BK / 16; kk++) {
      multiply_16<Tile>(large, s.a(0, consumer), s.b(0), kk, kk > 0);
      multiply_16<Tile>(small, s.a(0, consumer), s.b(1), kk, step > 0 || kk > 0);
      multiply_16<Tile>(small, s.a(1, consumer), s.b(0), kk, true);
    }
    wgmma_commit();
    wgmma_wait<0>();
    s.release(s.stage);
    s.next();
#pragma unroll
    for (int i = 0; i < COUNT; i++) sum[i] += large[i];
  }
#pragma unroll
  for (int i = 0; i < COUNT; i++) sum[i] += small[i] * 0x1p-11f;
}

// The same in fewer registers, for wide tiles: the small terms are made first, and the large one is
// added to them, for 64 of k.
template <class Tile, int COUNT>
__device__ __forceinline__ void wgmma_split_sum_by_turns(float (&sum)[COUNT], WgmmaStages<Tile>& s,
                                                         int consumer, int steps) {
  using namespace hopper;
  float part[COUNT];
#pragma unroll
  for (int i = 0; i < COUNT; i++) sum[i] = 0;
  for (int step = 0; step < steps; step++) {
    s.wait();
    wgmma_fence();
#pragma unroll
    for (int kk = 0; kk < Tile::BK / 16; kk++) {
      multiply_16<Tile>(part, s.a(0, consumer), s.b(1), kk, kk > 0);
      multiply_16<Tile>(part, s.a(1, consumer), s.b(0), kk, true);
    }
    wgmma_commit();
    wgmma_wait<0>();
#pragma unroll
    for (int i = 0; i < COUNT; i++) part[i] *= 0x1p-11f;
    wgmma_fence();
#pragma unroll
    for (int kk = 0; kk < Tile::BK / 16; kk++)
      multiply_16<Tile>(part, s.a(0, consumer), s.b(0), kk, true);
    wgmma_commit();
    wgmma_wait<0>();
    s.release(s.stage);
    s.next();
#pragma unroll
    for (int i = 0; i < COUNT; i++) sum[i] += part[i];
  }
}

// Where a thread's accumulators lie in the tile: register i is row + 8 (i / 2 % 2), column 8 (i /
// 4) + col + i % 2.
struct WgmmaLane {
  int row, col;
  __device__ __forceinline__ explicit WgmmaLane(int consumer)
      : row(consumer * 64 + (int)threadIdx.x / 32 % 4 * 16 + (int)threadIdx.x % 32 / 4),
        col((int)threadIdx.x % 4 * 2) {}

  template <class Sums, int COUNT>
  __device__ __forceinline__ void put(const float (&d)[COUNT], float* sums) const {
#pragma unroll
    for (int i = 0; i < COUNT; i += 2)
      *reinterpret_cast<float2*>(&sums[Sums::place(row + i / 2 % 2 * 8, col + i / 4 * 8)]) =
          float2{d[i], d[i + 1]};
  }
};

// Columns `from` on of a consumer's 64 lines to shared memory, in boxes of 64 columns in TMA's
// swizzle.
template <class Tile, int COUNT>
__device__ __forceinline__ void put_boxes(const float (&d)[COUNT], typename Tile::T* part,
                                          int from) {
  const int lane = (int)threadIdx.x % 32, line = (int)threadIdx.x / 32 % 4 * 16 + lane % 16;
#pragma unroll
  for (int j = 0; j < Tile::OUT_COLS; j += 16) {
    const float* v = d + (from + j) / 2;
    uint32_t r[4] = {pack<typename Tile::T>(v[0], v[1]), pack<typename Tile::T>(v[2], v[3]),
                     pack<typename Tile::T>(v[4], v[5]), pack<typename Tile::T>(v[6], v[7])};
    const int piece = j % 64 / 8 + lane / 16;
    hopper::store_matrices(part + j / 64 * 64 * 64 + line * 64 + (piece ^ line % 8) * 8, r);
  }
}

// 16-bit results through shared memory, by TMA.
template <class Tile, int COUNT>
__device__ __forceinline__ void store_boxes(const float (&d)[COUNT], const CUtensorMap* map_c,
                                            typename Tile::T* part, int consumer, int row, int col,
                                            int z) {
  using namespace hopper;
  const bool first = threadIdx.x % 128 == 0;
#pragma unroll
  for (int from = 0; from < Tile::BN; from += Tile::OUT_COLS) {
    if (first) stores_have_read<0>();
    warpgroup_sync(consumer);
    put_boxes<Tile>(d, part, from);
    fence_async();
    warpgroup_sync(consumer);
    if (first) {
#pragma unroll
      for (int j = 0; j < Tile::OUT_COLS; j += 64)
        store_box(map_c, part + j * 64, col + from + j, row + consumer * 64, z);
      stores_commit();
    }
  }
}

// The same where lines of c are not whole pieces of 16 bytes: neighbouring lanes store neighbouring
// numbers of a warp's 16 lines.
template <class Tile, int COUNT>
__device__ __forceinline__ void store_lines(const float (&d)[COUNT], typename Tile::T* c,
                                            typename Tile::T* part, const WgmmaWork& w, int row,
                                            int col) {
  using T = typename Tile::T;
  constexpr int LINES = 4, EACH = Tile::OUT_COLS / 32;
  const int lane = (int)threadIdx.x % 32, warp_line = (int)threadIdx.x / 32 % 4 * 16;
  row += warp_line;
  // The swizzle repeats every eight lines: where the lane's first column is in each of four.
  const T* at[LINES];
#pragma unroll
  for (int i = 0; i < LINES; i++) at[i] = part + warp_line * 64 + (lane / 8 ^ i) * 8 + lane % 8;
#pragma unroll
  for (int from = 0; from < Tile::BN; from += Tile::OUT_COLS) {
    __syncwarp();
    put_boxes<Tile>(d, part, from);
    __syncwarp();
    const int rows = w.m - row, cols = w.n - col - from - lane;
    T* to = c + (int64_t)row * w.n + col + from + lane;
#pragma unroll
    for (int first = 0; first < 16; first += LINES) {
      T v[LINES][EACH];
#pragma unroll
      for (int i = 0; i < LINES; i++)
#pragma unroll
        for (int j = 0; j < EACH; j++)
          v[i][j] = at[i][(first + i) * 64 + j / 2 * 64 * 64 + (j % 2 * 4 ^ first & 4) * 8];
#pragma unroll
      for (int i = 0; i < LINES; i++, to += w.n)
#pragma unroll
        for (int j = 0; j < EACH; j++)
          if (first + i < rows && 32 * j < cols) to[32 * j] = v[i][j];
    }
  }
}

struct Nothing {
  template <class... From> __device__ __forceinline__ Nothing(const From&...) {}
};

template <int THREADS> using Consumers = hopper::NamedBarrier<3, THREADS>;

// What the rows and columns of a cut tile are scaled back by. A thread asks for its share before
// the products, so that it is there after them; from shared memory all threads then read what they
// need. Usually no row or column is marked, and then a product with a power of two is all it takes.
template <class Tile> struct WgmmaScales {
  static constexpr int THREADS = Tile::CONSUMERS * 128,
                       EACH = (Tile::SCALES + THREADS - 1) / THREADS;
  int32_t info[EACH];

  template <class Exact>
  __device__ __forceinline__ WgmmaScales(const Exact& exact, const WgmmaWork& w,
                                         const WgmmaPlace& at) {
#pragma unroll
    for (int i = 0; i < EACH; i++) {
      const int place = (int)threadIdx.x - 128 + i * THREADS, row = at.row + place,
                col = at.col + place - Tile::BM;
      info[i] = 0;
      if (place < Tile::BM) {
        if (row < w.m) info[i] = exact.a_info(row);
      } else if (place < Tile::SCALES) {
        if (col < w.n) info[i] = exact.b_info(col);
      }
    }
  }
  // [row], [column] to shared memory; waits for all consumers. Whether they are all one needs.
  __device__ __forceinline__ bool share(float* scales) const {
    constexpr int32_t MOST = 60;  // two such, and sums beside them, are far from float's ends
    bool special = false;
#pragma unroll
    for (int i = 0; i < EACH; i++) {
      const int place = (int)threadIdx.x - 128 + i * THREADS;
      const int32_t exponent = SplitInfo::exponent(info[i]);
      if (place < Tile::SCALES) scales[place] = __int_as_float((127 - exponent) << 23);
      special = special || SplitInfo::marks(info[i]) || exponent < -MOST || exponent > MOST;
    }
    return !Consumers<THREADS>{}.any(special);
  }
};

// The end where a block has only one item: the consumers of all blocks of the cluster add up their
// sums, each block for a share of the rows. In one loop for any number of blocks, as code that is
// not run makes small products slower.
template <int BM, int BN, class Output>
__device__ __forceinline__ void store_sums(const Output& to, float* sums, int joined, int rank) {
  const TileEpilogue<WgmmaSums<BM, BN>, Output, Consumers<BM * 2>> end{sums, to,
                                                                       (int)threadIdx.x - 128};
  const int rows = BM / joined, first = joined > 1 ? rank * rows : 0;
  end.template store_rows<true>(first, rows, first, [&](int place) {
    return joined > 1 ? end.sum_of_blocks(place, joined) : end.part(place);
  });
}

template <class Tile>
__device__ __forceinline__ TileOutput<typename Tile::T> output_of(const WgmmaWork& w,
                                                                  const WgmmaPlace& at) {
  const int64_t first = ((int64_t)at.z * w.m + at.row) * w.n + at.col;
  return {static_cast<typename Tile::T*>(w.c) + first,
          Tile::SCALED || w.float_out ? static_cast<float*>(w.c) + first : nullptr,
          w.n,
          min(Tile::BM, w.m - at.row),
          min(Tile::BN, w.n - at.col),
          w.n % 4 == 0 && reinterpret_cast<uintptr_t>(w.c) % 16 == 0};
}

// Floats, from the registers.
template <int COUNT>
__device__ __forceinline__ void store_floats(const float (&d)[COUNT], float* c, const WgmmaWork& w,
                                             int row, int col) {
  const bool together = w.n % 2 == 0;
#pragma unroll
  for (int h = 0; h < 2; h++) {
    const int i = row + 8 * h;
    if (i >= w.m) continue;
    float* line = c + (int64_t)i * w.n;
#pragma unroll
    for (int g = 0; g < COUNT / 4; g++) {
      const int j = col + 8 * g;
      if (j >= w.n) continue;
      const float two[2] = {d[g * 4 + h * 2], d[g * 4 + h * 2 + 1]};
      store_two(line + j, two, together, j + 1 < w.n);
    }
  }
}

// ---- The epilogue

// Where pieces are joined: a function of its own, as it takes long to compile and is the same for
// all operands.
template <int BM, int BN, class In, class Y>
__device__ __noinline__ void finish_joined(const WgmmaWork& w, const WgmmaPlace& at, int rank,
                                           float* sums) {
  const int64_t n = w.n, first = ((int64_t)at.z * w.m + at.row) * n + at.col;
  const FinishOutput<Finish<float, In, Y>> to{
      {w.epilogue, n}, first, at.col, min(BM, w.m - at.row), min(BN, w.n - at.col)};
  store_sums<BM, BN>(to, sums, w.joined, rank);
}

// COLS columns of floats of a consumer's 64 lines, in shared memory so that neither writing what
// threads hold nor reading packs meets a bank twice.
template <int COLS> struct FinishPart {
  float* part;
  __device__ __forceinline__ float* at(int row, int col) const {
    return part + row * COLS + (col / 8 ^ row % (COLS / 8)) * 8 + col % 8;
  }
  template <int W> __device__ __forceinline__ void read(float (&v)[W], int row, int col) const {
    if constexpr (W == 4) {
      *reinterpret_cast<float4*>(v) = *reinterpret_cast<const float4*>(at(row, col));
    } else {  // neighbouring threads begin with different halves
      const bool swap = (COLS == 64 ? (col / 8 ^ row) / 4 : row) % 2 != 0;
      const float4 a = *reinterpret_cast<const float4*>(at(row, col + (swap ? 4 : 0))),
                   b = *reinterpret_cast<const float4*>(at(row, col + (swap ? 0 : 4))),
                   low = swap ? b : a, high = swap ? a : b;
      v[0] = low.x, v[1] = low.y, v[2] = low.z, v[3] = low.w;
      v[4] = high.x, v[5] = high.y, v[6] = high.z, v[7] = high.w;
    }
  }
};

// A consumer's sums, FINISH_COLS columns at a time, by way of shared memory: there threads find
// packs of neighbours. The producer meanwhile goes on with the next item.
template <class Tile, class In, class Y, int COUNT>
__device__ __forceinline__ void finish_sums(float (&d)[COUNT], float* parts, const WgmmaWork& w,
                                            const WgmmaPlace& at, int consumer) {
  using End = Finish<float, In, Y>;
  constexpr int COLS = Tile::FINISH_COLS, W = End::PACK, PACKS = COLS / W, STEP = 128 / PACKS;
  const End finish(w.epilogue, w.n);
  const FinishPart<COLS> part{parts + consumer * 64 * COLS};
  const int thread = (int)threadIdx.x % 128, lane_row = thread / 32 * 16 + thread % 32 / 4,
            lane_col = thread % 4 * 2, pack_row = thread / PACKS, pack_col = thread % PACKS * W;
  const int first = at.row + consumer * 64, rows = min(64, w.m - first);
  const int64_t line = (int64_t)at.z * w.m + first;
#pragma unroll 1
  for (int from = at.col; from < min(at.col + Tile::BN, w.n); from += COLS) {
    hopper::warpgroup_sync(consumer);  // the columns before have been read
#pragma unroll
    for (int i = 0; i < COLS / 2; i += 2)
      *reinterpret_cast<float2*>(part.at(lane_row + i / 2 % 2 * 8, lane_col + i / 4 * 8)) =
          float2{d[i], d[i + 1]};
#pragma unroll
    for (int i = 0; i + COLS / 2 < COUNT; i++) d[i] = d[i + COLS / 2];
    hopper::warpgroup_sync(consumer);
    const int col = from + pack_col, some = min(W, w.n - col);
    if (some <= 0) continue;
    auto place = [&](int row) { return (line + row) * w.n + col; };
    typename End::Others next;
    if (finish.packs && pack_row < rows) next = finish.others(place(pack_row));
#pragma unroll 1
    for (int row = pack_row; row < rows; row += STEP) {
      alignas(16) float v[W];
      part.template read<W>(v, row, pack_col);
      if (finish.packs) {
        const auto others = next;
        if (row + STEP < rows) next = finish.others(place(row + STEP));
        finish(v, place(row), col, others);
      } else {
        float apart[W];  // indexed by what is known at run time alone
        for (int i = 0; i < W; i++) apart[i] = v[i];
        finish(apart, place(row), col, some);
      }
    }
  }
}

#endif  // CDN_HOPPER

// FUSED: with an epilogue. Loader: how operands come.
template <class Tile, bool FUSED, template <class> class Loader>
__global__ void __launch_bounds__(Tile::THREADS, 1)
    multiply_by_wgmma(const __grid_constant__ CUtensorMap map_a,
                      const __grid_constant__ CUtensorMap map_b,
                      const __grid_constant__ CUtensorMap map_c,
                      const __grid_constant__ WgmmaWork w) {
#if defined(CDN_HOPPER)
  using namespace hopper;
  using T = typename Tile::T;
  extern __shared__ char raw[];
  char* shared = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(raw) + 1023) &
                                         ~static_cast<uintptr_t>(1023));
  T* stages = reinterpret_cast<T*>(shared);
  T* parts = reinterpret_cast<T*>(shared + Tile::STAGES * Tile::STAGE_BYTES);
  using Sums = WgmmaSums<Tile::BM, Tile::BN>;
  float* sums = reinterpret_cast<float*>(shared);
  uint64_t* full =
      reinterpret_cast<uint64_t*>(shared + Tile::STAGES * Tile::STAGE_BYTES + Tile::OUT_BYTES);
  uint64_t* empty = full + Tile::STAGES;
  float *first_scales = reinterpret_cast<float*>(empty + Tile::STAGES),
        *scales = first_scales;  // of items by turns
  const bool alone = w.cluster * w.joined == 1;
  const uint32_t rank = alone ? 0 : cluster_rank();
  const int group = (int)threadIdx.x / 128;
  if (threadIdx.x == 0) {
    prefetch_map(&map_a);
    prefetch_map(&map_b);
    for (int s = 0; s < Tile::STAGES; s++) {
      barrier_init(&full[s], 2);
      barrier_init(&empty[s], Tile::CONSUMERS * w.cluster);
    }
    barriers_visible();
  } else if (threadIdx.x == 128 && w.boxes_out) {
    prefetch_map(&map_c);
  }
  if (w.cluster > 1)
    cluster_sync();
  else
    __syncthreads();
  let_next_kernel_start();
  if (group == 0) {
    if (Tile::CONSUMERS > 1) lower_registers<40>();
    const Loader<Tile> loader{{&map_a, &map_b, &map_c}, w, (int)rank};
    if (threadIdx.x == 0) wgmma_load<Tile, true>(loader, w, stages, full, empty, rank);
    if (threadIdx.x == 32) wgmma_load<Tile, false>(loader, w, stages, full, empty, rank);
    __syncwarp();
    if (w.joined > 1) cluster_sync_all();
  } else {
    if (Tile::CONSUMERS > 1) raise_registers<232>();
    wait_for_previous_kernel();
    const int consumer = group - 1;
    WgmmaStages<Tile> s{{}, stages, full, empty, w.cluster, (int)threadIdx.x % 128};
    const WgmmaLane lane(consumer);
    const WgmmaItems items(w);
    for (int item = items.first; item < items.count; item += items.step) {
      const WgmmaPlace at = wgmma_place(w, Tile::BM, Tile::BN, item, (int)rank);
      const typename Loader<Tile>::Exact exact = Loader<Tile>::exact(w, at);
      std::conditional_t<Tile::SCALED, WgmmaScales<Tile>, Nothing> own_scales(exact, w, at);
      float d[Tile::BN / 2];
      if constexpr (Tile::PLANES == 2 && Tile::BN > 128)
        wgmma_split_sum_by_turns<Tile>(d, s, consumer, at.last_step - at.first_step);
      else if constexpr (Tile::PLANES == 2)
        wgmma_split_sum<Tile>(d, s, consumer, at.last_step - at.first_step);
      else
        wgmma_sum<Tile>(d, s, consumer, at.last_step - at.first_step);
      const int64_t piece = (at.z + (int64_t)at.split * w.batch) * w.m * w.n;
      const bool one = Tile::ONE_ITEM && w.one_item;  // then the sums take the stages' place
      if constexpr (Tile::SCALED) {
        const bool plain = own_scales.share(scales);
        auto scale = [&](const auto& to) {
          if (plain)
            scale_plainly<Tile::PLANES>(d, scales + lane.row, scales + Tile::BM + lane.col, w.m,
                                        w.n, at.row + lane.row, at.col + lane.col, to);
          else
            scale_back<Tile::PLANES>(d, exact,
                                     {w.m, w.n, (int64_t)at.first_step * Tile::BK,
                                      min(w.k, (int64_t)at.last_step * Tile::BK)},
                                     at.row + lane.row, at.col + lane.col, to);
        };
        if (one)
          scale(ScaledLines{sums - (int64_t)at.row * Sums::PITCH - at.col, Sums::PITCH, w.m, w.n});
        else if (FUSED)
          scale(ScaledInPlace<Tile::BN / 2>{d});
        else
          scale(ScaledLines{static_cast<float*>(w.c) + piece, w.n, w.m, w.n});
        scales = scales == first_scales ? first_scales + Tile::SCALES : first_scales;
      } else if (one) {
        Consumers<Tile::CONSUMERS * 128>{}();  // all have read the stages
        lane.put<Sums>(d, sums);
      }
      // f(types of the bias and of c)
      auto with_types = [&](auto&& f) {
        if constexpr (Tile::SCALED)
          f(float{}, float{});
        else if (w.float_out && w.float_in)
          f(float{}, float{});
        else if (w.float_out)
          f(T{}, float{});
        else
          f(T{}, T{});
      };
      if constexpr (Tile::ONE_ITEM) {
        if (one) {
          if (w.joined > 1)
            cluster_sync_all();
          else
            Consumers<Tile::CONSUMERS * 128>{}();
          constexpr int BM = Tile::BM, BN = Tile::BN;
          if constexpr (FUSED)
            with_types([&](auto in, auto out) {
              finish_joined<BM, BN, decltype(in), decltype(out)>(w, at, (int)rank, sums);
            });
          else
            store_sums<BM, BN>(output_of<Tile>(w, at), sums, w.joined, (int)rank);
          break;
        }
      }
      if constexpr (FUSED)
        with_types([&](auto in, auto out) {
          finish_sums<Tile, decltype(in), decltype(out)>(d, reinterpret_cast<float*>(parts), w, at,
                                                         consumer);
        });
      if constexpr (!Tile::SCALED && Tile::TAPS > 1) {
        store_floats(d, static_cast<float*>(w.c) + piece, w, at.row + lane.row, at.col + lane.col);
      } else if constexpr (!Tile::SCALED && !FUSED) {
        T* part = parts + consumer * 64 * Tile::OUT_COLS;
        if (w.boxes_out)
          store_boxes<Tile>(d, &map_c, part, consumer, at.row, at.col, at.z);
        else if (w.float_out)
          store_floats(d, static_cast<float*>(w.c) + piece, w, at.row + lane.row,
                       at.col + lane.col);
        else
          store_lines<Tile>(d, static_cast<T*>(w.c) + piece, part, w, at.row + consumer * 64,
                            at.col);
      }
    }
    if (threadIdx.x % 128 == 0) stores_have_read<0>();
  }
  __syncwarp();
  if (!alone) cluster_sync();  // a block must not leave while others use its memory
#endif
}

// The kernels, by their tile: a file for each dtype, as they take long to compile.
struct WgmmaKernel {
  const void* function;
  int threads, shared_bytes;
};
struct WgmmaExtent {
  int bm, bn;
};

// Whether operands are contiguous across k, and whether there is an epilogue, which not all tiles
// have.
struct WgmmaCase {
  bool a_mn, b_mn, fused;
};

// Of 16-bit numbers: for T, each instantiated in a file of its own.
template <class T> WgmmaKernel wgmma_half(WgmmaExtent tile, WgmmaCase x);
// Of floats, cut into so many planes.
WgmmaKernel wgmma_split(int planes, WgmmaExtent tile, WgmmaCase x);

template <class Tile, template <class> class Loader> WgmmaKernel wgmma_kernel(bool fused) {
  static_assert(Tile::SHARED_BYTES <= 227 * 1024, "what a block may have");
  auto kernel = multiply_by_wgmma<Tile, false, Loader>;
  if constexpr (Tile::FUSES)
    if (fused) kernel = multiply_by_wgmma<Tile, true, Loader>;
  return {reinterpret_cast<const void*>(kernel), Tile::THREADS, Tile::SHARED_BYTES};
}

template <class T, int BM, int BN, int STAGES, int PLANES, bool SCALED>
WgmmaKernel wgmma_kernel(WgmmaCase x) {
  return by_transposition(x.a_mn, x.b_mn, [&](auto a, auto b) {
    using Tile =
        WgmmaTile<T, BM, BN, STAGES, PLANES, SCALED, decltype(a)::value, decltype(b)::value>;
    return wgmma_kernel<Tile, ProductLoader>(x.fused);
  });
}

}  // namespace cdn
