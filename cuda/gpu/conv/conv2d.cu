#include "gpu/conv/conv2d.h"

#include <vector>

#include "gpu/conv/kernels.h"
#include "gpu/gemm/wgmma/launch.h"

namespace cdn {
namespace {

constexpr int64_t MOST = INT32_MAX - 256;

template <class T> bool suits(const Call& call, const ConvGeometry& g) {
  return is_half<T> && hopper_device(call) && g.groups == 1 && g.c % 8 == 0 && g.k % 8 == 0 &&
         g.n * g.pixels() <= MOST && g.n * g.h * g.w <= MOST &&
         g.taps() * ceil_div(g.c > g.k ? g.c : g.k, 64) * 64 <= MOST;
}

Im2ColWalk walk_of(const ConvGeometry& g, const Im2ColImages& x, bool turned) {
  Im2ColWalk walk;
  walk.taps = static_cast<int32_t>(g.taps());
  walk.taps_w = static_cast<int32_t>(g.s);
  walk.width = static_cast<int32_t>(x.width);
  walk.pixels = static_cast<int32_t>(x.width * x.height);
  walk.stride_h = static_cast<int32_t>(x.stride_h);
  walk.stride_w = static_cast<int32_t>(x.stride_w);
  walk.first_h = static_cast<int32_t>(x.first_h);
  walk.first_w = static_cast<int32_t>(x.first_w);
  walk.dilation_h = static_cast<int32_t>(g.dilation_h);
  walk.dilation_w = static_cast<int32_t>(g.dilation_w);
  walk.turned = turned;
  walk.by_width = Divisor(static_cast<uint32_t>(walk.width));
  walk.by_pixels = Divisor(static_cast<uint32_t>(walk.pixels));
  return walk;
}

// x as the forward pass walks it.
template <class T> Im2ColImages images_of(const ConvGeometry& g, const T* x) {
  return {x,
          g.n,
          g.h,
          g.w,
          g.c,
          g.p,
          g.q,
          -g.pad_h,
          -g.pad_w,
          g.stride_h,
          g.stride_w,
          (g.r - 1) * g.dilation_h,
          (g.s - 1) * g.dilation_w};
}

// kind: whatever the choice depends on besides the shape.
template <size_t N>
WgmmaPlan plan_of(Call& call, const WgmmaExtent (&extents)[N], const Problem& x, bool fused,
                  int64_t kind) {
  static thread_local Plans<WgmmaPlan> plans;
  return plans.at({call.device(), x, kind}, [&] {
    std::vector<TileCost> tiles;
    for (const WgmmaExtent& tile : extents)
      if (!fused || wgmma_has_one_item(tile.bm, tile.bn))
        tiles.push_back(wgmma_cost(tile, 1, true));
    const auto best = choose_tile(call.model(), tiles, wgmma_family(), x);
    return WgmmaPlan{{best.tile->bm, best.tile->bn}, best.k, best.cycles};
  });
}

// c = the sums over `channels` and taps of images and filters [k, taps, c], which are contiguous
// across the sum (b_mn) where they are taken for the input's gradient.
template <class T>
bool multiply(Call& call, const ConvGeometry& g, const Im2ColImages& images, const T* w, bool b_mn,
              const Epilogue& epilogue) {
  const Lines filters{w, g.c, g.k, g.taps() * g.c, g.taps(), g.c};
  if (!fits(images) || !fits(filters)) return false;
  const Problem x{1, images.n * images.height * images.width, b_mn ? g.c : g.k,
                  g.taps() * ceil_div(images.channels, WGMMA_BK) * WGMMA_BK};
  const bool fused = fuses(&epilogue);
  const WgmmaPlan plan = plan_of(call, CONV_TILES, x, fused, b_mn * 2 + fused);
  WgmmaWork work{};
  work.epilogue = epilogue;
  work.im2col = walk_of(g, images, b_mn);
  const WgmmaLaunch how{x, plan, conv_kernel<T>(plan.tile, b_mn, fused && !plan.k.second_pass()),
                        fused};
  launch_wgmma<T, T>(call, how, work, static_cast<T*>(epilogue.c), [&](int cluster) {
    return WgmmaMaps{im2col_map(images, plan.tile.bm),
                     tensor_map(filters, b_mn ? 64 : plan.tile.bn / cluster)};
  });
  return true;
}

// Sums [tap, k, c] as gradients [k, tap, c].
template <class T> struct StoreFilters {
  T* dw;
  int64_t taps, k, c;
  __device__ __forceinline__ void operator()(int64_t i, const Pack<float, 1>& sum) const {
    const int64_t line = quotient(i, c), tap = quotient(line, k);
    dw[((line - tap * k) * taps + tap) * c + (i - line * c)] = static_cast<T>(sum.v[0]);
  }
};

}  // namespace

template <class T>
bool implicit_conv2d(Call& call, const ConvGeometry& g, const T* x, const T* w,
                     const Epilogue& epilogue) {
  return suits<T>(call, g) && multiply(call, g, images_of(g, x), w, false, epilogue);
}

template <class T>
bool implicit_grad_input(Call& call, const ConvGeometry& g, T* dx, const T* dy, const T* w) {
  if (!suits<T>(call, g) || g.stride_h != 1 || g.stride_w != 1) return false;
  const int64_t span_h = (g.r - 1) * g.dilation_h, span_w = (g.s - 1) * g.dilation_w;
  const Im2ColImages images{
      dy, g.n, g.p, g.q, g.k, g.h, g.w, g.pad_h - span_h, g.pad_w - span_w, 1, 1, span_h, span_w};
  Epilogue plain;
  plain.c = dx;
  plain.out_dtype = dtype_of<T>;
  return multiply(call, g, images, w, true, plain);
}

template <class T>
bool implicit_grad_weight(Call& call, const ConvGeometry& g, T* dw, const T* dy, const T* x) {
  const int64_t pixels = g.n * g.pixels();
  const Lines grads{dy, g.k, pixels, g.k, 1, 0};
  const Im2ColImages images = images_of(g, x);
  if (!suits<T>(call, g) || !fits(images) || !fits(grads)) return false;
  const Problem problem{g.taps(), g.k, g.c, pixels};
  const WgmmaPlan plan = plan_of(call, CONV_GRAD_WEIGHT_TILES, problem, false, 4);
  WgmmaWork work{};
  work.im2col = walk_of(g, images, false);
  WgmmaLaunch how{problem, plan, conv_grad_weight_kernel<T>(plan.tile), false};
  how.shares_b = false;
  how.keeps_pieces = true;
  const float* pieces = launch_wgmma<T, float>(call, how, work, nullptr, [&](int) {
    return WgmmaMaps{tensor_map(grads, 64), im2col_map(images, 64)};
  });
  launch(call, sum_pieces<1, float, StoreFilters<T>>, for_each_of(g.w_count()),
         StoreFilters<T>{dw, g.taps(), g.k, g.c}, pieces, g.w_count(),
         plan.k.joined ? 1 : plan.k.splits);
  return true;
}

template bool implicit_conv2d(Call&, const ConvGeometry&, const float16*, const float16*,
                              const Epilogue&);
template bool implicit_conv2d(Call&, const ConvGeometry&, const bfloat16*, const bfloat16*,
                              const Epilogue&);
template bool implicit_grad_input(Call&, const ConvGeometry&, float16*, const float16*,
                                  const float16*);
template bool implicit_grad_input(Call&, const ConvGeometry&, bfloat16*, const bfloat16*,
                                  const bfloat16*);
template bool implicit_grad_weight(Call&, const ConvGeometry&, float16*, const float16*,
                                   const float16*);
template bool implicit_grad_weight(Call&, const ConvGeometry&, bfloat16*, const bfloat16*,
                                   const bfloat16*);

}  // namespace cdn
