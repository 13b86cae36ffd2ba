// cdn_conv2d and its gradients: arguments, and the methods that both backends have. A product of
// im2col's matrix serves all; few channels of their own have direct sums.
#include <array>
#include <bit>

#include "ops/conv/im2col.h"
#include "ops/pool/pool.h"
#if defined(__CUDACC__)
#include "gpu/conv/methods.h"
#else
#include "cpu/conv/methods.h"
#endif

using namespace cdn;

namespace {

// In the order of ConvMethod. needs: of what serves only there, by what is named.
constexpr struct {
  const char *name, *needs;
} METHODS[] = {
    {"default", nullptr},
    {"naive", nullptr},
    {"im2col", nullptr},
    {"depthwise", nullptr},
#if defined(__CUDACC__)
    {"implicit",
     "float32 and 16-bit floats on GPUs of capability 9.0, with filters and channels in eights, or "
     "up to four channels where there is much to do, and one group"},
    {"direct",
     "floats of up to 32 bits, one group, no dilation, filters and lines of images that fit into "
     "shared memory, relu or no activation, and, for the gradient of the input, a stride of 1"},
    {"mma",
     "float32, of 256 products or more, and 16-bit floats on GPUs of capability 8.0 and later, "
     "with channels of a group, and for gradients filters, in whole 16 bytes, and filters of up to "
     "16 x 16 taps"},
    {"winograd",
     "float32, 3 x 3 filters, a stride of 1, no dilation, one group, and relu or no activation"},
    {"cudnn", nullptr},
#endif
};
constexpr int32_t METHOD_COUNT = sizeof(METHODS) / sizeof(METHODS[0]);

ConvGeometry read_geometry(const int64_t* numbers) {
  if (!numbers) CDN_FAIL(CDN_BAD_ARGUMENT, "geometry: there is none");
  const char* const names[] = {"n",     "h",          "w",          "c",        "k",        "r",
                               "s",     "p",          "q",          "stride_h", "stride_w", "pad_h",
                               "pad_w", "dilation_h", "dilation_w", "groups"};
  constexpr int PADS = 11, DILATIONS = 13, ALL = 16;
  constexpr int64_t MOST = INT32_MAX;
  std::array<int64_t, ALL> x;
  for (int i = 0; i < ALL; i++) {
    x[i] = numbers[i];
    const bool pad = i >= PADS && i < DILATIONS;
    const int64_t least = pad ? -MOST : i < 5 || i == 7 || i == 8 ? 0 : 1;
    if (x[i] < least || x[i] > MOST)
      CDN_FAIL(CDN_BAD_ARGUMENT, "geometry: %s is %lld; it must be in %lld..%lld", names[i],
               (long long)x[i], (long long)least, (long long)MOST);
  }
  const auto g = std::bit_cast<ConvGeometry>(x);
  if (g.c % g.groups != 0 || g.k % g.groups != 0)
    CDN_FAIL(CDN_BAD_ARGUMENT, "geometry: %lld groups do not divide c = %lld and k = %lld",
             (long long)g.groups, (long long)g.c, (long long)g.k);
  checked_product("n, h, w, c", checked_product("n, h, w", g.n, g.h, g.w), g.c);
  const int64_t pixels = checked_product("n, p, q", g.n, g.p, g.q);
  checked_product("n, p, q, k", pixels, g.k);
  checked_product("k, r, s, c", checked_product("k, r, s", g.k, g.r, g.s), g.c);
  checked_product("n, p, q, r, s, c", checked_product("n, p, q, r, s", pixels, g.r, g.s), g.c);
  return g;
}

ConvRequest read_request(const int64_t* geometry, int32_t precision, int32_t variant) {
  const ConvGeometry g = read_geometry(geometry);
  if (precision < 0 || precision > PRECISION_BFLOAT16)
    CDN_FAIL(CDN_BAD_ARGUMENT, "precision is %d; it must be in 0..%d", precision,
             PRECISION_BFLOAT16);
  if (variant < 0 || variant >= METHOD_COUNT)
    CDN_FAIL(CDN_BAD_ARGUMENT, "variant is %d; it must be in 0..%d", variant, METHOD_COUNT - 1);
  if (variant == DEPTHWISE && !g.depthwise())
    CDN_FAIL(CDN_UNSUPPORTED,
             "variant depthwise: there are %lld channels, %lld filters and %lld groups; they must "
             "be as many",
             (long long)g.c, (long long)g.k, (long long)g.groups);
  const ConvMethod best = g.depthwise()                           ? DEPTHWISE
                          : g.groups > 1 && g.group_c() == 1      ? NAIVE
                          : g.pointwise() || g.group_depth() == 0 ? IM2COL
                                                                  : IMPLICIT;
  const bool named = variant != DEFAULT;
  return {g, static_cast<Precision>(precision), named ? static_cast<ConvMethod>(variant) : best,
          named};
}

// ---- As products, of as many images, or lines of y, at a time as memory is to be spent on

// The images from one on, or some lines of y of one: for these x begins further below.
struct Part {
  ConvGeometry g;
  int64_t x_first, y_first;  // elements
  bool whole;
};

// f(part, room for its matrix, of R)
template <class R, class F>
void each_part(Call& call, const ConvGeometry& g, bool by_lines, F&& f) {
  const int64_t most = call.model().capability ? int64_t{256} << 20 : int64_t{8} << 20;
  const int64_t line = g.q * g.groups * g.group_depth() * static_cast<int64_t>(sizeof(R)),
                image = g.p * line;
  int64_t images = image > 0 && most / image > 1 ? most / image : 1, lines = g.p;
  if (images > g.n || g.pointwise()) images = g.n;
  if (by_lines && !g.pointwise() && image > most) lines = line < most ? most / line : 1;
  R* room =
      g.pointwise() ? nullptr : call.scratch<R>(g.groups * images * lines * g.q * columns_ld<R>(g));
  for (int64_t n = 0; n < g.n; n += images)
    for (int64_t p = 0; p < g.p; p += lines) {
      Part part{g, n * g.h * g.w * g.c, (n * g.p + p) * g.q * g.k, images == g.n && lines == g.p};
      part.g.n = g.n - n < images ? g.n - n : images;
      part.g.p = g.p - p < lines ? g.p - p : lines;
      part.g.pad_h -= p * g.stride_h;
      f(part, room);
    }
}

// Matrices that lie as far apart as the groups.
Layout of_groups(const ConvGeometry& g, int64_t a, int64_t b, int64_t c) {
  Layout batch;
  if (g.groups > 1) {
    batch.rank = 1;
    batch.extent[0] = batch.n = g.groups;
    batch.stride[0][0] = a, batch.stride[1][0] = b, batch.stride[2][0] = c;
  }
  return batch;
}

// im2col's matrix, and how its rows and groups lie apart: x itself where that is the same.
template <class T> struct Columns {
  const T* data;
  int64_t ld, group;
};
template <class T> Columns<T> columns_of(Call& call, const ConvGeometry& g, const T* x, T* room) {
  if (g.pointwise()) return {x, g.c, g.group_c()};
  const int64_t ld = columns_ld<T>(g), rows = g.n * g.pixels();
  if (gather_columns(call, g, room, x, ld, sizeof(T))) return {room, ld, rows * ld};
  const Im2Col<T> op(g, room, x);
  each_row(call, op.rows(), op.cols(), op);
  return {room, g.group_depth(), rows * g.group_depth()};
}

template <class T> void forward(Call& call, const Convolution<T>& c) {
  using C = Compute<T>;
  const ConvGeometry& g = c.g;
  each_part<T>(call, g, true, [&](const Part& part, T* room) {
    const int64_t rows = part.g.n * part.g.pixels(), depth = g.group_depth();
    const Columns<T> col = columns_of(call, part.g, c.x + part.x_first, room);
    const Layout groups = of_groups(g, col.group, g.group_k() * depth, g.group_k());
    const BatchProduct<T> product{nullptr, col.data, c.w, rows,  g.group_k(), depth,
                                  col.ld,  depth,    g.k, false, true,        groups};
    const Epilogue own = c.epilogue.template moved<T>(part.y_first);
    if (g.groups == 1 || own.plain())
      return multiply_fused<T, T>(call, product, own, c.precision, 0);
    // The epilogue sees all channels, not those of one group.
    Epilogue sums;
    sums.c = call.scratch<C>(rows * g.k);
    multiply_fused<T, C>(call, product, sums, c.precision, 0);
    each_run(call, rows * g.k, FinishRuns<C, T, T>{{own, g.k}, static_cast<const C*>(sums.c)});
  });
}

template <class T> void grad_input(Call& call, const Convolution<T>& c) {
  using C = Compute<T>;
  const ConvGeometry& g = c.g;
  each_part<C>(call, g, false, [&](const Part& part, C* room) {
    const int64_t rows = part.g.n * g.pixels(), depth = g.group_depth(), filters = g.group_k();
    auto product = [&](int64_t ld, int64_t apart) {
      const Layout groups = of_groups(g, filters, filters * depth, apart);
      return BatchProduct<T>{
          nullptr, c.y + part.y_first, c.w, rows, depth, filters, g.k, depth, ld, false, false,
          groups};
    };
    Epilogue out;
    if (g.pointwise()) {
      out.c = c.to() + part.x_first;
      return multiply_fused<T, T>(call, product(g.c, g.group_c()), out, c.precision, 0);
    }
    out.c = room;
    multiply_fused<T, C>(call, product(depth, rows * depth), out, c.precision, 0);
    each_run(call, part.g.x_count(), Col2Im<T>{part.g, c.to() + part.x_first, room});
  });
}

template <class T> void grad_weight(Call& call, const Convolution<T>& c) {
  using C = Compute<T>;
  const ConvGeometry& g = c.g;
  T* const dw = c.to();
  C* sums = nullptr;  // of several parts
  each_part<T>(call, g, true, [&](const Part& part, T* room) {
    const int64_t rows = part.g.n * part.g.pixels(), depth = g.group_depth(), filters = g.group_k();
    const Columns<T> col = columns_of(call, part.g, c.x + part.x_first, room);
    const Layout groups = of_groups(g, filters, col.group, filters * depth);
    const T* dy = c.y + part.y_first;
    const BatchProduct<T> product{nullptr, dy,     col.data, filters, depth, rows,
                                  g.k,     col.ld, depth,    true,    false, groups};
    Epilogue out;
    if (part.whole) {
      out.c = dw;
      return multiply_fused<T, T>(call, product, out, c.precision, 0);
    }
    if (!sums) {
      if constexpr (std::is_same_v<T, C>)
        sums = dw;
      else
        sums = call.scratch<C>(g.w_count());
    } else {
      out.beta = 1;
    }
    out.c = sums;
    multiply_fused<T, C>(call, product, out, c.precision, 0);
  });
  if constexpr (!std::is_same_v<T, C>)
    if (sums) map(call, g.w_count(), Converted<T>{}, dw, static_cast<const C*>(sums));
}

// ---- By a sum for each result

template <class T> void directly(Call& call, const Convolution<T>& c) {
  using C = Compute<T>;
  const ConvGeometry& g = c.g;
  if (c.grad_weight()) {
    ConvGradWeight<T> op;
    op.g = g, op.dw = c.to(), op.dy = c.y, op.x = c.x;
    return reduce(call, 1, g.n * g.pixels(), g.w_count(), op);
  }
  const T* w = c.w;
  if (g.depthwise()) {
    T* taps_outside = call.scratch<T>(g.w_count());
    each(call, g.w_count(), TapsOutside<T>{taps_outside, w, g.c, g.taps()});
    w = taps_outside;
  }
  auto sums_to = [&]<bool BACK, class Y>(Y* to, const T* from) {
    g.depthwise() ? each_run(call, c.results(), ConvSums<T, Y, BACK, true>{g, to, from, w})
                  : each_run(call, c.results(), ConvSums<T, Y, BACK, false>{g, to, from, w});
  };
  if (!c.forward()) return sums_to.template operator()<true>(c.to(), c.y);
  if (c.epilogue.plain()) return sums_to.template operator()<false>(c.to(), c.x);
  C* sums = call.scratch<C>(g.y_count());
  sums_to.template operator()<false>(sums, c.x);
  each_run(call, g.y_count(), FinishRuns<C, T, T>{{c.epilogue, g.k}, sums});
}

template <class T> void convolve(Call& call, const Convolution<T>& c) {
  const ConvGeometry& g = c.g;
  if (c.results() == 0) return;
  if (g.x_count() == 0 || g.y_count() == 0 || g.w_count() == 0) return directly(call, c);
  const bool instead = c.method == WINOGRAD && c.grad_weight();  // there is none
  if (!instead && convolve_by_kernel(call, c)) return;
  if (const char* needs = c.named && !instead ? METHODS[c.method].needs : nullptr)
    CDN_FAIL(CDN_UNSUPPORTED, "variant %s: it is for %s", METHODS[c.method].name, needs);
  if (c.method == NAIVE || c.method == DEPTHWISE) return directly(call, c);
  c.forward() ? forward(call, c) : c.grad_weight() ? grad_weight(call, c) : grad_input(call, c);
}

template <class T> struct SumOfChannels : Adding<Sum<T>> {
  const T* dy;
  T* sums;
  CDN_FN Sum<T> load(int64_t at, int64_t) const { return Sum<T>(wide(dy[at])); }
  CDN_FN void store(int64_t k, Sum<T> sum) const { sums[k] = static_cast<T>(sum); }
};

}  // namespace

