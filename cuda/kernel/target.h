// Class numbers as the targets of losses: int32 or uint8, one of which may stand for "ignore this".
#pragma once
#include "kernel/drivers.h"

namespace cdn {

// What a target means: its class, or none.
template <class Target> struct Chosen {
  const Target* target;
  int64_t classes, ignore;
  CDN_FN int64_t at(int64_t r) const { return static_cast<int64_t>(target[r]); }
  CDN_FN bool ignored(int64_t t) const { return t == ignore; }
  CDN_FN bool valid(int64_t t) const { return t >= 0 && t < classes; }
};

template <class F> void with_target(int32_t dtype, F&& f) {
  if (dtype == CDN_INT32) return f(int32_t{});
  if (dtype == CDN_UINT8) return f(uint8_t{});
  CDN_FAIL(CDN_UNSUPPORTED, "target_dtype is %s; it must be int32 or uint8", dtype_name(dtype));
}

}  // namespace cdn
