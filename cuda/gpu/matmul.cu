// cdn_matmul on the GPU: the variants by name, and the choice among them by device, type, precision and shape. Each
// family of kernels has a try_ function that says whether it takes a product: the thin products' first, which are bound
// by memory, then Hopper's, then the older tensor cores', then plain multiply-adds, which take all. A family estimates
// its own time, as only it knows its tiles.
#include "cublas.h"
#include "device.h"
#include "matmul_hopper.h"
#include "matmul_mma.h"
#include "matmul_simt.h"
#include "matmul_thin.h"

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
const Variant& if_not_thin(const Variant& variant) { return variant.family == Variant::THIN ? VARIANTS[0] : variant; }

template <class T> bool try_thin(Call& call, const Product<T>& p, const Layout& batch, const Variant& variant) {
  return (variant.family == Variant::DEFAULT || variant.family == Variant::THIN) && try_matmul_thin(call, p, batch);
}

template <class T> Product<T> product_of(const BatchProduct<T>& x) {
  return {x.c, {x.a, x.m, x.k, !x.trans_a}, {x.b, x.n, x.k, x.trans_b}};
}

HopperMethod method_of(Precision precision) {
  switch (precision) {
    case PRECISION_TF32: return HopperMethod::TF32;
    case PRECISION_BFLOAT16: return HopperMethod::BFLOAT16;
    default: return HopperMethod::SPLIT;
  }
}

MmaMethod mma_method_of(Precision precision) {
  switch (precision) {
    case PRECISION_TF32: return MmaMethod::TF32;
    case PRECISION_BFLOAT16: return MmaMethod::BFLOAT16;
    default: return MmaMethod::FLOAT32;
  }
}

// Whether Hopper's tensor cores are worth their preparations; k is long enough for them to be as exact as plain sums.
bool worth_it(const Call& call, const Product<float>& p, const Layout& batch, Precision precision) {
  constexpr int64_t LEAST_K = 256;
  HopperMethod method = method_of(precision);
  if (!hopper_device(call) || (method == HopperMethod::SPLIT && p.k() < LEAST_K)) return false;
  double cycles = hopper_cycles(p, batch, method);
  return cycles < simt_cycles(p, batch) && cycles < mma_cycles(p, batch, mma_method_of(precision));
}

// True if the tensor cores did it.
bool try_hopper(Call& call, const Product<float>& p, const Layout& batch, const Epilogue* epilogue, Precision precision,
                const Variant& variant) {
  if (precision == PRECISION_IEEE && variant.family != Variant::WGMMA) return false;
  HopperMethod method = method_of(precision);
  if (variant.family != Variant::WGMMA && (variant.family != Variant::DEFAULT || !worth_it(call, p, batch, precision)))
    return false;
  return matmul_hopper(call, p, batch, epilogue, method, variant.tile);
}
template <class T>
bool try_hopper(Call& call, const Product<T>& p, const Layout& batch, const Epilogue* epilogue, Precision,
                const Variant& variant) {
  if (variant.family != Variant::WGMMA && variant.family != Variant::DEFAULT) return false;
  return hopper_device(call) && matmul_hopper(call, p, batch, epilogue, variant.tile);
}
bool try_hopper(Call&, const Product<double>&, const Layout&, const Epilogue*, Precision, const Variant&) {
  return false;
}

// A100, H100, B200 and the like, with four times the rate of TF32 or more.
bool is_computing_gpu(const Call& call) {
  int capability = device_facts(call).capability;
  return capability == 80 || capability == 90 || capability == 100 || capability == 103;
}

// Whether the kernels of older tensor cores, which all devices from sm_80 on have, are better than plain multiply-adds.
// Three TF32 products in place of one of float pay only on GPUs made for computing: the others multiply floats nearly
// as fast. They too are as exact as plain sums only for long k.
bool mma_worth_it(const Call& call, const Product<float>& p, const Layout& batch, MmaMethod method) {
  constexpr int64_t LEAST_K = 256;
  constexpr double MARGIN = 2000;
  if (method == MmaMethod::FLOAT32 && (p.k() < LEAST_K || !is_computing_gpu(call))) return false;
  return mma_cycles(p, batch, method) + MARGIN < simt_cycles(p, batch);
}

// True if they did it.
bool try_mma(Call& call, const Product<float>& p, const Layout& batch, Precision precision, const Variant& variant) {
  MmaMethod method = mma_method_of(precision);
  bool wanted = variant.family == Variant::MMA;
  if (!wanted && (variant.family != Variant::DEFAULT || precision == PRECISION_IEEE)) return false;
  if (!mma_supported(call) || (!wanted && !mma_worth_it(call, p, batch, method))) return false;
  matmul_mma(call, p, batch, method);
  return true;
}
template <class T>
bool try_mma(Call& call, const Product<T>& p, const Layout& batch, Precision, const Variant& variant) {
  if ((variant.family != Variant::MMA && variant.family != Variant::DEFAULT) || !mma_supported(call)) return false;
  matmul_mma(call, p, batch, MmaMethod::HALF);
  return true;
}
bool try_mma(Call&, const Product<double>&, const Layout&, Precision, const Variant&) { return false; }

template <class T> void multiply(Call& call, const BatchProduct<T>& x, Precision precision, const Variant& variant) {
  if (variant.family == Variant::CUBLAS) return cublas_matmul(call, x, precision == PRECISION_TF32);
  Product<T> p = product_of(x);
  if (try_thin(call, p, x.batch, variant)) return;
  const Variant& other = if_not_thin(variant);
  if (try_hopper(call, p, x.batch, nullptr, precision, other) || try_mma(call, p, x.batch, precision, other)) return;
  matmul_simt(call, p, x.batch, other.simt);
}

template <class T> bool multiply_half(Call& call, const BatchProduct<T>& x, const Variant& variant) {
  if (variant.family == Variant::CUBLAS) {
    cublas_matmul(call, x);
    return true;
  }
  Product<T> p = product_of(x);
  const Variant& other = if_not_thin(variant);
  return try_thin(call, p, x.batch, variant) || try_hopper(call, p, x.batch, nullptr, PRECISION_FLOAT32, other) ||
         try_mma(call, p, x.batch, PRECISION_FLOAT32, other);
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

bool matmul_fused(Call& call, const BatchProduct<float>& x, const Epilogue& epilogue, Precision precision,
                  int32_t variant) {
  return epilogue.out_dtype == CDN_FLOAT32 &&
         try_hopper(call, product_of(x), x.batch, &epilogue, precision, if_not_thin(VARIANTS[variant]));
}
bool matmul_fused(Call&, const BatchProduct<double>&, const Epilogue&, Precision, int32_t) { return false; }
bool matmul_fused(Call& call, const BatchProduct<float16>& x, const Epilogue& epilogue, Precision precision,
                  int32_t variant) {
  return try_hopper(call, product_of(x), x.batch, &epilogue, precision, if_not_thin(VARIANTS[variant]));
}
bool matmul_fused(Call& call, const BatchProduct<bfloat16>& x, const Epilogue& epilogue, Precision precision,
                  int32_t variant) {
  return try_hopper(call, product_of(x), x.batch, &epilogue, precision, if_not_thin(VARIANTS[variant]));
}

}  // namespace backend
}  // namespace cdn
