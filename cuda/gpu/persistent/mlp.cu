// Which cluster trains a perceptron, and the launch. Every other GPU leaves it to the general path.
#include "gpu/persistent/mlp_trainer.h"

namespace cdn {
namespace {

template <int GROUPS, int TILES>
__global__ void __launch_bounds__(MLP_MAX_WARPS * 32, 1)
    mlp_kernel(const __grid_constant__ MlpTraining mlp, const __grid_constant__ MlpShape shape) {
#if defined(CDN_HOPPER)
  extern __shared__ __align__(16) unsigned char memory[];
  MlpTrainer<GROUPS, TILES>(mlp, shape, memory).train();
#endif
}

int whole(int64_t n, int each) { return static_cast<int>((n + each - 1) / each * each); }

MlpShape shape_of(const MlpTraining& mlp, int log_blocks, int groups, int tiles) {
  MlpShape s{};
  s.log_blocks = log_blocks, s.groups = groups, s.units = 8 * tiles;
  s.workers = whole(mlp.inputs, MLP_GROUP * groups) / MLP_GROUP / groups;
  s.warps = std::max(MLP_MIN_WARPS, s.workers + MLP_MAX_WARPS - MLP_MAX_WORKERS);
  s.rows = whole(mlp.batch, MLP_CHUNK);
  s.classes = whole(mlp.classes, 4), s.message = whole(mlp.classes + 2, 4);
  s.dh_row = s.rows + 8;
  s.words = mlp.inputs % 16 == 0 && reinterpret_cast<uintptr_t>(mlp.x) % 16 == 0;
  s.ring = s.chunks() + 1;
  return s;
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

// Whether it was done.
template <int GROUPS, int TILES> bool train(Call& call, const MlpTraining& mlp) {
  auto* kernel = mlp_kernel<GROUPS, TILES>;
  for (int log_blocks : {4, 3}) {
    MlpShape s = shape_of(mlp, log_blocks, GROUPS, TILES);
    if (s.workers > MLP_MAX_WORKERS || mlp.hidden > s.units << log_blocks) continue;
    for (; s.ring >= s.chunks(); s.ring--) {
      s.share_out_memory();
      if (s.of.bytes > call.model().shared_per_block) continue;
      const Launch how{static_cast<unsigned>(s.blocks()), static_cast<unsigned>(s.warps * 32),
                       s.of.bytes, s.blocks()};
      if (!fits(call, reinterpret_cast<const void*>(kernel), how)) break;
      if (mlp.steps) launch(call, kernel, how, mlp, s);
      return true;
    }
  }
  return false;
}
}  // namespace

void backend::train_mlp(Call& call, const MlpTraining& mlp) {
  if (!hopper_device(call))
    CDN_FAIL(CDN_UNSUPPORTED, "only GPUs of compute capability 9.0 train so");
  // Without whole words samples are fetched byte by byte, which takes long where there are many.
  const bool words = mlp.inputs % 16 == 0 || mlp.inputs <= 256;
  const bool small =
      words && mlp.bytes && mlp.batch <= MLP_MAX_BATCH && mlp.classes <= MLP_MAX_CLASSES;
  if (!small || !(train<2, 1>(call, mlp) || train<4, 1>(call, mlp) || train<2, 2>(call, mlp)))
    CDN_FAIL(CDN_UNSUPPORTED, "%lld-%lld-%lld in batches of %lld is more than a cluster holds",
             (long long)mlp.inputs, (long long)mlp.hidden, (long long)mlp.classes,
             (long long)mlp.batch);
}

}  // namespace cdn
