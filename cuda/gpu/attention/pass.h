// attention_pass: what attention and its gradients have in common on Hopper. A block keeps tiles of
// rows, 64 for each of its consumer warpgroups, and streams tiles of C columns through two rings in
// shared memory, which a producer fills by TMA. A pass, of the files beside this, says what
// consumers make of them. Scores stay in registers: as sums of one product they are just what the
// next one takes as its left operand.
//
//   forward       rows q        columns k, v    y
//   dQ            rows q, dy, y columns k, v    dq, delta
//   dK, dV        rows k, v     columns q, dy   dk, dv
//
// Nothing is added up by two blocks, so that results repeat bit by bit.
//
// float32 comes cut (cut.h): x 2^e = hi + lo, float16, with one e for each C rows of a head. Of the
// three products that count, hi lo, lo hi and hi hi, sums are made in one accumulator, in this
// order, since tensor cores cut off digits when they add; and what a tile adds to a result is added
// by ordinary additions, scaled back. With one plane it is tf32: as many bits.
#pragma once
#include "gpu/tile/hopper.h"
#include "ops/attention/rules.h"

namespace cdn {

// Rows of heads in memory, in elements.
struct HeadPlace {
  void* data;
  int64_t batch, head, row;
  int32_t features;
  template <class T> CDN_FN T* line(int b, int h, int r) const {
    return static_cast<T*>(data) + (b * batch + h * head + r * row);
  }
};

struct AttentionWork {
  int32_t rows, heads, group;  // heads of the rows; so many of q share one of k
  int32_t queries, keys;
  int32_t row_tiles, units;
  bool folded;             // a unit is a head's first and last tile, and so on inwards; else a tile
  int32_t low, high;       // query r sees keys r + low to r + high - 1
  bool from_end;           // the same, from the end of the keys
  const int32_t* lengths;  // of the batch's keys, or null
  float scale, scale_log2;
  int32_t pieces, piece_tiles, all_batches;       // of the columns, by different blocks
  int32_t batches;                                // of cut tensors, whose planes follow one another
  const float *row_scales[2], *column_scales[2];  // 2^-e, by head and C rows
  WeightDropout dropout;
  HeadPlace out[2];    // the sums
  float *lse, *delta;  // [batch, heads of q, queries]; to the base 2
};

// GROUPS: consumer warpgroups. ROW_TENSORS: of rows. ROW_STAGES: items whose rows are held. STATS:
// lse and delta are streamed with the columns, which are queries then. DROPS: with dropout. PLANES:
// of cut float32, else 0.
template <class T_, int D_, int GROUPS_, int C_, int STAGES_, int ROW_TENSORS_, int ROW_STAGES_,
          bool STATS_, bool DROPS_, int PLANES_ = 0>
struct AttentionTile {
  using T = T_;
  static constexpr bool CUT = PLANES_ > 0, DROPS = DROPS_;
  static constexpr int PLANES = CUT ? PLANES_ : 1;
  using Out = std::conditional_t<CUT, float, T>;
  static constexpr int D = D_, GROUPS = GROUPS_, C = C_, STAGES = STAGES_,
                       ROW_TENSORS = ROW_TENSORS_, ROW_STAGES = ROW_STAGES_, ROWS = 64 * GROUPS,
                       THREADS = 128 * (GROUPS + 1);
  static constexpr bool STATS = STATS_;
  static constexpr int WIDTH = (D + 63) / 64 * 64;  // in shared memory
  static constexpr int ROW_PLANE = ROWS * WIDTH, COLUMN_PLANE = C * WIDTH,
                       ROW_ELEMENTS = PLANES * ROW_PLANE, COLUMN_ELEMENTS = PLANES * COLUMN_PLANE;
  static constexpr int STAT_FLOATS = STATS ? 2 * C : 0;
  static constexpr int BARRIERS = 2 * ROW_STAGES + 4 * STAGES;
  static constexpr int SHARED_BYTES =
      1024 + 2 * (ROW_STAGES * ROW_TENSORS * ROW_ELEMENTS + 2 * STAGES * COLUMN_ELEMENTS) +
      4 * STAGES * STAT_FLOATS + 8 * BARRIERS;
  static_assert(SHARED_BYTES <= 227 * 1024, "what a block may have");
};

#if defined(CDN_HOPPER)

// Row r sees columns max(0, r + low) to min(r + high, end) - 1.
struct RowLimits {
  int low, high, end;
  __device__ __forceinline__ int first(int row) const { return max(0, row + low); }
  __device__ __forceinline__ int last(int row) const { return min(row + high, end); }
};

// Column tiles [first, last).
struct TileSpan {
  int first, last;
  __device__ __forceinline__ int count() const { return last - first; }
};

// A tile of rows of one head.
struct ItemRows {
  int row, head, batch;
  int keys;   // of this batch
  int piece;  // of its columns
  // Results of pieces are further batches.
  __device__ __forceinline__ int out_batch(const AttentionWork& w) const {
    return batch + piece * w.all_batches;
  }
};

// What a block does at a time: tiles of one or more heads of columns, for rows of one head.
template <class Tile> struct AttentionItem : ItemRows {
  int unit = (int)blockIdx.x - (int)gridDim.x;
  bool folded = true;  // the second of its unit
  int column_head, column_heads;
  int end;  // of the rows that see anything
  RowLimits limits;
  TileSpan span;  // of each head of columns

  // Becomes the block's next, if there is one.
  __device__ __forceinline__ bool next(const AttentionWork& w) {
    const int per_head = w.folded ? (w.row_tiles + 1) / 2 : w.row_tiles;
    folded = w.folded && !folded && unit % per_head * 2 + 1 != w.row_tiles;
    if (!folded) unit += (int)gridDim.x;
    if (unit >= w.units) return false;
    const int whole = w.pieces > 1 ? unit / w.pieces : unit, place = whole / per_head,
              tile = whole - place * per_head;
    piece = w.pieces > 1 ? unit - whole * w.pieces : 0;
    row = (folded ? w.row_tiles - 1 - tile : tile) * Tile::ROWS;
    batch = place / w.heads;
    head = place - batch * w.heads;
    keys = w.lengths ? max(0, min(w.lengths[batch], w.keys)) : w.keys;
    const int shift = w.from_end ? keys - w.queries : 0, low = w.low + shift, high = w.high + shift;
    if (Tile::STATS) {  // of columns r, key c is seen by queries c - high + 1 to c - low
      limits = {1 - high, 1 - low, w.queries};
      column_head = head * w.group, column_heads = w.group, end = keys;
    } else {
      limits = {low, high, keys};
      column_head = head / w.group, column_heads = 1, end = w.rows;
    }
    const int to = min(row + Tile::ROWS, end), first = limits.first(row),
              last = limits.last(to - 1);
    span = {0, 0};
    if (row < to && first < last) span = {first / Tile::C, (last + Tile::C - 1) / Tile::C};
    if (w.pieces > 1) {
      const int begin = piece * w.piece_tiles;
      span = {max(span.first, begin), min(span.last, begin + w.piece_tiles)};
      if (span.count() < 0) span = {0, 0};
    }
    return true;
  }
};

// One of the two rings of column tiles, as a side walks it.
template <class Tile> struct ColumnRing : hopper::PipelineState<Tile::STAGES> {
  using T = typename Tile::T;
  T* tiles;
  float* stats;
  uint64_t *full, *empty;

  __device__ __forceinline__ T* tile() const { return tiles + this->stage * Tile::COLUMN_ELEMENTS; }
  __device__ __forceinline__ float* stat() const { return stats + this->stage * Tile::STAT_FLOATS; }
  __device__ __forceinline__ void wait() const {
    hopper::barrier_wait(&full[this->stage], this->phase);
  }
  // A producer's wait, which at first there is no need for.
  __device__ __forceinline__ void wait_empty() const {
    hopper::barrier_wait(&empty[this->stage], this->phase ^ 1);
  }
  // The consumer's warp has read it: not all of a group are equally far.
  __device__ __forceinline__ void release() {
    __syncwarp();
    if (threadIdx.x % 32 == 0) hopper::barrier_arrive(&empty[this->stage]);
    this->next();
  }
};

// The ring of rows, the same way.
template <class Tile> struct RowRing : hopper::PipelineState<Tile::ROW_STAGES> {
  using T = typename Tile::T;
  T* tiles;
  uint64_t *full, *empty;

  __device__ __forceinline__ T* tile(int which) const {
    return tiles + (this->stage * Tile::ROW_TENSORS + which) * Tile::ROW_ELEMENTS;
  }
  __device__ __forceinline__ void wait() const {
    hopper::barrier_wait(&full[this->stage], this->phase);
  }
  __device__ __forceinline__ void wait_empty() const {
    hopper::barrier_wait(&empty[this->stage], this->phase ^ 1);
  }
  __device__ __forceinline__ void release() {
    __syncwarp();
    if (threadIdx.x % 32 == 0) hopper::barrier_arrive(&empty[this->stage]);
    this->next();
  }
};

// The parts of shared memory.
template <class Tile> struct AttentionShared {
  using T = typename Tile::T;
  RowRing<Tile> rows;
  ColumnRing<Tile> ring[2];

  __device__ __forceinline__ explicit AttentionShared(char* raw) {
    rows.tiles = reinterpret_cast<T*>((reinterpret_cast<uintptr_t>(raw) + 1023) &
                                      ~static_cast<uintptr_t>(1023));
    T* const columns = rows.tiles + Tile::ROW_STAGES * Tile::ROW_TENSORS * Tile::ROW_ELEMENTS;
    constexpr int RING = Tile::STAGES * Tile::COLUMN_ELEMENTS;
    float* const stats = reinterpret_cast<float*>(columns + 2 * RING);
    rows.full = reinterpret_cast<uint64_t*>(stats + Tile::STAGES * Tile::STAT_FLOATS);
    rows.empty = rows.full + Tile::ROW_STAGES;
#pragma unroll
    for (int i = 0; i < 2; i++) {
      ring[i].tiles = columns + i * RING;
      ring[i].stats = stats;
      ring[i].full = rows.empty + Tile::ROW_STAGES + i * 2 * Tile::STAGES;
      ring[i].empty = ring[i].full + Tile::STAGES;
    }
  }
  __device__ __forceinline__ void init() const {
    for (int s = 0; s < Tile::ROW_STAGES; s++) {
      hopper::barrier_init(&rows.full[s], 1);
      hopper::barrier_init(&rows.empty[s], 4 * Tile::GROUPS);
    }
    for (int i = 0; i < 2; i++)
      for (int s = 0; s < Tile::STAGES; s++) {
        hopper::barrier_init(&ring[i].full[s], Tile::STATS && i == 0 ? 33 : 1);
        hopper::barrier_init(&ring[i].empty[s], 4 * Tile::GROUPS);
      }
    hopper::barriers_visible();
  }
};

// ---- The producer: a thread for the rows and the first columns, one for the second, and a warp
// for lse and delta

struct AttentionMaps {
  const CUtensorMap *rows[3], *columns[2];
};

// `lines` lines of all features, in boxes of 64, of each plane.
template <class Tile>
__device__ __forceinline__ void load_tile(typename Tile::T* to, const CUtensorMap* map,
                                          uint64_t* full, int lines, int line, int head, int batch,
                                          int batches) {
#pragma unroll
  for (int plane = 0; plane < Tile::PLANES; plane++)
#pragma unroll
    for (int i = 0; i < Tile::D; i += 64)
      hopper::load_box(to + (plane * Tile::WIDTH + i) * lines, map, full, i, line, head,
                       batch + plane * batches);
}

// f(head, tile) for all column tiles of an item.
template <class Tile, class F>
__device__ __forceinline__ void each_column_tile(const AttentionItem<Tile>& item, F&& f) {
#pragma unroll 1
  for (int h = 0; h < item.column_heads; h++)
#pragma unroll 1
    for (int tile = item.span.first; tile < item.span.last; tile++) f(item.column_head + h, tile);
}

template <class Tile>
__device__ __forceinline__ void load_columns(ColumnRing<Tile>& ring, const CUtensorMap* map,
                                             const AttentionWork& w,
                                             const AttentionItem<Tile>& item) {
  each_column_tile(item, [&](int head, int tile) {
    ring.wait_empty();
    uint64_t* const full = &ring.full[ring.stage];
    hopper::barrier_expect(full, Tile::COLUMN_ELEMENTS * 2);
    load_tile<Tile>(ring.tile(), map, full, Tile::C, tile * Tile::C, head, item.batch, w.batches);
    ring.next();
  });
}

template <class Tile>
__device__ __forceinline__ void load_stats(ColumnRing<Tile>& ring, const AttentionWork& w,
                                           const AttentionItem<Tile>& item) {
  each_column_tile(item, [&](int head, int tile) {
    ring.wait_empty();
    const int64_t line = ((int64_t)item.batch * w.heads * w.group + head) * w.queries;
    float* const to = ring.stat();
#pragma unroll 1
    for (int i = (int)threadIdx.x % 32; i < Tile::C; i += 32) {
      const int query = tile * Tile::C + i;
      copy_async_or_zero<4>(to + i, w.lse + line + query, query < w.queries);
      copy_async_or_zero<4>(to + Tile::C + i, w.delta + line + query, query < w.queries);
    }
    hopper::barrier_arrive_after_copies(&ring.full[ring.stage]);
    ring.next();
  });
}

template <class Tile>
__device__ __forceinline__ void produce(AttentionShared<Tile>& shared, const AttentionMaps& maps,
                                        const AttentionWork& w) {
  using namespace hopper;
  const int warp = (int)threadIdx.x / 32;
  if (warp > (Tile::STATS ? 2 : 1) || (warp < 2 && threadIdx.x % 32)) return;
  auto each_item = [&](auto&& load) {
    for (AttentionItem<Tile> item; item.next(w);)
      if (item.span.count() > 0) load(item);
  };
  if (warp == 0) {
    each_item([&](const AttentionItem<Tile>& item) {
      RowRing<Tile>& rows = shared.rows;
      rows.wait_empty();
      uint64_t* const full = &rows.full[rows.stage];
      barrier_expect(full, Tile::ROW_TENSORS * Tile::ROW_ELEMENTS * 2);
#pragma unroll
      for (int i = 0; i < Tile::ROW_TENSORS; i++)
        load_tile<Tile>(rows.tile(i), maps.rows[i], full, Tile::ROWS, item.row, item.head,
                        item.batch, w.batches);
      rows.next();
      load_columns(shared.ring[0], maps.columns[0], w, item);
    });
  } else if (warp == 1) {
    each_item([&](const AttentionItem<Tile>& item) {
      load_columns(shared.ring[1], maps.columns[1], w, item);
    });
  } else {
    each_item([&](const AttentionItem<Tile>& item) { load_stats(shared.ring[0], w, item); });
  }
}

// ---- The consumers' products, on tiles in boxes of 64 features

// s = x yT, queued: x of the group's 64 rows, y of a column tile.
template <class Tile>
__device__ __forceinline__ void multiply_features(float (&s)[Tile::C / 2],
                                                  const typename Tile::T* x,
                                                  const typename Tile::T* y) {
  bool first = true;
  auto product = [&](int of_x, int of_y) {
#pragma unroll
    for (int k = 0; k < Tile::D; k += 16) {
      const auto *a = x + of_x * Tile::ROW_PLANE + k / 64 * 64 * Tile::ROWS + k % 64,
                 *b = y + of_y * Tile::COLUMN_PLANE + k / 64 * 64 * Tile::C + k % 64;
      hopper::wgmma<false, false>(typename Tile::T{}, s, hopper::matrix_at(a, false, 0),
                                  hopper::matrix_at(b, false, 0), !first);
      first = false;
    }
  };
  if constexpr (Tile::PLANES == 2) product(0, 1), product(1, 0);
  product(0, 0);
  hopper::wgmma_commit();
}

// Sums as the next product's left operand.
template <class Tile> struct LeftOperand {
  uint32_t plane[Tile::PLANES][Tile::C / 4];
  // Two neighbours, the i-th and the next.
  __device__ __forceinline__ void put(int i, float a, float b) {
    using T = typename Tile::T;
    const uint32_t hi = pack<T>(a, b);
    plane[0][i / 2] = hi;
    if constexpr (Tile::PLANES == 2) {
      T two[2];
      memcpy(two, &hi, 4);
      plane[1][i / 2] = pack<T>(a - (float)two[0], b - (float)two[1]);
    }
  }
  __device__ __forceinline__ void put(const float (&s)[Tile::C / 2]) {
#pragma unroll
    for (int i = 0; i < Tile::C / 2; i += 2) put(i, s[i], s[i + 1]);
  }
};

// sum += p y, queued.
template <class Tile>
__device__ __forceinline__ void multiply_columns(float (&sum)[Tile::D / 2],
                                                 const LeftOperand<Tile>& p,
                                                 const typename Tile::T* y) {
  auto product = [&](int of_p, int of_y) {
#pragma unroll
    for (int k = 0; k < Tile::C; k += 16)
      hopper::wgmma<true>(
          typename Tile::T{}, sum, p.plane[of_p] + k / 4,
          hopper::matrix_at(y + of_y * Tile::COLUMN_PLANE + k * 64, true, 64 * Tile::C * 2));
  };
  if constexpr (Tile::PLANES == 2) product(0, Tile::PLANES - 1), product(Tile::PLANES - 1, 0);
  product(0, 0);
  hopper::wgmma_commit();
}

// What tiles add up to, of COUNT numbers: a sum in the tensor cores, or, of cut numbers, one for
// each tile, which is then scaled back and added.
template <class Tile, int COUNT> struct TileSums {
  // Of what tensor cores cut off, so much of a sum on average.
  static constexpr float CUT_OFF = Tile::PLANES == 2 ? 9.4e-8f : 0.0f;
  float sum[COUNT], part[Tile::CUT ? COUNT : 1];
  // What the next tile's products are added to.
  __device__ __forceinline__ auto& next() {
    if constexpr (Tile::CUT) {
#pragma unroll
      for (float& x : part) x = 0;
      return part;
    } else {
      return sum;
    }
  }
  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int i = 0; i < COUNT; i++) sum[i] = 0;
  }
  // Once what was queued is done. scales: of the thread's two rows.
  __device__ __forceinline__ void add(const float (&scales)[2]) {
    if constexpr (Tile::CUT) {
      const float factor[2] = {fmaf(scales[0], CUT_OFF, scales[0]),
                               fmaf(scales[1], CUT_OFF, scales[1])};
#pragma unroll
      for (int i = 0; i < COUNT; i++) sum[i] = fmaf(part[i], factor[i / 2 % 2], sum[i]);
    }
  }
  __device__ __forceinline__ void add(float scale) {
    const float both[2] = {scale, scale};
    add(both);
  }
};

