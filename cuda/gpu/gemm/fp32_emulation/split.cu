// The cutting of float matrices (fp32_emulation/split.h), both operands by one kernel. What has one
// scale is shared out among threads in pieces of four neighbours, which they keep in registers
// between two looks: the first, over all pieces, for the scale, the second to cut. So numbers are
// read once, and a block has 32 KiB of loads on their way.
//
//   rows     lie along memory: 8 to 256 threads for each, or a cluster of blocks
//   columns  lie across it: strips of 16 or 32, of which a cluster's blocks take the lines in turn
//
// Blocks of a cluster tell each other what they have seen through shared memory. Pieces that find
// no register (past 65536 numbers of a row, 4096 of a column) are read a second time, those seen
// last first: L2 may still have them.
#include "gpu/gemm/fp32_emulation/split.h"

#include <cuda_fp16.h>

#include <algorithm>
#include <utility>

#include "gpu/gemm/fp32_emulation/extremes.h"
#include "gpu/tile/hopper.h"

namespace cdn {
namespace {

constexpr uint32_t LOG_THREADS = 8, THREADS = 256, MOST_BLOCKS = 8;  // of a block, of a cluster

// An operand: lines of `length` numbers, of one or more matrices, step elements apart. A unit is
// what a block, or blocks() of a cluster, work on together: some of the lines (rows), or a strip of
// columns across them. The callers' limits let all of them be counted in 32 bits.
struct SplitWork {
  const float* x;
  uint32_t matrices, lines, length, ld;  // lines of a matrix; ld of the planes
  int64_t x_ld;
  int64_t step;
  bool wide;
  float16* hi;
  int64_t to_lo;
  int32_t* info;
  bool rows;
  uint32_t log_threads = 3;  // of a block for each row, or for each line of a strip: 2^log_threads
  uint32_t log_blocks = 0;
  uint32_t strips = 1;
  uint32_t grid = 0;  // its blocks, in whole clusters

  CDN_FN uint32_t threads() const { return 1u << log_threads; }
  CDN_FN uint32_t groups() const { return THREADS >> log_threads; }
  CDN_FN uint32_t blocks() const { return 1u << log_blocks; }
  CDN_FN uint32_t units() const {
    return rows ? (matrices * lines + groups() - 1) / groups() : matrices * strips;
  }
  // Pieces of a row or column, and how many of them a unit's blocks take at once.
  CDN_FN uint32_t pieces() const { return rows ? ld / 4 : lines; }
  CDN_FN uint32_t log_step() const {
    return (rows ? log_threads : LOG_THREADS - log_threads) + log_blocks;
  }
};

struct SplitBoth {
  SplitWork of[2];
};

// A thread's pieces: first, first + step, … below count. Those below `whole` lie wholly in the
// line.
struct Share {
  uint32_t first, step, count, whole;
  const float* x;  // the first piece
  float16* hi;
  int64_t x_step, hi_step;
  int32_t room, fewer;  // numbers from piece 0 to the end of its line, `fewer` less with each piece

