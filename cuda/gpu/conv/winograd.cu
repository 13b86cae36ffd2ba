// A tile of 2 x 2 outputs sees 4 x 4 pixels and takes 36 multiplications a channel. With pixels d,
// a filter f and matrices as below it is A' (G f G' . B' d B) A: 16 of them, one at each of 16
// points, and what follows A' may come after the sum over channels. So there are 16 products, each
// of tiles by channels and channels by filters. Where pixels are infinite, their tiles are NaN.
#include "gpu/conv/methods.h"
#include "gpu/conv/sums.h"
#include "gpu/tile/async_copy.h"

namespace cdn {
namespace {

// Of a block, and at a time. A thread multiplies EACH tiles by EACH filters at one point.
constexpr int TILES = 32, FILTERS = 32, CHANNELS = 8, POINTS = 16, EACH = 8;
static_assert(POINTS * (TILES / EACH) * (FILTERS / EACH) == BLOCK, "threads for all sums");
static_assert(TILES * CHANNELS == BLOCK, "and for all pixels");
// In shared memory, [point][channel][tile or filter], so that neighbours meet in different banks;
// filters also in memory, PART numbers at a time.
constexpr int LINE = TILES + 4, TILES_POINT = CHANNELS * LINE + 16, POINT = CHANNELS * FILTERS,
              FILTERS_POINT = POINT + 16, PART = POINTS * POINT;

struct WinogradShape {
  ConvExtents g;
  int across, of_image;  // tiles
  uint32_t tiles;
  Divisor by_across, by_image;