// 2^-e of cut tensors: of the C lines of a head from `line` on.
template <class Tile>
__device__ __forceinline__ float scale_of(const float* scales, int lines, int head_of_all,
                                          int line) {
  if constexpr (Tile::CUT)
    return scales[(int64_t)head_of_all * ((lines + Tile::C - 1) / Tile::C) +
                  min(line, lines - 1) / Tile::C];
  return 1;
}

__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Where a thread's sums lie in its group's 64 rows: s[i] is in row `row` + 8 (i / 2 % 2), column
// `column` + 8 (i / 4) + i % 2.
struct SumPlace {
  int row, column;
  __device__ __forceinline__ SumPlace()
      : row((int)threadIdx.x / 32 % 4 * 16 + (int)threadIdx.x % 32 / 4),
        column((int)threadIdx.x % 4 * 2) {}
};

// What a group's 64 rows from `row` on don't see of a tile becomes -infinity. Most tiles are seen
// whole, or cut on one side.
template <class Tile>
__device__ __forceinline__ void mask_sums(float (&s)[Tile::C / 2], const RowLimits& limits, int row,
                                          int tile, const SumPlace& place) {
  const int column = tile * Tile::C + place.column;
  auto hide = [&](auto limit, auto hidden) {
#pragma unroll
    for (int r = 0; r < 2; r++) {
      const int at = limit(row + place.row + 8 * r) - column;
#pragma unroll
      for (int i = 2 * r; i < Tile::C / 2; i += 4)
#pragma unroll
        for (int e = 0; e < 2; e++)
          if (hidden(i / 4 * 8 + e, at)) s[i + e] = -INFINITY;
    }
  };
  if (limits.first(row + 63) > tile * Tile::C)
    hide([&](int r) { return limits.first(r); }, [](int j, int first) { return j < first; });
  if (limits.last(row) < (tile + 1) * Tile::C)
    hide([&](int r) { return limits.last(r); }, [](int j, int last) { return j >= last; });
}

