// The parts of mma/mma.h: how a product is cut, and the way of an operand through shared memory
// to the registers. Tiles keep the operand's own direction, in lines of 16-byte chunks that are
// permuted, so that neither the copies nor ldmatrix meet bank conflicts and no memory goes to
// padding; transposing is left to ldmatrix.
#pragma once
#include "gpu/tile/async_copy.h"
#include "gpu/gemm/tile_work.h"
#include "gpu/tile/mma.h"

namespace cdn {

// The most that a block takes: the shared memory of sm_86, sm_89 and sm_120.
constexpr int MMA_SHARED_LIMIT = 99 * 1024;

// How the work is cut. A block computes a BM x BN tile of c, a warp a WM x WN part of it, walking
// along k in steps of BK; STAGES tiles of the operands are in shared memory or on their way. The
// warps form SLICES groups, each of which covers the tile and takes a part of each BK, so that
// small tiles too have warps enough. MIN_BLOCKS per multiprocessor bounds the registers.
template <class T_, Method METHOD_, int BM_, int BN_, int BK_, int WM_, int WN_, int SLICES_,
          int STAGES_, int MIN_BLOCKS_>
struct MmaTile {
  using T = T_;
  static constexpr Method METHOD = METHOD_;
  static constexpr int BM = BM_, BN = BN_, BK = BK_, WM = WM_, WN = WN_, SLICES = SLICES_,
                       STAGES = STAGES_, MIN_BLOCKS = MIN_BLOCKS_;
  static constexpr int WARPS_M = BM / WM, WARPS_N = BN / WN, WARPS = WARPS_M * WARPS_N,
                       THREADS = 32 * WARPS * SLICES;
  static constexpr int STEP = METHOD == Method::HALF ? 16 : 8;  // k of one mma
  static constexpr int WORDS =
      STEP * (int)sizeof(T) / 16;                   // of a fragment's line that a thread holds
  static constexpr int DEPTH = BK / STEP / SLICES;  // steps of a warp in a tile
  static constexpr int STAGE_BYTES = (BM + BN) * BK * (int)sizeof(T);

  // Sums on their way to c: see mma/sums.h. Those of a large tile go in two halves.
  static constexpr int ALL_SUMS = SLICES * BM * BN * (int)sizeof(float);
  static constexpr int HALVES = ALL_SUMS > MMA_SHARED_LIMIT ? 2 : 1, SUM_BYTES = ALL_SUMS / HALVES;
  static constexpr bool JOINS = HALVES == 1;  // whether the blocks of a cluster can add up theirs
  static constexpr int END_BYTES =
      SUM_BYTES + (JOINS && SLICES > 1 ? BM * BN * (int)sizeof(float) : 0);
  static constexpr int SHARED_BYTES =
      STAGES * STAGE_BYTES > END_BYTES ? STAGES * STAGE_BYTES : END_BYTES;

  // Whether operands may lie anywhere, see MmaLoader; for large tiles it takes less time to copy
  // them first. Floats, which always have 4-byte places, are just copied in smaller parts. 16-bit
  // numbers must be shifted, in two more tiles, from stages that have one more chunk a line.
  static constexpr int RAW_STAGE_BYTES =
      STAGE_BYTES + 2 * (BM > BK || BN > BK ? (BM > BN ? BM : BN) : BK) * 16;
  static constexpr int SHIFTING_BYTES = STAGES * RAW_STAGE_BYTES + 2 * STAGE_BYTES > END_BYTES
                                            ? STAGES * RAW_STAGE_BYTES + 2 * STAGE_BYTES
                                            : END_BYTES;
  static constexpr bool SHIFTS =
      METHOD == Method::HALF && WM * WN < 64 * 64 && SHIFTING_BYTES <= MMA_SHARED_LIMIT;
  static constexpr bool NARROW = METHOD != Method::HALF && BM * BN <= 64 * 64;
  static constexpr bool ANY_PLACE = SHIFTS || NARROW;

  static constexpr int LEAST = sizeof(T) == 4 ? 32 : 16;  // vectors of a warp's part: see Fragments

