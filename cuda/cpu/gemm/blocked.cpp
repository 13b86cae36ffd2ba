// The product by packed panels and register tiles, or by dot products: as plan.h says.
#include "cpu/gemm/blocked.h"

#include <cstdlib>
#include <cstring>

#if defined(__linux__)
#include <sys/mman.h>
#endif

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

template <class T> const TileKernel<T>& tile_kernel();
const MatmulKernel& kernel() {
  static const MatmulKernel& chosen = choose_kernel();
  return chosen;
}
template <> const TileKernel<float>& tile_kernel() { return kernel().f32; }
template <> const TileKernel<double>& tile_kernel() { return kernel().f64; }

// Memory for packed panels, kept from call to call by each thread that multiplies.
class Scratch {
 public:
  ~Scratch() { release(); }
  void* at_least(size_t bytes) {
    if (bytes > bytes_) {
      release();
      data_ = ::operator new(bytes, ALIGNMENT);
      bytes_ = bytes;
#if defined(__linux__)
      if (bytes >= HUGE_PAGE)
        madvise(data_, bytes, MADV_HUGEPAGE);  // fewer pages to look up; refused, nothing is lost
#endif
    }
    return data_;
  }

 private:
  static constexpr size_t HUGE_PAGE = 2 << 20;
  static constexpr std::align_val_t ALIGNMENT{4096};
  void release() {
    ::operator delete(data_, ALIGNMENT);
    data_ = nullptr;
    bytes_ = 0;
  }
  void* data_ = nullptr;
  size_t bytes_ = 0;
};
thread_local Scratch scratch;

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

// Rows [i0, i0 + m) and columns [j0, j0 + n) of c, and the steps [p0, p0 + k) of their sums.
template <class T> struct Block {
  const Plan<T>& plan;
  const OneProduct<T>& x;
  int64_t i0, j0, p0, m, n, k, row_panels, col_panels;

  // The block that begins there; those at the edges may be smaller than the others, and than their
  // panels.
  Block(const Plan<T>& plan, const OneProduct<T>& x, int64_t i0, int64_t j0, int64_t p0,
        int64_t n_block)
      : plan(plan),
        x(x),
        i0(i0),
        j0(j0),
        p0(p0),
        m(std::min(plan.m_block, x.m - i0)),
        n(std::min(n_block, x.n - j0)),
        k(std::min(plan.k_block, x.k - p0)),
        row_panels(i0 == 0 ? plan.row_panels : ceil_div(m, plan.height)),
        col_panels(n_block == plan.n_block && j0 == 0 ? plan.col_panels : ceil_div(n, plan.width)) {
  }

  int64_t a_panel() const { return tile_kernel<T>().rows * k; }
  int64_t b_panel() const { return plan.width * k; }
  // Panels [begin, end) of all.
  void pack_a(T* packed, int64_t begin, int64_t end) const {
    const int64_t from = begin * plan.height, to = std::min(end * plan.height, m);
    tile_kernel<T>().pack_rows(packed + begin * a_panel(), &x.a.at(i0 + from, p0), to - from, k,
                               plan.height, x.a.row, x.a.col);
  }
  void pack_b(T* packed, int64_t begin, int64_t end) const {
    const int64_t from = begin * plan.width, to = std::min(end * plan.width, n);
    tile_kernel<T>().pack_cols(packed + begin * b_panel(), &x.b.at(p0, j0 + from), to - from, k,
                               plan.width, x.b.col, x.b.row);
  }
  TileProduct<T> product(const T* a_packed, const T* b_packed) const {
    TileProduct<T> y;
    y.a = &x.a.at(i0, p0), y.b = &x.b.at(p0, j0), y.c = &x.c.at(i0, j0);
    y.m = m, y.n = n, y.k = k;
    y.height = plan.height, y.width = plan.width, y.row_panels = row_panels,
    y.col_panels = col_panels;
    y.a_panel = plan.height * x.a.row, y.a_row = x.a.row, y.a_step = x.a.col;
    y.b_panel = plan.width, y.b_step = x.b.row;
    y.c_row = x.c.row, y.c_col = x.c.col;
    y.chunk = plan.chunk;
    y.add = p0 > 0;
    if (plan.pack_a)
      y.a = a_packed, y.a_panel = a_panel(), y.a_row = 1, y.a_step = tile_kernel<T>().rows;
    if (plan.pack_b) y.b = b_packed, y.b_panel = b_panel(), y.b_step = plan.width;
    return y;
  }
};

