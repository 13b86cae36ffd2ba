#include "gpu/gemm/wgmma/tensor_map.h"

namespace cdn {
namespace {

using Tiled = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*,
                           const cuuint64_t*, const cuuint32_t*, const cuuint32_t*,
                           CUtensorMapInterleave, CUtensorMapSwizzle, CUtensorMapL2promotion,
                           CUtensorMapFloatOOBfill);
using Im2Col = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*,
                            const cuuint64_t*, const int*, const int*, cuuint32_t, cuuint32_t,
                            const cuuint32_t*, CUtensorMapInterleave, CUtensorMapSwizzle,
                            CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

// A function of the driver, found at run time: the library is not linked with the driver, so that
// it loads without one.
template <class F> F driver_function(const char* name) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult result;
  CUDA_CHECK(cudaGetDriverEntryPointByVersion(name, &function, 12000, cudaEnableDefault, &result));
  if (!function) CDN_FAIL(CDN_UNSUPPORTED, "the CUDA driver has no %s", name);
  return reinterpret_cast<F>(function);
}

constexpr int CHANNELS = 64;  // of 16 bits: the span of the swizzle

}  // namespace

bool fits(const Lines& x) {
  constexpr int64_t MOST = INT32_MAX;
  return x.cols <= MOST && x.lines <= MOST && x.count <= MOST && x.ld % 8 == 0 && x.step % 8 == 0 &&
         aligned16(x.data) && x.step < int64_t{1} << 38;
}

namespace {

// Of the first `rank` axes, innermost first; bytes: from one to the next of the second axis and so
// on.
CUtensorMap tensor_map(const void* data, int rank, const cuuint64_t (&extents)[4],
                       const cuuint64_t (&bytes)[3], int height) {
  static const auto encode = driver_function<Tiled>("cuTensorMapEncodeTiled");
  CUtensorMap map;
  cuuint32_t box[4] = {CHANNELS, (cuuint32_t)height, 1, 1}, ones[4] = {1, 1, 1, 1};
  CUresult status =
      encode(&map, CU_TENSOR_MAP_DATA_TYPE_UINT16, (cuuint32_t)rank, const_cast<void*>(data),
             extents, bytes, box, ones, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS)
    CDN_FAIL(CDN_INTERNAL, "cuTensorMapEncodeTiled: status %d for %lld x %lld x %lld, %lld apart",
             (int)status, (long long)extents[2], (long long)extents[1], (long long)extents[0],
             (long long)bytes[0] / 2);
  return map;
}

}  // namespace

CUtensorMap tensor_map(const Lines& x, int height) {
  const int64_t step = x.step ? x.step : x.lines * x.ld;
  return tensor_map(x.data, 3, {(cuuint64_t)x.cols, (cuuint64_t)x.lines, (cuuint64_t)x.count},
                    {(cuuint64_t)x.ld * 2, (cuuint64_t)step * 2}, height);
}

bool fits(const HeadLines& x) {
  constexpr int64_t MOST = INT32_MAX;
  auto walkable = [](int64_t count, int64_t step) {
    return count <= MOST && (count == 1 || (step > 0 && step % 8 == 0 && step < int64_t{1} << 38));
  };
  return x.cols <= MOST && aligned16(x.data) && walkable(x.lines, x.ld) &&
         walkable(x.heads, x.head_step) && walkable(x.count, x.step);
}

CUtensorMap tensor_map(const HeadLines& x, int height) {
  // The distance between one and none is not looked at, but must be one.
  auto bytes = [&](int64_t count, int64_t step) {
    return (cuuint64_t)(count > 1 ? step : (x.cols + 7) / 8 * 8) * 2;
  };
  return tensor_map(
      x.data, 4,
      {(cuuint64_t)x.cols, (cuuint64_t)x.lines, (cuuint64_t)x.heads, (cuuint64_t)x.count},
      {bytes(x.lines, x.ld), bytes(x.heads, x.head_step), bytes(x.count, x.step)}, height);
}

namespace {

// From the last pixel of a line or column of the image to where the last place is.
int64_t upper(int64_t places, int64_t stride, int64_t first, int64_t size) {
  return (places - 1) * stride + 1 + first - size;
}

}  // namespace

bool fits(const Im2ColImages& x) {
  constexpr int64_t MOST_STRIDE = 8, MOST_OFFSET = 255, MOST = INT32_MAX;
  auto corner = [](int64_t c) { return c >= -128 && c <= 127; };
  return x.channels % 8 == 0 && x.pixel % 8 == 0 && x.line % 8 == 0 && aligned16(x.data) &&
         x.stride_h <= MOST_STRIDE && x.stride_w <= MOST_STRIDE && x.span_h <= MOST_OFFSET &&
         x.span_w <= MOST_OFFSET && corner(x.first_h) && corner(x.first_w) &&
         corner(upper(x.height, x.stride_h, x.first_h, x.h)) &&
         corner(upper(x.width, x.stride_w, x.first_w, x.w)) && x.n <= MOST && x.h <= MOST &&
         x.w <= MOST && x.channels <= MOST;
}

CUtensorMap im2col_map(const Im2ColImages& x, int pixels) {
  static const auto encode = driver_function<Im2Col>("cuTensorMapEncodeIm2col");
  CUtensorMap map;
  cuuint64_t extents[4] = {(cuuint64_t)x.channels, (cuuint64_t)x.w, (cuuint64_t)x.h,
                           (cuuint64_t)x.n};
  cuuint64_t bytes[3] = {(cuuint64_t)x.pixel * 2, (cuuint64_t)x.line * 2,
                         (cuuint64_t)(x.line * x.h) * 2};
  // Innermost first, as the extents.
  int low[2] = {(int)x.first_w, (int)x.first_h},
      high[2] = {(int)upper(x.width, x.stride_w, x.first_w, x.w),
                 (int)upper(x.height, x.stride_h, x.first_h, x.h)};
  cuuint32_t steps[4] = {1, (cuuint32_t)x.stride_w, (cuuint32_t)x.stride_h, 1};
  CUresult status = encode(&map, CU_TENSOR_MAP_DATA_TYPE_UINT16, 4, const_cast<void*>(x.data),
                           extents, bytes, low, high, CHANNELS, (cuuint32_t)pixels, steps,
                           CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                           CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS)
    CDN_FAIL(CDN_INTERNAL,
             "cuTensorMapEncodeIm2col: status %d for %lld x %lld x %lld x %lld, %lld x %lld places",
             (int)status, (long long)x.n, (long long)x.h, (long long)x.w, (long long)x.channels,
             (long long)x.height, (long long)x.width);
  return map;
}

}  // namespace cdn
