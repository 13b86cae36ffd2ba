// Which cluster trains a perceptron, and the launch. Every other GPU leaves it to the general path.
#include "gpu/persistent/mlp_trainer.h"

namespace cdn {
namespace {

template <class T, bool NORMALISED>
__global__ void __launch_bounds__(MLP_THREADS, 1)
    mlp_kernel(const __grid_constant__ MlpTraining mlp, const __grid_constant__ MlpShape shape) {
#if defined(CDN_HOPPER)
  extern __shared__ __align__(16) unsigned char memory[];
  MlpTrainer<T, NORMALISED>(mlp, shape, memory).train();
#endif
}

int64_t whole(int64_t n, int64_t each) { return (n + each - 1) / each * each; }

template <class T> MlpShape shape_of(const MlpTraining& mlp, int groups, int slices, int buffers) {
  constexpr int PIECE = 16 / sizeof(T);
  MlpShape s{};
  s.groups = groups, s.slices = slices, s.buffers = buffers;
  s.hidden = static_cast<int>(whole((mlp.hidden + groups - 1) / groups, 32));
  s.features = static_cast<int>(whole((mlp.inputs + slices - 1) / slices, PIECE));
  s.columns = static_cast<int>(whole(s.features, 8));
  s.rows = static_cast<int>(whole(mlp.batch, 16)), s.own = s.rows / slices;
  s.classes = static_cast<int>(mlp.classes), s.class_row = s.classes;
  // Rows a whole number of pieces apart, of which the odd ones lie in other banks of the memory.
  s.w_row = s.columns + 4, s.h_row = s.hidden + 4;
  s.x_row = s.w_row;
  if (sizeof(T) == 1) s.x_row = static_cast<int>(whole(s.columns, 16)) | 16;
  s.letter = static_cast<int>(whole(s.classes * (s.hidden + 1) + 2, 4));
  s.words = mlp.inputs % PIECE == 0 && reinterpret_cast<uintptr_t>(mlp.x) % 16 == 0;
  return s;
}

// What a step takes, roughly, in cycles: products on tensor cores, and messages.
double cost_of(const MlpShape& s) {
  constexpr double PRODUCT = 0.01, BYTE = 0.07;
  return s.rows * static_cast<double>(s.hidden) * (s.columns * PRODUCT + 2 * 4 * BYTE);
}

// Whether the device has room for the cluster at all: parts of a GPU may have fewer processors.
bool fits(const Call& call, const void* kernel, const Launch& how) {
  CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1));
  CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  call.model().shared_per_block));
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {static_cast<unsigned>(how.cluster), 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = how.grid, config.blockDim = how.threads;
  config.dynamicSmemBytes = static_cast<size_t>(how.shared_bytes);
  config.attrs = &cluster, config.numAttrs = 1;
  int clusters = 0;
  const cudaError_t status = cudaOccupancyMaxActiveClusters(&clusters, kernel, &config);
  if (status != cudaSuccess) cudaGetLastError();
  return status == cudaSuccess && clusters > 0;
}

template <class T, bool NORMALISED> void train(Call& call, const MlpTraining& mlp) {
  auto* kernel = mlp_kernel<T, NORMALISED>;
  for (int blocks : {16, 8}) {
    MlpShape best{};
    Launch how;
    for (int groups = 1; groups <= blocks; groups *= 2)
      for (int buffers = 2; buffers > static_cast<int>(sizeof(T) == 1); buffers--) {
        const MlpShape s = shape_of<T>(mlp, groups, blocks / groups, buffers);
        const int64_t bytes = MlpMemory<T>(s, nullptr).bytes;
        if (bytes > call.model().shared_per_block || (best.groups && cost_of(s) >= cost_of(best)))
          continue;
        best = s;
        how = {static_cast<unsigned>(blocks), MLP_THREADS, static_cast<int>(bytes), blocks};
      }
    if (!best.groups || !fits(call, reinterpret_cast<const void*>(kernel), how)) continue;
    if (mlp.steps) launch(call, kernel, how, mlp, best);
    return;
  }
  CDN_FAIL(CDN_UNSUPPORTED, "%lld-%lld-%lld in batches of %lld is more than a cluster holds",
           (long long)mlp.inputs, (long long)mlp.hidden, (long long)mlp.classes,
           (long long)mlp.batch);
}

}  // namespace

void backend::train_mlp(Call& call, const MlpTraining& mlp) {
  if (!hopper_device(call))
    CDN_FAIL(CDN_UNSUPPORTED, "only GPUs of compute capability 9.0 train so");
  if (mlp.batch > MLP_MAX_BATCH || mlp.classes > MLP_MAX_CLASSES || mlp.hidden > 4096 ||
      mlp.inputs > 65536)
    CDN_FAIL(CDN_UNSUPPORTED, "batches have at most %d samples here, of %d classes", MLP_MAX_BATCH,
             MLP_MAX_CLASSES);
  const bool shifts = mlp.shift || mlp.norms != 1;
  if (mlp.bytes) return shifts ? train<uint8_t, true>(call, mlp) : train<uint8_t, false>(call, mlp);
  if (mlp.scale || shifts) return train<float, true>(call, mlp);
  train<float, false>(call, mlp);
}

}  // namespace cdn
