// Copies from global to shared memory that go on in the background (cp.async, sm_80 and later). On
// older GPUs they are plain copies, done on return, and the waits do nothing: the same program,
// without the overlap.
#pragma once
#include <cuda_runtime.h>

#include "kernel/half.h"

namespace cdn {

__device__ __forceinline__ uint32_t shared_address(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

// The two addresses are aligned to BYTES (4, 8 or 16). Copies of 16 bytes pass by L1. L2::128B lets
// L2 fetch the line that neighbouring copies, or the next tile, will want.
template <int BYTES> __device__ __forceinline__ void copy_async(void* shared, const void* global) {
  static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16, "the sizes of cp.async");
#if __CUDA_ARCH__ >= 800
  uint32_t to = shared_address(shared);
  if (BYTES == 16)
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(to), "l"(global)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global.L2::128B [%0], [%1], %2;" ::"r"(to), "l"(global),
                 "n"(BYTES)
                 : "memory");
#else
  using Word = Pack<uint32_t, BYTES / 4>;
  *static_cast<Word*>(shared) = *static_cast<const Word*>(global);
#endif
}

// The same of the first `bytes` only, from sm_80 on, and zeros for the others, which are not read.
template <int BYTES>
__device__ __forceinline__ void copy_async_start(void* shared, const void* global, int bytes) {
#if __CUDA_ARCH__ >= 800
  if (BYTES == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
                 "l"(global), "r"(bytes)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(shared)),
                 "l"(global), "n"(BYTES), "r"(bytes)
                 : "memory");
#endif
}

// The same, or zeros when not valid: global is not read then, and may be any address.
template <int BYTES>
__device__ __forceinline__ void copy_async_or_zero(void* shared, const void* global, bool valid) {
#if __CUDA_ARCH__ >= 800
  copy_async_start<BYTES>(shared, global, valid ? BYTES : 0);
#else
  using Word = Pack<uint32_t, BYTES / 4>;
  *static_cast<Word*>(shared) = valid ? *static_cast<const Word*>(global) : Word{};
#endif
}

// Closes the group of this thread's copies since the last call; it may be empty.
__device__ __forceinline__ void commit_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until at most PENDING of this thread's newest groups are under way.
template <int PENDING> __device__ __forceinline__ void wait_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
#endif
}

}  // namespace cdn
