// Loops by channel as kernels, bound by memory in either format. A thread keeps its channels, and
// what is known of them, and walks over packs of W neighbouring elements: of W channels where inner
// is 1, else of W pixels of one channel. Blocks have parts of memory one after another; maps begin
// with the last of them and at its end, where the cache still has what the sums before them read.
// Included by ops/norm/by_channel.h only.
#pragma once
#include <algorithm>

namespace cdn {

// Column i of an image begins at its element i * column, and has lines of `pixels` packs, each line
// `line` elements after the one before. A block takes `width` columns by `down` threads, and of the
// `count` packs of a column one of `splits` parts: runs of UNROLL packs a thread.
struct ChannelTiles {
  int64_t image, columns, column, pixels, line, count, image_tiles, tiles, runs, splits;
  int64_t down_lines, down_pixels;  // a step of `down` packs
  int width, down, below, lanes;    // below: the next thread down; lanes: channels of a pack
};

// Blocks among which a device shares out more work than fills it, at most. Fewer are such that all
// have their places at once.
constexpr int64_t MANY_BLOCKS = 4 * FEW_BLOCKS;
constexpr int64_t MAX_WIDTH = 32, RUNS_WANTED = 16;

inline ChannelTiles tiles_of(const ChannelShape& s, int w, int unroll) {
  const bool last = s.inner == 1;
  ChannelTiles t;
  t.image = s.n / s.images;
  t.columns = last ? s.channels / w : s.channels;
  t.column = last ? w : s.inner;
  t.pixels = last ? 1 : std::max<int64_t>(s.inner / w, 1);
  t.line = s.channels * s.inner;
  t.count = s.count() / (last ? 1 : w);
  const int64_t threads = std::clamp<int64_t>(ceil_div(t.count, unroll), 1, BLOCK);
  t.width = static_cast<int>(last ? ceil_div(t.columns, ceil_div(t.columns, MAX_WIDTH))
                                  : std::min(t.columns, BLOCK / threads));
  t.down = last ? BLOCK / t.width : static_cast<int>(threads);
  t.below = last ? t.width : 1;
  t.image_tiles = ceil_div(t.columns, t.width);
  t.tiles = s.images * t.image_tiles;
  t.down_lines = t.down / t.pixels;
  t.down_pixels = t.down - t.down_lines * t.pixels;
  t.lanes = last ? w : 1;
  t.runs = std::max<int64_t>(ceil_div(t.count, t.down * unroll), 1);
  int64_t blocks = FEW_BLOCKS;
  while (blocks < MANY_BLOCKS && 2 * blocks * RUNS_WANTED <= t.tiles * t.runs) blocks *= 2;
  t.splits = std::min(std::max<int64_t>(blocks / t.tiles, 1), t.runs);
  return t;
}

// What a thread has to do of a task: a tile of columns, and a part of the runs.
template <int W, int UNROLL> struct ChannelWalk {
  const ChannelTiles& t;
  int64_t split, base, row;  // base: where its column begins, of which `row` is the first channel
  int down;
  bool idle;

  __device__ __forceinline__ ChannelWalk(const ChannelTiles& t, int64_t task)
      : t(t), split(quotient(task, t.tiles)) {
    const int thread = threadIdx.x, x = t.below > 1 ? thread % t.below : thread / t.down;
    down = x >= t.width ? BLOCK : t.below > 1 ? thread / t.below : thread - x * t.down;
    const int64_t tile = task - split * t.tiles, image = quotient(tile, t.image_tiles);
    int64_t column = (tile - image * t.image_tiles) * t.width + x;
    idle = column >= t.columns || down >= t.down;
    if (idle) column = 0;  // whose channels are there
    base = image * t.image + column * t.column;
    row = (image * t.columns + column) * t.lanes;
  }
  // f(at, valid): the places of up to UNROLL packs, of which the first `valid` are there.
  template <class F> __device__ __forceinline__ void each(bool backwards, F f) const {
    if (idle) return;
    const int64_t begin = quotient(split * t.runs, t.splits),
                  end = quotient((split + 1) * t.runs, t.splits);
    for (int64_t i = begin; i < end; i++) {
      const int64_t q = (backwards ? begin + end - 1 - i : i) * UNROLL * t.down + down;
      int64_t line = t.pixels == 1 ? q : quotient(q, t.pixels), pixel = q - line * t.pixels;
      int64_t at[UNROLL];
      int valid = 0;
#pragma unroll
      for (int u = 0; u < UNROLL; u++) {
        at[u] = base + line * t.line + pixel * W;
        valid += q + u * t.down < t.count;
        line += t.down_lines;
        pixel += t.down_pixels;
        if (pixel >= t.pixels) pixel -= t.pixels, line++;
      }
      f(at, valid);
    }
  }
};

template <int W, class T, int N, class Op>
__device__ __forceinline__ auto at_lane(const Op& op, const typename Op::Known& known,
                                        const Pack<T, W> (&x)[N], int lane) {
  Compute<T> v[N];
  lane_of(v, x, lane);
  return op(known, v);
}

// Of the channels of a pack; once the first packs are on their way, as it waits for memory too.
template <int W, class Op>
__device__ __forceinline__ void know(typename Op::Known (&known)[W], const Op& op, int64_t row,
                                     int lanes) {
#pragma unroll
  for (int j = 0; j < W; j++) known[j] = j == 0 || lanes > 1 ? op.of(row + j) : known[0];
}

template <int W, int UNROLL, class T, int N, class Op>
__global__ void __launch_bounds__(BLOCK, W == 1 ? 4 : 2)
    map_by_channel_kernel(ChannelTiles t, Op op, T* y, Inputs<T, N> in) {
  const int64_t tasks = t.tiles * t.splits;
  for (int64_t task = blockIdx.x; task < tasks; task += gridDim.x) {
    const ChannelWalk<W, UNROLL> walk(t, tasks - 1 - task);
    typename Op::Known known[W];
    bool knows = false;
    walk.each(true, [&](const int64_t (&at)[UNROLL], int valid) {
      Pack<T, W> x[UNROLL][N];
#pragma unroll
      for (int u = 0; u < UNROLL; u++)
        if (u < valid) load_packs(x[u], in, at[u]);
      if (!knows) know(known, op, walk.row, t.lanes);
      knows = true;
#pragma unroll
      for (int u = 0; u < UNROLL; u++) {
        if (u >= valid) break;
        Pack<T, W> out;
#pragma unroll
        for (int j = 0; j < W; j++) out.v[j] = static_cast<T>(at_lane(op, known[j], x[u], j));
        *reinterpret_cast<Pack<T, W>*>(y + at[u]) = out;
      }
    });
  }
}

// Writes acc of each channel, or of a split of it to partial[channel][split].
template <int W, int UNROLL, class T, int N, class Op, class Kept>
__global__ void __launch_bounds__(BLOCK, W == 1 ? 4 : 2)
    sum_by_channel_kernel(ChannelTiles t, Op op, Kept kept, Inputs<T, N> in,
                          typename Op::Acc* partial) {
  using Acc = typename Op::Acc;
  follow_previous_kernel();
  for (int64_t task = blockIdx.x; task < t.tiles * t.splits; task += gridDim.x) {
    const ChannelWalk<W, UNROLL> walk(t, task);
    typename Op::Known known[W];
    Acc acc[W];
#pragma unroll
    for (int j = 0; j < W; j++) acc[j] = op.start();
    bool knows = W == 1 || W == 8;  // where registers are scarce
    if (knows) know(known, op, walk.row, t.lanes);
    walk.each(false, [&](const int64_t (&at)[UNROLL], int valid) {
      Pack<T, W> x[UNROLL][N];
#pragma unroll
      for (int u = 0; u < UNROLL; u++)
        if (u < valid) load_packs(x[u], in, at[u]);
      if (!knows) know(known, op, walk.row, t.lanes);
      knows = true;
      using Part = decltype(at_lane(op, known[0], x[0], 0));
      constexpr bool WIDENS = !std::is_same<Part, Acc>::value;
      Part part[W] = {};
#pragma unroll
      for (int u = 0; u < UNROLL; u++) {
        if (u >= valid) break;
        Pack<T, W> out;
#pragma unroll
        for (int j = 0; j < W; j++) {
          const Part more = at_lane(op, known[j], x[u], j);
          if constexpr (WIDENS)
            part[j] = part[j] + more;
          else
            acc[j] = op.join(acc[j], more);
          out.v[j] = static_cast<T>(more.second);
        }
        if constexpr (std::is_pointer<Kept>::value)
          *reinterpret_cast<Pack<T, W>*>(kept + at[u]) = out;
      }
#pragma unroll
      for (int j = 0; WIDENS && j < W; j++) acc[j] = op.join(acc[j], part[j]);
    });
    if (t.lanes == 1)
#pragma unroll
      for (int j = 1; j < W; j++) acc[0] = op.join(acc[0], acc[j]);
    join_down(acc, walk.down, t.down, t.below, t.lanes,
              [&](auto a, auto b) { return op.join(a, b); });
    if (walk.idle || walk.down > 0) continue;
#pragma unroll
    for (int j = 0; j < W; j++) {
      if (j >= t.lanes) break;
      if (partial)
        partial[(walk.row + j) * t.splits + walk.split] = acc[j];
      else
        op.store(walk.row + j, acc[j]);
    }
  }
}

// The widest packs for which everything is aligned; f gets their width as a constant.
template <class T, int N, class F>
void with_pack(const ChannelShape& s, const Inputs<T, N>& in, const T* y, F&& f) {
  constexpr int W = 16 / sizeof(T);
  bool wide = (s.inner == 1 ? s.channels : s.inner) % W == 0 && aligned16(y);
  for (const T* x : in.x) wide = wide && aligned16(x);
  if (wide)
    f(std::integral_constant<int, W>{});
  else
    f(std::integral_constant<int, 1>{});
}

template <class Op, class T, int N>
void map_by_channel(Call& call, const ChannelShape& s, Op op, T* y, Inputs<T, N> in) {
  if (s.n == 0) return;
  with_pack(s, in, y, [&](auto w) {
    constexpr int W = w, UNROLL = (W == 8 || W == 1 ? 6 : 8) / N;
    const ChannelTiles t = tiles_of(s, W, UNROLL);
    launch(call, map_by_channel_kernel<W, UNROLL, T, N, Op>, {grid_for(t.tiles * t.splits)}, t, op,
           y, in);
  });
}

template <class Op, class T, int N, class Kept>
void sum_by_channel(Call& call, const ChannelShape& s, Op op, Kept kept, Inputs<T, N> in) {
  using Acc = typename Op::Acc;
  if (s.rows() == 0) return;
  with_pack<T>(s, in, kept, [&](auto w) {
    constexpr int W = w, UNROLL = N == 1 ? 8 : W == 8 ? 6 / N : 4;
    const ChannelTiles t = tiles_of(s, W, UNROLL);
    Acc* partial = t.splits == 1 ? nullptr : call.scratch<Acc>(s.rows() * t.splits);
    launch(call, sum_by_channel_kernel<W, UNROLL, T, N, Op, Kept>, {grid_for(t.tiles * t.splits)},
           t, op, kept, in, partial);
    if (partial) reduce_partial(call, s.rows(), t.splits, op, partial);
  });
}

}  // namespace cdn