  CDN_FN Share(const SplitWork& s, uint32_t unit, uint32_t rank, uint32_t thread) {
    const uint32_t group = thread >> s.log_threads, inside = thread & (s.threads() - 1);
    step = 1u << s.log_step();
    if (s.rows) {
      const uint32_t row = unit * s.groups() + group, z = s.matrices > 1 ? row / s.lines : 0;
      const bool there = row < s.matrices * s.lines;
      first = (rank << s.log_threads) + inside;
      count = there ? s.pieces() : 0;
      whole = there ? s.length / 4 : 0;
      x = s.x + z * s.step + static_cast<int64_t>(row - z * s.lines) * s.x_ld + first * 4;
      hi = s.hi + static_cast<int64_t>(row) * s.ld + first * 4;
      x_step = hi_step = step * 4;
      room = static_cast<int32_t>(s.length);
      fewer = 4;
    } else {
      const uint32_t z = s.matrices > 1 ? unit / s.strips : 0, strip = unit - z * s.strips;
      const uint32_t col = ((strip << s.log_threads) + inside) * 4;
      first = rank * s.groups() + group;
      count = unit < s.units() && col < s.ld ? s.pieces() : 0;
      whole = col + 4 <= s.length ? count : 0;
      x = s.x + z * s.step + static_cast<int64_t>(first) * s.x_ld + col;
      hi = s.hi + (static_cast<int64_t>(z) * s.lines + first) * s.ld + col;
      x_step = static_cast<int64_t>(step) * s.x_ld;
      hi_step = static_cast<int64_t>(step) * s.ld;
      room = static_cast<int32_t>(s.length - col);
      fewer = 0;
    }
  }
};

#if defined(CDN_HOPPER)

constexpr uint32_t MOST_SLOTS = 32;

// Rows or columns of a unit, its logarithm.
__device__ __forceinline__ uint32_t log_slots(const SplitWork& s) {
  return s.rows ? LOG_THREADS - s.log_threads : s.log_threads + 2;
}

// A thread's pieces number turn, turn + 1, …; zeros past the end of a line.
template <int HELD>
__device__ __forceinline__ void load_pieces(const Share& mine, uint32_t turn, bool wide,
                                            float (&v)[HELD][4]) {
  const float* x = mine.x + turn * mine.x_step;
  uint32_t p = mine.first + turn * mine.step;
  if (wide) {
#pragma unroll
    for (int h = 0; h < HELD; h++, p += mine.step, x += mine.x_step) {
      float4 four = {0, 0, 0, 0};
      if (p < mine.whole) four = *reinterpret_cast<const float4*>(x);
      v[h][0] = four.x, v[h][1] = four.y, v[h][2] = four.z, v[h][3] = four.w;
    }
  } else {
#pragma unroll
    for (int h = 0; h < HELD; h++, p += mine.step, x += mine.x_step) {
      const int32_t room = p < mine.count ? mine.room - (int32_t)p * mine.fewer : 0;
#pragma unroll
      for (int i = 0; i < 4; i++) v[h][i] = i < room ? x[i] : 0.0f;
    }
  }
}

// ---- The blocks of a cluster tell one another what they have seen

__device__ __forceinline__ void send(Extremes* here, uint64_t* bar, uint32_t block,
                                     const Extremes& x) {
  hopper::send(hopper::address_in_block(here, (int)block),
               hopper::address_in_block(bar, (int)block),
               uint4{x.largest, x.below_smallest, x.bits, 0});
}

struct Scales {
  Extremes of_warps[THREADS / 32][MOST_SLOTS], of_blocks[MOST_BLOCKS][MOST_SLOTS];
  int32_t infos[MOST_SLOTS];
  uint64_t received;
};

// From what each thread has seen of its four numbers to the exponents of all rows or columns of the
// unit, in shared memory and, once, in global memory. Joining is idempotent, so loops are of fixed
// length.
__device__ __forceinline__ void find_infos(const SplitWork& s, uint32_t unit, Extremes (&seen)[4],
                                           Scales& scales) {
  const uint32_t thread = threadIdx.x, lane = thread % 32, slots = 1u << log_slots(s);
  const bool alone = s.log_blocks == 0;
  const uint32_t rank = alone ? 0 : hopper::cluster_rank();
  Extremes one;
  uint32_t slot, warp, warps, apart, least_apart;
  if (s.rows) {
    join(seen[0], seen[1]), join(seen[2], seen[3]), join(seen[0], seen[2]);
    one = seen[0];
    slot = thread >> s.log_threads, warp = (thread & (s.threads() - 1)) / 32,
    warps = (s.threads() + 31) / 32;
    apart = min(s.threads(), 32) / 2, least_apart = 1;
  } else {
    // Lanes 8 and 16 apart have the same columns: each is left with one of the four.
    const bool third = lane & 16, odd = lane & 8;
    one = halved(halved(seen[0], seen[2], third, 16), halved(seen[1], seen[3], third, 16), odd, 8);
    slot = (lane & (s.threads() - 1)) * 4 + third * 2 + odd, warp = thread / 32,
    warps = THREADS / 32;
    apart = 4, least_apart = s.threads();
  }
#pragma unroll 1
  for (; apart >= least_apart; apart /= 2) join(one, shuffled(one, (int)apart));
  scales.of_warps[warp][slot] = one;  // lanes of the same slot agree
  __syncthreads();
  if (!alone) hopper::cluster_wait();  // all have started
  if (thread < slots << s.log_blocks) {
    slot = thread & (slots - 1);
    one = scales.of_warps[0][slot];
#pragma unroll 3
    for (uint32_t i = 1; i < THREADS / 32; i++) join(one, scales.of_warps[i & (warps - 1)][slot]);
    if (alone)
      scales.of_blocks[0][slot] = one;
    else
      send(&scales.of_blocks[rank][slot], &scales.received, thread >> log_slots(s), one);
  }
  if (alone)
    __syncthreads();
  else
    hopper::barrier_wait(&scales.received, 0);
  if (thread < slots) {
    one = scales.of_blocks[0][thread];
#pragma unroll 3
    for (uint32_t i = 1; i < MOST_BLOCKS; i++)
      join(one, scales.of_blocks[i & (s.blocks() - 1)][thread]);
    const int32_t info = info_of(one);
    scales.infos[thread] = info;
    // Their place among the rows of all matrices, or among the columns of one.
    const uint32_t z = s.rows || s.matrices == 1 ? 0 : unit / s.strips,
                   at = (unit - z * s.strips) * slots + thread;
    if (rank == 0 && unit < s.units() && at < (s.rows ? s.matrices * s.lines : s.length))
      s.info[static_cast<int64_t>(z) * s.length + at] = info;
  }
  __syncthreads();
}

#endif  // CDN_HOPPER

// The first operand's blocks, then the second's. HELD pieces of a thread stay in registers.
template <int PLANES, int HELD>
__global__ void __launch_bounds__(THREADS, HELD == 4 ? 4 : 3)
    split(const __grid_constant__ SplitBoth both) {
#if defined(CDN_HOPPER)
  const bool later = blockIdx.x >= both.of[0].grid;
  const SplitWork& s = both.of[later];
  __shared__ Scales scales;
  const bool alone = s.log_blocks == 0;
  if (!alone) {
    if (threadIdx.x == 0) {
      hopper::barrier_init(&scales.received, 1);
      hopper::barriers_visible();
      hopper::barrier_expect(&scales.received, (uint32_t)sizeof(Extremes)
                                                   << log_slots(s) << s.log_blocks);
    }
    __syncwarp();
    hopper::cluster_arrive();
  }
  hopper::let_next_kernel_start();
  const uint32_t unit = (blockIdx.x - (later ? both.of[0].grid : 0)) >> s.log_blocks;
  const Share mine(s, unit, alone ? 0 : hopper::cluster_rank(), threadIdx.x);
  const uint32_t turns = (s.pieces() + mine.step - 1) >> s.log_step();
  hopper::wait_for_previous_kernel();

  float held[HELD][4];
  Extremes seen[4];
  for (uint32_t turn = (turns - 1) / HELD * HELD;; turn -= HELD) {
    load_pieces(mine, turn, s.wide, held);
#pragma unroll
    for (int h = 0; h < HELD; h++)
      if (mine.first + (turn + h) * mine.step < mine.count)
        for (int i = 0; i < 4; i++) see(seen[i], held[h][i]);
    if (turn == 0) break;
  }
  find_infos(s, unit, seen, scales);
  const int apart = s.rows ? 0 : 1;
  const int32_t* infos = scales.infos + (s.rows ? threadIdx.x >> s.log_threads
                                                : (threadIdx.x & (s.threads() - 1)) * 4);
  PowerOfTwo powers[4];
#pragma unroll
  for (int i = 0; i < 4; i++) powers[i] = PowerOfTwo(SplitInfo::exponent(infos[i * apart]));
  for (uint32_t turn = 0; turn < turns; turn += HELD) {
    if (turn > 0) load_pieces(mine, turn, s.wide, held);
    float16* hi = mine.hi + turn * mine.hi_step;
#pragma unroll
    for (int h = 0; h < HELD; h++, hi += mine.hi_step)
      if (mine.first + (turn + h) * mine.step < mine.count)
        store_four<PLANES>(held[h], powers, hi, s.to_lo);
  }
#endif
}

// ---- How threads are shared out

constexpr uint64_t FEW = 100;  // blocks that leave many multiprocessors without work

// As few threads as hold a row, or more where there are few rows.
void share_rows(SplitWork* s, uint32_t held) {
  auto fits = [&](uint32_t threads, uint32_t pieces) { return threads * pieces * 4 >= s->ld; };
  const uint64_t rows = static_cast<uint64_t>(s->matrices) * s->lines;
  while (s->threads() < THREADS &&
         (!fits(s->threads(), held) ||
          (!fits(s->threads(), 1) && rows << s->log_threads < FEW * THREADS)))
    s->log_threads++;
  while (s->blocks() < MOST_BLOCKS && !fits(THREADS << s->log_blocks, held)) s->log_blocks++;
}

// Strips of 32 columns fill whole lines of the cache; of 16 there are more, and longer ones fit.
// Where there has to be a cluster, a larger one costs nothing.
void share_columns(SplitWork* s, uint32_t held) {
  auto fits = [&] { return s->groups() * held << s->log_blocks >= s->lines; };
  auto few = [&] { return static_cast<uint64_t>(s->matrices) * s->strips << s->log_blocks < FEW; };
  for (s->log_threads = 3;; s->log_threads = 2) {
    s->strips = (s->ld + s->threads() * 4 - 1) / (s->threads() * 4);
    for (s->log_blocks = 0; s->blocks() < MOST_BLOCKS && !fits();) s->log_blocks++;
    if (s->log_threads == 2 || (fits() && !few())) break;
  }
  while (few() && s->log_blocks > 0 && s->blocks() < MOST_BLOCKS) s->log_blocks++;
}

// Shares both out, and returns the size of the clusters.
uint32_t share(SplitBoth* both, uint32_t held) {
  uint32_t most = 0;
  for (SplitWork& s : both->of) {
    s.rows ? share_rows(&s, held) : share_columns(&s, held);
    most = std::max(most, s.log_blocks);
  }
  for (SplitWork& s : both->of) {
    if (s.log_blocks > 0) s.log_blocks = most;
    s.grid = (s.units() * s.blocks() + (1u << most) - 1) >> most << most;
  }
  return 1u << most;
}

CutOperand prepare(Call& call, const Operand<float>& x, int64_t count, int64_t step, int planes,
                   SplitWork* s) {
  const int64_t matrices = step ? count : 1, lines = x.lines(), ld = ceil_div(x.length(), 8) * 8,
                plane = matrices * lines * ld;
  const CutOperand out{call.scratch<float16>(planes * plane),
                       call.scratch<int32_t>(matrices * x.extent), matrices, lines, ld};
  *s = {x.data,
        static_cast<uint32_t>(matrices),
        static_cast<uint32_t>(lines),
        static_cast<uint32_t>(x.length()),
        static_cast<uint32_t>(ld),
        x.ld,
        step,
        wide_lines(x.data, x.ld) && x.length() % 4 == 0 && step % 4 == 0,
        out.planes,
        plane,
        out.info,
        x.k_contiguous};
  return out;
}

}  // namespace

CutProduct split_operands(Call& call, const Product<float>& p, const Matrices& batch, int planes) {
  constexpr int64_t SHORT_K =
      128;  // for which few registers are enough, and more blocks find their place
  SplitBoth both;
  const CutProduct out{prepare(call, p.a, batch.count, batch.a_step, planes, &both.of[0]),
                       prepare(call, p.b, batch.count, batch.b_step, planes, &both.of[1])};
  if (both.of[0].rows) std::swap(both.of[0], both.of[1]);  // columns take longer
  const bool few = p.k() <= SHORT_K;
  auto kernel = planes == 2 ? (few ? split<2, 4> : split<2, 8>) : (few ? split<1, 4> : split<1, 8>);
  const uint32_t cluster = share(&both, few ? 4 : 8);
  launch(call, kernel,
         {both.of[0].grid + both.of[1].grid, THREADS, 0, static_cast<int>(cluster), true}, both);
  return out;
}

}  // namespace cdn
