// cdn_transpose: y[b][c][r] = x[b][r][c].
#include "kernel/drivers.h"

namespace cdn {
namespace {

// A block moves one TILE x TILE part of x through shared memory, so that both its reads and its
// writes run along lines of global memory. The pitch is one element more than the tile: reading a
// column of it then touches all banks. A thread has all its loads under way at once. Index is
// uint32_t where the number of tiles allows it, since 64-bit division is several times as slow.
template <class Index, int TILE, class T>
__global__ void __launch_bounds__(BLOCK)
    transpose_tiles(T* __restrict__ y, const T* __restrict__ x, int64_t tiles, int64_t rows,
                    int64_t cols, Index row_tiles, Index col_tiles) {
  constexpr int LINES = BLOCK / TILE;  // lines of the tile that the block moves at a time
  static_assert(BLOCK % TILE == 0 && TILE % LINES == 0, "every thread moves as many");
  __shared__ T shared[TILE][TILE + 1];
  int across = threadIdx.x % TILE, down = threadIdx.x / TILE;
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    Index line = (Index)tile / col_tiles, col_tile = (Index)tile - line * col_tiles,
          batch = line / row_tiles, row_tile = line - batch * row_tiles;
    int64_t first_row = (int64_t)row_tile * TILE, first_col = (int64_t)col_tile * TILE;
    int64_t base = (int64_t)batch * rows * cols;
    const T* from = x + base + (first_row + down) * cols + first_col + across;
    int64_t rows_left = rows - first_row, cols_left = cols - first_col;
    T part[TILE / LINES];  // all loads first, then the stores: else each load would wait for the
                           // one before
#pragma unroll
    for (int r = 0; r < TILE / LINES; r++)
      part[r] = down + r * LINES < rows_left && across < cols_left ? from[r * LINES * cols] : T(0);
#pragma unroll
    for (int r = 0; r < TILE / LINES; r++) shared[down + r * LINES][across] = part[r];
    __syncthreads();
    T* to = y + base + (first_col + down) * rows + first_row + across;
#pragma unroll
    for (int c = 0; c < TILE / LINES; c++) part[c] = shared[across][down + c * LINES];
#pragma unroll
    for (int c = 0; c < TILE / LINES; c++)
      if (down + c * LINES < cols_left && across < rows_left) to[c * LINES * rows] = part[c];
    __syncthreads();
  }
}

// Where one side is short a tile would be mostly empty: a thread takes one place of the long side
// and walks the short one. Of the two accesses the one along the long side is coalesced; the other
// one's lines stay in L1 for the next step. Steps are in elements: x and y are walked with x_short
// and y_short, and the place on the long side counts x_long and y_long.
template <class T>
__global__ void __launch_bounds__(BLOCK)
    transpose_thin(T* __restrict__ y, const T* __restrict__ x, int64_t batch, int64_t length,
                   int64_t width, int64_t x_long, int64_t x_short, int64_t y_long,
                   int64_t y_short) {
  for_each_own(batch * length, [&](int64_t i) {
    int64_t b = i / length, at = i - b * length, base = b * length * width;
    const T* from = x + base + at * x_long;
    T* to = y + base + at * y_long;
#pragma unroll 4
    for (int64_t w = 0; w < width; w++) to[w * y_short] = from[w * x_short];
  });
}

template <class T>
void transpose(Call& call, T* y, const T* x, int64_t batch, int64_t rows, int64_t cols) {
  constexpr int TILE = sizeof(T) == 8 ? 32 : 64, THIN = 16;
  int64_t width = rows < cols ? rows : cols, length = rows < cols ? cols : rows;
  if (width <= THIN && length >= 2 * width) {
    const bool tall = cols <= rows;
    launch(call, transpose_thin<T>, for_each_of(batch * length), y, x, batch, length, width,
           tall ? cols : 1, tall ? 1 : cols, tall ? 1 : rows, tall ? rows : 1);
    return;
  }
  int64_t row_tiles = (rows + TILE - 1) / TILE, col_tiles = (cols + TILE - 1) / TILE;
  int64_t tiles = checked_product("tiles", batch, row_tiles, col_tiles);
  auto move = [&]<class Index>(Index) {
    launch(call, transpose_tiles<Index, TILE, T>, {grid_for(tiles)}, y, x, tiles, rows, cols,
           static_cast<Index>(row_tiles), static_cast<Index>(col_tiles));
  };
  tiles <= UINT32_MAX ? move(uint32_t{}) : move(uint64_t{});
}

}  // namespace
}  // namespace cdn

CDN_API int32_t cdn_transpose(uint32_t y, uint32_t x, int64_t batch, int64_t rows, int64_t cols,
                              int32_t dtype) {
  using namespace cdn;
  return run("cdn_transpose", AnyWord{}, dtype, [&]<class T>(Call& call, T) {
    int64_t count = checked_product("batch, rows, cols", batch, rows, cols);
    T* to = call.out<T>(y, "y", count);
    const T* from = call.in<T>(x, "x", count);
    if (count > 0) transpose(call, to, from, batch, rows, cols);
  });
}
