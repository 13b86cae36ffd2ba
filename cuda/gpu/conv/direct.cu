#include "gpu/conv/methods.h"
#include "gpu/conv/sums.h"

namespace cdn {
namespace {

constexpr int MOST_SHARED = 100 * 1024;

// Lines of y and the part of an image that their windows see, zeros around it. A tile's row has
// `pitch` numbers, a pixel `ldc` of them: more than c where neighbouring threads, which read
// neighbouring pixels, would else meet in the same banks.
struct DirectTile {
  ConvExtents g;
  int ldc, pitch;
  int depth, filters, ldk;  // filters: groups of them; ldk: numbers that they take
  int rows, down;           // of a tile; tiles of an image
  uint32_t tiles;
  Divisor by_down, by_pitch, by_ldc, by_q, by_filters;

  // Numbers of x that `lines` lines need.
  CDN_FN int64_t input(int lines) const {
    return ((lines - 1) * g.stride_h + g.r) * int64_t{pitch};
  }

  template <class T>
  __device__ __forceinline__ void load(float* tile, const T* x, uint32_t n, int first,
                                       int lines) const {
    const T* image = x + (int64_t)n * g.h * g.w * g.c;
    const int top = first * g.stride_h - g.pad_h, count = (int)input(lines);
#pragma unroll 4
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
      const int row = (int)by_pitch(i), at = i - row * pitch, pixel = (int)by_ldc(at),
                channel = at - pixel * ldc, h = top + row, w = pixel - g.pad_w;
      float number = 0;
      if ((unsigned)h < (unsigned)g.h && (unsigned)w < (unsigned)g.w && channel < g.c)
        number = wide(image[(h * g.w + w) * g.c + channel]);
      tile[i] = number;
    }
  }
};

// The filters as they lie in memory, [k, taps, c]. turned: for the gradient of the input, which is
// a convolution of y's by filters turned round, from k to c.
struct DirectFilters {
  int count, taps, c, k;
  bool turned;
  Divisor by_c, by_taps;

  // To [tap, what is summed, ldk].
  template <class T> __device__ __forceinline__ void load(float* to, const T* w, int ldk) const {
#pragma unroll 8
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
      const int line = (int)by_c(i), channel = i - line * c, filter = (int)by_taps(line),
                tap = line - filter * taps;
      to[turned ? ((taps - 1 - tap) * k + filter) * ldk + channel
                : (tap * c + channel) * ldk + filter] = wide(w[i]);
    }
  }
};

// The largest of 2 x 2 results after ReLU, of W filters, of which a thread has a row and its
// neighbour the other; the upper one's is right. As maxPool2d() has it: the first of the largest,
// or the last NaN.
template <class T, int W> struct LargestOfWindow {
  Pack<T, W> value;
  Pack<uint8_t, W> from;

  __device__ __forceinline__ LargestOfWindow(const Pack<float, W>& left,
                                             const Pack<float, W>& right,
                                             const Pack<float, W>& bias, int lower) {
    const unsigned pair = 3u << (threadIdx.x % 32 & ~1u);
    auto better = [](float a, float b) { return (a > b) | is_nan(a); };
#pragma unroll
    for (int e = 0; e < W; e++) {
      auto end = [&](float sum) { return wide(static_cast<T>(Relu{}(sum + bias.v[e]))); };
      const float first = end(left.v[e]), second = end(right.v[e]);
      const bool after = better(second, first);
      const float best = after ? second : first, below = __shfl_xor_sync(pair, best, 1);
      const int at = 2 * lower + after, at_below = __shfl_xor_sync(pair, at, 1);
      value.v[e] = static_cast<T>(better(below, best) ? below : best);
      from.v[e] = static_cast<uint8_t>(better(below, best) ? at_below : at);
    }
  }
};

// The first `count` of v to its place, at once where packs can be stored.
template <class T, int W>
__device__ __forceinline__ void put(T* to, const Pack<T, W>& v, int count, bool packs) {
  if (packs) *reinterpret_cast<Pack<T, W>*>(to) = v;
#pragma unroll
  for (int e = 0; e < W; e++)
    if (!packs && e < count) to[e] = v.v[e];
}

