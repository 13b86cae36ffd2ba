#pragma once
#include "kernel/drivers.h"

namespace cdn {

// The largest of each 2 x 2 elements of images [n, height, width, channels], and which they are,
// unless argument is null.
void max_pool_2x2(Call& call, void* y, uint8_t* argument, const void* x, int64_t n, int64_t height,
                  int64_t width, int64_t channels, int32_t dtype);

}  // namespace cdn
