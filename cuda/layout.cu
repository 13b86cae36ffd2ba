#include "drivers.h"

namespace cdn {

static void extend(Reach* reach, int64_t extent, int64_t stride) {
  __int128 far = static_cast<__int128>(extent - 1) * stride;
  __int128 end = far + (far < 0 ? reach->low : reach->high);
  if (end > MAX_BYTES || end < -MAX_BYTES)
    CDN_FAIL(CDN_BAD_ARGUMENT, "layout: stride %lld reaches further than any memory", (long long)stride);
  (far < 0 ? reach->low : reach->high) = static_cast<int64_t>(end);
}

Layout read_layout(const int64_t* numbers, int32_t rank, int32_t inputs, Reach* reach_a, Reach* reach_b) {
  if (rank < 0 || rank > MAX_RANK) CDN_FAIL(CDN_BAD_ARGUMENT, "rank is %d; it must be in 0..%d", rank, MAX_RANK);
  if (rank > 0 && !numbers) CDN_FAIL(CDN_BAD_ARGUMENT, "layout is null");
  Layout out;
  for (int32_t d = 0; d < rank; d++)
    out.n = checked_product("layout extents", out.n, checked_size("layout extent", numbers[d * (inputs + 1)]));
  if (out.n == 0) return out;
  for (int32_t d = 0; d < rank; d++) {
    const int64_t* at = numbers + d * (inputs + 1);
    int64_t extent = at[0], a = at[1], b = inputs > 1 ? at[2] : 0;
    if (extent == 1) continue;
    extend(reach_a, extent, a);
    if (inputs > 1) extend(reach_b, extent, b);
    int32_t last = out.rank - 1;
    if (last >= 0 && out.a[last] == a * extent && out.b[last] == b * extent) {
      out.extent[last] *= extent;
      out.a[last] = a;
      out.b[last] = b;
    } else {
      out.extent[out.rank] = extent;
      out.a[out.rank] = a;
      out.b[out.rank] = b;
      out.rank++;
    }
  }
  return out;
}

}  // namespace cdn