// A thread: FILTERS filters at PIXELS pixels; neighbours have the next filters, then pixels. V: of
// how many numbers reads of the tile are. POOL: pixels are halves of 2 x 2, the other of which the
// neighbour has; p and q are even, and so is the number of lines.
template <class T, int PIXELS, int FILTERS, int V, bool POOL>
__global__ void __launch_bounds__(BLOCK, 2)
    direct_kernel(DirectTile a, DirectFilters f, const T* x, const T* w, ConvEnding<T> ending,
                  uint8_t* argument) {
  constexpr int EACH = POOL ? 2 : 1, OWN = PIXELS / EACH;  // pixels side by side, and of those
  extern __shared__ __align__(16) char memory[];
  float *filters = reinterpret_cast<float*>(memory), *tile = filters + a.depth * a.ldk;
  f.load(filters, w, a.ldk);
  for (uint32_t t = blockIdx.x; t < a.tiles; t += gridDim.x) {
    const uint32_t n = a.by_down(t);
    const int first = (int)(t - n * a.down) * a.rows, lines = min(a.rows, a.g.p - first);
    __syncthreads();  // an earlier tile was read
    a.load(tile, x, n, first, lines);
    __syncthreads();
    const int across = a.g.q / EACH, pixels = lines / EACH * across,
              apart = (pixels + OWN - 1) / OWN;
    for (int item = threadIdx.x; item < apart * a.filters * EACH; item += blockDim.x) {
      const int lower = item % EACH, task = item / EACH, pixel = (int)a.by_filters(task),
                k = (task - pixel * a.filters) * FILTERS;
      const float* from[PIXELS];
#pragma unroll
      for (int i = 0; i < PIXELS; i++) {
        const int at = min(pixel + i / EACH * apart, pixels - 1), line = (int)a.by_q(at),
                  row = line * EACH + lower, column = (at - line * across) * EACH + i % EACH;
        from[i] = tile + row * a.g.stride_h * a.pitch + column * a.g.stride_w * a.ldc;
      }
      Pack<float, FILTERS> sums[PIXELS] = {};
      const float* filter = filters + k;
      // What lies side by side: the taps of a filter's row, unless pixels are apart.
      const bool together = a.ldc == a.g.c;
      const int runs = together ? 1 : a.g.s, run = together ? a.g.s * a.g.c : a.g.c;
      for (int r = 0, s = 0; r < a.g.r;) {
#pragma unroll(PIXELS > 2 ? 2 : 4)
        for (int j = 0; j < run; j += V) {
          Pack<float, V> numbers[PIXELS];
#pragma unroll
          for (int i = 0; i < PIXELS; i++)
            numbers[i] = *reinterpret_cast<const Pack<float, V>*>(from[i] + j);
#pragma unroll
          for (int v = 0; v < V; v++, filter += a.ldk) {
            Pack<float, 4> weights[FILTERS / 4];
#pragma unroll
            for (int e = 0; e < FILTERS / 4; e++)
              weights[e] = reinterpret_cast<const Pack<float, 4>*>(filter)[e];
#pragma unroll
            for (int i = 0; i < PIXELS; i++)
#pragma unroll
              for (int e = 0; e < FILTERS; e++)
                sums[i].v[e] += numbers[i].v[v] * weights[e / 4].v[e % 4];
          }
        }
        const bool ends = ++s == runs;
        const int next = ends ? a.pitch - (runs - 1) * a.ldc : a.ldc;
        if (ends) r++, s = 0;
#pragma unroll
        for (int i = 0; i < PIXELS; i++) from[i] += next;
      }
      const auto bias = ending.template bias_of<FILTERS>(k, a.g.k);
#pragma unroll
      for (int i = 0; i < OWN; i++) {
        const int at = pixel + i * apart;
        if (at >= pixels) continue;
        const int64_t line = ((int64_t)n * a.g.p + first) / EACH,
                      place = (line * across + at) * a.g.k + k;
        if constexpr (POOL) {
          const LargestOfWindow<T, FILTERS> largest(sums[2 * i], sums[2 * i + 1], bias, lower);
          if (lower) continue;
          put(ending.y + place, largest.value, a.g.k - k, ending.packs);
          if (argument) put(argument + place, largest.from, a.g.k - k, ending.packs);
        } else if (ending.packs)
          ending.store(sums[i], bias, place);
        else
#pragma unroll
          for (int e = 0; e < FILTERS; e++)
            if (k + e < a.g.k)
              ending.store(Pack<float, 1>{sums[i].v[e]}, Pack<float, 1>{bias.v[e]}, place + e);
      }
    }
  }
}

