#include "kernel/drivers.h"

namespace cdn {

static void extend(Reach* reach, int64_t extent, int64_t stride) {
  __int128 far = static_cast<__int128>(extent - 1) * stride;
  __int128 end = far + (far < 0 ? reach->low : reach->high);
  if (end > MAX_BYTES || end < -MAX_BYTES)
    CDN_FAIL(CDN_BAD_ARGUMENT, "layout: stride %lld reaches further than any memory",
             (long long)stride);
  (far < 0 ? reach->low : reach->high) = static_cast<int64_t>(end);
}

Layout read_layout(const int64_t* numbers, int32_t rank, int32_t inputs, Reach* reach) {
  if (rank < 0 || rank > MAX_RANK)
    CDN_FAIL(CDN_BAD_ARGUMENT, "rank is %d; it must be in 0..%d", rank, MAX_RANK);
  if (rank > 0 && !numbers) CDN_FAIL(CDN_BAD_ARGUMENT, "layout is null");
  Layout out;
  for (int32_t d = 0; d < rank; d++)
    out.n = checked_product("layout extents", out.n,
                            checked_size("layout extent", numbers[d * (inputs + 1)]));
  if (out.n == 0) return out;
  for (int32_t d = 0; d < rank; d++) {
    const int64_t *at = numbers + d * (inputs + 1), *stride = at + 1;
    int64_t extent = at[0];
    if (extent == 1) continue;
    int32_t last = out.rank - 1;
    bool merge = last >= 0;
    for (int32_t i = 0; i < inputs; i++) {
      extend(&reach[i], extent, stride[i]);
      merge = merge && out.stride[i][last] == stride[i] * extent;
    }
    if (!merge) last = out.rank++;
    out.extent[last] = merge ? out.extent[last] * extent : extent;
    for (int32_t i = 0; i < inputs; i++) out.stride[i][last] = stride[i];
  }
  return out;
}

void check_apart(const Layout& l) {
  int64_t span = 0;
  bool seen[MAX_RANK] = {};
  auto size = [&](int32_t d) { return l.stride[0][d] < 0 ? -l.stride[0][d] : l.stride[0][d]; };
  for (int32_t k = 0; k < l.rank; k++) {
    int32_t least = -1;
    for (int32_t d = 0; d < l.rank; d++)
      if (!seen[d] && (least < 0 || size(d) < size(least))) least = d;
    if (size(least) <= span)
      CDN_FAIL(CDN_BAD_ARGUMENT, "layout: stride %lld may write an element twice",
               (long long)l.stride[0][least]);
    seen[least] = true;
    span += (l.extent[least] - 1) * size(least);
  }
}

}  // namespace cdn
