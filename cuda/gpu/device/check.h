// CUDA's own status turned into the library's error, with CUDA's text.
#pragma once
#include <cuda_runtime.h>

#include "runtime/status.h"

#define CUDA_CHECK(call)                                                            \
  do {                                                                              \
    cudaError_t cuda_status = (call);                                               \
    if (cuda_status != cudaSuccess) {                                               \
      cudaGetLastError(); /* or the next launch would report it again */            \
      CDN_FAIL(CDN_CUDA_FAILURE, "%s: %s", #call, cudaGetErrorString(cuda_status)); \
    }                                                                               \
  } while (0)
