// The product by packed panels and register tiles, or by dot products: as matmul_plan.h says.
#include "matmul_blocked.h"

#include <cstdlib>
#include <cstring>

#include "matmul_plan.h"
#include "threads.h"

namespace cdn {
namespace {

const MatmulKernel& choose_kernel() {
#if defined(__x86_64__)
  const char* forced = getenv("CUDENO_ISA");
  auto allowed = [forced](const char* isa) { return !forced || !*forced || strcmp(forced, isa) == 0; };
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

// Memory for packed panels, kept from call to call and freed with the library. Every call holds the library's mutex.
class Scratch {
 public:
  ~Scratch() { release(); }
  void* at_least(size_t bytes) {
    if (bytes > bytes_) {
      release();
      data_ = ::operator new(bytes, ALIGNMENT);
      bytes_ = bytes;
    }
    return data_;
  }

 private:
  static constexpr std::align_val_t ALIGNMENT{64};
  void release() {
    ::operator delete(data_, ALIGNMENT);
    data_ = nullptr;
    bytes_ = 0;
  }
  void* data_ = nullptr;
  size_t bytes_ = 0;
};
Scratch& scratch = *new Scratch;  // never destroyed: at exit another thread may be multiplying

constexpr int64_t CHUNK_BYTES = 256 << 10;   // rows of a that shall stay in L2
constexpr int64_t SERIAL_PRODUCTS = 500000;  // below as many multiply-adds, waking a thread costs more than it saves
constexpr int64_t SERIAL_PACK = 16384;       // the same for elements to pack
constexpr int64_t SMALL_PRODUCTS = 1 << 20;  // up to as many, threads of a batch take whole matrices, each with
constexpr int64_t SMALL_BYTES = 1 << 20;     // so much memory at most to pack them in

// Plans of the shapes met last, since making one takes as long as a product of 16 x 16 matrices.
template <class T> const Plan<T>& plan_of(const BatchProduct<T>& x) {
  struct Entry {
    int64_t m, n, k, trans;
    Plan<T> plan;
  };
  static Entry entries[64] = {};
  const int64_t trans = 2 * x.trans_a + x.trans_b;
  Entry& entry = entries[(x.m * 31 + x.n * 17 + x.k * 5 + trans) % 64];
  if (entry.m != x.m || entry.n != x.n || entry.k != x.k || entry.trans != trans)
    entry = {x.m, x.n, x.k, trans, make_plan(tile_kernel<T>(), product_at(x, 0))};
  return entry.plan;
}

// f(begin, end) over [0, n), cut into even pieces, two a thread.
template <class F> void in_pieces(int64_t n, bool serial, F&& f) {
  if (serial) return f(int64_t{0}, n);
  int64_t pieces = std::min<int64_t>(n, 2 * threads::count());
  parallel_for(pieces, 1, [&](int64_t begin, int64_t end) { f(n * begin / pieces, n * end / pieces); });
}

template <class T> void dots(const Plan<T>& plan, const OneProduct<T>& x, T* memory, bool serial) {
  const TileKernel<T>& kernel = tile_kernel<T>();
  DotProducts<T> product = {x.a.data, x.b.data, x.c.data, x.m, x.k, x.a.row, x.b.col, x.c.row, x.c.col};
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
  in_pieces(x.n, serial, [&](int64_t begin, int64_t end) { kernel.dots(product, begin, end); });
}

// Unless it is serial, threads share out first the panels to pack, then the tiles; k is never shared out.
template <class T> void tiles(const Plan<T>& plan, const OneProduct<T>& x, T* memory, bool serial) {
  const TileKernel<T>& kernel = tile_kernel<T>();
  T *a_packed = memory, *b_packed = memory + plan.a_packed;
  for (int64_t j0 = 0; j0 < x.n; j0 += plan.n_block)
    for (int64_t p0 = 0; p0 < x.k; p0 += plan.k_block)
      for (int64_t i0 = 0; i0 < x.m; i0 += plan.m_block) {
        const int64_t m = std::min(plan.m_block, x.m - i0), n = std::min(plan.n_block, x.n - j0),
                      k = std::min(plan.k_block, x.k - p0), height = plan.height, width = plan.width;
        const int64_t row_panels = ceil_div(m, height), col_panels = ceil_div(n, width);
        const T *a = &x.a.at(i0, p0), *b = &x.b.at(p0, j0);
        const int64_t a_panels = plan.pack_a ? row_panels : 0, b_panels = plan.pack_b && i0 == 0 ? col_panels : 0;
        if (a_panels + b_panels > 0)
          in_pieces(a_panels + b_panels, serial || (a_panels * height + b_panels * width) * k < SERIAL_PACK,
                    [&](int64_t begin, int64_t end) {
                      for (int64_t i = begin; i < end; i++)
                        if (i < a_panels) {
                          kernel.pack_rows(a_packed + i * kernel.rows * k, a + i * height * x.a.row,
                                           std::min(height, m - i * height), k, x.a.row, x.a.col);
                        } else {
                          int64_t j = i - a_panels;
                          kernel.pack_cols(b_packed + j * width * k, b + j * width * x.b.col,
                                           std::min(width, n - j * width), k, x.b.col, x.b.row);
                        }
                    });
        TileProduct<T> product = {a,       b,       &x.c.at(i0, j0),  m,       n,       k,
                                  height,  width,   height * x.a.row, x.a.row, x.a.col, width,
                                  x.b.row, x.c.row, x.c.col,          0,       p0 > 0};
        product.chunk = std::max<int64_t>(1, CHUNK_BYTES / (height * k * static_cast<int64_t>(sizeof(T))));
        if (plan.pack_a) {
          product.a = a_packed;
          product.a_panel = kernel.rows * k;
          product.a_row = 1;
          product.a_step = kernel.rows;
        }
        if (plan.pack_b) {
          product.b = b_packed;
          product.b_panel = width * k;
          product.b_step = width;
        }
        in_pieces(row_panels * col_panels, serial,
                  [&](int64_t begin, int64_t end) { kernel.multiply(product, begin, end); });
      }
}

template <class T> void multiply(const Plan<T>& plan, const OneProduct<T>& x, T* memory, bool serial) {
  const OneProduct<T> y = plan.turned ? turned(x) : x;
  plan.method == Plan<T>::DOTS ? dots(plan, y, memory, serial) : tiles(plan, y, memory, serial);
}

template <class T> T* packing_memory(int64_t count) {
  return static_cast<T*>(scratch.at_least(static_cast<size_t>(count) * sizeof(T)));
}

// The matrices of a batch are shared out among the threads whole if they are small or very many; others are worked on
// by all threads, one after another.
template <class T> void batch(const BatchProduct<T>& x) {
  const int64_t count = x.batch.n, products = x.m * x.n * x.k;
  const Plan<T>& plan = plan_of(x);
  const int64_t line = 64 / sizeof(T), packed = ceil_div(plan.packed(), line) * line;
  const bool small = products <= SMALL_PRODUCTS || count >= 4 * threads::count();
  if (count == 1 || !small || packed * static_cast<int64_t>(sizeof(T)) > SMALL_BYTES) {
    T* memory = packing_memory<T>(packed);
    for (int64_t z = 0; z < count; z++) multiply(plan, product_at(x, z), memory, products < SERIAL_PRODUCTS);
    return;
  }
  const int64_t pieces = count <= SERIAL_PRODUCTS / products ? 1 : std::min<int64_t>(count, 2 * threads::count());
  T* memory = packing_memory<T>(pieces * packed);
  parallel_for(pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++)
      for (int64_t z = count * i / pieces; z < count * (i + 1) / pieces; z++)
        multiply(plan, product_at(x, z), memory + i * packed, true);
  });
}

}  // namespace

void blocked_batch(const BatchProduct<float>& x) { batch(x); }
void blocked_batch(const BatchProduct<double>& x) { batch(x); }

}  // namespace cdn
