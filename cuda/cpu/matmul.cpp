// c = op(a) op(b) on the CPU.
#include "../matmul.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "blas.h"
#include "matmul_kernel.h"
#include "threads.h"

namespace cdn {
namespace {

// default is blocked, always: measured against OpenBLAS (Zen 4; AVX-512 and AVX2; 1 and 2 threads) it is as fast or
// faster from some ten microseconds up, and a microsecond or so behind below; and it needs no library and no second
// thread pool.
enum Variant : int32_t { DEFAULT, NAIVE, BLOCKED, BLAS };
constexpr const char* VARIANTS[] = {"default", "naive", "blocked", "blas"};
constexpr int32_t VARIANT_COUNT = sizeof VARIANTS / sizeof *VARIANTS;

// Element (i, j) is data[i * row + j * col]: a transposed matrix is one with its strides exchanged.
template <class T> struct Matrix {
  T* data;
  int64_t row, col;
  T& at(int64_t i, int64_t j) const { return data[i * row + j * col]; }
};

template <class T> struct OneProduct {  // c = a b
  Matrix<T> c;
  Matrix<const T> a, b;
  int64_t m, n, k;
};

// The matrices at place z of the batch.
template <class T> OneProduct<T> product_at(const BatchProduct<T>& x, int64_t z) {
  BatchOffsets at = batch_offsets(x.batch, z);
  const T *a = x.a + at.a, *b = x.b + at.b;
  return {{x.c + z * x.m * x.n, x.n, 1},
          x.trans_a ? Matrix<const T>{a, 1, x.m} : Matrix<const T>{a, x.k, 1},
          x.trans_b ? Matrix<const T>{b, 1, x.k} : Matrix<const T>{b, x.n, 1},
          x.m,
          x.n,
          x.k};
}

// The definition, on one thread: the reference that the others are read and tested against. Rows of c are built up from
// rows of b, so that the inner loop runs along memory unless b is transposed.
template <class T> void naive(const OneProduct<T>& x) {
  for (int64_t i = 0; i < x.m; i++) {
    for (int64_t j = 0; j < x.n; j++) x.c.at(i, j) = 0;
    for (int64_t p = 0; p < x.k; p++)
      for (int64_t j = 0; j < x.n; j++) x.c.at(i, j) += x.a.at(i, p) * x.b.at(p, j);
  }
}

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

constexpr int64_t K_BLOCK = 512;               // panels this deep stream from L1 and L2
constexpr int64_t M_BLOCK = 1536;              // rows of a and
constexpr int64_t N_BLOCK = 3072;              // columns of b packed at a time
constexpr int64_t CHUNK_BYTES = 256 << 10;     // packed rows of a that shall stay in L2
constexpr int64_t IN_PLACE_BYTES = 512 << 10;  // an operand that stays in L2 is not packed,
constexpr int64_t FEW_USES = 4;                // nor is one that meets only so many panels of the other
constexpr int64_t DOT_ROWS = 4;              // with so few rows, dot products read b once, where packing reads it twice
constexpr int64_t SERIAL_PRODUCTS = 500000;  // below as many multiply-adds, waking a thread costs more than it saves
constexpr int64_t SERIAL_PACK = 16384;       // the same for elements to pack
constexpr int64_t SMALL_PRODUCTS = 1 << 20;  // up to as many, threads of a batch take whole matrices, each with
constexpr int64_t SMALL_BYTES = 1 << 20;     // so much memory at most to pack them in

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

// f(begin, end) over [0, n), cut into even pieces, two a thread.
template <class F> void in_pieces(int64_t n, bool serial, F&& f) {
  if (serial) return f(int64_t{0}, n);
  int64_t pieces = std::min<int64_t>(n, 2 * threads::count());
  parallel_for(pieces, 1, [&](int64_t begin, int64_t end) { f(n * begin / pieces, n * end / pieces); });
}

// One side of a block's product: `width` rows of a, or columns of b. Read in place, only the narrower last panel is
// packed.
template <class T> struct Side {
  const T* x;
  int64_t width, k, width_stride, k_stride;
  int64_t tile;  // panel width
  typename TileKernel<T>::Pack pack;
  T* packed;
  bool in_place;

  int64_t count() const { return ceil_div(width, tile); }
  int64_t to_pack() const { return in_place ? count() - width / tile : count(); }
  void pack_panel(int64_t i) const {
    if (in_place) i = count() - 1;
    pack(packed + (in_place ? 0 : i * tile * k), x + i * tile * width_stride, std::min(tile, width - i * tile), k,
         width_stride, k_stride);
  }
  Panels<T> panels() const {
    int64_t last = count() - 1;
    if (!in_place) return {packed, tile * k, tile, packed + last * tile * k, tile};
    if (to_pack() == 0) return {x, tile, k_stride, x + last * tile, k_stride};
    return {x, tile, k_stride, packed, tile};
  }
};

// Packing pays when an operand is read often from afar; it is needed when the elements of a panel's row lie apart.
template <class T> bool better_in_place(int64_t width, int64_t k, int64_t width_stride, int64_t uses) {
  return width_stride == 1 && (uses <= FEW_USES || width * k * static_cast<int64_t>(sizeof(T)) <= IN_PLACE_BYTES);
}

// With so few rows, and both operands contiguous along k, there is nothing to pack.
template <class T> bool few_rows(const OneProduct<T>& x) {
  return x.m <= DOT_ROWS && (x.a.col == 1 || x.k == 1) && (x.b.row == 1 || x.k == 1);
}

// How much of each operand is packed at a time, at most.
template <class T> struct PackedSizes {
  explicit PackedSizes(const OneProduct<T>& x)
      : k_block(ceil_div(x.k, ceil_div(x.k, K_BLOCK))),  // even blocks
        a(round_up(std::min(M_BLOCK, x.m), tile_kernel<T>().rows) * k_block),
        b(round_up(std::min(N_BLOCK, x.n), tile_kernel<T>().cols) * k_block),
        both(few_rows(x) ? 0 : round_up(a + b, 64 / static_cast<int64_t>(sizeof(T)))) {}
  int64_t k_block, a, b, both;  // in elements; both: whole cache lines
};

// A narrow c wastes most of a tile's columns. Turned, c^T = b^T a^T, it may fill the tiles better; but then c is
// written across its rows, which costs about as much as TURN_COST products an element.
template <class T> OneProduct<T> turned_if_better(const OneProduct<T>& x) {
  constexpr int64_t TURN_COST = 16;
  const TileKernel<T>& tile = tile_kernel<T>();
  int64_t work = round_up(x.m, tile.row_step) * round_up(x.n, tile.col_step) * x.k;
  int64_t work_turned = round_up(x.n, tile.row_step) * round_up(x.m, tile.col_step) * x.k + x.m * x.n * TURN_COST;
  if (work_turned >= work) return x;
  return {{x.c.data, x.c.col, x.c.row}, {x.b.data, x.b.col, x.b.row}, {x.a.data, x.a.col, x.a.row}, x.n, x.m, x.k};
}

// Blocks of a and b that fit the caches are cut into panels as wide as a register tile, packed where their elements do
// not lie as the tile wants them, and multiplied tile by tile. Unless it is serial, threads share out first the panels,
// then the tiles; k is never shared out, so each element is summed in the same order however many threads there are.
template <class T> void blocked(const OneProduct<T>& x, T* b_packed, bool serial) {
  const TileKernel<T>& tile = tile_kernel<T>();
  const Matrix<T>& c = x.c;
  const Matrix<const T>&a = x.a, &b = x.b;
  const int64_t m = x.m, n = x.n, k = x.k;
  if (few_rows(x)) {
    DotProducts<T> product = {a.data, b.data, c.data, m, k, a.row, b.col, c.row, c.col};
    return in_pieces(n, serial, [&](int64_t begin, int64_t end) { tile.dots(product, begin, end); });
  }

  const PackedSizes<T> sizes(x);
  int64_t k_block = sizes.k_block, m_block = std::min(M_BLOCK, m), n_block = std::min(N_BLOCK, n);
  T* a_packed = b_packed + sizes.b;
  bool a_in_place = better_in_place<T>(m, k, a.row, ceil_div(n, tile.cols));
  bool b_in_place = better_in_place<T>(n, k, b.col, ceil_div(m, tile.rows));

  for (int64_t j0 = 0; j0 < n; j0 += n_block)
    for (int64_t p0 = 0; p0 < k; p0 += k_block)
      for (int64_t i0 = 0; i0 < m; i0 += m_block) {
        int64_t mb = std::min(m_block, m - i0), nb = std::min(n_block, n - j0), kb = std::min(k_block, k - p0);
        Side<T> rows = {&a.at(i0, p0), mb, kb, a.row, a.col, tile.rows, tile.pack_rows, a_packed, a_in_place};
        Side<T> cols = {&b.at(p0, j0), nb, kb, b.col, b.row, tile.cols, tile.pack_cols, b_packed, b_in_place};

        int64_t b_panels = i0 == 0 ? cols.to_pack() : 0;  // once for all blocks of rows
        int64_t panels = b_panels + rows.to_pack();
        in_pieces(panels, serial || panels * tile.cols * kb < SERIAL_PACK, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; i++) i < b_panels ? cols.pack_panel(i) : rows.pack_panel(i - b_panels);
        });

