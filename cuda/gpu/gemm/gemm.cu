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
  HopperTile tile = {};
};

const Variant VARIANTS[] = {
    {"default", Variant::DEFAULT},
    {"naive", Variant::SIMT, SimtKernel::NAIVE},
    {"tiled", Variant::SIMT, SimtKernel::TILED},
    {"register_tiled", Variant::SIMT, SimtKernel::REGISTER_TILED},
    {"vectorized", Variant::SIMT, SimtKernel::VECTORIZED},
    {"double_buffered", Variant::SIMT, SimtKernel::DOUBLE_BUFFERED},
    {"cublas", Variant::CUBLAS},
    {"tile_256x128", Variant::SIMT, SimtKernel::TILE_256X128},
    {"tile_128x128", Variant::SIMT, SimtKernel::TILE_128X128},
    {"tile_128x64", Variant::SIMT, SimtKernel::TILE_128X64},
    {"tile_64x128", Variant::SIMT, SimtKernel::TILE_64X128},
    {"tile_64x64", Variant::SIMT, SimtKernel::TILE_64X64},
    {"tile_32x32", Variant::SIMT, SimtKernel::TILE_32X32},
    {"wgmma_128x256", Variant::WGMMA, SimtKernel::BY_SHAPE, {256, 1, false}},
    {"wgmma_128x128", Variant::WGMMA, SimtKernel::BY_SHAPE, {128, 1, false}},
    {"wgmma_128x64", Variant::WGMMA, SimtKernel::BY_SHAPE, {64, 1, false}},
    {"wgmma_joined", Variant::WGMMA, SimtKernel::BY_SHAPE, {64, 4, true}},
    {"wgmma_split_k", Variant::WGMMA, SimtKernel::BY_SHAPE, {64, 3, false}},
    {"mma", Variant::MMA},
    {"thin", Variant::THIN},
};
constexpr int VARIANT_COUNT = sizeof(VARIANTS) / sizeof(VARIANTS[0]);

// For a product that is not thin, that variant is the default.
const Variant& if_not_thin(const Variant& variant) {
  return variant.family == Variant::THIN ? VARIANTS[0] : variant;
}

template <class T>
bool try_thin(Call& call, const Product<T>& p, const Layout& batch, const Variant& variant) {
  return (variant.family == Variant::DEFAULT || variant.family == Variant::THIN) &&
         try_matmul_thin(call, p, batch);
}

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

HopperMethod method_of(Precision precision) {
  switch (precision) {
    case PRECISION_TF32: return HopperMethod::TF32;
    case PRECISION_BFLOAT16: return HopperMethod::BFLOAT16;
    default: return HopperMethod::FP32;
  }
}

MmaMethod mma_method_of(Precision precision) {
  switch (precision) {
    case PRECISION_TF32: return MmaMethod::TF32;
    case PRECISION_BFLOAT16: return MmaMethod::BFLOAT16;
    default: return MmaMethod::FLOAT32;
  }
}

// A100, H100, B200 and the like, with four times the rate of TF32 or more.
bool is_computing_gpu(const Call& call) {
  int capability = call.model().capability;
  return capability == 80 || capability == 90 || capability == 100 || capability == 103;
}

// The tensor cores' kernels that are to be tried, in this order; then plain multiply-adds.
struct Families {
  bool wgmma, mma;
};

