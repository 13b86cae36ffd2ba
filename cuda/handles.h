// What the functions that manage rather than compute use besides runtime.h.
#pragma once
#include "runtime.h"

namespace cdn {

HandleTable<Buffer>& buffers();
Buffer& buffer_at(uint32_t handle, const char* name);  // throws CDN_BAD_HANDLE
Block* allocate(Device& device, int64_t bytes);
void release(Device& device, Block* block);
void order_after(Block* block, Stream stream);  // work queued on stream from now on follows the block's last use
void raise_fault(int32_t device);               // throws what a kernel has reported since the last look

// The body of a function that manages: it holds the library.
template <class F> int32_t locked(const char* op, F&& body) noexcept {
  return guard(op, [&] {
    std::lock_guard<std::mutex> lock(library_mutex());
    body();
  });
}

template <class T> T* required(T* p, const char* name) {
  if (!p) CDN_FAIL(CDN_BAD_ARGUMENT, "%s is null", name);
  return p;
}

}  // namespace cdn
