#include "gpu/conv/methods.h"

#include <optional>
#include <vector>

#include "gpu/conv/classes.h"
#include "gpu/conv/fold.h"
#include "gpu/conv/loader.h"
#include "gpu/gemm/fp32_emulation/tensor.h"
#include "gpu/gemm/wgmma/launch.h"

namespace cdn {
namespace {

constexpr int64_t MOST = INT32_MAX - 256;

// The 16-bit type of kernels for T, if it is one; else never used.
template <class T> using Half = std::conditional_t<is_half<T>, T, float16>;

// How many float16 stand for an element; 0 where tensor cores are not to be used. Those of floats
// are as exact as plain sums only for many products.
template <class T> int planes_of(const Convolution<T>& c) {
  constexpr int64_t LEAST = 128;
  if (is_half<T>) return 1;
  if (!std::is_same_v<T, float> || c.precision == PRECISION_IEEE) return 0;
  if (c.precision == PRECISION_FLOAT32) return c.products() < LEAST ? 0 : 2;
  return 1;
}

bool suits(const Call& call, const ConvGeometry& g) {
  return hopper_device(call) && g.groups == 1 && g.c % 8 == 0 && g.k % 8 == 0 &&
         g.n * g.pixels() <= MOST && g.n * g.h * g.w <= MOST &&
         g.taps() * ceil_div(g.c > g.k ? g.c : g.k, 64) * 64 <= MOST;
}

Im2ColWalk walk_of(const ConvGeometry& g, const Im2ColImages& x, bool turned) {
  auto i = [](int64_t number) { return static_cast<int32_t>(number); };
  const int32_t width = i(x.width), pixels = i(x.width * x.height);
  return {i(g.taps()),   i(g.s),         width,          pixels,          i(x.w),
          i(x.h),        i(x.channels),  i(x.pixel),     i(x.line),       i(x.stride_h),
          i(x.stride_w), i(x.first_h),   i(x.first_w),   i(g.dilation_h), i(g.dilation_w),
          turned,        Divisor(width), Divisor(pixels)};
}

// x as the forward pass walks it; dy as a gradient of x with a stride of 1 does.
Im2ColImages images_of(const ConvGeometry& g) {
  const int64_t span_h = (g.r - 1) * g.dilation_h, span_w = (g.s - 1) * g.dilation_w;
  return {nullptr, g.n,      g.h,      g.w,        g.c,        g.c,    g.w * g.c, g.p,
          g.q,     -g.pad_h, -g.pad_w, g.stride_h, g.stride_w, span_h, span_w};
}

using Extents = std::vector<WgmmaExtent>;

// kind: whatever the choice depends on besides the shape.
WgmmaPlan plan_of(Call& call, const Extents& extents, int planes, const Problem& x, bool fused,
                  int64_t kind) {
  static thread_local Plans<WgmmaPlan> plans;
  return plans.at({call.device(), x, (kind * 2 + fused) * 4 + planes}, [&] {
    std::vector<TileCost> tiles;
    for (const WgmmaExtent& tile : extents)
      if (!fused || wgmma_fuses(tile.bm, tile.bn))
        tiles.push_back(wgmma_cost(tile, planes, !fused));
    const auto best = choose_tile(call.model(), tiles, wgmma_family(), x);
    return WgmmaPlan{{best.tile->bm, best.tile->bn}, best.k, best.cycles};
  });
}

// A tensor as the tensor cores take it: as it is, or cut, with scales.
struct Taken {
  const void *own, *data;
  const int32_t* info = nullptr;
  int64_t apart = 0;  // from plane to plane
};

// Two tensors, the first of so many parts, each with a scale of its own where they are cut.
template <class T>
std::pair<Taken, Taken> taken(Call& call, const T* a, int64_t a_parts, int64_t a_count, const T* b,
                              int64_t b_count, int planes) {
  if constexpr (is_half<T>) {
    return {{a, a}, {b, b}};
  } else {
    const auto [cut_a, cut_b] =
        cut_tensors(call, {a, a_parts, a_count / a_parts}, {b, 1, b_count}, planes);
    return {{a, cut_a.planes, cut_a.info, a_count}, {b, cut_b.planes, cut_b.info, b_count}};
  }
}
// For what the kernel's end computes again.
void tell_of(WgmmaWork& work, const Taken& a, const Taken& b) {
  work.cut.a_info = a.info, work.cut.b_info = b.info;
  work.cut.a.data = static_cast<const float*>(a.own);
  work.cut.b.data = static_cast<const float*>(b.own);
}

// c = the sums over `channels` and taps of images and filters [k, taps, c], which are contiguous
// across the sum (b_mn) where they are taken for the input's gradient.
template <class T>
void multiply(Call& call, const ConvGeometry& g, Im2ColImages images, const Taken& a,
              const Taken& b, bool b_mn, const Epilogue& epilogue, int planes) {
  const int64_t n = images.n;
  Lines filters{b.data, g.c, g.k, g.taps() * g.c, g.taps(), g.c};
  const Problem problem{1, n * images.height * images.width, b_mn ? g.c : g.k,
                        g.taps() * ceil_div(images.channels, WGMMA_BK) * WGMMA_BK};
  const bool fused = fuses(&epilogue);
  const Extents extents = is_half<T>    ? Extents{{128, 256}, {128, 128}, {128, 64}}
                          : planes == 2 ? Extents{{128, 128}, {128, 64}}
                                        : Extents{{128, 256}, {128, 64}};
  const WgmmaPlan plan = plan_of(call, extents, planes, problem, fused, b_mn + 4 * is_half<T>);
  WgmmaWork work{};
  work.epilogue = epilogue;
  work.im2col = walk_of(g, images, b_mn);
  work.planes_apart_a = static_cast<int32_t>(n);
  work.planes_apart_b = static_cast<int32_t>(b.apart / g.c);  // in steps from tap to tap
  images.data = a.data, images.n *= planes;
  filters.count += (planes - 1) * b.apart / g.c;
  if (!is_half<T>) tell_of(work, a, b);
  const bool at_once = fused && !plan.k.second_pass();
  WgmmaLaunch how{problem, plan,
                  is_half<T> ? conv_kernel<Half<T>>(plan.tile, b_mn, at_once)
                             : conv_split_kernel(planes, plan.tile, b_mn, at_once),
                  fused};
  launch_wgmma<T, T>(call, how, work, static_cast<T*>(epilogue.c), [&](int cluster) {
    return WgmmaMaps{im2col_map(images, plan.tile.bm),
                     tensor_map(filters, b_mn ? 64 : plan.tile.bn / cluster)};
  });
}

// Filters [k, r, s, c] to their classes, which follow one another by their first tap: there they
// are [k, taps, c].
template <class T> struct TakeTaps {
  ConvGeometry g;
  T* to;
  const T* w;
  static CDN_FN int64_t first(const ConvGeometry& g, const Rest& rows, const Rest& columns) {
    return (rows.before * g.s + rows.count * columns.before) * g.k * g.c;
  }
  CDN_FN void operator()(int64_t i) const {
    const int64_t line = quotient(i, g.c), own = quotient(line, g.s), s = line - own * g.s,
                  k = quotient(own, g.r), r = own - k * g.r, down = quotient(r, g.stride_h),
                  across = quotient(s, g.stride_w);
    const Rest rows(r - down * g.stride_h, g.r, g.stride_h),
        columns(s - across * g.stride_w, g.s, g.stride_w);
    const int64_t tap = (k * rows.count + down) * columns.count + across;
    to[first(g, rows, columns) + tap * g.c + (i - line * g.c)] = w[i];
  }
};

// Gradients of all classes, one after another, to their places, 16 bytes at a time; zeros where
// there are no taps.
template <class T> struct PutClasses {
  static constexpr int W = 16 / sizeof(T);
  ConvGeometry g;
  T* dx;
  const T* from;
  static CDN_FN int64_t first(const ConvGeometry& g, const Rest& rows, const Rest& columns) {
    return (rows.before * g.w + rows.count * columns.before) * g.n * g.c;
  }
  CDN_FN void operator()(int64_t i) const {
    const int64_t packs = g.c / W, pixel = quotient(i, packs), line = quotient(pixel, g.w),
                  w = pixel - line * g.w, n = quotient(line, g.h), h = line - n * g.h,
                  down = quotient(h, g.stride_h), across = quotient(w, g.stride_w);
    const StrideClass rows = rows_of_class(g, h - down * g.stride_h),
                      columns = columns_of_class(g, w - across * g.stride_w);
    using Part = Pack<T, W>;
    Part part{};
    if (rows.taps.count * columns.taps.count > 0) {
      const int64_t own = (n * rows.places.count + down) * columns.places.count + across;
      part = reinterpret_cast<const Part*>(
          from + first(g, rows.places, columns.places))[own * packs + (i - pixel * packs)];
    }
    reinterpret_cast<Part*>(dx)[i] = part;
  }
};

// Sums [tap, k, cols] as gradients [k, tap, c]; by lines, three taps are columns, of 64 channels at
// a time.
template <class T> struct StoreFilters {
  T* dw;
  int64_t taps, k, c, cols;
  bool by_lines;
  __device__ __forceinline__ void operator()(int64_t i, const Pack<float, 1>& sum) const {
    const int64_t line = quotient(i, cols), col = i - line * cols;
    int64_t tap = quotient(line, k), channel = col;
    const int64_t filter = line - tap * k;
    if (by_lines) tap = tap * 3 + col % 192 / 64, channel = col / 192 * 64 + col % 64;
    if (channel < c) dw[(filter * taps + tap) * c + channel] = static_cast<T>(sum.v[0]);
  }
};

template <class T> bool grad_input(Call& call, const Convolution<T>& c, int planes) {
  const ConvGeometry& g = c.g;
  Im2ColImages images = images_of(g.turned());
  images.data = c.y;
  if (!suits(call, g) || !has_classes(g) || !fits(images) || !aligned16(c.to())) return false;
  if (g.stride_h == 1 && g.stride_w == 1) {
    const auto [grads, filters] = taken(call, c.y, g.n, g.y_count(), c.w, g.w_count(), planes);
    multiply<T>(call, g, images, grads, filters, true, c.epilogue, planes);
    return true;
  }
  T *w = call.scratch<T>(g.w_count()), *parts = call.scratch<T>(g.x_count());
  each(call, g.w_count(), TakeTaps<T>{g, w, c.w});
  const auto [grads, filters] =
      taken(call, c.y, g.n, g.y_count(), static_cast<const T*>(w), g.w_count(), planes);
  each_class(g, [&](const ConvGeometry& own, const StrideClass& rows, const StrideClass& columns) {
    const int64_t first = TakeTaps<T>::first(g, rows.taps, columns.taps);
    Epilogue plain = c.epilogue;
    plain.c = parts + PutClasses<T>::first(g, rows.places, columns.places);
    Taken part = filters;
    part.own = w + first, part.data = static_cast<const uint16_t*>(part.data) + first;
    multiply<T>(call, own, images_of(own.turned()), grads, part, true, plain, planes);
  });
  each(call, g.x_count() * static_cast<int64_t>(sizeof(T)) / 16, PutClasses<T>{g, c.to(), parts});
  return true;
}

// images: x's, of x_count numbers.
template <class T>
void grad_weight(Call& call, const Convolution<T>& c, Im2ColImages images, int64_t x_count,
                 int planes) {
  const ConvGeometry& g = c.g;
  // All taps of a line together, where that saves more than the two pixels cost that are added to
  // each line.
  constexpr int64_t TAPS = 3, LEAST = 14, LEAST_OF_MANY = 6, MANY = 8192;
  const bool by_lines = g.s == TAPS && g.stride_h == 1 && g.stride_w == 1 && g.dilation_w == 1 &&
                        (g.q >= LEAST || (g.q >= LEAST_OF_MANY && g.n * g.pixels() >= MANY)) &&
                        (planes == 1 || g.k <= 64) && g.n * g.p * (g.q + TAPS - 1) <= MOST;
  const int64_t width = g.q + (by_lines ? TAPS - 1 : 0), pixels = g.n * g.p * width;
  if (by_lines) images.width = width, images.span_w = 0;
  auto grads_at = [&](const void* data) {
    return Im2ColImages{data, g.n, g.p, g.q, g.k, g.k, g.q * g.k, g.p, width, 0, 0, 1, 1, 0, 0};
  };
  const Problem problem = by_lines ? Problem{g.r, g.k, ceil_div(g.c, 64) * 64 * TAPS, pixels}
                                   : Problem{g.taps(), g.k, g.c, pixels};
  const Extents extents =
      by_lines ? Extents{{128, 64 * TAPS}, {64, 64 * TAPS}} : Extents{{128, 128}, {64, 64}};
  const WgmmaPlan plan =
      plan_of(call, extents, planes, problem, false, 2 + by_lines + 4 * is_half<T>);
  WgmmaWork work{};
  work.im2col = walk_of(g, images, false);
  work.planes_apart_a = 1;
  work.planes_apart_b = static_cast<int32_t>(g.n);
  const auto [a, b] = taken(call, c.y, 1, g.y_count(), c.x, x_count, planes);
  images.data = b.data, images.n *= planes;
  if (!is_half<T>) tell_of(work, a, b);
  WgmmaLaunch how{problem, plan,
                  is_half<T> ? conv_grad_weight_kernel<Half<T>>(plan.tile)
                             : conv_split_grad_weight_kernel(planes, plan.tile),
                  false};
  how.least_shared = INT32_MAX;  // its loader does not
  how.keeps_pieces = true;
  if (is_half<T> && !by_lines) how.out = {c.to(), g.c, g.k, g.taps() * g.c, g.taps(), g.c};
  const float* pieces = launch_wgmma<T, T>(call, how, work, c.to(), [&](int) {
    const Lines lines{a.data, g.k, pixels, g.k, planes, g.y_count()};
    WgmmaMaps maps{by_lines ? im2col_map(grads_at(a.data), 64) : tensor_map(lines, 64),
                   im2col_map(images, by_lines ? 64 + TAPS - 1 : 64)};
    if (by_lines && planes == 2)
      maps.c = im2col_map(grads_at(static_cast<const uint16_t*>(a.data) + g.y_count()), 64);
    return maps;
  });
  const auto [matrices, k, cols, depth] = problem;
  const int64_t count = matrices * k * cols;
  if (pieces)
    launch(call, sum_pieces<1, float, StoreFilters<T>>, for_each_of(count),
           StoreFilters<T>{c.to(), g.taps(), k, g.c, cols, by_lines}, pieces, count,
           plan.k.joined ? 1 : plan.k.splits);
}

}  // namespace

template <class T> bool convolve_implicit(Call& call, const Convolution<T>& c) {
  const int planes = planes_of(c);
  if (planes == 0 || !aligned16(c.w) || !aligned16(c.y)) return false;
  if (!c.forward() && !c.grad_weight()) return grad_input(call, c, planes);
  Convolution<T> own = c;  // or of folded images
  int64_t x_count = c.g.x_count();
  Im2ColImages images = images_of(c.g);
  images.data = c.x;
  std::optional<ConvFold> fold;
  if (ConvFold::suits(c.g)) {
    own.g = fold.emplace(c.g).g;
    x_count = fold->count();
    images = images_of(own.g);
    fold->place(images);
  }
  if (!suits(call, own.g) || !fits(images)) return false;
  if (fold) {
    T *x = call.scratch<T>(x_count), *w = call.scratch<T>(own.g.w_count());
    each(call, x_count / ConvFold::PIXEL, FoldImages<T>{*fold, x, c.x});
    if (c.forward()) each(call, own.g.w_count(), FoldFilters<T, false>{*fold, w, c.w});
    images.data = own.x = x, own.w = w;
    if (c.grad_weight()) own.epilogue.c = w;
  }
  if (c.forward()) {
    const auto [a, b] = taken(call, own.x, c.g.n, x_count, own.w, own.g.w_count(), planes);
    multiply<T>(call, own.g, images, a, b, false, c.epilogue, planes);
    return true;
  }
  grad_weight(call, own, images, x_count, planes);
  if (fold) each(call, own.g.w_count(), FoldFilters<T, true>{*fold, own.to(), c.to()});
  return true;
}

template bool convolve_implicit(Call&, const Convolution<float>&);
template bool convolve_implicit(Call&, const Convolution<float16>&);
template bool convolve_implicit(Call&, const Convolution<bfloat16>&);

}  // namespace cdn