// Which of a thread's weights dropout leaves.
template <class Tile> struct KeptWeights {
  uint32_t bits[(Tile::C / 2 + 31) / 32];

  __device__ __forceinline__ bool operator[](int i) const {
    return !Tile::DROPS || (bits[i / 32] >> i % 32 & 1) != 0;
  }
  __device__ __forceinline__ float of(int i, float x) const { return (*this)[i] ? x : 0.0f; }

  // Of a group's 64 rows from `row` on and a tile of columns, of which either are KEYS, the others
  // queries. Each lane draws for what it has where columns are keys; else it has what others draw.
  template <bool KEYS>
  __device__ __forceinline__ void draw(const WeightDropout& dropout, int head, int row, int tile) {
    if constexpr (Tile::DROPS) {
      const int lane = (int)threadIdx.x % 32, row16 = row / 16 + (int)threadIdx.x / 32 % 4;
#pragma unroll
      for (uint32_t& word : bits) word = 0;
#pragma unroll
      for (int j = 0; j < Tile::C / 16; j++) {
        const int column16 = tile * (Tile::C / 16) + j;
        const Words own = KEYS ? dropout.random(head, row16, column16, lane)
                               : dropout.random(head, column16, row16, lane);
        auto put = [&](int i, bool kept) {
          bits[(8 * j + i) / 32] |= static_cast<uint32_t>(kept) << (8 * j + i) % 32;
        };
#pragma unroll
        for (int i = 0; i < 8 && KEYS; i++) put(i, dropout.kept(own, i));
        // Query 2 (lane % 4) + e of 8, and keys lane / 4 and 8 further.
#pragma unroll
        for (int e = 0; e < 2 && !KEYS; e++) {
          const int from = (lane % 4 * 2 + e) * 4 + lane / 8;
          Words words;
#pragma unroll
          for (int i = 0; i < 4; i++) words.v[i] = __shfl_sync(~0u, own.v[i], from);
#pragma unroll
          for (int half = 0; half < 4; half++)  // of the keys, then of the queries
            put(e + 2 * half, (words.v[half % 2 * 2 + half / 2] >> (lane / 4 % 2 * 16) & 0xffffu) >=
                                  dropout.threshold);
        }
      }
    }
  }
};

