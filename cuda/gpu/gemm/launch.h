// How the products' kernels are launched that have several blocks to a multiprocessor: on Hopper,
// where they all find place at once, chained to the kernel before them.
#pragma once
#include <algorithm>

#include "gpu/device/device.h"
#include "gpu/tile/hopper.h"
#include "gpu/gemm/choice.h"
#include "gpu/gemm/wgmma/wgmma.h"

namespace cdn {

// most_shared: the most that the kernel takes in any launch; most: of its blocks to a
// multiprocessor.
template <class... P>
void launch_blocks(Call& call, void (*kernel)(P...), dim3 blocks, unsigned threads,
                   int shared_bytes, int most_shared, int cluster, int most,
                   typename As<P>::type... arguments) {
  ChainedLaunch way{false, shared_bytes};
  if (hopper_device(call)) {
    way = chained_launch(static_cast<double>(blocks.x) * blocks.y * blocks.z, cluster, most,
                         shared_bytes);
    most_shared = std::max(most_shared, ChainedLaunch::MOST_SHARED);
  }
  allow_shared(call, reinterpret_cast<const void*>(kernel), most_shared);
  launch_cluster(kernel, blocks, threads, way.shared_bytes, cluster, way.chained, stream_of(call),
                 arguments...);
}

}  // namespace cdn
