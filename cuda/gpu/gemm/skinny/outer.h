// Products with k <= 16: sums of a few outer products, bound by the stores of c. A block has some
// columns of b in shared memory, all of k at once, and goes down its tiles of rows: while it
// multiplies and stores one, the next one's numbers of a are on their way. Both come in packs
// whatever their alignment. A thread has ROWS rows by W columns, 16 bytes of c of each row: stored
// as a pack, or, where c's lines are not aligned, with neighbouring threads side by side, 16-bit
// numbers in pairs.
#pragma once
#include "gpu/gemm/skinny/vector.h"
#include "gpu/tile/mma.h"

namespace cdn {

constexpr int MOST_OUTER_K = 16, OUTER_BLOCKS = 3;  // blocks to a multiprocessor

// 2^log threads lie side by side; the others take further rows. tiles: of rows, that a block goes
// down.
struct OuterWork {
  int log, tiles;
  uint32_t column_blocks;
  Divisor by_column_blocks;
};

// Of lines in shared memory: whole packs of four, and a bank's shift from one to the next.
CDN_FN constexpr int outer_pitch(int extent) { return (extent + 7) / 4 * 4; }

constexpr int OUTER_ROWS = 4;  // of a thread, by a pack's columns

// Vectors [first, first + count) of an operand into shared memory, [k][place(i)].
template <int N, class T> struct OuterTile {
  RunReader<N, T> reader;
  int k;
  bool along_k;

  __device__ OuterTile(const Operand<T>& x, int64_t first, int count)
      : reader(x.data + (x.k_contiguous ? first * x.k : first), x.extent,
               x.k_contiguous ? 1 : static_cast<int>(x.k),
               x.k_contiguous ? count * static_cast<int>(x.k) : count),
        k(static_cast<int>(x.k)),
        along_k(x.k_contiguous) {}

  __device__ void read() { reader.read(); }
  template <class Place> __device__ void write(Compute<T>* shared, int pitch, Place place) {
    if (along_k) {
      const SmallDivisor by(k);
      reader.write_all([&](int, int e, T value) {
        int i = by(e);
        shared[(e - i * k) * pitch + place(i)] = wide(value);
      });
    } else {
      reader.write_all(
          [&](int kk, int i, T value) { shared[kk * pitch + place(i)] = wide(value); });
    }
  }
};

// v from `from` on, in packs of N, of which one begins every N * apart numbers.
template <int N, int COUNT, class C>
__device__ __forceinline__ void read_packs(C (&v)[COUNT], const C* from, int apart) {
#pragma unroll
  for (int i = 0; i < COUNT; i += N) {
    const Pack<C, N> pack = *reinterpret_cast<const Pack<C, N>*>(from + i * apart);
#pragma unroll
    for (int j = 0; j < N; j++) v[i + j] = pack.v[j];
  }
}

template <class T, int W, class C> __device__ __forceinline__ Pack<T, W> rounded(const C (&v)[W]) {
  Pack<T, W> out;
#pragma unroll
  for (int w = 0; w < W; w++) out.v[w] = T(v[w]);
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  if constexpr (std::is_same<T, bfloat16>::value)  // the same, two by one instruction
#pragma unroll
    for (int w = 0; w < W; w += 2) {
      const uint32_t pair = bfloat16_pair(__float_as_uint(v[w]), __float_as_uint(v[w + 1]));
      memcpy(&out.v[w], &pair, 4);
    }
#endif
  return out;
}

// `count` numbers of a line of c by `lanes` threads, of which this one is tx: numbers 2 (tx + lanes
// i) and the next, pair i of `out`. If c is not at a word's boundary, words are put together of two
// threads' numbers. All threads of a warp call it.
template <int W, class T>
__device__ __forceinline__ void store_pairs(T* c, int count, int tx, int lanes,
                                            const Pack<T, W>& out) {
  const bool odd = reinterpret_cast<uintptr_t>(c) & 2;
  const int width = lanes < 32 ? lanes : 32, lane = tx & (width - 1);
#pragma unroll
  for (int i = 0; i < W / 2; i++) {
    const int at = 2 * (tx + lanes * i);
    uint32_t pair;
    memcpy(&pair, &out.v[2 * i], 4);
    const uint32_t next = __shfl_down_sync(0xffffffffu, pair, 1, width);
    if (!odd) {
      if (at + 1 < count)
        *reinterpret_cast<uint32_t*>(c + at) = pair;
      else if (at < count)
        c[at] = out.v[2 * i];
    } else {
      if (lane == 0 && at < count) c[at] = out.v[2 * i];
      if (lane + 1 < width && at + 2 < count)
        *reinterpret_cast<uint32_t*>(c + at + 1) = pair >> 16 | next << 16;
      else if (at + 1 < count)
        c[at + 1] = out.v[2 * i + 1];
    }
  }
}

template <bool WIDE, class T>
__global__ void __launch_bounds__(BLOCK, OUTER_BLOCKS)
    outer_products(Product<T> p, Batch batch, OuterWork work) {
  using C = Compute<T>;
  constexpr int W = PACK<T>, ROWS = OUTER_ROWS, PIECE = W < 4 ? W : 4,
                SIDE = WIDE         ? PIECE
                       : is_half<T> ? 2
                                    : 1;  // neighbouring columns of a thread
  extern __shared__ __align__(32) char memory[];
#if defined(CDN_HOPPER)
  hopper::wait_for_previous_kernel();
  hopper::let_next_kernel_start();
#endif
  p.move_to(batch.layout, batch.first + blockIdx.z);
  const int lanes = 1 << work.log, down = BLOCK >> work.log, tx = threadIdx.x & (lanes - 1),
            ty = threadIdx.x >> work.log;
  const int rows = down * ROWS, columns = lanes * W, a_pitch = outer_pitch(rows),
            b_pitch = outer_pitch(columns);
  const int k = static_cast<int>(p.k());
  const uint32_t block_row = work.by_column_blocks(blockIdx.x);
  const int64_t n = p.n(),
                first_column =
                    static_cast<int64_t>(blockIdx.x - block_row * work.column_blocks) * columns;
  int64_t first_row = static_cast<int64_t>(block_row) * work.tiles * rows;
  C *a = reinterpret_cast<C*>(memory), *b = a + k * a_pitch;  // [k][row], [k][column]
  auto least = [](int64_t x, int most) { return x < most ? static_cast<int>(x) : most; };
  const int columns_left = least(n - first_column, columns);
  auto a_tile = [&](int64_t row) {
    return OuterTile<is_half<T> ? 1 : 2, T>(p.a, row, least(p.m() - row, rows));
  };
  auto next = a_tile(first_row);
  next.read();
  {
    OuterTile<is_half<T> ? 2 : 3, T> b_tile(p.b, first_column, columns_left);
    b_tile.read();
    // Pieces of four of the threads' packs beside one another, for the sake of the banks.
    b_tile.write(b, b_pitch, [&](int i) {
      return WIDE && W == 8 ? i / 4 % 2 * 4 * lanes + i / 8 * 4 + i % 4 : i;
    });
  }

  const int tiles = work.tiles;
#pragma unroll 1
  for (int tile = 0;; tile++) {
    next.write(a, a_pitch, [](int i) { return i; });
    __syncthreads();
    const int64_t row = first_row + ty * ROWS;
    T* c = p.c + row * n + first_column;
    first_row += rows;
    const bool last = tile + 1 == tiles || first_row >= p.m();
    if (!last) {
      next = a_tile(first_row);
      next.read();
    }

    C sum[ROWS][W] = {};
    const C *u = a + ty * ROWS, *v = b;
#pragma unroll 2
    for (int kk = 0; kk < k; kk++, u += a_pitch, v += b_pitch) {
      C x[ROWS], y[W];
      read_packs<PIECE>(x, u, 1);
      read_packs<SIDE>(y, v + tx * SIDE, lanes);
#pragma unroll
      for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int w = 0; w < W; w++) sum[r][w] = fma(x[r], y[w], sum[r][w]);
    }

    const int rows_left = least(p.m() - row, ROWS);
#pragma unroll
    for (int r = 0; r < ROWS; r++, c += n) {
      const int left = r < rows_left ? columns_left : 0;
      const Pack<T, W> out = rounded<T>(sum[r]);
      if constexpr (WIDE) {  // a pack is inside or outside as a whole
        if (tx * W < left) *reinterpret_cast<Pack<T, W>*>(c + tx * W) = out;
      } else if constexpr (is_half<T>) {
        store_pairs(c, left, tx, lanes, out);
      } else {
#pragma unroll
        for (int w = 0; w < W; w++)
          if (tx + w * lanes < left) c[tx + w * lanes] = out.v[w];
      }
    }
    if (last) return;
    __syncthreads();
  }
}

}  // namespace cdn