// Of a block for the filters' gradient: two of them are to have all registers.
template <int TAPS> constexpr int GRAD_THREADS = TAPS > 2 ? 320 : 512;

// partial[block, j, k]: a block's sums for all j = (r, s, c) and k. An item: FILTERS filters at
// TAPS taps; `slices` threads have one, each some lines of a tile.
template <class T, int TAPS, int FILTERS>
__global__ void __launch_bounds__(GRAD_THREADS<TAPS>, 2)
    direct_grad_weight_kernel(DirectTile a, float* partial, const T* dy, const T* x, int items,
                              int slices, Divisor by_k) {
  extern __shared__ __align__(16) char memory[];
  float *shared = reinterpret_cast<float*>(memory), *grads = shared,
        *tile = grads + a.rows * a.g.q * a.ldk;
  const int slice = (int)threadIdx.x / items, item = (int)threadIdx.x - slice * items,
            first_tap = (int)a.by_filters(item), k = (item - first_tap * a.filters) * FILTERS,
            apart = (a.depth + TAPS - 1) / TAPS;
  int offset[TAPS];
#pragma unroll
  for (int t = 0; t < TAPS; t++) {
    const int j = min(first_tap + t * apart, a.depth - 1), tap = j / a.g.c, r = tap / a.g.s;
    offset[t] = r * a.pitch + (tap - r * a.g.s) * a.ldc + j - tap * a.g.c;
  }
  Pack<float, FILTERS> sums[TAPS] = {};
  for (uint32_t at = blockIdx.x; at < a.tiles; at += gridDim.x) {
    const uint32_t n = a.by_down(at);
    const int first = (int)(at - n * a.down) * a.rows, lines = min(a.rows, a.g.p - first);
    __syncthreads();  // an earlier tile was read
    a.load(tile, x, n, first, lines);
    const T* from = dy + ((int64_t)n * a.g.p + first) * a.g.q * a.g.k;
#pragma unroll 8
    for (int i = threadIdx.x; i < lines * a.g.q * a.g.k; i += blockDim.x) {
      const int pixel = (int)by_k(i);
      grads[pixel * a.ldk + i - pixel * a.g.k] = wide(from[i]);
    }
    __syncthreads();
    if (slice >= slices) continue;
    for (int row = slice; row < lines; row += slices) {
      const float *numbers = tile + row * a.g.stride_h * a.pitch,
                  *grad = grads + row * a.g.q * a.ldk + k;
#pragma unroll 4
      for (int q = 0; q < a.g.q; q++, numbers += a.g.stride_w * a.ldc, grad += a.ldk) {
        const auto g = *reinterpret_cast<const Pack<float, FILTERS>*>(grad);
#pragma unroll
        for (int t = 0; t < TAPS; t++) {
          const float number = numbers[offset[t]];
#pragma unroll
          for (int e = 0; e < FILTERS; e++) sums[t].v[e] += number * g.v[e];
        }
      }
    }
  }
  __syncthreads();
  // [slice but the first, tap, item]
  Pack<float, FILTERS>* others = reinterpret_cast<Pack<float, FILTERS>*>(memory);
  if (slice > 0 && slice < slices)
#pragma unroll
    for (int t = 0; t < TAPS; t++) others[((slice - 1) * TAPS + t) * items + item] = sums[t];
  __syncthreads();
  if (slice > 0) return;
#pragma unroll
  for (int t = 0; t < TAPS; t++) {
    for (int s = 0; s + 1 < slices; s++)
#pragma unroll
      for (int e = 0; e < FILTERS; e++) sums[t].v[e] += others[(s * TAPS + t) * items + item].v[e];
    const int j = first_tap + t * apart;
#pragma unroll
    for (int e = 0; e < FILTERS; e++)
      if (j < a.depth && k + e < a.g.k)
        partial[((int64_t)blockIdx.x * a.depth + j) * a.g.k + k + e] = sums[t].v[e];
  }
}

