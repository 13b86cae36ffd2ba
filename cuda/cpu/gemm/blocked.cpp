// The product by packed panels and register tiles, or by dot products: as plan.h says.
#include "cpu/gemm/blocked.h"

#include <cstdlib>
#include <cstring>

#include "cpu/gemm/plan.h"
#include "cpu/device/threads.h"

namespace cdn {
namespace {

const MatmulKernel& choose_kernel() {
#if defined(__x86_64__)
  const char* forced = getenv("CUDENO_ISA");
  auto allowed = [forced](const char* isa) {
    return !forced || !*forced || strcmp(forced, isa) == 0;
  };
  bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                __builtin_cpu_supports("avx512cd");
  if (avx512 && allowed("avx512")) return matmul_kernel_avx512();
  if (avx2 && allowed("avx2")) return matmul_kernel_avx2();
#endif
  return matmul_kernel_base();
}

}  // namespace

template <> const TileKernel<float>& tile_kernel() {
  static const TileKernel<float>& chosen = choose_kernel().f32;
  return chosen;
}
template <> const TileKernel<double>& tile_kernel() {
  static const TileKernel<double>& chosen = choose_kernel().f64;
  return chosen;
}

namespace {

// Memory for packed panels: of little, a thread's own, which takes no time to get.
template <class T> T* packing_memory(Call& call, int64_t count) {
  alignas(64) static thread_local T small[4096];
  return count <= 4096 ? small : call.scratch<T>(count);
}

// Below as many multiply-adds, or elements to pack, waking a thread costs more than it saves.
constexpr int64_t SERIAL_PRODUCTS = 500000, SERIAL_PACK = 16384;
// Up to as many, threads of a batch take whole matrices, each with so much memory at most to pack
// them in.
constexpr int64_t SMALL_PRODUCTS = 1 << 20, SMALL_BYTES = 1 << 20;

// Plans of the shapes met last, since making one takes as long as a product of 16 x 16 matrices.
template <class T> const Plan<T>& plan_of(const BatchProduct<T>& x) {
  struct Entry {
    int64_t shape[7];
    Plan<T> plan;
  };
  static thread_local Entry entries[64] = {};
  const int64_t trans = 2 * x.trans_a + x.trans_b;
  const int64_t shape[7] = {x.m, x.n, x.k, x.lda, x.ldb, x.ldc, trans};
  Entry& entry = entries[(x.m * 31 + x.n * 17 + x.k * 5 + trans) % 64];
  if (memcmp(entry.shape, shape, sizeof shape) != 0) {
    entry.plan = make_plan(tile_kernel<T>(), product_at(x, 0));
    memcpy(entry.shape, shape, sizeof shape);
  }
  return entry.plan;
}

constexpr int64_t PER_THREAD = 2;
int64_t pieces_of(int64_t n, bool serial) {
  return serial ? 1 : std::min<int64_t>(n, PER_THREAD * threads::count());
}

// f(begin, end, piece) over [0, n), cut into even pieces, two a thread. The larger ones come first,
// so that no thread is left with one at the end.
template <class F> void in_pieces(int64_t n, bool serial, F&& f) {
  const int64_t pieces = pieces_of(n, serial);
  if (pieces == 1) return f(int64_t{0}, n, int64_t{0});
  parallel_for(pieces, 1, [&](int64_t begin, int64_t end) {
    auto first = [=](int64_t i) { return n / pieces * i + std::min(i, n % pieces); };
    for (int64_t i = begin; i < end; i++) f(first(i), first(i + 1), i);
  });
}

template <class T> void dots(const Plan<T>& plan, const OneProduct<T>& x, T* memory, bool serial) {
  const TileKernel<T>& kernel = tile_kernel<T>();
  DotProducts<T> product = {x.a.data, x.b.data, x.c.data, x.m,    x.k,
                            x.a.row,  x.b.col,  x.c.row,  x.c.col};
  if (plan.pack_a) {
    kernel.transpose(memory, x.k, x.a.data, x.a.col, x.k, x.m);
    product.a = memory;
    product.a_row = x.k;
  }
  if (plan.pack_b) {
    T* b = memory + plan.a_packed;
    kernel.transpose(b, x.k, x.b.data, x.b.row, x.k, x.n);
    product.b = b;
    product.b_row = x.k;
  }
  in_pieces(x.n, serial,
            [&](int64_t begin, int64_t end, int64_t) { kernel.dots(product, begin, end); });
}

// Rows [i, i + m) and columns [j, j + n) of c, and the steps [p, p + k) of their sums.
struct Block {
  int64_t i, m, j, n, p, k;
};

// By one thread, which packs columns of b just before it multiplies them.
template <class T>
void tiles_of_block(const Plan<T>& plan, const OneProduct<T>& x, const Block& at, const T* a_packed,
                    T* b_packed) {
  const TileKernel<T>& kernel = tile_kernel<T>();
  for (int64_t j = at.j; j < at.j + at.n; j += plan.n_block) {
    TileProduct<T> y;
    y.a = &x.a.at(at.i, at.p), y.b = &x.b.at(at.p, j), y.c = &x.c.at(at.i, j);
    y.m = at.m, y.n = std::min(plan.n_block, at.j + at.n - j), y.k = at.k;
    y.height = plan.height, y.width = plan.width;
    y.a_panel = plan.height * x.a.row, y.a_row = x.a.row, y.a_step = x.a.col;
    y.b_panel = plan.width, y.b_step = x.b.row;
    y.c_row = x.c.row, y.c_col = x.c.col;
    y.add = at.p > 0;
    if (plan.pack_a)
      y.a = a_packed, y.a_panel = kernel.rows * at.k, y.a_row = 1, y.a_step = kernel.rows;
    if (plan.pack_b) {
      kernel.pack_cols(b_packed, y.b, y.n, at.k, plan.width, x.b.col, x.b.row);
      y.b = b_packed, y.b_panel = plan.width * at.k, y.b_step = plan.width;
    }
    kernel.multiply(y);
  }
}

// Threads share out first the panels of a to pack, then the tiles; k is never shared out. Where b
// is packed they take column panel by column panel, to pack few twice; else row panel by row panel,
// to write to memory that lies apart.
template <class T> void tiles(const Plan<T>& plan, const OneProduct<T>& x, T* memory, bool serial) {
  const int64_t height = plan.height, width = plan.width, a_row = tile_kernel<T>().rows;
  T* b_packed = memory + plan.a_packed;
  for (int64_t i0 = 0; i0 < x.m; i0 += plan.m_block)
    for (int64_t p0 = 0; p0 < x.k; p0 += plan.k_block) {
      const int64_t m = std::min(plan.m_block, x.m - i0), k = std::min(plan.k_block, x.k - p0);
      if (plan.pack_a)
        in_pieces(ceil_div(m, height), serial || m * k < SERIAL_PACK,
                  [&](int64_t begin, int64_t end, int64_t) {
                    const int64_t top = begin * height, bottom = std::min(end * height, m);
                    tile_kernel<T>().pack_rows(memory + begin * a_row * k, &x.a.at(i0 + top, p0),
                                               bottom - top, k, height, x.a.row, x.a.col);
                  });
      if (serial) {
        tiles_of_block(plan, x, {i0, m, 0, x.n, p0, k}, memory, b_packed);
        continue;
      }
      const int64_t down = ceil_div(m, height), across = ceil_div(x.n, width);
      const int64_t length = plan.pack_b ? down : across;
      in_pieces(down * across, false, [&](int64_t begin, int64_t end, int64_t piece) {
        while (begin < end) {  // part of a line of tiles, or whole ones
          const int64_t first = begin % length, line = begin / length;
          const int64_t tiles = std::min(length - first, end - begin);
          const int64_t lines = tiles < length ? 1 : (end - begin) / length;
          const int64_t i = (plan.pack_b ? first : line) * height;
          const int64_t j = (plan.pack_b ? line : first) * width;
          const Block at = {i0 + i, std::min((plan.pack_b ? tiles : lines) * height, m - i),
                            j,      std::min((plan.pack_b ? lines : tiles) * width, x.n - j),
                            p0,     k};
          tiles_of_block(plan, x, at, memory + i / height * a_row * k,
                         b_packed + piece * plan.b_packed);
          begin += tiles * lines;
        }
      });
    }
}

template <class T>
void multiply(const Plan<T>& plan, const OneProduct<T>& x, T* memory, bool serial) {
  const OneProduct<T> other = turned(x);
  const OneProduct<T>& y = plan.turned ? other : x;
  if (plan.dots) return dots(plan, y, memory, serial);
  tiles(plan, y, memory, serial);
}

// The matrices of a batch are shared out among the threads whole if they are small or very many;
// others are worked on by all threads, one after another.
template <class T> void batch(Call& call, const BatchProduct<T>& x) {
  const int64_t count = x.batch.n, products = x.m * x.n * x.k;
  const Plan<T>& plan = plan_of(x);
  const bool small = products <= SMALL_PRODUCTS || count >= 4 * threads::count();
  const int64_t serial_size = plan.a_packed + plan.b_packed;
  if (count == 1 || !small || serial_size * static_cast<int64_t>(sizeof(T)) > SMALL_BYTES) {
    const bool serial = products < SERIAL_PRODUCTS;
    const int64_t pieces = serial ? 1 : PER_THREAD * threads::count();
    T* memory = packing_memory<T>(call, plan.a_packed + pieces * plan.b_packed);
    for (int64_t z = 0; z < count; z++) multiply(plan, product_at(x, z), memory, serial);
    return;
  }
  const int64_t pieces = pieces_of(count, count <= SERIAL_PRODUCTS / products);
  T* memory = packing_memory<T>(call, pieces * serial_size);
  in_pieces(count, pieces == 1, [&](int64_t begin, int64_t end, int64_t piece) {
    for (int64_t z = begin; z < end; z++)
      multiply(plan, product_at(x, z), memory + piece * serial_size, true);
  });
}

}  // namespace

void blocked_batch(Call& call, const BatchProduct<float>& x) { batch(call, x); }
void blocked_batch(Call& call, const BatchProduct<double>& x) { batch(call, x); }

}  // namespace cdn
