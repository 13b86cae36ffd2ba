// cdn_matmul on the GPU: the variants by name, and the choice among the families of kernels by
// device, type, precision and shape: thin products' first, which are bound by memory, then
// Hopper's, then the older tensor cores', then plain multiply-adds, which take all. A family
// estimates its own time, as only it knows its tiles.
#include "gpu/gemm/cublas.h"
#include "gpu/device/launch.h"
#include "gpu/gemm/wgmma/wgmma.h"
#include "gpu/gemm/mma/mma.h"
#include "gpu/gemm/simt/simt.h"
#include "gpu/gemm/skinny/skinny.h"

namespace cdn {
namespace {

// A variant by its number. One that has no kernel for the type asked for stands for the default.
struct Variant {
  enum Family { DEFAULT, SIMT, CUBLAS, WGMMA, MMA, THIN };
  const char* name;
  Family family;
  SimtKernel simt = SimtKernel::BY_SHAPE;
  WantedTile tile = {};
};

const Variant VARIANTS[] = {
    {"default", Variant::DEFAULT},
    {"naive", Variant::SIMT, SimtKernel::NAIVE},
    {"tiled", Variant::SIMT, SimtKernel::TILED},
    {"register_tiled", Variant::SIMT, SimtKernel::REGISTER_TILED},
    {"vectorized", Variant::SIMT, SimtKernel::VECTORIZED},
    {"double_buffered", Variant::SIMT, SimtKernel::TILE, {128, 128}},
    {"cublas", Variant::CUBLAS},
    {"tile_256x128", Variant::SIMT, SimtKernel::TILE, {256, 128}},
    {"tile_128x128", Variant::SIMT, SimtKernel::TILE, {128, 128}},
    {"tile_128x64", Variant::SIMT, SimtKernel::TILE, {128, 64}},
    {"tile_64x128", Variant::SIMT, SimtKernel::TILE, {64, 128}},
    {"tile_64x64", Variant::SIMT, SimtKernel::TILE, {64, 64}},
    {"tile_32x32", Variant::SIMT, SimtKernel::TILE, {32, 32}},
    {"wgmma_128x256", Variant::WGMMA, SimtKernel::BY_SHAPE, {128, 256, 1}},
    {"wgmma_128x128", Variant::WGMMA, SimtKernel::BY_SHAPE, {128, 128, 1}},
    {"wgmma_128x64", Variant::WGMMA, SimtKernel::BY_SHAPE, {128, 64, 1}},
    {"wgmma_joined", Variant::WGMMA, SimtKernel::BY_SHAPE, {128, 64, 4, true}},
    {"wgmma_split_k", Variant::WGMMA, SimtKernel::BY_SHAPE, {128, 64, 3}},
    {"mma", Variant::MMA},
    {"thin", Variant::THIN},
};
constexpr int VARIANT_COUNT = sizeof(VARIANTS) / sizeof(VARIANTS[0]);

template <class T> Product<T> product_of(const BatchProduct<T>& x) {
  return {x.c, {x.a, x.m, x.k, !x.trans_a, x.lda}, {x.b, x.n, x.k, x.trans_b, x.ldb}};
}

// f(the product with a dense result), which then goes to its places.
template <class T, class F> bool densely(Call& call, BatchProduct<T> x, F&& f) {
  const Places places(x.batch, x.m, x.n, x.ldc);
  if (!x.c || places.dense) return f(x);
  T* const c = x.c;
  x.c = call.scratch<T>(places.rows() * x.n);
  if (!f(x)) return false;
  each_row(call, places.rows(), x.n, PutRows<T, T>{c, x.c, places});
  return true;
}

template <class T> Method method_of(Precision precision) {
  if (is_half<T>) return Method::HALF;
  switch (precision) {
    case PRECISION_TF32: return Method::TF32;
    case PRECISION_BFLOAT16: return Method::BFLOAT16;
    default: return Method::FP32;
  }
}

// The tensor cores' kernels that are to be tried, in this order; then plain multiply-adds.
struct Families {
  bool wgmma, mma;
};

// Whether tensor cores are worth their preparations. In place of float's own products they are as
// exact as plain sums only for long k. Three TF32 products in place of one of float pay only on
// GPUs made for computing: the others multiply floats nearly as fast. Of 16 bits: small products,
// and those that wgmma could not read without a copy, may be better off with mma. apart: cycles
// more for what is not wgmma.
template <class T>
Families families_for(Call& call, const Product<T>& p, const Layout& batch, Precision precision,
                      const Variant& variant, double apart = 0) {
  constexpr int64_t LEAST_K = 256;
  constexpr double NEVER = 1e300, MARGIN = 100;
  if (variant.family != Variant::DEFAULT)
    return {variant.family == Variant::WGMMA, variant.family == Variant::MMA};
  const Method method = method_of<T>(precision);
  const bool hopper = hopper_device(call);
  if constexpr (is_half<T>)
    return {hopper &&
                wgmma_cycles(call, p, batch, method) <= mma_cycles(call, p, batch, method) + apart,
            true};
  else {
    const bool exact = precision == PRECISION_FLOAT32;
    if (precision == PRECISION_IEEE || (exact && p.k() < LEAST_K)) return {false, false};
    const bool mma = mma_supported(call) && (!exact || is_computing_gpu(call));
    if (!hopper && !mma) return {false, false};
    const double by_wgmma = hopper ? wgmma_cycles(call, p, batch, method) : NEVER,
                 by_mma = mma ? mma_cycles(call, p, batch, method) : NEVER,
                 by_simt = simt_cycles(call, p, batch);
    return {by_wgmma < by_simt + apart && by_wgmma < by_mma + apart, by_mma + MARGIN < by_simt};
  }
}

// True if tensor cores did it.
template <class T>
bool by_tensor_cores(Call& call, const Product<T>& p, const Layout& batch, Precision precision,
                     const Variant& variant) {
  const Families families = families_for(call, p, batch, precision, variant);
  const Method method = method_of<T>(precision);
  if (families.wgmma && matmul_wgmma(call, p, batch, nullptr, method, variant.tile)) return true;
  const bool mma = families.mma && mma_supported(call);
  if (mma) matmul_mma(call, p, batch, method);
  return mma;
}

// False where 16-bit floats have no kernel.
template <class T>
bool multiply(Call& call, const BatchProduct<T>& y, Precision precision, const Variant& variant) {
  return densely(call, y, [&](const BatchProduct<T>& x) {
    if (variant.family == Variant::CUBLAS) {
      cublas_matmul(call, x, precision == PRECISION_TF32);
      return true;
    }
    const Product<T> p = product_of(x);
    const bool thin = variant.family == Variant::THIN;  // if it is not, that is the default
    if ((thin || variant.family == Variant::DEFAULT) && try_matmul_thin(call, p, x.batch))
      return true;
    if constexpr (!std::is_same<T, double>::value)
      if (by_tensor_cores(call, p, x.batch, precision, thin ? VARIANTS[0] : variant)) return true;
    if constexpr (!is_half<T>) matmul_simt(call, p, x.batch, variant.simt, variant.tile);
    return !is_half<T>;
  });
}

// Only wgmma's kernels have an epilogue.
template <class T>
bool multiply_fused(Call& call, const BatchProduct<T>& y, const Epilogue& epilogue,
                    Precision precision, const Variant& variant) {
  constexpr double STEPS = 6000;  // cycles of an epilogue by other kernels
  return densely(call, y, [&](const BatchProduct<T>& x) {
    const Product<T> p = product_of(x);
    return families_for(call, p, x.batch, precision, variant, STEPS).wgmma &&
           matmul_wgmma(call, p, x.batch, &epilogue, method_of<T>(precision), variant.tile);
  });
}

}  // namespace

namespace backend {

const char* matmul_variant(int32_t variant) {
  return variant >= 0 && variant < VARIANT_COUNT ? VARIANTS[variant].name : nullptr;
}

void matmul(Call& call, const BatchProduct<float>& x, Precision precision, int32_t variant) {
  multiply(call, x, precision, VARIANTS[variant]);
}
void matmul(Call& call, const BatchProduct<double>& x, Precision precision, int32_t variant) {
  multiply(call, x, precision, VARIANTS[variant]);
}

bool matmul_half(Call& call, const BatchProduct<float16>& x, int32_t variant) {
  return multiply(call, x, PRECISION_FLOAT32, VARIANTS[variant]);
}
bool matmul_half(Call& call, const BatchProduct<bfloat16>& x, int32_t variant) {
  return multiply(call, x, PRECISION_FLOAT32, VARIANTS[variant]);
}

bool matmul_fused(Call& call, const BatchProduct<float>& x, const Epilogue& epilogue,
                  Precision precision, int32_t variant) {
  return epilogue.out_dtype == CDN_FLOAT32 &&
         multiply_fused(call, x, epilogue, precision, VARIANTS[variant]);
}
bool matmul_fused(Call&, const BatchProduct<double>&, const Epilogue&, Precision, int32_t) {
  return false;
}
bool matmul_fused(Call& call, const BatchProduct<float16>& x, const Epilogue& epilogue,
                  Precision precision, int32_t variant) {
  return multiply_fused(call, x, epilogue, precision, VARIANTS[variant]);
}
bool matmul_fused(Call& call, const BatchProduct<bfloat16>& x, const Epilogue& epilogue,
                  Precision precision, int32_t variant) {
  return multiply_fused(call, x, epilogue, precision, VARIANTS[variant]);
}

}  // namespace backend
}  // namespace cdn