        int64_t chunk = std::max<int64_t>(1, CHUNK_BYTES / (tile.rows * kb * static_cast<int64_t>(sizeof(T))));
        PanelProduct<T> product = {rows.panels(), cols.panels(), &c.at(i0, j0), mb,    nb, kb,
                                   c.row,         c.col,         chunk,         p0 > 0};
        in_pieces(rows.count() * cols.count(), serial,
                  [&](int64_t begin, int64_t end) { tile.multiply(product, begin, end); });
      }
}

template <class T> T* packing_memory(int64_t count) {
  return static_cast<T*>(scratch.at_least(static_cast<size_t>(count) * sizeof(T)));
}

// The matrices of a batch are shared out among the threads whole if they are small or very many; others are worked on
// by all threads, one after another.
template <class T> void blocked_batch(const BatchProduct<T>& x) {
  int64_t count = x.batch.n, products = x.m * x.n * x.k;
  int64_t packed = PackedSizes<T>(turned_if_better(product_at(x, 0))).both;
  auto multiply = [&x](int64_t z, T* memory, bool serial) {
    blocked(turned_if_better(product_at(x, z)), memory, serial);
  };
  bool small = products <= SMALL_PRODUCTS || count >= 4 * threads::count();
  if (count == 1 || !small || packed * static_cast<int64_t>(sizeof(T)) > SMALL_BYTES) {
    T* memory = packing_memory<T>(packed);
    for (int64_t z = 0; z < count; z++) multiply(z, memory, products < SERIAL_PRODUCTS);
    return;
  }
  int64_t pieces = count <= SERIAL_PRODUCTS / products ? 1 : std::min<int64_t>(count, 2 * threads::count());
  T* memory = packing_memory<T>(pieces * packed);
  parallel_for(pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++)
      for (int64_t z = count * i / pieces; z < count * (i + 1) / pieces; z++) multiply(z, memory + i * packed, true);
  });
}

