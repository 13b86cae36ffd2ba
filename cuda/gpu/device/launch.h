// The one way to start a kernel. Profiler and capture look here.
#pragma once
#include <cuda_runtime.h>

#include <type_traits>

#include "gpu/device/check.h"
#include "runtime/call.h"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define CDN_HOPPER 1
#endif

namespace cdn {

#if defined(CDN_HOPPER)
// For Launch::pdl, below.
namespace hopper {
__device__ __forceinline__ void wait_for_previous_kernel() {
  asm volatile("griddepcontrol.wait;" ::: "memory");
}
__device__ __forceinline__ void let_next_kernel_start() {
  asm volatile("griddepcontrol.launch_dependents;");
}
}  // namespace hopper
#endif

constexpr int BLOCK = 256;

// Kernels walk their blocks with a stride of the grid, so a count beyond its limit is still
// covered.
inline unsigned grid_for(int64_t blocks) {
  return static_cast<unsigned>(blocks < 0x7fffffff ? blocks : 0x7fffffff);
}

struct Launch {
  dim3 grid;
  unsigned threads = BLOCK;  // of a block
  int shared_bytes = 0;      // dynamic shared memory
  int cluster = 1;           // blocks
  // Programmatic dependent launch: a kernel that begins with wait_for_previous_kernel() may take
  // its place while the one before it, if that has called let_next_kernel_start(), still runs.
  bool pdl = false;
};

// A thread for each of `count`.
inline Launch for_each_of(int64_t count) { return {grid_for((count + BLOCK - 1) / BLOCK)}; }

void launch(Call& call, const void* kernel, const Launch& how, void** arguments);

// Whether the kernels for sm_90a alone run on the call's device.
bool hopper_device(const Call& call);

// The same by a kernel's own type, to whose parameters the arguments are converted.
template <class... P>
void launch(Call& call, void (*kernel)(P...), const Launch& how, std::decay_t<P>... arguments) {
  void* pointers[] = {&arguments...};
  launch(call, reinterpret_cast<const void*>(kernel), how, pointers);
}

// A kernel that begins with follow_previous_kernel() may be launched as following().
__device__ __forceinline__ void follow_previous_kernel() {
#if defined(CDN_HOPPER)
  hopper::let_next_kernel_start();
  hopper::wait_for_previous_kernel();
#endif
}
inline Launch following(const Call& call, Launch how) {
  how.pdl = hopper_device(call);
  return how;
}

}  // namespace cdn