// Lines of a tile of columns but [from, to) become 0, whatever a batch has there: a weight of 0
// would not hide what is not finite. Each group does so for itself, before it multiplies.
template <class Tile>
__device__ __forceinline__ void clear_lines(typename Tile::T* x, int tile, int from, int to,
                                            int group) {
  // The swizzle leaves D = 32 anywhere in a line.
  constexpr int PIECES = Tile::PLANES * Tile::WIDTH / 8;
#pragma unroll 1
  for (int i = (int)threadIdx.x % 128; i < Tile::C * PIECES; i += 128) {
    const int line = i / PIECES, piece = i % PIECES, column = tile * Tile::C + line;
    if (column < from || column >= to)
      *reinterpret_cast<uint4*>(x + piece / 8 * 64 * Tile::C + line * 64 + piece % 8 * 8) = uint4{};
  }
  hopper::fence_async();
  hopper::warpgroup_sync(group);
}

// ---- The end: sums times a factor to memory, in pieces of 16 bytes

// w[i] of lane j of four and w[j] of its lane i change places.
__device__ __forceinline__ void transpose_quad(uint32_t (&w)[4]) {
#pragma unroll
  for (int bit = 1; bit < 4; bit *= 2) {
    const bool odd = threadIdx.x & bit;
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const int a = bit == 1 ? 2 * i : i, b = a + bit;
      const uint32_t got = __shfl_xor_sync(~0u, odd ? w[a] : w[b], bit);
      (odd ? w[a] : w[b]) = got;
    }
  }
}

