#include "gpu/device/launch.h"

#include <cxxabi.h>

#include <cstdlib>
#include <cstring>
#include <unordered_map>

#include "runtime/profile.h"

namespace cdn {
namespace {

// Above 48 KiB of shared memory, what it has of its own among them, a kernel must ask, once on each
// device: for all that it may have, as threads share what was asked for.
constexpr int UNASKED = 32 * 1024;

void allow_shared(const Call& call, const void* kernel) {
  static thread_local std::unordered_map<const void*, uint64_t> asked;  // a bit for each device
  const uint64_t device = uint64_t{1} << call.device() % 64;
  uint64_t& devices = asked[kernel];
  if (devices & device) return;
  cudaFuncAttributes own;
  CUDA_CHECK(cudaFuncGetAttributes(&own, kernel));
  CUDA_CHECK(
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                           call.model().shared_per_block - static_cast<int>(own.sharedSizeBytes)));
  devices |= device;
}

}  // namespace

std::string backend::kernel_name(const void* kernel) {
  const char* name = nullptr;
  if (cudaFuncGetName(&name, kernel) != cudaSuccess || !name) {
    cudaGetLastError();
    return "";
  }
  int failed = 0;
  char* plain = abi::__cxa_demangle(name, nullptr, nullptr, &failed);
  std::string text = failed ? name : plain;
  free(plain);
  return text;
}

// The kernels are in the library only if it was built for sm_90a; in code for other architectures
// they are empty.
bool hopper_device(const Call& call) {
#ifdef CDN_ARCHS
  static const bool built = strstr(CDN_ARCHS, "90a") != nullptr;
#else
  constexpr bool built = true;
#endif
  return built && call.model().capability == 90;
}

void launch(Call& call, const void* kernel, const Launch& how, void** arguments) {
  if (how.shared_bytes > UNASKED) allow_shared(call, kernel);
  cudaLaunchAttribute attributes[2];
  cudaLaunchConfig_t config = {};
  if (how.pdl) {
    cudaLaunchAttribute& chain = attributes[config.numAttrs++];
    chain.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    chain.val.programmaticStreamSerializationAllowed = 1;
  }
  if (how.cluster > 1) {
    cudaLaunchAttribute& blocks = attributes[config.numAttrs++];
    blocks.id = cudaLaunchAttributeClusterDimension;
    blocks.val.clusterDim.x = static_cast<unsigned>(how.cluster);
    blocks.val.clusterDim.y = blocks.val.clusterDim.z = 1;
  }
  config.gridDim = how.grid;
  config.blockDim = how.threads;
  config.dynamicSmemBytes = static_cast<size_t>(how.shared_bytes);
  config.stream = call.stream();
  config.attrs = attributes;
  Recorder* recorder = recorder_of(call.device());
  int64_t place = -1;
  if (recorder) {
    const dim3 grid = how.grid;
    place = recorder->begin(config.stream, kernel, int64_t{grid.x} * grid.y * grid.z, how.threads);
  }
  CUDA_CHECK(cudaLaunchKernelExC(&config, kernel, arguments));
  if (recorder) recorder->end(place, config.stream);
}

}  // namespace cdn
