// Products with k <= 16: sums of a few outer products, bound by the stores of c. For each 16 bytes that are stored a
// multiprocessor has time for about 100 multiply-adds, and k = 16 takes 64 of float, 32 of double (128 of 16-bit
// numbers). A block copies its rows of a and its columns of b to shared memory, all of k at once, in packs whatever
// their alignment, and each thread then has ROWS rows by 4 columns (2 of double), stored as a pack, or one by one with
// neighbouring threads side by side where c's lines are not aligned.
#pragma once
#include "matmul_vector.h"

namespace cdn {

constexpr int MOST_OUTER_K = 16;

// lanes: threads side by side, a power of two; the others take further rows.
struct OuterWork {
  int lanes;
  uint32_t column_blocks;
};

// Of lines in shared memory: whole packs of four, and a bank's shift from one to the next.
CDN_FN constexpr int outer_pitch(int extent) { return (extent + 7) / 4 * 4; }

template <class T> constexpr int OUTER_COLUMNS = sizeof(T) == 8 ? 2 : 4;

// Vectors [first, first + count) of an operand into shared memory, [k][i].
template <int N, class T> struct OuterTile {
  using C = Compute<T>;
  RunReader<N, T> reader;
  C* shared;
  int pitch, k;
  bool along_k;

  __device__ OuterTile(C* shared, int pitch, const Operand<T>& x, int64_t first, int count)
      : reader(x.data + (x.k_contiguous ? first * x.k : first), x.extent, x.k_contiguous ? 1 : static_cast<int>(x.k),
               x.k_contiguous ? count * static_cast<int>(x.k) : count),
        shared(shared),
        pitch(pitch),
        k(static_cast<int>(x.k)),
        along_k(x.k_contiguous) {}

  __device__ void read() { reader.read(); }
  __device__ void write() {
    if (along_k) {
      const SmallDivisor by(k);
      auto put = [&](int, int e, T value) {
        int i = by(e);
        shared[(e - i * k) * pitch + i] = wide(value);
      };
      reader.write(put);
      reader.rest(put);
    } else {
      auto put = [&](int kk, int i, T value) { shared[kk * pitch + i] = wide(value); };
      reader.write(put);
      reader.rest(put);
    }
  }
};

template <int ROWS, bool WIDE, class T>
__global__ void __launch_bounds__(BLOCK, ROWS > 2 ? 2 : 3) outer_products(Product<T> p, Batch batch, OuterWork work) {
  using C = Compute<T>;
  constexpr int W = OUTER_COLUMNS<T>;
  extern __shared__ __align__(32) char memory[];
#if defined(CDN_HOPPER)
  hopper::wait_for_previous_kernel();
  hopper::let_next_kernel_start();
#endif
  p.move_to(batch.layout, batch.first + blockIdx.z);
  const int lanes = work.lanes, down = BLOCK / lanes, tx = threadIdx.x % lanes, ty = threadIdx.x / lanes;
  const int rows = down * ROWS, columns = lanes * W, a_pitch = outer_pitch(rows), b_pitch = outer_pitch(columns);
  const int k = static_cast<int>(p.k());
  const int64_t first_row = static_cast<int64_t>(blockIdx.x / work.column_blocks) * rows;
  const int64_t first_column = static_cast<int64_t>(blockIdx.x % work.column_blocks) * columns;
  C *a = reinterpret_cast<C*>(memory), *b = a + k * a_pitch;  // [k][row], [k][column]
  auto least = [](int64_t x, int most) { return x < most ? static_cast<int>(x) : most; };
  OuterTile<is_half<T> ? 1 : 2, T> a_tile(a, a_pitch, p.a, first_row, least(p.m() - first_row, rows));
  OuterTile<sizeof(T) == 4 ? 3 : 2, T> b_tile(b, b_pitch, p.b, first_column, least(p.n() - first_column, columns));
  a_tile.read();
  b_tile.read();
  a_tile.write();
  b_tile.write();
  __syncthreads();

  C sum[ROWS][W] = {};
  const C *u = a + ty * ROWS, *v = b + (WIDE ? tx * W : tx);
#pragma unroll 4
  for (int kk = 0; kk < k; kk++) {
    C x[ROWS], y[W];
    constexpr int PIECE = ROWS < W ? ROWS : W;
#pragma unroll
    for (int r = 0; r < ROWS; r += PIECE) {
      auto pack = *reinterpret_cast<const Pack<C, PIECE>*>(u + kk * a_pitch + r);
#pragma unroll
      for (int i = 0; i < PIECE; i++) x[r + i] = pack.v[i];
    }
    if (WIDE) {
      auto pack = *reinterpret_cast<const Pack<C, W>*>(v + kk * b_pitch);
#pragma unroll
      for (int w = 0; w < W; w++) y[w] = pack.v[w];
    } else {
#pragma unroll
      for (int w = 0; w < W; w++) y[w] = v[kk * b_pitch + w * lanes];
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
      for (int w = 0; w < W; w++) sum[r][w] = fma(x[r], y[w], sum[r][w]);
  }

  const int64_t row = first_row + ty * ROWS, column = first_column + (WIDE ? tx * W : tx);
  T* c = p.c + row * p.n() + column;
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    if (row + r >= p.m()) break;
    if (WIDE) {  // a pack is inside or outside as a whole
      Pack<T, W> pack;
#pragma unroll
      for (int w = 0; w < W; w++) pack.v[w] = static_cast<T>(sum[r][w]);
      if (column < p.n()) *reinterpret_cast<Pack<T, W>*>(c + r * p.n()) = pack;
    } else {
#pragma unroll
      for (int w = 0; w < W; w++)
        if (column + w * lanes < p.n()) c[r * p.n() + w * lanes] = static_cast<T>(sum[r][w]);
    }
  }
}

}  // namespace cdn
