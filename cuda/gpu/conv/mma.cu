#include "gpu/conv/methods.h"

#include "gpu/conv/classes.h"
#include "gpu/conv/mma_loader.h"
#include "kernel/functions.h"

namespace cdn {
namespace {

template <class T> using ConvTile = TileKernel<T, ConvWork<T>>;
template <class T> using ConvTiles = TileKernels<T, ConvWork<T>>;

template <class Task> ConvTile<typename Task::T> tile(double rate, double alone) {
  return mma_tile<typename Task::Tile, typename Task::Work>(rate, alone, launch_mma<Task>);
}

// As those of products, see gemm/mma/mma.cu.
template <template <class> class Task, class T> const ConvTiles<T>& tiles_of(T, Method) {
  constexpr Method HALF = Method::HALF;
  static const auto& half = *new ConvTiles<T>{
      tile<Task<MmaTile<T, HALF, 128, 128, 32, 64, 64, 1, 3, 2>>>(950, 1.3),
      tile<Task<MmaTile<T, HALF, 64, 64, 64, 32, 32, 1, 3, 3>>>(600, 1.5),
      tile<Task<MmaTile<T, HALF, 128, 32, 32, 32, 32, 1, 3, 4>>>(420, 1.5),  // for groups
  };
  return half;
}
template <template <class> class Task> const ConvTiles<float>& tiles_of(float, Method method) {
  constexpr Method TF32 = Method::TF32, FP32 = Method::FP32;
  static const auto& tf32 = *new ConvTiles<float>{
      tile<Task<MmaTile<float, TF32, 128, 128, 16, 64, 64, 1, 3, 2>>>(480, 1.3),
      tile<Task<MmaTile<float, TF32, 64, 64, 32, 32, 32, 1, 3, 3>>>(320, 1.5),
  };
  static const auto& fp32 = *new ConvTiles<float>{
      tile<Task<MmaTile<float, FP32, 64, 64, 32, 32, 32, 1, 3, 2>>>(110, 1.3),
  };
  return method == FP32 ? fp32 : tf32;
}

// Whether its sums are for tensor cores, as in gemm.cu, its numbers fit into the loaders', and the
// channels of its operands are whole packs.
template <class T> bool suits(Call& call, const Convolution<T>& c, Method method) {
  constexpr int64_t LEAST = 256, MOST = 1 << 30, TAPS = 16, PACK = 16 / sizeof(T);
  const ConvGeometry& g = c.g;
  for (int64_t count : {g.x_count(), g.y_count(), g.w_count()})
    if (count > MOST) return false;
  if (method == Method::FP32 && (c.products() < LEAST || !is_computing_gpu(call))) return false;
  return (is_half<T> || c.precision != PRECISION_IEEE) && mma_supported(call) &&
         g.group_c() % PACK == 0 && (c.forward() || g.group_k() % PACK == 0) && aligned16(c.x) &&
         aligned16(c.w) && aligned16(c.y) && ConvExtents::hold(g) && g.r <= TAPS && g.s <= TAPS &&
         (c.forward() || c.grad_weight() || has_classes(g));
}

template <template <class> class Task, class T>
void multiply(Call& call, Method method, const ConvGeometry& g, const Product<T>& p,
              int64_t a_apart, int64_t b_apart, const Epilogue& epilogue,
              const Spread& spread = {}) {
  static thread_local Plans<TileChoice<ConvTile<T>>> plans;
  TileProduct<T, ConvWork<T>> x{p};
  if (g.groups > 1) {
    x.batch.rank = 1, x.batch.extent[0] = x.batch.n = g.groups;
    x.batch.stride[0][0] = a_apart, x.batch.stride[1][0] = b_apart;
  }
  const Problem problem{g.groups, p.m(), p.n(), p.k()};
  const bool hopper = hopper_device(call);
  auto [tile, k, cycles] =
      plans.at({call.device(), problem, static_cast<int64_t>(method) * 2 + hopper}, [&] {
        return choose_tile(call.model(), tiles_of<Task>(T{}, method),
                           mma_family<T>(hopper, problem.n), problem);
      });
  if (spread.any() && k.second_pass()) k = split(*tile, problem.k, 1, false);
  ConvWork<T>& work = x.work;
  work.wide_a = work.wide_b = true;
  work.g = ConvExtents::of(g);
  work.channels = static_cast<int>(g.group_c());
  work.by_pixels = Divisor(static_cast<uint32_t>(g.pixels()));
  work.by_q = Divisor(static_cast<uint32_t>(g.q));
  work.by_c = Divisor(static_cast<uint32_t>(g.group_c()));
  work.by_s = Divisor(static_cast<uint32_t>(g.s));
  work.spread = spread;
  work.epilogue = epilogue;
  work.fused = !epilogue.plain() && !k.second_pass();
  const int64_t splits = k.splits, cols = g.groups * p.n();
  multiply_tiles(call, x, *tile, k, p.c, [&](const float* sums, int64_t count) {
    if (epilogue.plain())
      sum_split_k(call, p.c, sums, count, splits);
    else
      finish_split_k(call, Finish<float, T, T>(epilogue, cols), sums, count, splits);
  });
}

template <class T>
void convolve(Call& call, Method method, const ConvGeometry& g, const T* x, const T* w,
              const Epilogue& epilogue, const Spread& spread = {}) {
  const int64_t depth = g.group_depth(), filters = g.group_k();
  multiply<MmaConv, T>(call, method, g,
                       {static_cast<T*>(epilogue.c),
                        {x, g.n * g.pixels(), depth, true, 0},
                        {w, filters, depth, true, depth}},
                       g.group_c(), filters * depth, epilogue, spread);
}

// Filters [k, r, s, c] of all groups, at every stride-th tap backwards from `last` on, to [c, taps,
// k]: W x W of them at a time.
template <class T> struct TurnFilters {
  static constexpr int W = 16 / sizeof(T);
  T* to;
  const T* w;
  ConvGeometry g;
  int64_t r, s, last;
  CDN_FN void operator()(int64_t i) const {
    const int64_t filters = g.group_k(), channels = g.group_c(), taps = r * s,
                  line = quotient(i, filters / W), k = (i - line * (filters / W)) * W,
                  place = quotient(line, channels / W), c = (line - place * (channels / W)) * W,
                  group = quotient(place, taps), tap = place - group * taps, row = quotient(tap, s);
    using Part = Pack<T, W>;
    Part part[W];
    const int64_t own = last - row * g.stride_h * g.s - (tap - row * s) * g.stride_w;
    const T* from = w + ((group * filters + k) * g.taps() + own) * channels + c;
    for (int f = 0; f < W; f++)
      part[f] = *reinterpret_cast<const Part*>(from + f * g.group_depth());
    for (int e = 0; e < W; e++) {
      Part out;
      for (int f = 0; f < W; f++) out.v[f] = part[f].v[e];
      *reinterpret_cast<Part*>(to + ((group * channels + c + e) * taps + tap) * filters + k) = out;
    }
  }
};

// A convolution of y's gradient by filters turned round; with a stride, one for each class of
// pixels.
template <class T> void grad_input(Call& call, Method method, const Convolution<T>& c) {
  constexpr int64_t W = TurnFilters<T>::W;
  const ConvGeometry& g = c.g;
  const bool strided = g.stride_h != 1 || g.stride_w != 1;
  if (g.stride_h > g.r || g.stride_w > g.s) map(call, g.x_count(), Constant<T>{T(0)}, c.to());
  T* turned = call.scratch<T>(g.w_count());
  each_class(g, [&](const ConvGeometry& own, const StrideClass& rows, const StrideClass& columns) {
    const int64_t last =
        (rows.tap + (own.r - 1) * g.stride_h) * g.s + columns.tap + (own.s - 1) * g.stride_w;
    each(call, own.w_count() / (W * W), TurnFilters<T>{turned, c.w, g, own.r, own.s, last});
    Spread places;
    if (strided)
      places = {(int)g.h,        (int)g.w,     (int)g.stride_h,
                (int)g.stride_w, (int)rows.at, (int)columns.at};
    convolve<T>(call, method, own.turned(), c.y, turned, c.epilogue, places);
  });
}

}  // namespace

template <class T> bool convolve_by_mma(Call& call, const Convolution<T>& c) {
  const ConvGeometry& g = c.g;
  const int64_t channels = g.group_c(), filters = g.group_k(), pixels = g.n * g.pixels();
  const Method method = is_half<T>                         ? Method::HALF
                        : c.precision == PRECISION_FLOAT32 ? Method::FP32
                                                           : Method::TF32;
  if (!suits(call, c, method)) return false;
  if (c.forward())
    convolve(call, method, g, c.x, c.w, c.epilogue);
  else if (!c.grad_weight())
    grad_input(call, method, c);
  else
    multiply<MmaConvGradWeight, T>(
        call, method, g,
        {c.to(), {c.y, filters, pixels, false, g.k}, {c.x, g.group_depth(), pixels, false, 0}},
        filters, channels, c.epilogue);
  return true;
}

template bool convolve_by_mma(Call&, const Convolution<float>&);
template bool convolve_by_mma(Call&, const Convolution<float16>&);
template bool convolve_by_mma(Call&, const Convolution<bfloat16>&);

}  // namespace cdn