// What a convolution's tiles are but for their number of lines, with as many filters a thread;
// false where its sizes are too much.
bool describe(const ConvGeometry& g, int filters, DirectTile* a) {
  if (!ConvExtents::hold(g) || g.groups != 1 || g.dilation_h != 1 || g.dilation_w != 1 ||
      g.stride_h > 4 || g.stride_w > 4 || g.y_count() == 0 || g.w_count() == 0 ||
      g.w_count() > MOST_SHARED || g.n * g.p > INT32_MAX || g.q * (g.c + 2) * 4 > MOST_SHARED)
    return false;
  a->g = ConvExtents::of(g);
  a->ldc = a->g.c % 4 == 0 ? a->g.c + 2 : a->g.c;
  a->pitch = ((a->g.q - 1) * a->g.stride_w + a->g.s) * a->ldc;
  a->depth = static_cast<int>(g.group_depth());
  a->filters = (a->g.k + filters - 1) / filters;
  a->ldk = a->filters * filters;
  a->by_ldc = Divisor(a->ldc), a->by_pitch = Divisor(a->pitch), a->by_q = Divisor(a->g.q);
  a->by_filters = Divisor(a->filters);
  return true;
}

// In tiles of about as many lines, all alike.
void cut(const ConvGeometry& g, int64_t lines, DirectTile* a) {
  const int64_t down = ceil_div(g.p, lines < 1 ? 1 : lines < g.p ? lines : g.p);
  a->rows = static_cast<int>(ceil_div(g.p, down));
  a->down = static_cast<int>(ceil_div(g.p, a->rows));
  a->tiles = static_cast<uint32_t>(g.n * a->down);
  a->by_down = Divisor(static_cast<uint32_t>(a->down));
}

// g: c's, or that of y's gradient, which is then x.
template <class T, int PIXELS, int FILTERS, int V, bool POOL>
bool convolve(Call& call, ConvGeometry g, const T* x, const Convolution<T>& c) {
  constexpr int EACH = POOL ? 2 : 1;
  DirectTile a{};
  g.p -= g.p % EACH, g.q -= g.q % EACH;
  if (!describe(g, FILTERS, &a)) return false;
  a.by_q = Divisor(a.g.q / EACH);
  // Neighbouring threads write what they read of the filters into different banks.
  if (a.ldk % 8 == 0) a.ldk += 4;
  g.p /= EACH;
  cut(g, BLOCK * PIXELS / (g.q * a.filters * EACH), &a);
  a.rows *= EACH;
  const int64_t shared = (int64_t{a.depth} * a.ldk + a.input(a.rows)) * 4;
  if (shared > MOST_SHARED) return false;
  DirectFilters f{static_cast<int>(g.w_count()), static_cast<int>(g.taps()),
                  static_cast<int>(c.g.c), static_cast<int>(c.g.k), !c.forward()};
  f.by_c = Divisor(f.c), f.by_taps = Divisor(f.taps);
  ConvEnding<T> ending(c.epilogue);
  ending.packs = ending.aligned() && g.k % FILTERS == 0 && aligned16(c.argument);
  const int64_t resident = call.model().shared_per_processor / (shared + 1024),
                blocks = call.model().processors * (resident < 8 ? resident : 8);
  launch(call, direct_kernel<T, PIXELS, FILTERS, V, POOL>,
         {grid_for(a.tiles < blocks ? a.tiles : blocks), BLOCK, static_cast<int>(shared)}, a, f, x,
         c.w, ending, c.argument);
  return true;
}

