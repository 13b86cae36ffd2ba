// The inner loops of the blocked matrix product, in GCC's and Clang's vector extensions: one source for AVX-512, AVX2,
// NEON and plain SSE2. The Makefile compiles it once for each, with -DCDN_ISA=base|avx2|avx512 and the -march to match.
//
// A register tile of ROWS x (VECTORS * LANES) elements of c stays in registers over the whole k loop: a step loads
// VECTORS vectors of b, broadcasts ROWS elements of a, and does ROWS * VECTORS fused multiply-adds, so loads never
// limit it. Each element of c is the same chain of operations wherever its tile lies and whichever thread computes it.
//
// Everything but the table is in an anonymous namespace, and no library header is included: see matmul_kernel.h.
#include "matmul_kernel.h"

#ifndef CDN_ISA
#define CDN_ISA base
#endif
#define CDN_JOIN_TWICE(a, b) a##b
#define CDN_JOIN(a, b) CDN_JOIN_TWICE(a, b)
#define CDN_TEXT_TWICE(a) #a
#define CDN_TEXT(a) CDN_TEXT_TWICE(a)

namespace cdn {
namespace {

// Enough sums to hide the latency of a multiply-add, and few enough to leave registers for VECTORS vectors of b and the
// elements of a: 24 of AVX-512's 32 registers, 16 of NEON's 32 (it keeps more of a at hand), 12 of AVX2's and
// SSE2's 16.
#if defined(__AVX512F__)
constexpr int VECTOR_BYTES = 64, ROWS = 12, VECTORS = 2;
#elif defined(__AVX__)
constexpr int VECTOR_BYTES = 32, ROWS = 6, VECTORS = 2;
#elif defined(__aarch64__)
constexpr int VECTOR_BYTES = 16, ROWS = 8, VECTORS = 2;
#else
constexpr int VECTOR_BYTES = 16, ROWS = 6, VECTORS = 2;
#endif
constexpr int ROW_STEP = 2;               // tiles at the lower edge have their rows, rounded up to this
constexpr int VECTOR_STEP = VECTORS / 2;  // tiles at the right edge are whole or half as wide

template <class T> struct Wide {
  static constexpr int LANES = VECTOR_BYTES / sizeof(T);
  static constexpr int COLS = VECTORS * LANES;
  typedef T Vector __attribute__((vector_size(VECTOR_BYTES)));
};

typedef float Float4 __attribute__((vector_size(16)));
typedef double Double2 __attribute__((vector_size(16)));
typedef int32_t Int4 __attribute__((vector_size(16)));
typedef int64_t Int2 __attribute__((vector_size(16)));

template <class V, class T> inline V load(const T* p) {
  V v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
template <class V, class T> inline void store(T* p, V v) { __builtin_memcpy(p, &v, sizeof v); }

// ---- Packing ----

#if defined(__clang__)
#define CDN_SHUFFLE4(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#define CDN_SHUFFLE2(a, b, i, j) __builtin_shufflevector(a, b, i, j)
#else
#define CDN_SHUFFLE4(a, b, i, j, k, l) __builtin_shuffle(a, b, Int4{i, j, k, l})
#define CDN_SHUFFLE2(a, b, i, j) __builtin_shuffle(a, b, Int2{i, j})
#endif

// A square of SIDE x SIDE elements, SIDE to a 16-byte vector: to[p * to_stride + w] = x[w * x_stride + p].
template <class T> constexpr int SIDE = 16 / sizeof(T);

inline void transpose_square(float* to, int64_t to_stride, const float* x, int64_t x_stride) {
  Float4 r0 = load<Float4>(x), r1 = load<Float4>(x + x_stride);
  Float4 r2 = load<Float4>(x + 2 * x_stride), r3 = load<Float4>(x + 3 * x_stride);
  Float4 low01 = CDN_SHUFFLE4(r0, r1, 0, 4, 1, 5), high01 = CDN_SHUFFLE4(r0, r1, 2, 6, 3, 7);
  Float4 low23 = CDN_SHUFFLE4(r2, r3, 0, 4, 1, 5), high23 = CDN_SHUFFLE4(r2, r3, 2, 6, 3, 7);
  store(to, CDN_SHUFFLE4(low01, low23, 0, 1, 4, 5));
  store(to + to_stride, CDN_SHUFFLE4(low01, low23, 2, 3, 6, 7));
  store(to + 2 * to_stride, CDN_SHUFFLE4(high01, high23, 0, 1, 4, 5));
  store(to + 3 * to_stride, CDN_SHUFFLE4(high01, high23, 2, 3, 6, 7));
}
inline void transpose_square(double* to, int64_t to_stride, const double* x, int64_t x_stride) {
  Double2 r0 = load<Double2>(x), r1 = load<Double2>(x + x_stride);
  store(to, CDN_SHUFFLE2(r0, r1, 0, 2));
  store(to + to_stride, CDN_SHUFFLE2(r0, r1, 1, 3));
}

// panel[p * WIDTH + w] = x(w, p), and 0 for w from width up to a multiple of STEP: tiles read no further.
template <class T, int WIDTH, int STEP>
void pack(T* panel, const T* x, int64_t width, int64_t k, int64_t width_stride, int64_t k_stride) {
  int64_t padded = (width + STEP - 1) / STEP * STEP;
  if (width_stride == 1) {
    for (int64_t p = 0; p < k; p++, panel += WIDTH, x += k_stride) {
      if (width == WIDTH) {
        __builtin_memcpy(panel, x, sizeof(T) * WIDTH);
        continue;
      }
      for (int64_t w = 0; w < width; w++) panel[w] = x[w];
      for (int64_t w = width; w < padded; w++) panel[w] = 0;
    }
    return;
  }
  // A source that runs along k is transposed in registers, in slices of one cache line of each row, so that rows a
  // power of two apart do not evict each other half read.
  constexpr int64_t SLICE = 64 / sizeof(T);
  int64_t w_done = k_stride == 1 ? width - width % SIDE<T> : 0, p_done = w_done ? k - k % SIDE<T> : 0;
  for (int64_t slice = 0; slice < p_done; slice += SLICE)
    for (int64_t w = 0; w < w_done; w += SIDE<T>) {
      T* to = panel + slice * WIDTH + w;
      const T* from = x + w * width_stride + slice;
      if (p_done - slice >= SLICE)
#pragma GCC unroll 8
        for (int64_t p = 0; p < SLICE; p += SIDE<T>) transpose_square(to + p * WIDTH, WIDTH, from + p, width_stride);
      else
        for (int64_t p = 0; p < p_done - slice; p += SIDE<T>)
          transpose_square(to + p * WIDTH, WIDTH, from + p, width_stride);
    }
  for (int64_t p = w_done == padded ? p_done : 0; p < k; p++) {
    for (int64_t w = p < p_done ? w_done : 0; w < width; w++) panel[p * WIDTH + w] = x[w * width_stride + p * k_stride];
    for (int64_t w = width; w < padded; w++) panel[p * WIDTH + w] = 0;
  }
}

// ---- The register tile ----

// Where a tile finds its operands: at each k, R elements of a and V vectors of b.
template <class T> struct Source {
  const T *a, *b;
  int64_t a_step, b_step, k;
};

// c (+)= R rows and V vectors of the product. The loops over r and v must vanish for the sums to be registers; the
// pragmas see to it that they do before the compiler decides where the sums live.
template <class T, int R, int V> void tile(const Source<T>& x, T* c, int64_t c_row, bool add) {
  constexpr int LANES = Wide<T>::LANES;
  using Vector = typename Wide<T>::Vector;
  Vector sum[R][V];
#pragma GCC unroll 16
  for (int r = 0; r < R; r++)
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) sum[r][v] = Vector{};
  const T *a = x.a, *b = x.b;
  for (int64_t p = x.k; p > 0; p--, a += x.a_step, b += x.b_step) {
    Vector wide[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) wide[v] = load<Vector>(b + v * LANES);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) sum[r][v] += a[r] * wide[v];
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; r++)
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) {
      T* at = c + r * c_row + v * LANES;
      store(at, add ? load<Vector>(at) + sum[r][v] : sum[r][v]);
    }
}