// Rows `row` and `row` + 8 of an item's head, those before `end`.
template <class T, int COUNT>
__device__ __forceinline__ void store_sums(const float (&sum)[COUNT], const float (&factor)[2],
                                           const HeadPlace& to, int batch, int head, int row,
                                           int end) {
#pragma unroll
  for (int r = 0; r < 2; r++) {
    T* const line = to.line<T>(batch, head, row + 8 * r);
    if constexpr (std::is_same_v<T, float>) {
      if (row + 8 * r >= end) continue;
#pragma unroll
      for (int i = 2 * r; i < COUNT; i += 4) {
        const int feature = i / 4 * 8 + (int)threadIdx.x % 4 * 2;
        if (feature < to.features)
          *reinterpret_cast<float2*>(line + feature) = {sum[i] * factor[r], sum[i + 1] * factor[r]};
      }
      continue;
    }
#pragma unroll
    for (int i = 2 * r; i < COUNT; i += 16) {
      uint32_t w[4];
#pragma unroll
      for (int q = 0; q < 4; q++)
        w[q] = pack<T>(sum[i + 4 * q] * factor[r], sum[i + 4 * q + 1] * factor[r]);
      transpose_quad(w);
      const int feature = i / 16 * 32 + (int)threadIdx.x % 4 * 8;
      if (row + 8 * r < end && feature < to.features)
        *reinterpret_cast<uint4*>(line + feature) = {w[0], w[1], w[2], w[3]};
    }
  }
}

