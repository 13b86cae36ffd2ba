// What every matmul kernel shares: operands that hide the transposition, and the way from a block
// to its tile. c is [m, n] and dense; a and b are seen as vectors of length k, so that a product is
// all dot products of the one's vectors with the other's, and the four transpositions are two
// flags. Tiles are numbered in bands, for the L2 cache.
#pragma once
#include "ops/linalg/matmul.h"
#include "gpu/device/launch.h"
#include "kernel/divisor.h"

namespace cdn {

// op(a) or op(b) as `extent` vectors of length k: the rows of op(a), the columns of op(b). One of
// the two directions is contiguous in memory and ld is the distance along the other, so the four
// transpositions are two flags.
template <class T> struct Operand {
  const T* data;
  int64_t extent, k;
  bool k_contiguous;
  int64_t ld;

  Operand() = default;
  CDN_FN Operand(const T* data, int64_t extent, int64_t k, bool k_contiguous, int64_t ld)
      : data(data), extent(extent), k(k), k_contiguous(k_contiguous), ld(ld) {}
  CDN_FN bool dense() const { return ld == length(); }
  CDN_FN int64_t lines() const { return k_contiguous ? extent : k; }
  CDN_FN int64_t length() const { return k_contiguous ? k : extent; }  // of a line
  CDN_FN T at(int64_t i, int64_t kk) const {
    return k_contiguous ? data[i * ld + kk] : data[kk * ld + i];
  }
};

// c[m, n] = a b. m = a.extent, n = b.extent.
template <class T> struct Product {
  T* c;
  Operand<T> a, b;

  CDN_FN int64_t m() const { return a.extent; }
  CDN_FN int64_t n() const { return b.extent; }
  CDN_FN int64_t k() const { return a.k; }
  CDN_FN int64_t size() const { return m() * n(); }
  CDN_FN const Operand<T>& operand(int input) const { return input == 0 ? a : b; }
  CDN_FN Operand<T>& operand(int input) { return input == 0 ? a : b; }

  // From the first matrices of a batch to those at place z.
  CDN_FN void move_to(const Layout& batch, int64_t z) {
    BatchOffsets at = batch_offsets(batch, z);
    a.data += at.a;
    b.data += at.b;
    c += z * size();
  }
};

// What becomes of the operands before tensor cores multiply them; sums are float.
enum class Method {
  HALF,      // 16-bit floats, as they are
  FP32,      // floats as two parts each: as exact as products of floats
  TF32,      // floats rounded to 11 bits
  BFLOAT16,  // floats rounded to bfloat16
};

// A batch as kernels see it that have a block of the grid's z for each matrix; one launch has at
// most Z_LIMIT of them.
struct Batch {
  Layout layout;
  int64_t first;  // the place that z = 0 of this launch stands for
};
constexpr int64_t Z_LIMIT = 65535;

// launch(batch, z) for all of a batch, in as many launches as it takes.
template <class F> void in_launches(const Layout& layout, F&& launch) {
  for (int64_t first = 0; first < layout.n; first += Z_LIMIT)
    launch(Batch{layout, first},
           static_cast<unsigned>(layout.n - first < Z_LIMIT ? layout.n - first : Z_LIMIT));
}

// Whether accesses of `width` numbers, 16 bytes, can be used: the base is aligned, and so is the
// start of every other line.
template <class T>
bool wide_lines(const T* data, int64_t ld, int64_t width = 16 / static_cast<int64_t>(sizeof(T))) {
  return reinterpret_cast<uintptr_t>(data) % (width * sizeof(T)) == 0 && ld % width == 0;
}

// The same for the matrices of a batch: input 0 (a) or 1 (b) of the layout. Where k is contiguous,
// what lies between lines must not be taken for some of it.
template <class T> bool wide_lines(const Operand<T>& x, const Layout& batch, int input) {
  bool wide = wide_lines(x.data, x.ld) &&
              (!x.k_contiguous || x.k % (16 / static_cast<int64_t>(sizeof(T))) == 0);
  for (int32_t d = 0; d < batch.rank; d++)
    wide = wide && wide_lines(x.data, batch.stride[input][d]);
  return wide;
}

// f(a, b) with both as constants: kernels are compiled for each of the four transpositions.
template <class F> CDN_FN auto by_transposition(bool a, bool b, F&& f) {
  using Yes = std::true_type;
  using No = std::false_type;
  if (a) return b ? f(Yes{}, Yes{}) : f(Yes{}, No{});
  return b ? f(No{}, Yes{}) : f(No{}, No{});
}

// Matrices of which a tile would be mostly empty, and many of them.
template <class T> bool tiny(const Product<T>& p, const Layout& batch) {
  return batch.n > 1 && p.size() <= 256 && p.k() <= 64;
}

// The tiles of c, numbered so that blocks that run at the same time share operands: bands of `band`
// rows of tiles are walked column by column, and L2 then serves most reads of b's columns and a's
// rows. The last band may be lower.
struct TileGrid {
  uint32_t rows, cols, band;
  Divisor by_band_tiles, by_band, by_last_band;
};

inline TileGrid tile_grid(int64_t m, int64_t n, int64_t bm, int64_t bn) {
  constexpr uint32_t BAND = 8;
  int64_t rows = (m + bm - 1) / bm, cols = (n + bn - 1) / bn;
  if (rows > 0x7fffffff / cols)
    CDN_FAIL(CDN_UNSUPPORTED, "m = %lld, n = %lld: the output has more than 2^31 tiles",
             (long long)m, (long long)n);
  TileGrid grid{static_cast<uint32_t>(rows), static_cast<uint32_t>(cols),
                rows < BAND ? static_cast<uint32_t>(rows) : BAND};
  const uint32_t last = grid.rows % grid.band;
  grid.by_band_tiles = Divisor(grid.band * grid.cols);
  grid.by_band = Divisor(grid.band);
  grid.by_last_band = Divisor(last ? last : grid.band);
  return grid;
}

struct TilePlace {
  uint32_t row, col;
};

CDN_FN TilePlace tile_place(const TileGrid& grid, uint32_t index) {
  const uint32_t band = grid.by_band_tiles(index), first_row = band * grid.band;
  const uint32_t inside = index - band * grid.band * grid.cols, left = grid.rows - first_row;
  const bool last = left < grid.band;
  const uint32_t col = last ? grid.by_last_band(inside) : grid.by_band(inside);
  return {first_row + inside - col * (last ? left : grid.band), col};
}

}  // namespace cdn