template <class T> void matmul(const BatchProduct<T>& x, int32_t variant) {
  if (variant == DEFAULT || variant == BLOCKED) return blocked_batch(x);
  for (int64_t z = 0; z < x.batch.n; z++) {
    OneProduct<T> one = product_at(x, z);
    if (variant == BLAS)
      blas::matmul(one.c.data, one.a.data, one.b.data, x.m, x.n, x.k, x.trans_a, x.trans_b);
    else
      naive(one);
  }
}

}  // namespace

namespace backend {

const char* matmul_variant(int32_t variant) {
  return variant >= 0 && variant < VARIANT_COUNT ? VARIANTS[variant] : nullptr;
}

// All precisions are float32 here.
void matmul(Call&, const BatchProduct<float>& x, Precision, int32_t variant) { cdn::matmul(x, variant); }
void matmul(Call&, const BatchProduct<double>& x, Precision, int32_t variant) { cdn::matmul(x, variant); }

bool matmul_half(Call&, const BatchProduct<float16>&, int32_t) { return false; }
bool matmul_half(Call&, const BatchProduct<bfloat16>&, int32_t) { return false; }

bool matmul_fused(Call&, const BatchProduct<float>&, const Epilogue&, Precision, int32_t) { return false; }
bool matmul_fused(Call&, const BatchProduct<double>&, const Epilogue&, Precision, int32_t) { return false; }
bool matmul_fused(Call&, const BatchProduct<float16>&, const Epilogue&, Precision, int32_t) { return false; }
bool matmul_fused(Call&, const BatchProduct<bfloat16>&, const Epilogue&, Precision, int32_t) { return false; }

}  // namespace backend
}  // namespace cdn