CDN_API const char* cdn_conv2d_variant(int32_t variant) {
  return variant >= 0 && variant < METHOD_COUNT ? METHODS[variant].name : nullptr;
}

CDN_API int32_t cdn_conv2d(uint32_t y, uint32_t z, uint32_t x, uint32_t w, uint32_t bias,
                           const int64_t* geometry, int32_t activation, int32_t dtype,
                           int32_t precision, int32_t variant) {
  return run("cdn_conv2d", Floats{}, dtype, [&]<class T>(Call& call, T) {
    Convolution<T> c{read_request(geometry, precision, variant), ConvDirection::FORWARD};
    const ConvGeometry& g = c.g;
    if (activation < 0 || activation > ACTIVATION_SILU)
      CDN_FAIL(CDN_BAD_ARGUMENT, "activation is %d; it must be in 0..%d", activation,
               ACTIVATION_SILU);
    c.epilogue.c = call.out<T>(y, "y", g.y_count());
    c.epilogue.z = call.optional_out<T>(z, "z", g.y_count());
    c.x = call.in<T>(x, "x", g.x_count()), c.w = call.in<T>(w, "w", g.w_count());
    c.epilogue.bias = call.optional<T>(bias, "bias", g.k);
    c.epilogue.activation = activation;
    c.epilogue.out_dtype = dtype;
    convolve(call, c);
  });
}

