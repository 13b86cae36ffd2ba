// How a product is computed: which way round, by which loops of kernel.h, and what is packed
// first. It follows from the shape alone, never from the number of threads, so that results do not
// depend on that.
#pragma once
#include <algorithm>
#include <cmath>

#include "cpu/gemm/blocked.h"
#include "cpu/gemm/kernel.h"

namespace cdn {

// Elements in as many whole cache lines.
template <class T> int64_t whole_lines(int64_t n) {
  constexpr int64_t LINE = 64 / sizeof(T);
  return ceil_div(n, LINE) * LINE;
}

constexpr int64_t K_BLOCK = 512;            // panels this deep stream from L1 and L2
constexpr int64_t M_BLOCK = 3072;           // rows of a packed at a time
constexpr int64_t CHUNK_BYTES = 256 << 10;  // columns of b that stay in L2 while rows of a pass by
constexpr int64_t PERIOD = 4096,
                  WAYS = 8;  // of the L1 cache: lines a period apart share a set of so many
constexpr int64_t NEAR_BYTES = 512 << 10;   // an operand that stays in L2
constexpr int64_t MEMORY_BYTES = 24 << 20;  // one that comes from memory each time
constexpr int64_t FEW_USES = 4;             // panels of the other operand that one meets
constexpr int64_t SOME_USES = 16;           // the same, of long runs

template <class T> struct Plan {
  bool dots;                   // or tiles
  bool turned;                 // c^T = b^T a^T is computed; what follows is of the turned product
  bool pack_a, pack_b;         // by panels for TILES, else whole
  int64_t height, width;       // of a tile
  int64_t m_block, k_block;    // rows and steps of a that are packed at a time
  int64_t n_block;             // columns of b that stay in the L2 cache while rows of a pass by
  int64_t a_packed, b_packed;  // elements of the packed copies, whole cache lines
  double cost;
};

template <class T> OneProduct<T> turned(const OneProduct<T>& x) {
  return {x.c.turned(), x.b.turned(), x.a.turned(), x.n, x.m, x.k};
}

// How the elements lie that a panel needs at one step after the other: in its own long rows; in
// rows so far apart that the L1 cache cannot hold a line of each; or a few of them side by side,
// and those of the next step elsewhere.
enum class Runs { LONG, ALIASED, SHORT };

// Whether an operand of so many bytes is better read where it lies, `uses` times. From afar, short
// runs take longer to fetch than to copy, all but when memory itself is what all wait for; and
// narrow vectors fetch them more often.
inline bool better_in_place(int64_t bytes, int64_t uses, Runs runs, int64_t vector_bytes) {
  if (runs == Runs::ALIASED) return uses <= FEW_USES;
  if (bytes <= (runs == Runs::SHORT ? NEAR_BYTES / 64 * vector_bytes : NEAR_BYTES)) return true;
  return runs == Runs::LONG ? uses <= SOME_USES : uses <= FEW_USES && bytes > MEMORY_BYTES;
}

// The cost model, in cycles. It matters for small products; for large ones packing and the like
// hardly count.
constexpr double PACK_BYTES = 12;      // packed a cycle
constexpr double PACK_COST = 25;       // of one panel more
constexpr double TILE_COST = 60;       // of one tile more: its first and last instructions
constexpr double DOT_COST = 3.5;       // adding up the lanes of one
constexpr double LATENCY = 4;          // after which a sum can be added to again
constexpr double SHORT_RUN_COST = 30;  // of a panel's step in place, from afar
constexpr double FAR_PACK = 2;         // packing from afar takes so many times as long, by panels,
constexpr double FAR_TRANSPOSE = 8;    // or all at once

inline double pack_cost(int64_t rows, int64_t cols, int64_t bytes, double far = 1) {
  const double all = static_cast<double>(rows * cols * bytes);
  return all / PACK_BYTES * (all > NEAR_BYTES ? far : 1);
}

template <class T> Plan<T> plan_tiles(const TileKernel<T>& kernel, const OneProduct<T>& x) {
  const int64_t m = x.m, n = x.n, k = x.k, bytes = sizeof(T);
  Plan<T> y{};
  const int64_t row_panels = ceil_div(m, kernel.rows);
  y.height = ceil_div(m, row_panels);  // even panels: 7 + 6 rows are faster than 12 + 1
  // Products of few rows take wider tiles.
  int64_t vectors = 2;
  if (x.b.col == 1)
    while (vectors < 8 && m * vectors <= kernel.rows && vectors * kernel.lanes < n) vectors *= 2;
  y.width = vectors * kernel.lanes;

  const bool a_aliased = x.a.row * bytes % PERIOD == 0 && y.height > WAYS;
  const Runs a_runs = x.a.row == 1 && k > 1 ? Runs::SHORT : a_aliased ? Runs::ALIASED : Runs::LONG;
  const Runs b_runs = vectors == 2 ? Runs::SHORT : Runs::LONG;
  y.pack_a = !better_in_place(m * k * bytes, ceil_div(n, y.width), a_runs, kernel.lanes * bytes);
  y.pack_b =
      x.b.col != 1 || !better_in_place(k * n * bytes, row_panels, b_runs, kernel.lanes * bytes);
  if (y.pack_b) y.width = kernel.panel;
  const int64_t col_panels = ceil_div(n, y.width);
  const int64_t blocks = ceil_div(m, M_BLOCK), block_panels = ceil_div(row_panels, blocks);
  y.m_block = block_panels * y.height;  // blocks, too, are even
  y.k_block = ceil_div(k, ceil_div(k, K_BLOCK));
  const int64_t chunk = CHUNK_BYTES / (y.width * y.k_block * bytes);
  y.n_block = std::clamp<int64_t>(chunk, 1, col_panels) * y.width;
  if (y.pack_a) y.a_packed = whole_lines<T>(block_panels * kernel.rows * y.k_block);
  if (y.pack_b) y.b_packed = whole_lines<T>(y.n_block * y.k_block);

  const double vectors_at_once =
      static_cast<double>(m * ceil_div(n, kernel.half) * kernel.half) / kernel.lanes;
  const double tiles = static_cast<double>(row_panels * col_panels);
  y.cost = std::max(vectors_at_once / kernel.per_cycle, LATENCY * tiles) * k + TILE_COST * tiles;
  auto add_operand = [&](bool packed, Runs runs, int64_t length, int64_t panels) {
    if (packed)
      y.cost += pack_cost(length, k, bytes, FAR_PACK) + PACK_COST * panels;
    else if (runs == Runs::SHORT && length * k * bytes > NEAR_BYTES)
      y.cost += SHORT_RUN_COST * panels * k;
  };
  add_operand(y.pack_a, a_runs, m, row_panels);
  add_operand(y.pack_b, b_runs, n, col_panels);
  if (x.c.col != 1) y.cost += pack_cost(m, n, bytes) + PACK_COST * tiles;
  return y;
}

template <class T> Plan<T> plan_dots(const TileKernel<T>& kernel, const OneProduct<T>& x) {
  Plan<T> y{};
  y.dots = true;
  y.cost = HUGE_VAL;
  y.pack_a = x.a.col != 1 && x.k > 1;
  y.pack_b = x.b.row != 1 && x.k > 1;
  if (y.pack_a) y.a_packed = whole_lines<T>(x.m * x.k);
  if (y.pack_b) y.b_packed = whole_lines<T>(x.n * x.k);
  if (x.m * x.k * static_cast<int64_t>(sizeof(T)) > NEAR_BYTES)
    return y;  // nothing keeps a in a cache
  const double products = static_cast<double>(x.m * ceil_div(x.n, 4) * 4);
  y.cost =
      products * (static_cast<double>(ceil_div(x.k, kernel.lanes)) * kernel.dot_cost + DOT_COST);
  if (y.pack_a) y.cost += pack_cost(x.m, x.k, sizeof(T), FAR_TRANSPOSE) + PACK_COST;
  if (y.pack_b) y.cost += pack_cost(x.n, x.k, sizeof(T), FAR_TRANSPOSE) + PACK_COST;
  return y;
}

template <class T> Plan<T> make_plan(const TileKernel<T>& kernel, const OneProduct<T>& x) {
  const OneProduct<T> other = turned(x);
  Plan<T> best = plan_tiles(kernel, x);
  auto consider = [&best](Plan<T> y, bool turned) {
    y.turned = turned;
    if (y.cost < best.cost) best = y;
  };
  consider(plan_tiles(kernel, other), true);
  const bool tall = x.m > x.n;  // dots are shared out by columns
  consider(plan_dots(kernel, tall ? other : x), tall);
  return best;
}

}  // namespace cdn