// A few rows of a, which stay in a cache: who multiplies columns of b packs them too, just before.
template <class T>
void tiles_of_few_rows(const Plan<T>& plan, const OneProduct<T>& x, T* memory, bool serial) {
  const int64_t col_panels = ceil_div(x.n, plan.width);
  for (int64_t p0 = 0; p0 < x.k; p0 += plan.k_block) {
    if (plan.pack_a)
      in_pieces(plan.row_panels, serial, [&](int64_t begin, int64_t end, int64_t) {
        Block<T>(plan, x, 0, 0, p0, plan.n_block).pack_a(memory, begin, end);
      });
    in_pieces(col_panels, serial, [&](int64_t begin, int64_t end, int64_t piece) {
      T* b_packed = memory + plan.a_packed + piece * plan.b_packed;
      for (int64_t j = begin; j < end; j += plan.together) {
        const Block<T> block(plan, x, 0, j * plan.width, p0,
                             std::min(plan.together, end - j) * plan.width);
        block.pack_b(b_packed, 0, block.col_panels);
        tile_kernel<T>().multiply(block.product(memory, b_packed), 0,
                                  block.row_panels * block.col_panels);
      }
    });
  }
}

// Unless it is serial, threads share out first the panels to pack, then the tiles; k is never
// shared out.
template <class T> void tiles(const Plan<T>& plan, const OneProduct<T>& x, T* memory, bool serial) {
  T *a_packed = memory, *b_packed = memory + plan.a_packed;
  for (int64_t j0 = 0; j0 < x.n; j0 += plan.n_block)
    for (int64_t p0 = 0; p0 < x.k; p0 += plan.k_block)
      for (int64_t i0 = 0; i0 < x.m; i0 += plan.m_block) {
        const Block<T> block(plan, x, i0, j0, p0, plan.n_block);
        const int64_t a_panels = plan.pack_a ? block.row_panels : 0,
                      b_panels = plan.pack_b && i0 == 0 ? block.col_panels : 0;
        const bool few = a_panels * block.a_panel() + b_panels * block.b_panel() < SERIAL_PACK;
        if (a_panels + b_panels > 0)
          in_pieces(a_panels + b_panels, serial || few, [&](int64_t begin, int64_t end, int64_t) {
            if (begin < a_panels) block.pack_a(a_packed, begin, std::min(end, a_panels));
            if (end > a_panels)
              block.pack_b(b_packed, std::max(begin, a_panels) - a_panels, end - a_panels);
          });
        const TileProduct<T> product = block.product(a_packed, b_packed);
        in_pieces(block.row_panels * block.col_panels, serial,
                  [&](int64_t begin, int64_t end, int64_t) {
                    tile_kernel<T>().multiply(product, begin, end);
                  });
      }
}

template <class T>
void multiply(const Plan<T>& plan, const OneProduct<T>& x, T* memory, bool serial) {
  const OneProduct<T> y = plan.turned ? turned(x) : x;
  if (plan.method == Plan<T>::DOTS) return dots(plan, y, memory, serial);
  plan.together > 0 ? tiles_of_few_rows(plan, y, memory, serial) : tiles(plan, y, memory, serial);
}

template <class T> T* packing_memory(int64_t count) {
  return static_cast<T*>(scratch.at_least(static_cast<size_t>(count) * sizeof(T)));
}

// The matrices of a batch are shared out among the threads whole if they are small or very many;
// others are worked on by all threads, one after another.
template <class T> void batch(const BatchProduct<T>& x) {
  const int64_t count = x.batch.n, products = x.m * x.n * x.k;
  const Plan<T>& plan = plan_of(x);
  const bool small = products <= SMALL_PRODUCTS || count >= 4 * threads::count();
  const int64_t serial_size = plan.a_packed + plan.b_packed;
  if (count == 1 || !small || serial_size * static_cast<int64_t>(sizeof(T)) > SMALL_BYTES) {
    const bool serial = products < SERIAL_PRODUCTS;
    const int64_t copies =
        plan.together > 0 && !serial ? PER_THREAD * threads::count() : 1;  // one for each piece
    T* memory = packing_memory<T>(plan.a_packed + copies * plan.b_packed);
    for (int64_t z = 0; z < count; z++) multiply(plan, product_at(x, z), memory, serial);
    return;
  }
  const int64_t pieces = pieces_of(count, count <= SERIAL_PRODUCTS / products);
  T* memory = packing_memory<T>(pieces * serial_size);
  in_pieces(count, pieces == 1, [&](int64_t begin, int64_t end, int64_t piece) {
    for (int64_t z = begin; z < end; z++)
      multiply(plan, product_at(x, z), memory + piece * serial_size, true);
  });
}

}  // namespace

void blocked_batch(const BatchProduct<float>& x) { batch(x); }
void blocked_batch(const BatchProduct<double>& x) { batch(x); }

}  // namespace cdn
