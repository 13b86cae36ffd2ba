// cdn_conv2d and its gradients: arguments, and the methods that both backends have. A product of
// im2col's matrix serves all; few channels of their own have direct sums.
#include "ops/conv/im2col.h"
#include "ops/linalg/matmul.h"
#include "ops/pool/max_pool.h"
#if defined(__CUDACC__)
#include "gpu/conv/conv2d.h"
#include "gpu/conv/cudnn.h"
#include "gpu/conv/depthwise.h"
#include "gpu/conv/direct.h"
#include "gpu/conv/im2col.h"
#include "gpu/conv/mma.h"
#include "gpu/conv/winograd.h"
#else
#include "cpu/conv/conv2d.h"
#endif

using namespace cdn;

namespace {

enum ConvVariant : int32_t {
  DEFAULT,
  NAIVE,
  IM2COL,
  DEPTHWISE,
  IMPLICIT,
  DIRECT,
  MMA,
  WINOGRAD,
  CUDNN
};
const char* const VARIANTS[] = {"default",  "naive",  "im2col", "depthwise",
#if defined(__CUDACC__)
                                "implicit", "direct", "mma",    "winograd",
                                "cudnn"
#endif
};
constexpr int32_t VARIANT_COUNT = sizeof(VARIANTS) / sizeof(VARIANTS[0]);

// What a convolution is asked to be, checked.
struct Request {
  ConvGeometry g;
  Precision precision;
  ConvVariant method;
  bool named;  // by the caller

  Request(const int64_t* geometry, int32_t precision, int32_t variant)
      : g(read_geometry(geometry)), precision(static_cast<Precision>(precision)) {
    if (precision < 0 || precision > PRECISION_BFLOAT16)
      CDN_FAIL(CDN_BAD_ARGUMENT, "precision is %d; it must be in 0..%d", precision,
               PRECISION_BFLOAT16);
    if (variant < 0 || variant >= VARIANT_COUNT)
      CDN_FAIL(CDN_BAD_ARGUMENT, "variant is %d; it must be in 0..%d", variant, VARIANT_COUNT - 1);
    if (variant == DEPTHWISE && !g.depthwise())
      CDN_FAIL(
          CDN_UNSUPPORTED,
          "variant depthwise: there are %lld channels, %lld filters and %lld groups; they must "
          "be as many",
          (long long)g.c, (long long)g.k, (long long)g.groups);
    method = static_cast<ConvVariant>(variant);
    named = method != DEFAULT;
    if (!named)
      method = g.depthwise()                           ? DEPTHWISE
               : g.groups > 1 && g.group_c() == 1      ? NAIVE
               : g.pointwise() || g.group_depth() == 0 ? IM2COL
                                                       : IMPLICIT;
  }

