#include "gpu/conv/methods.h"
#include "gpu/conv/sums.h"

namespace cdn {
namespace {

// OUTPUTS places along one axis, and the places of the input that windows on them see. BACK: the
// outputs are the input's gradient, the inputs y's.
template <int TAPS_, int STRIDE, bool BACK_, int OUTPUTS_> struct Strip {
  static constexpr int TAPS = TAPS_, OUTPUTS = OUTPUTS_;
  static constexpr bool BACK = BACK_;
  static constexpr int BEFORE = BACK ? (TAPS - 1) / STRIDE : 0,
                       INPUTS = BACK ? BEFORE + (OUTPUTS - 1) / STRIDE + 1
                                     : (OUTPUTS - 1) * STRIDE + TAPS;
  static_assert(!BACK || OUTPUTS % STRIDE == 0, "all strips are alike");

  // By which input i counts in output o, if in [0, TAPS).
  static __device__ constexpr int tap(int i, int o) {
    return BACK ? o - (i - BEFORE) * STRIDE : i - o * STRIDE;
  }
  static __device__ constexpr bool meets(int i, int o) {
    return tap(i, o) >= 0 && tap(i, o) < TAPS;
  }
  static __device__ constexpr bool last(int i, int o) {
    return BACK ? tap(i, o) >= 0 && tap(i, o) < STRIDE : tap(i, o) == TAPS - 1;
  }
  static CDN_FN int shift(int pad) { return BACK ? pad % STRIDE : 0; }
  static int count(int extent, int pad) { return (extent + shift(pad) + OUTPUTS - 1) / OUTPUTS; }
  static __device__ int first_output(int strip, int pad) { return strip * OUTPUTS - shift(pad); }
  static __device__ int first_input(int output, int pad) {
    return BACK ? (output + pad) / STRIDE - BEFORE : output * STRIDE - pad;
  }
};

// What a kernel's tiles are: `down` by `across` of an image, `tiles` of all; packs of channels.
struct DepthwiseWork {
  ConvExtents g;
  int packs, down, across;
  uint32_t tiles;
};
template <class Down, class Across> DepthwiseWork work_of(const ConvGeometry& geometry, int pack) {
  const ConvExtents g = ConvExtents::of(geometry);
  const int down = Down::count(Down::BACK ? g.h : g.p, g.pad_h),
            across = Across::count(Down::BACK ? g.w : g.q, g.pad_w);
  return {g, g.c / pack, down, across, static_cast<uint32_t>(g.n) * down * across};
}

// One image, from a thread's channels on.
template <class T> struct DepthwiseImage {
  const T* data;
  int height, width, channels;
  __device__ DepthwiseImage(const T* images, uint32_t n, int height, int width, int channels, int c)
      : data(images + (int64_t)n * height * width * channels + c),
        height(height),
        width(width),
        channels(channels) {}
};

// COUNT pixels of a row from one on, those outside as 0.
template <class T, int W, int COUNT> struct DepthwiseRow {
  Pack<T, W> pixel[COUNT];
  __device__ __forceinline__ void load(const DepthwiseImage<T>& image, int row, int first) {
    const T* line = image.data + (row * image.width + first) * image.channels;
#pragma unroll
    for (int j = 0; j < COUNT; j++) {
      pixel[j] = Pack<T, W>{};
      if ((unsigned)row < (unsigned)image.height && (unsigned)(first + j) < (unsigned)image.width)
        pixel[j] = *reinterpret_cast<const Pack<T, W>*>(line + j * image.channels);
    }
  }
};

// f(i, row) for the rows that a tile's windows see; the next one is on its way meanwhile.
template <int COUNT, class Row, class Image, class F>
__device__ __forceinline__ void each_input_row(const Image& image, int row, int first, F&& f) {
  Row rows[2];
  rows[0].load(image, row, first);
#pragma unroll
  for (int i = 0; i < COUNT; i++) {
    if (i + 1 < COUNT) rows[(i + 1) % 2].load(image, row + i + 1, first);
    f(i, rows[i % 2]);
  }
}

// A thread computes the outputs of a tile for a pack of channels, walking down the inputs' rows.
// Neighbouring threads have neighbouring channels, then tiles side by side.
template <class T, int W, class Down, class Across>
__global__ void __launch_bounds__(BLOCK, Down::TAPS == 3 ? 2 : 1)
    depthwise_kernel(DepthwiseWork a, const T* x, const T* w, ConvEnding<T> ending) {
  constexpr int TAPS = Down::TAPS;
  const ConvExtents& g = a.g;
  const uint32_t i = blockIdx.x * BLOCK + threadIdx.x, tile = i / a.packs;
  if (tile >= a.tiles) return;
  const uint32_t line = tile / a.across, n = line / a.down;
  const int c = (int)(i - tile * a.packs) * W,
            top = Down::first_output((int)(line - n * a.down), g.pad_h),
            left = Across::first_output((int)(tile - line * a.across), g.pad_w),
            first_row = Down::first_input(top, g.pad_h), first = Across::first_input(left, g.pad_w);
  constexpr bool BACK = Down::BACK;
  const DepthwiseImage<T> image(x, n, BACK ? g.p : g.h, BACK ? g.q : g.w, g.c, c);
  const int height = BACK ? g.h : g.p, width = BACK ? g.w : g.q;

  Pack<float, W> filters[TAPS * TAPS];  // those of W channels follow one another in memory
#pragma unroll
  for (int t = 0; t < TAPS * TAPS; t++) {
    const auto part = reinterpret_cast<const Pack<T, W>*>(w + (int64_t)c * TAPS * TAPS)[t];
#pragma unroll
    for (int e = 0; e < W; e++) {
      const int at = t * W + e;
      filters[at % (TAPS * TAPS)].v[at / (TAPS * TAPS)] = wide(part.v[e]);
    }
  }

  const auto bias = ending.template bias_of<W>(c, g.c);
  Pack<float, W> sums[Down::OUTPUTS][Across::OUTPUTS] = {};
  using Row = DepthwiseRow<T, W, Across::INPUTS>;
  each_input_row<Down::INPUTS, Row>(image, first_row, first, [&](int i, const Row& row) {
#pragma unroll
    for (int o = 0; o < Down::OUTPUTS; o++) {
      if (!Down::meets(i, o)) continue;
#pragma unroll
      for (int j = 0; j < Across::INPUTS; j++)
#pragma unroll
        for (int q = 0; q < Across::OUTPUTS; q++)
          if (Across::meets(j, q))
#pragma unroll
            for (int e = 0; e < W; e++)
              sums[o][q].v[e] += wide(row.pixel[j].v[e]) *
                                 filters[Down::tap(i, o) * TAPS + Across::tap(j, q)].v[e];
      if (!Down::last(i, o) || (unsigned)(top + o) >= (unsigned)height) continue;
      const int64_t place = (((int64_t)n * height + top + o) * width + left) * g.c + c;
#pragma unroll
      for (int q = 0; q < Across::OUTPUTS; q++)
        if ((unsigned)(left + q) < (unsigned)width) ending.store(sums[o][q], bias, place + q * g.c);
    }
  });
}

// partial[block's x, tap, c]: sums over tiles. A block has `lanes` packs of channels, and as many
// workers as fit, which share its tiles; a worker goes down columns of tiles.
template <class T, int W, class Down, class Across>
__global__ void __launch_bounds__(BLOCK, Down::TAPS == 3 ? 2 : 1)
    depthwise_grad_weight_kernel(DepthwiseWork a, float* partial, const T* dy, const T* x,
                                 int lanes) {
  constexpr int TAPS = Down::TAPS;
  const ConvExtents& g = a.g;
  extern __shared__ __align__(16) char memory[];
  const int workers = BLOCK / lanes, worker = (int)threadIdx.x / lanes,
            lane = (int)threadIdx.x - worker * lanes, pack = (int)blockIdx.y * lanes + lane;
  Pack<float, W> sums[TAPS * TAPS] = {};
  if (worker < workers && pack < a.packs) {
    const int64_t share = (int64_t)blockIdx.x * workers + worker,
                  shares = (int64_t)gridDim.x * workers;
    const uint32_t end = (uint32_t)((share + 1) * a.tiles / shares);
#pragma unroll 1
    for (uint32_t tile = (uint32_t)(share * a.tiles / shares); tile < end; tile++) {
      const uint32_t column = tile / a.down, n = column / a.across;
      const int top = (int)(tile - column * a.down) * Down::OUTPUTS,
                left = (int)(column - n * a.across) * Across::OUTPUTS,
                first_row = Down::first_input(top, g.pad_h),
                first = Across::first_input(left, g.pad_w);
      const DepthwiseImage<T> image(x, n, g.h, g.w, g.c, pack * W),
          grads(dy, n, g.p, g.q, g.c, pack * W);
      DepthwiseRow<T, W, Across::OUTPUTS> grad[Down::OUTPUTS];
#pragma unroll
      for (int o = 0; o < Down::OUTPUTS; o++) grad[o].load(grads, top + o, left);
      using Row = DepthwiseRow<T, W, Across::INPUTS>;
      each_input_row<Down::INPUTS, Row>(image, first_row, first, [&](int i, const Row& row) {
#pragma unroll
        for (int o = 0; o < Down::OUTPUTS; o++)
          if (Down::meets(i, o))
#pragma unroll
            for (int j = 0; j < Across::INPUTS; j++)
#pragma unroll
              for (int q = 0; q < Across::OUTPUTS; q++)
                if (Across::meets(j, q))
#pragma unroll
                  for (int e = 0; e < W; e++)
                    sums[Down::tap(i, o) * TAPS + Across::tap(j, q)].v[e] +=
                        wide(row.pixel[j].v[e]) * wide(grad[o].pixel[q].v[e]);
      });
    }
  }

  // [worker, tap, lane]
  Pack<float, W>* shared = reinterpret_cast<Pack<float, W>*>(memory);
  if (worker < workers)
#pragma unroll
    for (int t = 0; t < TAPS * TAPS; t++)
      shared[(worker * TAPS * TAPS + t) * lanes + lane] = sums[t];
  __syncthreads();
  for (int i = threadIdx.x; i < TAPS * TAPS * lanes; i += BLOCK) {
    Pack<float, W> sum = shared[i];
    for (int s = 1; s < workers; s++)
#pragma unroll
      for (int e = 0; e < W; e++) sum.v[e] += shared[s * TAPS * TAPS * lanes + i].v[e];
    const int tap = i / lanes, at = (int)blockIdx.y * lanes + i - tap * lanes;
    if (at < a.packs)
      reinterpret_cast<Pack<float, W>*>(
          partial)[((int64_t)blockIdx.x * TAPS * TAPS + tap) * a.packs + at] = sum;
  }
}

constexpr int ROWS = 4, COLS = 2;  // of a tile

template <class T, int W, int TAPS, int STRIDE, bool BACK>
void convolve(Call& call, const ConvGeometry& g, const T* x, const T* w,
              const ConvEnding<T>& ending) {
  constexpr int ROWS_OF_3 = STRIDE == 1 || BACK ? 2 * ROWS : ROWS;
  using Down = Strip<TAPS, STRIDE, BACK, TAPS == 3 ? ROWS_OF_3 : ROWS>;
  using Across = Strip<TAPS, STRIDE, BACK, COLS>;
  const DepthwiseWork a = work_of<Down, Across>(g, W);
  launch(call, depthwise_kernel<T, W, Down, Across>, for_each_of((int64_t)a.tiles * a.packs), a, x,
         w, ending);
}

template <class T, int W, int TAPS, int STRIDE>
void sum_products(Call& call, const ConvGeometry& g, T* dw, const T* dy, const T* x) {
  using Down = Strip<TAPS, STRIDE, false, ROWS>;
  using Across = Strip<TAPS, STRIDE, false, COLS>;
  constexpr int64_t MOST_LANES = 64;
  const DepthwiseWork a = work_of<Down, Across>(g, W);
  const int64_t groups = ceil_div(a.packs, MOST_LANES), lanes = ceil_div(a.packs, groups),
                workers = BLOCK / lanes, least = ceil_div(a.tiles, workers),
                most = ceil_div(PARTIAL_SUMS, groups), count = least < most ? least : most;
  float* partial = call.scratch<float>(count * g.w_count());
  launch(call, depthwise_grad_weight_kernel<T, W, Down, Across>,
         {{static_cast<unsigned>(count), static_cast<unsigned>(groups)},
          BLOCK,
          static_cast<int>(workers * lanes * TAPS * TAPS * W * sizeof(float))},
         a, partial, dy, x, static_cast<int>(lanes));
  sum_filters(call, dw, partial, count, TAPS * TAPS, g.c);
}

bool suits(const ConvGeometry& g) {
  constexpr int64_t MOST = INT32_MAX / 2;
  return ConvExtents::hold(g) && g.r == g.s && (g.r == 3 || g.r == 5 || g.r == 7) &&
         g.stride_h == g.stride_w && g.stride_h <= (g.r == 7 ? 1 : 2) && g.dilation_h == 1 &&
         g.dilation_w == 1 && g.pad_h >= 0 && g.pad_w >= 0 &&
         g.n * ((g.p + g.h) / ROWS + 2) * ((g.q + g.w) / COLS + 2) * g.c < MOST &&
         g.c % (g.r == 3 ? 1 : 4) == 0;
}

template <int I> using Int = std::integral_constant<int, I>;

// f(taps, stride, W of f's kernels) as constants. `wide`: addresses allow packs.
template <class F> bool with_shape(const ConvGeometry& g, bool wide, F&& f) {
  if (!suits(g) || (g.r > 3 && !wide)) return false;
  auto by_stride = [&](auto taps, auto pack) {
    if (g.stride_h == 1)
      f(taps, Int<1>{}, pack);
    else if constexpr (taps < 7)
      f(taps, Int<2>{}, pack);
  };
  if (g.r == 7)
    by_stride(Int<7>{}, Int<2>{});
  else if (g.r == 5)
    by_stride(Int<5>{}, Int<4>{});
  else if (wide && g.c % 4 == 0)
    by_stride(Int<3>{}, Int<4>{});
  else
    by_stride(Int<3>{}, Int<1>{});
  return true;
}

}  // namespace

template <class T> bool convolve_depthwise(Call& call, const Convolution<T>& c) {
  const ConvEnding<T> ending(c.epilogue);
  const bool aligned = aligned16(c.x) && aligned16(c.w) && aligned16(c.y);
  if (c.grad_weight())
    return with_shape(c.g, aligned, [&](auto taps, auto stride, auto pack) {
      // Sums for all taps must fit into registers.
      constexpr int MOST = 64 / (taps * taps), W = pack < MOST ? pack : MOST;
      sum_products<T, W, taps, stride>(call, c.g, c.to(), c.y, c.x);
    });
  return ending.serves(c.epilogue) &&
         with_shape(c.g, aligned && ending.aligned(), [&](auto taps, auto stride, auto pack) {
           if (c.forward())
             convolve<T, pack, taps, stride, false>(call, c.g, c.x, c.w, ending);
           else
             convolve<T, pack, taps, stride, true>(call, c.g, c.y, c.w, ending);
         });
}

template bool convolve_depthwise(Call&, const Convolution<float>&);
template bool convolve_depthwise(Call&, const Convolution<float16>&);
template bool convolve_depthwise(Call&, const Convolution<bfloat16>&);

}  // namespace cdn
