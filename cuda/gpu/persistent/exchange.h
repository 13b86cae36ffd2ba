// How the blocks of a persistent kernel hand on what they have computed: by messages into one
// another's shared memory. Nobody waits for all others, only for the messages that it needs.
#pragma once
#include "gpu/tile/hopper.h"

namespace cdn {
#if defined(CDN_HOPPER)

// A part of a block's shared memory that is filled anew once in each round. The barrier of a round
// completes when all bytes have come. Nothing of the next round may be sent to a block before it
// has what this round brings: the order of the kernel's exchanges has to see to that.
struct Mailbox {
  uint64_t* full;
  uint32_t bytes;

  // By one thread; the other blocks may send once all blocks of the cluster have met.
  __device__ __forceinline__ void open() const {
    hopper::barrier_init(full, 1);
    hopper::barrier_expect(full, bytes);
  }
  // x, of 4 or 16 bytes, to the place `here` in another block, or in this one.
  template <class X>
  __device__ __forceinline__ void send(const void* here, int block, const X& x) const {
    hopper::send(hopper::address_in_block(here, block), hopper::address_in_block(full, block), x);
  }
  // By all threads of the block, until all of the round is there.
  __device__ __forceinline__ void wait(int64_t round) const {
    hopper::barrier_wait(full, static_cast<uint32_t>(round & 1));
    if (threadIdx.x == 0) hopper::barrier_expect(full, bytes);
  }
};

#endif
}  // namespace cdn