  // Whether direct() comes before all others: tensor cores take channels and filters in eights.
  bool few_channels() const {
    return method == DIRECT || (method == IMPLICIT && !named && (g.c % 8 != 0 || g.k % 8 != 0));
  }
  // Whether one of the GPU's kernels did it, which are not for all shapes and types: implicit() or
  // kernels(the others, what they are asked). Else im2col makes it a product.
  template <class T, class F, class K> bool by_kernel(F&& implicit, K&& kernels) {
    const bool any = method == IMPLICIT && !named;
    if constexpr (!std::is_same_v<T, double>)
      if ((method == IMPLICIT && implicit()) ||
          ((any || method == MMA) && kernels(MmaKernels<T>(), precision)) ||
          ((any || method == DIRECT) && kernels(DirectKernels<T>(), named)))
        return true;
    if constexpr (std::is_same_v<T, float>)
      if (method == WINOGRAD && kernels(WinogradKernels())) return true;
    if (const char* needs = named ? needs_of(method) : nullptr)
      CDN_FAIL(CDN_UNSUPPORTED, "variant %s: it is for %s", VARIANTS[method], needs);
    if (method == IMPLICIT) method = IM2COL;
    return false;
  }
  static const char* needs_of(ConvVariant method) {
    switch (method) {
      case IMPLICIT:
        return "float32 and 16-bit floats on GPUs of capability 9.0, with filters and channels in "
               "eights, or up to four channels where there is much to do, and one group";
      case DIRECT:
        return "floats of up to 32 bits, one group, no dilation, filters and lines of images that "
               "fit into shared memory, relu or no activation, and, for the gradient of the input, "
               "a stride of 1";
      case MMA:
        return "float32, of 256 products or more, and 16-bit floats on GPUs of capability 8.0 and "
               "later, with channels of a group, and for gradients filters, in whole 16 bytes, and "
               "filters of up to 16 x 16 taps";
      case WINOGRAD:
        return "float32, 3 x 3 filters, a stride of 1, no dilation, one group, and relu or no "
               "activation";
      default: return nullptr;
    }
  }
  // The same of kernels for depthwise convolutions; else functors do it.
  template <class T, class F> bool by_depthwise(F&& kernel) {
    if constexpr (!std::is_same_v<T, double>) return method == DEPTHWISE && kernel();
    return false;
  }
  // The same of the vendor's library, which takes nothing empty.
  template <class T>
  bool by_cudnn(Call& call, ConvDirection direction, const T* a, const T* b, void* to) {
    if (method != CUDNN || g.x_count() == 0 || g.y_count() == 0 || g.w_count() == 0) return false;
    cudnn_convolve(call, g, direction, a, b, static_cast<T*>(to), precision);
    return true;
  }
};

template <class T> const T* taps_outside(Call& call, const ConvGeometry& g, const T* w) {
  T* out = call.scratch<T>(g.w_count());
  each(call, g.w_count(), TapsOutside<T>{out, w, g.c, g.taps()});
  return out;
}

// ---- As products, of as many images, or lines of y, at a time as memory is to be spent on

// The images from one on, or some lines of y of one: for these x begins further below.
struct Part {
  ConvGeometry g;
  int64_t x_first, y_first;  // elements
  bool whole;
};

template <class F>
void each_part(Call& call, const ConvGeometry& g, int64_t bytes, bool by_lines, F&& f) {
  const int64_t most = call.model().capability ? int64_t{256} << 20 : int64_t{8} << 20;
  const int64_t line = g.q * g.groups * g.group_depth() * bytes, image = g.p * line;
  int64_t images = image > 0 && most / image > 1 ? most / image : 1, lines = g.p;
  if (images > g.n || g.pointwise()) images = g.n;
  if (by_lines && !g.pointwise() && image > most) lines = line < most ? most / line : 1;
  for (int64_t n = 0; n < g.n; n += images)
    for (int64_t p = 0; p < g.p; p += lines) {
      Part part{g, n * g.h * g.w * g.c, (n * g.p + p) * g.q * g.k, images == g.n && lines == g.p};
      part.g.n = g.n - n < images ? g.n - n : images;
      part.g.p = g.p - p < lines ? g.p - p : lines;
      part.g.pad_h -= p * g.stride_h;
      f(part);
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
template <class T> T* room_for_columns(Call& call, const Part& part) {
  const ConvGeometry& g = part.g;
  return g.pointwise() ? nullptr : call.scratch<T>(g.groups * g.n * g.pixels() * columns_ld<T>(g));
}

template <class T>
void forward(Call& call, const ConvGeometry& g, const T* x, const T* w, const Epilogue& epilogue,
             Precision precision) {
  using C = Compute<T>;
  T* room = nullptr;
  each_part(call, g, sizeof(T), true, [&](const Part& part) {
    const int64_t rows = part.g.n * part.g.pixels(), depth = g.group_depth();
    if (!room) room = room_for_columns<T>(call, part);
    const Columns<T> col = columns_of(call, part.g, x + part.x_first, room);
    const BatchProduct<T> product{
        nullptr,     col.data, w,      rows,
        g.group_k(), depth,    col.ld, depth,
        g.k,         false,    true,   of_groups(g, col.group, g.group_k() * depth, g.group_k())};
    const Epilogue own = epilogue.moved<T>(part.y_first);
    if (g.groups == 1 || own.plain()) return multiply_fused<T, T>(call, product, own, precision, 0);
    // The epilogue sees all channels, not those of one group.
    Epilogue sums;
    sums.c = call.scratch<C>(rows * g.k);
    multiply_fused<T, C>(call, product, sums, precision, 0);
    each_run(call, rows * g.k, FinishRuns<C, T, T>{{own, g.k}, static_cast<const C*>(sums.c)});
  });
}

// By a sum for each output; what is to follow comes in a second pass.
template <class T>
void directly(Call& call, const Request& request, const T* x, const T* w,
              const Epilogue& epilogue) {
  const ConvGeometry& g = request.g;
  auto sums_to = [&]<class Y>(Y* y) {
    if (request.method == DEPTHWISE)
      each_run(call, g.y_count(), DepthwiseConv<T, Y>{g, y, x, taps_outside(call, g, w)});
    else
      each(call, g.y_count(), ConvNaive<T, Y>{g, y, x, w});
  };
  if (epilogue.plain()) return sums_to(static_cast<T*>(epilogue.c));
  using C = Compute<T>;
  C* sums = call.scratch<C>(g.y_count());
  sums_to(sums);
  each_run(call, g.y_count(), FinishRuns<C, T, T>{{epilogue, g.k}, sums});
}

template <class T>
void grad_input(Call& call, const ConvGeometry& g, T* dx, const T* dy, const T* w,
                Precision precision) {
  using C = Compute<T>;
  C* room = nullptr;
  each_part(call, g, sizeof(C), false, [&](const Part& part) {
    const int64_t rows = part.g.n * g.pixels(), depth = g.group_depth(), filters = g.group_k();
    auto product = [&](int64_t ld, int64_t apart) {
      return BatchProduct<T>{nullptr, dy + part.y_first,
                             w,       rows,
                             depth,   filters,
                             g.k,     depth,
                             ld,      false,
                             false,   of_groups(g, filters, filters * depth, apart)};
    };
    Epilogue out;
    if (g.pointwise()) {
      out.c = dx + part.x_first;
      return multiply_fused<T, T>(call, product(g.c, g.group_c()), out, precision, 0);
    }
    if (!room) room = room_for_columns<C>(call, part);
    out.c = room;
    multiply_fused<T, C>(call, product(depth, rows * depth), out, precision, 0);
    each_run(call, part.g.x_count(), Col2Im<T>{part.g, dx + part.x_first, room});
  });
}

template <class T>
void grad_weight(Call& call, const ConvGeometry& g, T* dw, const T* dy, const T* x,
                 Precision precision) {
  using C = Compute<T>;
  T* room = nullptr;
  C* sums = nullptr;  // of several parts
  each_part(call, g, sizeof(T), true, [&](const Part& part) {
    const int64_t rows = part.g.n * part.g.pixels(), depth = g.group_depth(), filters = g.group_k();
    if (!room) room = room_for_columns<T>(call, part);
    const Columns<T> col = columns_of(call, part.g, x + part.x_first, room);
    const BatchProduct<T> product{nullptr,  dy + part.y_first,
                                  col.data, filters,
                                  depth,    rows,
                                  g.k,      col.ld,
                                  depth,    true,
                                  false,    of_groups(g, filters, col.group, filters * depth)};
    Epilogue out;
    if (part.whole) {
      out.c = dw;
      return multiply_fused<T, T>(call, product, out, precision, 0);
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
    multiply_fused<T, C>(call, product, out, precision, 0);
  });
  if constexpr (!std::is_same_v<T, C>)
    if (sums) map(call, g.w_count(), Converted<T>{}, dw, static_cast<const C*>(sums));
}

template <class T>
void convolve(Call& call, Request& request, const T* x, const T* w, const Epilogue& epilogue) {
  const ConvGeometry& g = request.g;
  if (g.y_count() == 0) return;
  if (request.by_cudnn(call, ConvDirection::FORWARD, x, w, static_cast<T*>(epilogue.c))) {
    if (epilogue.plain()) return;
    Epilogue rest = epilogue;  // in place
    rest.beta = 1;
    return each_run(call, g.y_count(), FinishRuns<Compute<T>, T, T>{{rest, g.k}, nullptr});
  }
  if (request.by_kernel<T>(
          [&] { return implicit_conv2d(call, g, x, w, epilogue, request.precision); },
          [&]<class K>(K, auto... how) { return K::conv2d(call, g, x, w, epilogue, how...); }) ||
      request.by_depthwise<T>([&] { return DepthwiseKernels<T>::conv2d(call, g, x, w, epilogue); }))
    return;
  if (request.method == IM2COL && g.group_depth() > 0)
    return forward(call, g, x, w, epilogue, request.precision);
  directly<T>(call, request, x, w, epilogue);
}

template <class T> struct SumOfChannels : Adding<Sum<T>> {
  const T* dy;
  T* sums;
  CDN_FN Sum<T> load(int64_t at, int64_t) const { return Sum<T>(wide(dy[at])); }
  CDN_FN void store(int64_t k, Sum<T> sum) const { sums[k] = static_cast<T>(sum); }
};

}  // namespace

ConvGeometry cdn::read_geometry(const int64_t* numbers) {
  if (!numbers) CDN_FAIL(CDN_BAD_ARGUMENT, "geometry: there is none");
  const char* const names[] = {"n",     "h",          "w",          "c",        "k",        "r",
                               "s",     "p",          "q",          "stride_h", "stride_w", "pad_h",
                               "pad_w", "dilation_h", "dilation_w", "groups"};
  constexpr int PADS = 11, DILATIONS = 13, ALL = 16;
  constexpr int64_t MOST = INT32_MAX;
  int64_t x[ALL];
  for (int i = 0; i < ALL; i++) {
    x[i] = numbers[i];
    const bool pad = i >= PADS && i < DILATIONS;
    const int64_t least = pad ? -MOST : i < 5 || i == 7 || i == 8 ? 0 : 1;
    if (x[i] < least || x[i] > MOST)
      CDN_FAIL(CDN_BAD_ARGUMENT, "geometry: %s is %lld; it must be in %lld..%lld", names[i],
               (long long)x[i], (long long)least, (long long)MOST);
  }
  ConvGeometry g{x[0], x[1], x[2],  x[3],  x[4],  x[5],  x[6],  x[7],
                 x[8], x[9], x[10], x[11], x[12], x[13], x[14], x[15]};
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

CDN_API const char* cdn_conv2d_variant(int32_t variant) {
  return variant >= 0 && variant < VARIANT_COUNT ? VARIANTS[variant] : nullptr;
}

CDN_API int32_t cdn_conv2d(uint32_t y, uint32_t z, uint32_t x, uint32_t w, uint32_t bias,
                           const int64_t* geometry, int32_t activation, int32_t dtype,
                           int32_t precision, int32_t variant) {
  return run("cdn_conv2d", [&](Call& call) {
    Request request(geometry, precision, variant);
    const ConvGeometry& g = request.g;
    if (activation < 0 || activation > ACTIVATION_SILU)
      CDN_FAIL(CDN_BAD_ARGUMENT, "activation is %d; it must be in 0..%d", activation,
               ACTIVATION_SILU);
    with_float(dtype, [&]<class T>(T) {
      Epilogue epilogue;
      epilogue.c = call.out<T>(y, "y", g.y_count());
      epilogue.z = call.optional_out<T>(z, "z", g.y_count());
      const T *from = call.in<T>(x, "x", g.x_count()), *filters = call.in<T>(w, "w", g.w_count());
      epilogue.bias = call.optional<T>(bias, "bias", g.k);
      epilogue.activation = activation;
      epilogue.out_dtype = dtype;
      convolve(call, request, from, filters, epilogue);
    });
  });
}

CDN_API int32_t cdn_conv2d_pooled(uint32_t y, uint32_t argument, uint32_t x, uint32_t w,
                                  uint32_t bias, const int64_t* geometry, int32_t dtype,
                                  int32_t precision, int32_t variant) {
  return run("cdn_conv2d_pooled", [&](Call& call) {
    Request request(geometry, precision, variant);
    const ConvGeometry& g = request.g;
    const int64_t count = g.n * (g.p / 2) * (g.q / 2) * g.k;
    with_float(dtype, [&]<class T>(T) {
      T* to = call.out<T>(y, "y", count);
      uint8_t* chosen = call.optional_out<uint8_t>(argument, "argument", count);
      const T *from = call.in<T>(x, "x", g.x_count()), *filters = call.in<T>(w, "w", g.w_count());
      Epilogue epilogue;
      epilogue.bias = call.optional<T>(bias, "bias", g.k);
      epilogue.activation = ACTIVATION_RELU;
      epilogue.out_dtype = dtype;
      if (count == 0) return;
      if constexpr (!std::is_same_v<T, double>) {
        epilogue.c = to;
        if (request.few_channels() && DirectKernels<T>::conv2d_pooled(
                                          call, g, from, filters, epilogue, chosen, request.named))
          return;
      }
      T* z = call.scratch<T>(g.y_count());
      epilogue.c = z;
      convolve(call, request, from, filters, epilogue);
      max_pool_2x2(call, to, chosen, z, g.n, g.p, g.q, g.k, dtype);
    });
  });
}

CDN_API int32_t cdn_conv2d_grad_input(uint32_t dx, uint32_t dy, uint32_t w, const int64_t* geometry,
                                      int32_t dtype, int32_t precision, int32_t variant) {
  return run("cdn_conv2d_grad_input", [&](Call& call) {
    Request request(geometry, precision, variant);
    const ConvGeometry& g = request.g;
    with_float(dtype, [&]<class T>(T) {
      T* to = call.out<T>(dx, "dx", g.x_count());
      const T *from = call.in<T>(dy, "dy", g.y_count()), *filters = call.in<T>(w, "w", g.w_count());
      if (g.x_count() == 0 || request.by_cudnn(call, ConvDirection::GRAD_INPUT, filters, from, to))
        return;
      if (g.y_count() > 0 &&
          (request.by_kernel<T>(
               [&] { return implicit_grad_input(call, g, to, from, filters, request.precision); },
               [&]<class K>(K, auto... how) {
                 return K::grad_input(call, g, to, from, filters, how...);
               }) ||
           request.by_depthwise<T>(
               [&] { return DepthwiseKernels<T>::grad_input(call, g, to, from, filters); })))
        return;
      if (request.method == IM2COL && g.y_count() > 0)
        return grad_input(call, g, to, from, filters, request.precision);
      if (request.method == DEPTHWISE)
        return each_run(call, g.x_count(),
                        DepthwiseGradInput<T>{g, to, from, taps_outside(call, g, filters)});
      each(call, g.x_count(), ConvNaiveGradInput<T>{g, to, from, filters});
    });
  });
}

CDN_API int32_t cdn_conv2d_grad_weight(uint32_t dw, uint32_t dbias, uint32_t dy, uint32_t x,
                                       const int64_t* geometry, int32_t dtype, int32_t precision,
                                       int32_t variant) {
  return run("cdn_conv2d_grad_weight", [&](Call& call) {
    Request request(geometry, precision, variant);
    if (request.method == WINOGRAD) request.method = IM2COL;  // it has none
    const ConvGeometry& g = request.g;
    with_float(dtype, [&]<class T>(T) {
      T* to = call.out<T>(dw, "dw", g.w_count());
      T* sums = call.optional_out<T>(dbias, "dbias", g.k);
      const T *grad = call.in<T>(dy, "dy", g.y_count()), *from = call.in<T>(x, "x", g.x_count());
      const int64_t pixels = g.n * g.pixels();
      const bool done =
          g.w_count() > 0 && pixels > 0 &&
          (request.by_cudnn(call, ConvDirection::GRAD_WEIGHT, from, grad, to) ||
           request.by_kernel<T>(
               [&] { return implicit_grad_weight(call, g, to, grad, from, request.precision); },
               [&]<class K>(K, auto... how) {
                 return K::grad_weight(call, g, to, grad, from, how...);
               }) ||
           request.by_depthwise<T>(
               [&] { return DepthwiseKernels<T>::grad_weight(call, g, to, grad, from); }));
      if (g.w_count() > 0 && !done) {
        if (request.method == IM2COL && pixels > 0) {
          grad_weight(call, g, to, grad, from, request.precision);
        } else {
          ConvGradWeight<T> op;
          op.g = g, op.dw = to, op.dy = grad, op.x = from;
          reduce(call, 1, pixels, g.w_count(), op);
        }
      }
      if (sums && g.k > 0) {
        SumOfChannels<T> op;
        op.dy = grad, op.sums = sums;
        reduce(call, 1, pixels, g.k, op);
      }
    });
  });
}