// Whether tensor cores are worth their preparations. In place of float's own products they are as
// exact as plain sums only for long k. Three TF32 products in place of one of float pay only on
// GPUs made for computing: the others multiply floats nearly as fast. apart: cycles more for what
// is not wgmma.
Families families_for(Call& call, const Product<float>& p, const Layout& batch, Precision precision,
                      const Variant& variant, double apart = 0) {
  constexpr int64_t LEAST_K = 256;
  constexpr double NEVER = 1e300, MARGIN = 100;
  const bool exact = precision == PRECISION_FLOAT32;
  if (variant.family != Variant::DEFAULT)
    return {variant.family == Variant::WGMMA, variant.family == Variant::MMA};
  if (precision == PRECISION_IEEE || (exact && p.k() < LEAST_K)) return {false, false};
  const bool hopper = hopper_device(call),
             mma = mma_supported(call) && (!exact || is_computing_gpu(call));
  if (!hopper && !mma) return {false, false};
  const double by_wgmma = hopper ? hopper_cycles(call, p, batch, method_of(precision)) : NEVER,
               by_mma = mma ? mma_cycles(call, p, batch, mma_method_of(precision)) : NEVER,
               by_simt = simt_cycles(call, p, batch);
  return {by_wgmma < by_simt + apart && by_wgmma < by_mma + apart, by_mma + MARGIN < by_simt};
}
// Of 16 bits: small products, and those that wgmma could not read without a copy, may be better off
// with mma.
template <class T>
Families families_for(Call& call, const Product<T>& p, const Layout& batch, Precision,
                      const Variant& variant, double apart = 0) {
  if (variant.family != Variant::DEFAULT)
    return {variant.family == Variant::WGMMA, variant.family == Variant::MMA};
  const bool wgmma = hopper_device(call) && hopper_cycles(call, p, batch) <=
                                                mma_cycles(call, p, batch, MmaMethod::HALF) + apart;
  return {wgmma, true};
}

// True if the family did it.
bool by_wgmma(Call& call, const Product<float>& p, const Layout& batch, const Epilogue* epilogue,
              Precision precision, const Variant& variant) {
  return matmul_hopper(call, p, batch, epilogue, method_of(precision), variant.tile);
}
template <class T>
bool by_wgmma(Call& call, const Product<T>& p, const Layout& batch, const Epilogue* epilogue,
              Precision, const Variant& variant) {
  return matmul_hopper(call, p, batch, epilogue, variant.tile);
}
bool by_mma(Call& call, const Product<float>& p, const Layout& batch, Precision precision) {
  if (mma_supported(call)) matmul_mma(call, p, batch, mma_method_of(precision));
  return mma_supported(call);
}
template <class T> bool by_mma(Call& call, const Product<T>& p, const Layout& batch, Precision) {
  if (mma_supported(call)) matmul_mma(call, p, batch, MmaMethod::HALF);
  return mma_supported(call);
}

template <class T>
bool by_tensor_cores(Call& call, const Product<T>& p, const Layout& batch, Precision precision,
                     const Variant& variant) {
  const Families families = families_for(call, p, batch, precision, variant);
  return (families.wgmma && by_wgmma(call, p, batch, nullptr, precision, variant)) ||
         (families.mma && by_mma(call, p, batch, precision));
}
bool by_tensor_cores(Call&, const Product<double>&, const Layout&, Precision, const Variant&) {
  return false;
}

template <class T>
void multiply(Call& call, const BatchProduct<T>& y, Precision precision, const Variant& variant) {
  densely(call, y, [&](const BatchProduct<T>& x) {
    Product<T> p = product_of(x);
    if (variant.family == Variant::CUBLAS)
      cublas_matmul(call, x, precision == PRECISION_TF32);
    else if (!try_thin(call, p, x.batch, variant) &&
             !by_tensor_cores(call, p, x.batch, precision, if_not_thin(variant)))
      matmul_simt(call, p, x.batch, variant.simt);
    return true;
  });
}

template <class T>
bool multiply_half(Call& call, const BatchProduct<T>& y, const Variant& variant) {
  return densely(call, y, [&](const BatchProduct<T>& x) {
    if (variant.family == Variant::CUBLAS) {
      cublas_matmul(call, x);
      return true;
    }
    Product<T> p = product_of(x);
    return try_thin(call, p, x.batch, variant) ||
           by_tensor_cores(call, p, x.batch, PRECISION_FLOAT32, if_not_thin(variant));
  });
}

// Only wgmma's kernels have an epilogue.
template <class T>
bool multiply_fused(Call& call, const BatchProduct<T>& y, const Epilogue& epilogue,
                    Precision precision, const Variant& variant) {
  constexpr double STEPS = 6000;  // cycles of an epilogue by other kernels
  return densely(call, y, [&](const BatchProduct<T>& x) {
    Product<T> p = product_of(x);
    return families_for(call, p, x.batch, precision, variant, STEPS).wgmma &&
           by_wgmma(call, p, x.batch, &epilogue, precision, variant);
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
  return multiply_half(call, x, VARIANTS[variant]);
}
bool matmul_half(Call& call, const BatchProduct<bfloat16>& x, int32_t variant) {
  return multiply_half(call, x, VARIANTS[variant]);
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
