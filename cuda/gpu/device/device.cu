#include "gpu/device/device.h"

#include <unordered_map>

namespace cdn {

const DeviceFacts& device_facts(const Call& call) {
  static thread_local std::unordered_map<int32_t, DeviceFacts> known;
  int32_t device = call.device();
  DeviceFacts& facts = known[device];
  if (facts.processors == 0) {
    int major = 0, minor = 0, processors = 0;
    CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
    CUDA_CHECK(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
    CUDA_CHECK(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device));
    facts = {processors, major * 10 + minor};
  }
  return facts;
}

void allow_shared(const Call& call, const void* kernel, int bytes) {
  static thread_local std::unordered_map<const void*, uint64_t>
      asked;  // by kernel, a bit for each device
  if (bytes <= 48 * 1024) return;
  uint64_t device = uint64_t{1} << call.device() % 64;
  uint64_t& devices = asked[kernel];
  if (devices & device) return;
  CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  devices |= device;
}

}  // namespace cdn