  static_assert((METHOD == Method::HALF) == is_half<T>, "the other methods are of float");
  static_assert(BM % WM == 0 && BN % WN == 0 && WM % LEAST == 0 && WN % LEAST == 0,
                "warps fill the tile");
  static_assert(BN % 32 == 0, "packs of sums are exchanged within eights");
  static_assert(DEPTH % 2 == 0 && DEPTH * STEP * SLICES == BK,
                "fragments alternate between two sets of registers");
  static_assert(STAGES >= 2 && SHARED_BYTES <= MMA_SHARED_LIMIT, "one is read while others come");
};

// An operand's tile in shared memory: lines along its contiguous direction (BK of a vector, or
// EXTENT of a k), in chunks of 16 bytes. Chunks are permuted within their line, so that what a warp
// reads at once lies in different banks: the eight lines of a matrix of ldmatrix, or, of floats
// with lines along i, two chunks in each of four lines.
template <class T, int EXTENT, int BK, bool K_CONTIGUOUS> struct SharedTile {
  static constexpr bool FLOAT_ROWS = sizeof(T) == 4 && !K_CONTIGUOUS;
  static constexpr int W = 16 / sizeof(T);
  static constexpr int LINES = K_CONTIGUOUS ? EXTENT : BK, LENGTH = K_CONTIGUOUS ? BK : EXTENT;
  static constexpr int CHUNKS = LENGTH / W, LINE_BYTES = LENGTH * (int)sizeof(T),
                       BYTES = LINES * LINE_BYTES;
  static constexpr int PERMUTED =
      CHUNKS < 8 ? CHUNKS : 8;  // chunks that change places; lines shorter than 128 bytes
                                // share a row of banks
  static_assert((CHUNKS & (CHUNKS - 1)) == 0 && CHUNKS >= (FLOAT_ROWS ? 8 : 2),
                "a power of two, for the permutation");

  // Repeats every 8 lines.
  static __device__ int place(int line, int chunk) {
    int mask = FLOAT_ROWS ? line % 4 * 2 : line / (8 / PERMUTED) % PERMUTED;
    return line * LINE_BYTES + (chunk ^ mask) * 16;
  }
  static __device__ int place_of(int i, int k) {  // of one element
    int line = K_CONTIGUOUS ? i : k, at = K_CONTIGUOUS ? k : i;
    return place(line, at / W) + at % W * (int)sizeof(T);
  }
};

// A thread's share of copying an operand to its tiles; each load() takes the next tile along k, of
// which k are left. In place of what is outside it copies zeros.
//
// Where the operand's lines are not whole 16-byte chunks (not `wide`), small tiles have ways of
// their own. Floats come 4 bytes at a time. 16-bit numbers come by the 16-byte chunks that they
// happen to lie in (load_raw), one more a line than the tile has, and shift() makes tiles of these
// once they have arrived. So all is asynchronous and as deep as ever.
template <class Tile, int EXTENT, bool K_CONTIGUOUS> struct MmaLoader {
  using T = typename Tile::T;
  using Shared = SharedTile<T, EXTENT, Tile::BK, K_CONTIGUOUS>;
  static constexpr int CHUNKS = Shared::CHUNKS, LINES = Shared::LINES, W = Shared::W;
  static constexpr int STEP = Tile::THREADS / CHUNKS,
                       COPIES = LINES / STEP;  // lines between copies
  static constexpr int RAW_LINE = (CHUNKS + 1) * 16, RAW_BYTES = LINES * RAW_LINE;
  static_assert(Tile::THREADS % CHUNKS == 0 && LINES % STEP == 0, "threads fill the tile evenly");
  const T* at;  // the thread's first chunk
  int64_t ld;
  int extent_left;
  bool wide;

  static __device__ int line() { return threadIdx.x / CHUNKS; }
  static __device__ int chunk() { return threadIdx.x % CHUNKS; }

  __device__ MmaLoader(const Operand<T>& x, int64_t offset, const TileWork<T>&, bool wide_,
                       int64_t first, int64_t k_first)
      : at(x.data + offset + (K_CONTIGUOUS ? first * x.ld + k_first : k_first * x.ld + first) +
           line() * x.ld + chunk() * W),
        ld(x.ld),
        extent_left(static_cast<int>(x.extent - first < EXTENT ? x.extent - first : EXTENT)),
        wide(wide_) {}

  __device__ bool by_words() const { return Tile::NARROW && !wide; }
  __device__ void move(int tiles) {
    at += static_cast<int64_t>(tiles) * Tile::BK * (K_CONTIGUOUS ? 1 : ld);
  }

  __device__ __forceinline__ void load(char* shared, int k) {
    int lines = K_CONTIGUOUS ? extent_left : k, length = K_CONTIGUOUS ? k : extent_left;
    if (by_words()) {
      if constexpr (Tile::NARROW) load_narrow(shared, lines, length);
    } else {
      bool any =
          chunk() * W < length;  // a chunk is inside or outside as a whole, or ends with zeros
      const T* from = at;
#pragma unroll
      for (int c = 0; c < COPIES; c++, from += STEP * ld)
        copy_async_or_zero<16>(shared + Shared::place(line() + c * STEP, chunk()), from,
                               any && line() + c * STEP < lines);
    }
    move(1);
  }
  // By 4 bytes, neighbours by neighbouring threads.
  __device__ void load_narrow(char* shared, int lines, int length) {
    constexpr int EACH = 4 / sizeof(T), PER_LINE = Shared::LENGTH / EACH,
                  APART = Tile::THREADS / PER_LINE;
    static_assert(Tile::THREADS % PER_LINE == 0 && LINES % APART == 0,
                  "threads fill the tile evenly");
    const int first = threadIdx.x / PER_LINE, e = threadIdx.x % PER_LINE * EACH;
    const int last = e < length ? lines : 0;
    const T* from = at + (first - line()) * ld + (e - chunk() * W);
#pragma unroll 4
    for (int l = first; l < LINES; l += APART, from += APART * ld)
      copy_async_or_zero<4>(shared + Shared::place(l, e / W) + e % W * (int)sizeof(T), from,
                            l < last);
  }

  // To raw[line][chunk].
  __device__ __forceinline__ void load_raw(char* raw, int k) {
    int length = K_CONTIGUOUS ? k : extent_left,
        lines = K_CONTIGUOUS ? (k > 0 ? extent_left : 0) : k;
#pragma unroll
    for (int c = 0; c < COPIES; c++) {
      int l = line() + c * STEP;
      copy_raw(raw + l * RAW_LINE + chunk() * 16, at + c * STEP * ld, l < lines,
               length - chunk() * W);
    }
    const T* ends = at + (CHUNKS - chunk()) * W - line() * ld;
#pragma unroll 1
    for (int l = threadIdx.x; l < LINES; l += Tile::THREADS)
      copy_raw(raw + l * RAW_LINE + CHUNKS * 16, ends + l * ld, l < lines, length - CHUNKS * W);
    move(1);
  }
  // The chunk that `from` lies in, as far as the line goes: `left` numbers from `from` on.
  static __device__ __forceinline__ void copy_raw(char* to, const T* from, bool inside, int left) {
    int before = place_in_chunk(from), bytes = left * (int)sizeof(T) + before;
    copy_async_start<16>(to, reinterpret_cast<const char*>(from) - before,
                         !inside || bytes < 0 ? 0 : min(bytes, 16));
  }
  static __device__ __forceinline__ int place_in_chunk(const T* x) {
    return static_cast<int>(reinterpret_cast<uintptr_t>(x) % 16);
  }

  // Makes the tile of what load_raw brought, once it is there for all threads.
  __device__ __forceinline__ void shift(const char* raw, char* shared) const {
#pragma unroll
    for (int c = 0; c < COPIES; c++) {
      int l = line() + c * STEP;
      const uint4* from = reinterpret_cast<const uint4*>(raw + l * RAW_LINE + chunk() * 16);
      uint4 x = from[0], y = from[1];
      int bytes = place_in_chunk(at + (STEP % 8 == 0 ? 0 : c * STEP * ld));
      uint32_t w[8] = {x.x, x.y, x.z, x.w, y.x, y.y, y.z, y.w};
#pragma unroll
      for (int i = 0; i < 6; i++) w[i] = bytes & 8 ? w[i + 2] : w[i];
#pragma unroll
      for (int i = 0; i < 5; i++) w[i] = bytes & 4 ? w[i + 1] : w[i];
#pragma unroll
      for (int i = 0; i < 4; i++) w[i] = __funnelshift_r(w[i], w[i + 1], bytes % 4 * 8);
      *reinterpret_cast<uint4*>(shared + Shared::place(l, chunk())) = {w[0], w[1], w[2], w[3]};
    }
  }
};

// A warp's part of a tile, in registers: groups of 8 vectors, of which a thread holds number g,
// WORDS words of each. The words of a float operand are k = t, t + 4, …; in which order k comes is
// up to us, as long as a and b agree. So is which vectors form a group: floats with lines along i
// are read by four neighbouring vectors at a time, since ldmatrix can't transpose them, and each of
// the four goes to another group.
template <class Tile, int EXTENT, int PART, bool K_CONTIGUOUS, bool OF_A> struct Fragments {
  using T = typename Tile::T;
  using Shared = SharedTile<T, EXTENT, Tile::BK, K_CONTIGUOUS>;
  static constexpr bool SPREAD = Shared::FLOAT_ROWS;
  static constexpr int GROUPS = PART / 8, WORDS = Tile::WORDS;
  static_assert((GROUPS & (GROUPS - 1)) == 0, "a power of two, for the permutation of chunks");
  uint32_t words[2][GROUPS][WORDS];
  int offset;  // of the thread's first read in a tile

  // first: the warp's first vector in the tile.
  __device__ Fragments(int first, int slice) {
    int lane = threadIdx.x % 32, step = slice * Tile::DEPTH;
    // Of a read's four matrices, two are of one group and two of one half of k, in the order in
    // which mma wants them.
    int group = WORDS == 4 ? 0 : lane / (OF_A ? 8 : 16) % 2,
        half = WORDS == 4 ? lane / 8 : lane / (OF_A ? 16 : 8) % 2;
    if (SPREAD)
      offset = Shared::place(step * Tile::STEP + lane % 4, first / Shared::W + lane / 4);
    else if (K_CONTIGUOUS)
      offset = Shared::place(first + group * 8 + lane % 8, step * WORDS + half);
    else
      offset = Shared::place(step * Tile::STEP + half * 8 + lane % 8, first / Shared::W + group);
  }

  // Permuting is an exclusive or of the chunk's number, so that a step to another chunk is one too.
  __device__ void read(int set, uint32_t tile, int step) {
    auto& to = words[set];
#pragma unroll
    for (int g = 0; g < GROUPS; g += SPREAD ? 4 : 4 / WORDS) {
      if constexpr (SPREAD) {
#pragma unroll
        for (int w = 0; w < WORDS; w++)
          read_words(to[g][w], to[g + 1][w], to[g + 2][w], to[g + 3][w],
                     tile + offset + (step * Tile::STEP + 4 * w) * Shared::LINE_BYTES + g * 32);
      } else {
        uint32_t from = K_CONTIGUOUS
                            ? tile + (offset ^ step * WORDS * 16) + g * 8 * Shared::LINE_BYTES
                            : tile + (offset ^ g * 16) + step * Tile::STEP * Shared::LINE_BYTES;
        if constexpr (WORDS == 4)
          read_matrices<false>(to[g][0], to[g][1], to[g][2], to[g][3], from);
        else if constexpr (OF_A)
          read_matrices<!K_CONTIGUOUS>(to[g][0], to[g + 1][0], to[g][1], to[g + 1][1], from);
        else
          read_matrices<!K_CONTIGUOUS>(to[g][0], to[g][1], to[g + 1][0], to[g + 1][1], from);
      }
    }
  }

  // Vector i of group g, from the part's first.
  static __device__ int vector(int group, int i) {
    return SPREAD ? group / 4 * 32 + i * 4 + group % 4 : group * 8 + i;
  }
};

}  // namespace cdn