  // x, y: a tile's first output; z: its image.
  __device__ __forceinline__ int3 place(uint32_t tile) const {
    const int n = (int)by_image(tile), rest = (int)tile - n * of_image, row = (int)by_across(rest);
    return {(rest - row * across) * 2, row * 2, n};
  }
};

// G f G' of filters [k, 3, 3, c], to [chunk of channels][block of filters][point][channel][filter],
// zeros beyond. turned: for the gradient of the input, of filters turned round, from k to c.
struct TransformFilters {
  float* to;
  const float* w;
  int64_t channels, filters, blocks;
  bool turned;
  CDN_FN void operator()(int64_t i) const {
    constexpr float G[4][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};
    const int64_t part = quotient(i, POINT), chunk = quotient(part, blocks),
                  in_part = i - part * POINT, c = chunk * CHANNELS + in_part / FILTERS,
                  k = (part - chunk * blocks) * FILTERS + in_part % FILTERS;
    const bool any = c < channels && k < filters;
    for (int point = 0; point < POINTS; point++) {
      float sum = 0;
      for (int tap = 0; any && tap < 9; tap++)
        sum += G[point / 4][tap / 3] * G[point % 4][tap % 3] *
               (turned ? w[(c * 9 + 8 - tap) * filters + k] : w[(k * 9 + tap) * channels + c]);
      to[part * PART + point * POINT + in_part] = sum;
    }
  }
};

__global__ void __launch_bounds__(BLOCK, 2)
    winograd_kernel(WinogradShape a, const float* x, const float* u, ConvEnding<float> ending) {
  __shared__ __align__(16) float shared[POINTS * (TILES_POINT + FILTERS_POINT)];
  float *tiles = shared, *filters = shared + POINTS * TILES_POINT;
  const ConvExtents& g = a.g;
  const uint32_t first = blockIdx.x * TILES;

  // The thread's pixels: one channel of a tile's.
  const int channel = threadIdx.x % CHANNELS, tile = threadIdx.x / CHANNELS;
  const int3 at = a.place(first + tile);
  const int h = at.y - g.pad_h, column = at.x - g.pad_w;
  const float* from = x + (((int64_t)at.z * g.h + h) * g.w + column) * g.c + channel;
  float d[4][4];
  auto load = [&](int c) {
    const bool any = first + tile < a.tiles && c + channel < g.c;
#pragma unroll
    for (int i = 0; i < POINTS; i++)
      d[i / 4][i % 4] =
          any && (unsigned)(h + i / 4) < (unsigned)g.h && (unsigned)(column + i % 4) < (unsigned)g.w
              ? from[(i / 4 * g.w + i % 4) * g.c + c]
              : 0;
  };
  auto by_b = [](float& a, float& b, float& c, float& d) {
    const float r = c - b;
    a -= c, d = b - d, b += c, c = r;
  };

  const int point = threadIdx.x / 16, tile_pack = threadIdx.x / 4 % 4 * 4,
            filter_pack = threadIdx.x % 4 * 4;
  auto pack = [](const float* from) { return *reinterpret_cast<const Pack<float, 4>*>(from); };
  float sum[EACH][EACH] = {};
  load(0);
#pragma unroll 1
  for (int c = 0; c < g.c; c += CHANNELS) {
#pragma unroll
    for (int i = 0; i < 4; i++) by_b(d[0][i], d[1][i], d[2][i], d[3][i]);
#pragma unroll
    for (int i = 0; i < 4; i++) by_b(d[i][0], d[i][1], d[i][2], d[i][3]);
#pragma unroll
    for (int i = 0; i < POINTS; i++)
      tiles[i * TILES_POINT + channel * LINE + tile] = d[i / 4][i % 4];
    const float* part = u + ((int64_t)(c / CHANNELS) * gridDim.y + blockIdx.y) * PART;
#pragma unroll
    for (int i = (int)threadIdx.x * 4; i < PART; i += BLOCK * 4)
      copy_async<16>(filters + i / POINT * FILTERS_POINT + i % POINT, part + i);
    commit_copies();
    wait_copies<0>();
    __syncthreads();
    if (c + CHANNELS < g.c) load(c + CHANNELS);  // while these are multiplied
#pragma unroll
    for (int i = 0; i < CHANNELS; i++) {
      const float *v = tiles + point * TILES_POINT + i * LINE + tile_pack,
                  *w = filters + point * FILTERS_POINT + i * FILTERS + filter_pack;
      const Pack<float, 4> vs[2] = {pack(v), pack(v + 16)}, ws[2] = {pack(w), pack(w + 16)};
#pragma unroll
      for (int e = 0; e < EACH * EACH; e++)
        sum[e / EACH][e % EACH] += vs[e / EACH / 4].v[e / EACH % 4] * ws[e % EACH / 4].v[e % 4];
    }
    __syncthreads();
  }

  // The sums, [point][tile][filter] of half the filters at a time.
  constexpr int HALF = FILTERS / 2, APART = TILES * HALF;
#pragma unroll
  for (int half = 0; half < 2; half++) {
#pragma unroll
    for (int e = 0; e < EACH * 4; e++)
      shared[point * APART + (e / 16 * 16 + tile_pack + e / 4 % 4) * HALF + filter_pack + e % 4] =
          sum[e / 4][half * 4 + e % 4];
    __syncthreads();
    const int k = (int)blockIdx.y * FILTERS + half * HALF + (int)threadIdx.x % HALF;
    const auto bias = ending.template bias_of<1>(k, g.k);
    auto by_a = [](float a, float b, float c, float d) { return float2{a + b + c, b - c - d}; };
    for (int i = threadIdx.x; i < APART; i += BLOCK) {
      float2 rows[4];
#pragma unroll
      for (int j = 0; j < 4; j++) {
        const float* m = shared + j * APART + i;
        rows[j] = by_a(m[0], m[4 * APART], m[8 * APART], m[12 * APART]);
      }
      const float2 y[2] = {by_a(rows[0].x, rows[1].x, rows[2].x, rows[3].x),
                           by_a(rows[0].y, rows[1].y, rows[2].y, rows[3].y)};
      const int3 to = a.place(first + i / HALF);
#pragma unroll
      for (int e = 0; e < 4; e++)
        if (first + i / HALF < a.tiles && k < g.k && to.y + e / 2 < g.p && to.x + e % 2 < g.q)
          ending.store(Pack<float, 1>{e % 2 ? y[e / 2].y : y[e / 2].x}, bias,
                       (((int64_t)to.z * g.p + to.y + e / 2) * g.q + to.x + e % 2) * g.k + k);
    }
    __syncthreads();
  }
}

}  // namespace

bool convolve_by_winograd(Call& call, const Convolution<float>& c) {
  const ConvGeometry g = c.forward() ? c.g : c.g.turned();
  const int64_t across = ceil_div(g.q, 2), of_image = ceil_div(g.p, 2) * across,
                tiles = g.n * of_image, blocks = ceil_div(g.k, FILTERS),
                count = ceil_div(g.c, CHANNELS) * blocks * POINT;
  if (c.grad_weight() || g.r != 3 || g.s != 3 || c.g.stride_h != 1 || c.g.stride_w != 1 ||
      g.dilation_h != 1 || g.dilation_w != 1 || g.groups != 1 || count * tiles == 0 ||
      !ConvExtents::hold(g) || tiles > INT32_MAX - TILES || blocks > 65535 ||
      !ConvEnding<float>::serves(c.epilogue))
    return false;
  float* u = call.scratch<float>(count * POINTS);
  each(call, count, TransformFilters{u, c.w, g.c, g.k, blocks, !c.forward()});
  launch(call, winograd_kernel,
         {{grid_for(ceil_div(tiles, TILES)), static_cast<unsigned>(blocks)}, BLOCK},
         WinogradShape{ConvExtents::of(g), static_cast<int>(across), static_cast<int>(of_image),
                       static_cast<uint32_t>(tiles), Divisor(static_cast<uint32_t>(across)),
                       Divisor(static_cast<uint32_t>(of_image))},
         c.forward() ? c.x : c.y, u, ConvEnding<float>(c.epilogue));
  return true;
}

}  // namespace cdn