template <bool POOL, class T>
bool convolve(Call& call, const ConvGeometry& g, const T* x, const Convolution<T>& c) {
  auto by = [&]<int PIXELS, int FILTERS>() {
    return g.c % 2 == 0 ? convolve<T, PIXELS, FILTERS, 2, POOL>(call, g, x, c)
                        : convolve<T, PIXELS, FILTERS, 1, POOL>(call, g, x, c);
  };
  // Large tiles of a thread reuse more of what they read, small ones are for more threads.
  return g.y_count() >= int64_t{1} << 22 ? by.template operator()<8, 8>()
                                         : by.template operator()<2, 4>();
}

template <class T, int TAPS>
bool sum_products(Call& call, const ConvGeometry& g, T* dw, const T* dy, const T* x) {
  constexpr int FILTERS = 4;
  DirectTile a{};
  if (!describe(g, FILTERS, &a)) return false;
  const int64_t items = ceil_div(a.depth, TAPS) * a.filters;
  if (items > GRAD_THREADS<TAPS>) return false;
  auto bytes = [&](int lines) { return (int64_t{lines} * a.g.q * a.ldk + a.input(lines)) * 4; };
  const int64_t wanted = ceil_div(g.n * g.p, PARTIAL_SUMS / 2);
  int lines = static_cast<int>(wanted < g.p ? wanted : g.p);
  while (lines > 1 && bytes(lines) > MOST_SHARED / 2) lines--;
  if (bytes(lines) > MOST_SHARED) return false;
  cut(g, lines, &a);
  const int64_t most = GRAD_THREADS<TAPS> / items, turns = ceil_div(a.rows, most),
                slices = ceil_div(a.rows, turns), sums = (slices - 1) * items * TAPS * FILTERS * 4,
                blocks = a.tiles < PARTIAL_SUMS ? a.tiles : PARTIAL_SUMS;
  float* partial = call.scratch<float>(blocks * g.w_count());
  launch(call, direct_grad_weight_kernel<T, TAPS, FILTERS>,
         {grid_for(blocks), static_cast<unsigned>(ceil_div(items * slices, 32) * 32),
          static_cast<int>(bytes(a.rows) > sums ? bytes(a.rows) : sums)},
         a, partial, dy, x, static_cast<int>(items), static_cast<int>(slices),
         Divisor(static_cast<uint32_t>(g.k)));
  sum_filters(call, dw, partial, blocks, a.depth, g.k);
  return true;
}

// So little work that no other way has as few steps.
bool small(const ConvGeometry& g) {
  constexpr double MULTIPLICATIONS = 4e8;
  constexpr int64_t WEIGHTS = 8192;
  return (double)g.y_count() * (double)g.group_depth() < MULTIPLICATIONS && g.w_count() < WEIGHTS;
}

// Tensor cores take 16-bit numbers faster than all else, once they are put together.
template <class T> bool pays(const Convolution<T>& c) {
  const ConvGeometry& g = c.g;
  return c.named || small(g) ||
         (c.forward() && g.c <= 8 && g.group_depth() <= (is_half<T> ? 32 : 256)) ||
         (c.grad_weight() && g.c <= 8 && !is_half<T>);
}

}  // namespace

template <class T> bool convolve_direct(Call& call, const Convolution<T>& c) {
  const ConvGeometry& g = c.g;
  if (!pays(c) || !ConvEnding<T>::serves(c.epilogue)) return false;
  if (c.grad_weight())
    return g.w_count() <= 4096 ? sum_products<T, 2>(call, g, c.to(), c.y, c.x)
                               : sum_products<T, 8>(call, g, c.to(), c.y, c.x);
  if (!c.forward())
    return g.stride_h == 1 && g.stride_w == 1 && convolve<false>(call, g.turned(), c.y, c);
  return c.pooled ? convolve<true>(call, g, c.x, c) : convolve<false>(call, g, c.x, c);
}

template bool convolve_direct(Call&, const Convolution<float>&);
template bool convolve_direct(Call&, const Convolution<float16>&);
template bool convolve_direct(Call&, const Convolution<bfloat16>&);

}  // namespace cdn
