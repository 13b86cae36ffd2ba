// The parts of runtime.cu that only the memory functions use.
#pragma once
#include "runtime.h"

namespace cdn {

HandleTable<Buffer>& buffers();
Buffer& buffer_at(uint32_t handle, const char* name);  // throws CDN_BAD_HANDLE
Block* allocate(Device& device, int64_t bytes);
void release(Device& device, Block* block);
void order_after(Block* block, Stream stream);  // work queued on stream from now on follows the block's last use
void raise_fault(int32_t device);               // throws what a kernel has reported since the last look

}  // namespace cdn