template <class T, int V, int R = ROWS> void tile_of_rows(int64_t rows, const Source<T>& x, T* c, int64_t c_row) {
  if constexpr (R > ROW_STEP)
    if (rows <= R - ROW_STEP) return tile_of_rows<T, V, R - ROW_STEP>(rows, x, c, c_row);
  tile<T, R, V>(x, c, c_row, false);
}

// A tile that is not whole, or whose columns are apart (c transposed): computed aside, then written element by element.
template <class T>
void tile_aside(const PanelProduct<T>& x, int64_t rows, int64_t cols, const Source<T>& source, T* c) {
  constexpr int COLS = Wide<T>::COLS;
  alignas(64) T aside[ROWS * COLS];
  if (cols > COLS / 2)
    tile_of_rows<T, VECTORS>(rows, source, aside, COLS);
  else
    tile_of_rows<T, VECTOR_STEP>(rows, source, aside, COLS);
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < cols; j++) {
      T* at = c + i * x.c_row + j * x.c_col;
      *at = x.add ? *at + aside[i * COLS + j] : aside[i * COLS + j];
    }
}

// Tiles are numbered chunk of rows by chunk, in it column panel by column panel, in that row by row: a column panel is
// used while it is in the L1 cache, the chunk's rows while they are in L2.
template <class T> void multiply(const PanelProduct<T>& x, int64_t begin, int64_t end) {
  constexpr int64_t COLS = Wide<T>::COLS;
  int64_t row_panels = (x.m + ROWS - 1) / ROWS, col_panels = (x.n + COLS - 1) / COLS;
  while (begin < end) {
    int64_t first = begin / (x.chunk * col_panels) * x.chunk;  // the chunk's first row panel
    int64_t height = x.chunk < row_panels - first ? x.chunk : row_panels - first;
    int64_t in_chunk = begin - first * col_panels;
    int64_t col = in_chunk / height, row = first + in_chunk % height;
    int64_t stop = row + (end - begin) < first + height ? row + (end - begin) : first + height;
    begin += stop - row;
    Source<T> source = {nullptr, x.b.first + col * x.b.stride, 0, x.b.step, x.k};
    if (col == col_panels - 1) source.b = x.b.last, source.b_step = x.b.last_step;
    for (; row < stop; row++) {
      bool last = row == row_panels - 1;
      source.a = last ? x.a.last : x.a.first + row * x.a.stride;
      source.a_step = last ? x.a.last_step : x.a.step;
      int64_t rows = last ? x.m - row * ROWS : ROWS, cols = col == col_panels - 1 ? x.n - col * COLS : COLS;
      T* c = x.c + row * ROWS * x.c_row + col * COLS * x.c_col;
      if (rows == ROWS && cols == COLS && x.c_col == 1)
        tile<T, ROWS, VECTORS>(source, c, x.c_row, x.add);
      else
        tile_aside(x, rows, cols, source, c);
    }
  }
}