#endif  // CDN_HOPPER

// Pass: of a Tile and, on the device, of what a consumer keeps from item to item.
template <class Pass>
__global__ void __launch_bounds__(Pass::Tile::THREADS, 1)
    attention_pass(const __grid_constant__ CUtensorMap rows0,
                   const __grid_constant__ CUtensorMap rows1,
                   const __grid_constant__ CUtensorMap rows2,
                   const __grid_constant__ CUtensorMap columns0,
                   const __grid_constant__ CUtensorMap columns1,
                   const __grid_constant__ AttentionWork w) {
#if defined(CDN_HOPPER)
  using namespace hopper;
  using Tile = typename Pass::Tile;
  extern __shared__ char raw[];
  AttentionShared<Tile> shared(raw);
  if (threadIdx.x == 0) {
    prefetch_map(&rows0);
    prefetch_map(&columns0);
    prefetch_map(&columns1);
    shared.init();
  }
  __syncthreads();
  let_next_kernel_start();
  wait_for_previous_kernel();
  // The same for all lanes of a warp, which the compiler would not know.
  const int group = __shfl_sync(~0u, (int)threadIdx.x / 128, 0) - 1;
  if (group < 0) {
    if (Tile::GROUPS > 1) lower_registers<Tile::GROUPS == 3 ? 32 : 40>();
    produce<Tile>(shared, {{&rows0, &rows1, &rows2}, {&columns0, &columns1}}, w);
  } else {
    if (Tile::GROUPS > 1) raise_registers<Tile::GROUPS == 3 ? 160 : 232>();
    Pass(w, shared, group).run();
  }
#endif
}

}  // namespace cdn