CDN_API int32_t cdn_conv2d_pooled(uint32_t y, uint32_t argument, uint32_t x, uint32_t w,
                                  uint32_t bias, const int64_t* geometry, int32_t dtype,
                                  int32_t precision, int32_t variant) {
  return run("cdn_conv2d_pooled", Floats{}, dtype, [&]<class T>(Call& call, T) {
    Convolution<T> c{read_request(geometry, precision, variant), ConvDirection::FORWARD};
    const ConvGeometry& g = c.g;
    const int64_t count = g.n * (g.p / 2) * (g.q / 2) * g.k;
    T* to = call.out<T>(y, "y", count);
    c.argument = call.optional_out<uint8_t>(argument, "argument", count);
    c.x = call.in<T>(x, "x", g.x_count()), c.w = call.in<T>(w, "w", g.w_count());
    c.epilogue.c = to;
    c.epilogue.bias = call.optional<T>(bias, "bias", g.k);
    c.epilogue.activation = ACTIVATION_RELU;
    c.epilogue.out_dtype = dtype;
    c.pooled = true;
    if (count == 0 || convolve_by_kernel(call, c)) return;
    T* z = call.scratch<T>(g.y_count());
    c.epilogue.c = z;
    c.pooled = false;
    convolve(call, c);
    max_pool_2x2(call, to, c.argument, z, g.n, g.p, g.q, g.k, dtype);
  });
}

