// The cutting of float matrices (matmul_split.h): each number is read once where a row's part fits in registers. One
// kernel prepares both operands. What is scaled lies along memory (rows: one look for the scale, one to cut) or across
// it (columns: chunks of lines note what they see, and a second kernel joins the notes and cuts), so that reads are
// contiguous either way.
#include "matmul_split.h"

#include "hopper.h"

namespace cdn {
namespace {

// What has been seen of a row: the bits of the largest and of the smallest magnitude other than 0, which order like the
// numbers, and marks.
struct Extremes {
  enum : uint32_t { NOT_FINITE = 1, LONG = 2 };  // LONG: more than 11 bits
  uint32_t largest = 0, smallest = 0x7f800000, marks = 0;
};

constexpr int STRIP = 128, LINES = 8;  // of a block that works on columns

// An operand: lines of `length` numbers, of one or more matrices, step elements apart. Either the lines are what is
// scaled (rows), or the columns across them are, in strips and chunks of lines.
struct SplitWork {
  const float* x;
  int64_t matrices, lines, length, ld, step;  // lines of a matrix; ld of the planes
  bool wide;
  float16* hi;
  int64_t to_lo;
  int32_t* info;
  bool rows = false;
  int64_t strips = 1, chunks = 1, chunk_lines = 1;
  Extremes* noted = nullptr;  // [matrix][chunk][column]
  unsigned first_blocks = 0, second_blocks = 0;
};

#if defined(CDN_HOPPER)

constexpr uint32_t ALL = 0xffffffff;

__device__ __forceinline__ void see(Extremes& seen, float x) {
  uint32_t bits = __float_as_uint(x) & 0x7fffffff;
  if (bits >= 0x7f800000) {
    seen.marks |= Extremes::NOT_FINITE;
  } else if (bits != 0) {
    seen.largest = max(seen.largest, bits);
    seen.smallest = min(seen.smallest, bits);
    if (bits & 0x1fff) seen.marks |= Extremes::LONG;
  }
}
__device__ __forceinline__ void join(Extremes& seen, const Extremes& other) {
  seen.largest = max(seen.largest, other.largest);
  seen.smallest = min(seen.smallest, other.smallest);
  seen.marks |= other.marks;
}

// floor(log2 x) for the bits of a positive float.
__device__ __forceinline__ int32_t exponent_of(uint32_t bits) {
  return bits >> 23 ? (int32_t)(bits >> 23) - 127 : 31 - __clz((int)bits) - 149;
}

__device__ __forceinline__ int32_t info_of(const Extremes& x) {
  constexpr int32_t TOP = 14, RANGE = 28;
  int32_t marks = x.marks & Extremes::NOT_FINITE ? SplitInfo::NOT_FINITE : 0;
  if (!(x.marks & Extremes::LONG)) marks |= SplitInfo::SHORT;
  if (x.largest == 0) return SplitInfo::make(0, marks);
  int32_t top = exponent_of(x.largest);
  if (top - exponent_of(x.smallest) > RANGE) marks |= SplitInfo::LOST;
  return SplitInfo::make(TOP - top, marks);
}

// x 2^e as hi + 2^-11 lo.
struct Cut {
  PowerOfTwo power;
  __device__ __forceinline__ explicit Cut(int32_t info) : power(SplitInfo::exponent(info)) {}
  __device__ __forceinline__ void operator()(float x, float16* hi, float16* lo) const {
    float scaled = x * power.first * power.second;
    *hi = float16(scaled);
    *lo = float16((scaled - (float)*hi) * 0x1p11f);
  }
};

// Four neighbours, of one row or of four columns.
template <int PLANES>
__device__ __forceinline__ void store_four(const float (&x)[4], const Cut* cuts, float16* hi, int64_t to_lo) {
  float16 high[4], low[4];
#pragma unroll
  for (int i = 0; i < 4; i++) cuts[i](x[i], &high[i], &low[i]);
  auto both = [](const float16* v) {
    return uint2{v[0].bits | (uint32_t)v[1].bits << 16, v[2].bits | (uint32_t)v[3].bits << 16};
  };
  *reinterpret_cast<uint2*>(hi) = both(high);
  if (PLANES == 2) *reinterpret_cast<uint2*>(hi + to_lo) = both(low);
}

// Four numbers of a line, zeros past its end.
__device__ __forceinline__ void load_four(const float* line, int64_t at, int64_t end, bool wide, float (&v)[4]) {
  if (wide && at + 4 <= end) {
    float4 four = *reinterpret_cast<const float4*>(line + at);
    v[0] = four.x, v[1] = four.y, v[2] = four.z, v[3] = four.w;
  } else {
#pragma unroll
    for (int i = 0; i < 4; i++) v[i] = at + i < end ? line[at + i] : 0.0f;
  }
}

// Rows, of contiguous k: GROUP threads each. HELD fours a thread stay in registers between the two looks at them.
template <int PLANES, int GROUP, int HELD>
__device__ __forceinline__ void split_rows(const SplitWork& s, int64_t block, Extremes (&of_warps)[8]) {
  const int thread = (int)threadIdx.x % GROUP;
  const int64_t row = block * (256 / GROUP) + threadIdx.x / GROUP;
  if (GROUP == 32 && row >= s.matrices * s.lines) return;
  const int64_t z = quotient(row, s.lines);
  const float* x = s.x + z * s.step + (row - z * s.lines) * s.length;
  float held[HELD][4];
  Extremes seen;
#pragma unroll
  for (int h = 0; h < HELD; h++) {
    int64_t at = (int64_t)(h * GROUP + thread) * 4;
    if (at < s.ld) load_four(x, at, s.length, s.wide, held[h]);
  }
#pragma unroll
  for (int h = 0; h < HELD; h++)
    if ((int64_t)(h * GROUP + thread) * 4 < s.ld)
      for (int i = 0; i < 4; i++) see(seen, held[h][i]);
  for (int64_t at = (int64_t)(HELD * GROUP + thread) * 4; at < s.ld; at += GROUP * 4) {
    float v[4];
    load_four(x, at, s.length, s.wide, v);
    for (int i = 0; i < 4; i++) see(seen, v[i]);
  }
  seen.largest = __reduce_max_sync(ALL, seen.largest);
  seen.smallest = __reduce_min_sync(ALL, seen.smallest);
  seen.marks = __reduce_or_sync(ALL, seen.marks);
  if (GROUP == 256) {
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = seen;
    __syncthreads();
    for (int i = 0; i < 8; i++) join(seen, of_warps[i]);
  }
  const int32_t info = info_of(seen);
  if (thread == 0) s.info[row] = info;
  const Cut cut(info), cuts[4] = {cut, cut, cut, cut};
  float16* hi = s.hi + row * s.ld;
#pragma unroll
  for (int h = 0; h < HELD; h++) {
    int64_t at = (int64_t)(h * GROUP + thread) * 4;
    if (at < s.ld) store_four<PLANES>(held[h], cuts, hi + at, s.to_lo);
  }
  for (int64_t at = (int64_t)(HELD * GROUP + thread) * 4; at < s.ld; at += GROUP * 4) {
    float v[4];
    load_four(x, at, s.length, s.wide, v);
    store_four<PLANES>(v, cuts, hi + at, s.to_lo);
  }
}

// Columns, that is, lines along the other direction, are seen by one kernel and cut by the next, in blocks of STRIP
// columns by a chunk of lines.
struct ColumnBlock {
  int64_t strip, chunk, z, first, last;
  __device__ __forceinline__ ColumnBlock(const SplitWork& s, int64_t block) {
    strip = block % s.strips;
    chunk = block / s.strips % s.chunks;
    z = block / s.strips / s.chunks;
    first = chunk * s.chunk_lines;
    last = min(s.lines, first + s.chunk_lines);
  }
};

// Notes what a block sees of its columns.
__device__ __forceinline__ void see_columns(const SplitWork& s, int64_t block, Extremes (&of_lines)[LINES][STRIP]) {
  const ColumnBlock at(s, block);
  const int lane = (int)threadIdx.x % 32, line = (int)threadIdx.x / 32;
  const int64_t col = at.strip * STRIP + lane * 4;
  Extremes seen[4];
  if (col < s.length) {
#pragma unroll 8
    for (int64_t k = at.first + line; k < at.last; k += LINES) {
      float v[4];
      load_four(s.x + at.z * s.step + k * s.length, col, s.length, s.wide, v);
      for (int i = 0; i < 4; i++) see(seen[i], v[i]);
    }
  }
  for (int i = 0; i < 4; i++) of_lines[line][lane * 4 + i] = seen[i];
  __syncthreads();
  const int64_t mine = at.strip * STRIP + threadIdx.x;
  if (threadIdx.x >= STRIP || mine >= s.length) return;
  Extremes all = of_lines[0][threadIdx.x];
  for (int i = 1; i < LINES; i++) join(all, of_lines[i][threadIdx.x]);
  s.noted[(at.z * s.chunks + at.chunk) * s.length + mine] = all;
}

// Joins the notes, and cuts.
template <int PLANES>
__device__ __forceinline__ void split_columns(const SplitWork& s, int64_t block, Extremes (&halves)[2][STRIP],
                                              int32_t (&infos)[STRIP]) {
  const ColumnBlock at(s, block);
  {
    const int half = (int)threadIdx.x / STRIP, i = (int)threadIdx.x % STRIP;
    const int64_t col = at.strip * STRIP + i;
    Extremes seen;
    if (col < s.length) {
#pragma unroll 4
      for (int64_t c = half; c < s.chunks; c += 2) join(seen, s.noted[(at.z * s.chunks + c) * s.length + col]);
    }
    halves[half][i] = seen;
    __syncthreads();
    if (half == 0) {
      join(seen, halves[1][i]);
      infos[i] = info_of(seen);
      if (at.chunk == 0 && col < s.length) s.info[at.z * s.length + col] = infos[i];
    }
    __syncthreads();
  }
  const int lane = (int)threadIdx.x % 32, line = (int)threadIdx.x / 32;
  const int64_t col = at.strip * STRIP + lane * 4;
  if (col >= s.ld) return;
  const Cut cuts[4] = {Cut(infos[lane * 4]), Cut(infos[lane * 4 + 1]), Cut(infos[lane * 4 + 2]),
                       Cut(infos[lane * 4 + 3])};
#pragma unroll 4
  for (int64_t k = at.first + line; k < at.last; k += LINES) {
    float v[4];
    load_four(s.x + at.z * s.step + k * s.length, col, s.length, s.wide, v);
    store_four<PLANES>(v, cuts, s.hi + (at.z * s.lines + k) * s.ld + col, s.to_lo);
  }
}

#endif  // CDN_HOPPER

// Both operands at once, a's blocks first: rows are cut, columns seen. Then the columns are cut.
template <int PLANES, int GROUP, int HELD>
__global__ void __launch_bounds__(256)
    split_first(const __grid_constant__ SplitWork a, const __grid_constant__ SplitWork b) {
#if defined(CDN_HOPPER)
  hopper::let_next_kernel_start();
  hopper::wait_for_previous_kernel();
  __shared__ Extremes of_warps[8], of_lines[LINES][STRIP];
  const bool second = blockIdx.x >= a.first_blocks;
  const SplitWork& s = second ? b : a;
  const int64_t block = blockIdx.x - (second ? a.first_blocks : 0);
  if (s.rows)
    split_rows<PLANES, GROUP, HELD>(s, block, of_warps);
  else
    see_columns(s, block, of_lines);
#endif
}

template <int PLANES>
__global__ void __launch_bounds__(256)
    split_second(const __grid_constant__ SplitWork a, const __grid_constant__ SplitWork b) {
#if defined(CDN_HOPPER)
  hopper::let_next_kernel_start();
  hopper::wait_for_previous_kernel();
  __shared__ Extremes halves[2][STRIP];
  __shared__ int32_t infos[STRIP];
  const bool second = blockIdx.x >= a.second_blocks;
  split_columns<PLANES>(second ? b : a, blockIdx.x - (second ? a.second_blocks : 0), halves, infos);
#endif
}

// As few registers as the length needs.
using SplitKernel = void (*)(SplitWork, SplitWork);
template <int PLANES> SplitKernel first_kernel(int64_t k) {
  if (k <= 256) return split_first<PLANES, 32, 2>;
  if (k <= 1024) return split_first<PLANES, 32, 8>;
  if (k <= 2048) return split_first<PLANES, 256, 2>;
  if (k <= 4096) return split_first<PLANES, 256, 4>;
  return split_first<PLANES, 256, 8>;
}

// About two blocks for each multiprocessor, and not so many that the second kernel reads more notes than numbers.
int64_t lines_of_chunk(int64_t lines, int64_t strips) {
  constexpr int64_t WANTED = 528, LEAST = 16, MOST = 128, MOST_CHUNKS = 64;
  int64_t each = lines * strips / WANTED / LINES * LINES;
  each = each < LEAST ? LEAST : each > MOST ? MOST : each;
  return lines / each > MOST_CHUNKS ? (lines / MOST_CHUNKS + LINES - 1) / LINES * LINES : each;
}

CutOperand prepare(Call& call, const Operand<float>& x, int64_t matrices, int64_t step, int planes, SplitWork* s) {
  CutOperand out;
  out.matrices = matrices;
  out.lines = x.k_contiguous ? x.extent : x.k;
  out.ld = (x.ld() + 7) / 8 * 8;
  int64_t plane = matrices * out.lines * out.ld;
  out.planes = call.scratch<float16>(planes * plane);
  out.info = call.scratch<int32_t>(matrices * x.extent);
  *s = SplitWork{x.data,     matrices, out.lines, x.ld(), out.ld, step, wide_lines(x.data, x.ld()) && step % 4 == 0,
                 out.planes, plane,    out.info};
  s->rows = x.k_contiguous;
  if (s->rows) {
    int64_t rows = matrices * x.extent;
    s->first_blocks = static_cast<unsigned>(x.k <= 1024 ? (rows + 7) / 8 : rows);
  } else {
    s->strips = (out.ld + STRIP - 1) / STRIP;
    s->chunk_lines = lines_of_chunk(s->lines, s->strips * matrices);
    s->chunks = (s->lines + s->chunk_lines - 1) / s->chunk_lines;
    s->noted = call.scratch<Extremes>(matrices * s->chunks * s->length);
    s->first_blocks = s->second_blocks = static_cast<unsigned>(matrices * s->chunks * s->strips);
  }
  return out;
}

}  // namespace

CutProduct split_operands(Call& call, const Product<float>& p, const Matrices& batch, int planes) {
  SplitWork a, b;
  CutProduct out;
  out.a = prepare(call, p.a, batch.a_step ? batch.count : 1, batch.a_step, planes, &a);
  out.b = prepare(call, p.b, batch.b_step ? batch.count : 1, batch.b_step, planes, &b);
  cudaStream_t stream = stream_of(call);
  launch_chained(planes == 2 ? first_kernel<2>(p.k()) : first_kernel<1>(p.k()), a.first_blocks + b.first_blocks, 256, 0,
                 1, stream, a, b);
  if (a.second_blocks + b.second_blocks)
    launch_chained(planes == 2 ? split_second<2> : split_second<1>, a.second_blocks + b.second_blocks, 256, 0, 1,
                   stream, a, b);
  return out;
}

}  // namespace cdn
