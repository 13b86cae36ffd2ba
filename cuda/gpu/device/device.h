// What kernels' launches ask of the device, asked of CUDA once. Known to each thread by itself, so
// that no launch takes a lock.
#pragma once
#include "runtime/call.h"
#include "gpu/device/check.h"

namespace cdn {

struct DeviceFacts {
  int processors = 0, capability = 0;  // 90 is compute capability 9.0
};

const DeviceFacts& device_facts(const Call& call);

// Above 48 KiB of shared memory a kernel must ask, once per device.
void allow_shared(const Call& call, const void* kernel, int bytes);

}  // namespace cdn