// ---- Matrix times vector ----

// Dot products of one row of a with J rows of b: no packing, since each element of b is used only once.
template <class T, int J> void dot_rows(const T* a, const T* b, int64_t b_row, int64_t k, T* c, int64_t c_col) {
  constexpr int LANES = Wide<T>::LANES, UNROLL = 2;
  using Vector = typename Wide<T>::Vector;
  Vector sum[J][UNROLL] = {};
  int64_t p = 0;
  for (; p + UNROLL * LANES <= k; p += UNROLL * LANES)
    for (int j = 0; j < J; j++)
      for (int u = 0; u < UNROLL; u++)
        sum[j][u] += load<Vector>(a + p + u * LANES) * load<Vector>(b + j * b_row + p + u * LANES);
  for (; p + LANES <= k; p += LANES)
    for (int j = 0; j < J; j++) sum[j][0] += load<Vector>(a + p) * load<Vector>(b + j * b_row + p);
  for (int j = 0; j < J; j++) {
    T lanes[LANES], rest = 0;
    for (int64_t q = p; q < k; q++) rest += a[q] * b[j * b_row + q];
    store(lanes, sum[j][0] + sum[j][1]);
    for (int half = LANES / 2; half > 0; half /= 2)
      for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
    c[j * c_col] = lanes[0] + rest;
  }
}

template <class T> void dots(const DotProducts<T>& x, int64_t begin, int64_t end) {
  constexpr int TOGETHER = 4;
  for (int64_t j = begin; j < end;) {
    int64_t together = end - j >= TOGETHER ? TOGETHER : 1;
    for (int64_t i = 0; i < x.m; i++) {
      const T *a = x.a + i * x.a_row, *b = x.b + j * x.b_row;
      T* c = x.c + i * x.c_row + j * x.c_col;
      if (together == TOGETHER)
        dot_rows<T, TOGETHER>(a, b, x.b_row, x.k, c, x.c_col);
      else
        dot_rows<T, 1>(a, b, x.b_row, x.k, c, x.c_col);
    }
    j += together;
  }
}

template <class T, int COL_STEP = VECTOR_STEP* Wide<T>::LANES>
constexpr TileKernel<T> KERNEL = {
    ROWS,        Wide<T>::COLS, ROW_STEP, COL_STEP, pack<T, ROWS, ROW_STEP>, pack<T, Wide<T>::COLS, COL_STEP>,
    multiply<T>, dots<T>};

}  // namespace

const MatmulKernel& CDN_JOIN(matmul_kernel_, CDN_ISA)() {
  static constexpr MatmulKernel table = {CDN_TEXT(CDN_ISA), KERNEL<float>, KERNEL<double>};
  return table;
}

}  // namespace cdn