CDN_API int32_t cdn_conv2d_grad_input(uint32_t dx, uint32_t dy, uint32_t w, const int64_t* geometry,
                                      int32_t dtype, int32_t precision, int32_t variant) {
  return run("cdn_conv2d_grad_input", Floats{}, dtype, [&]<class T>(Call& call, T) {
    Convolution<T> c{read_request(geometry, precision, variant), ConvDirection::GRAD_INPUT};
    c.epilogue.c = call.out<T>(dx, "dx", c.g.x_count());
    c.y = call.in<T>(dy, "dy", c.g.y_count()), c.w = call.in<T>(w, "w", c.g.w_count());
    c.epilogue.out_dtype = dtype;
    convolve(call, c);
  });
}

CDN_API int32_t cdn_conv2d_grad_weight(uint32_t dw, uint32_t dbias, uint32_t dy, uint32_t x,
                                       const int64_t* geometry, int32_t dtype, int32_t precision,
                                       int32_t variant) {
  return run("cdn_conv2d_grad_weight", Floats{}, dtype, [&]<class T>(Call& call, T) {
    Convolution<T> c{read_request(geometry, precision, variant), ConvDirection::GRAD_WEIGHT};
    const ConvGeometry& g = c.g;
    c.epilogue.c = call.out<T>(dw, "dw", g.w_count());
    T* sums = call.optional_out<T>(dbias, "dbias", g.k);
    c.y = call.in<T>(dy, "dy", g.y_count()), c.x = call.in<T>(x, "x", g.x_count());
    c.epilogue.out_dtype = dtype;
    convolve(call, c);
    if (!sums || g.k == 0) return;
    SumOfChannels<T> op;
    op.dy = c.y, op.sums = sums;
    reduce(call, 1, g.n * g.pixels(), g.k, op);
  });
}
