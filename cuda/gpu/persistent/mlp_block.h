// What a block of the cluster is and has: its part of the perceptron, which it fetches and puts
// back, its mailboxes, and the samples of a step.
#pragma once
#include "gpu/persistent/exchange.h"
#include "gpu/persistent/mlp_samples.h"

namespace cdn {
#if defined(CDN_HOPPER)

using Quad = Pack<float, 4>;

template <class T, bool NORMALISED> class MlpBlock {
 public:
  using Samples = MlpSamples<T, NORMALISED>;
  using M = MlpTraining;

  __device__ __forceinline__ MlpBlock(const MlpTraining& mlp, const MlpShape& shape,
                                      unsigned char* memory)
      : mlp(mlp), s(shape), to(shape, memory) {
    thread = static_cast<int>(threadIdx.x);
    warp = thread / 32, g = thread % 32 / 4, t = thread % 4;
    const int rank = static_cast<int>(hopper::cluster_rank());
    group = rank / s.slices, slice = rank % s.slices;
    batch = static_cast<int>(mlp.batch);
    auto part = [](int64_t all, int each, int which) {
      const int64_t left = all - int64_t{1} * each * which;
      return static_cast<int>(left < 0 ? 0 : left < each ? left : each);
    };
    units = part(mlp.hidden, s.hidden, group);
    features = part(mlp.inputs, s.features, slice);
    first_unit = group * s.hidden, first_feature = slice * s.features;
    x = {static_cast<const T*>(mlp.x) + first_feature,
         mlp.inputs,
         features,
         to.x,
         s.x_row,
         to.scale,
         to.shift};
    unit = Samples::EXACT && mlp.scale ? *mlp.scale : 1;
  }

 protected:
  __device__ __forceinline__ Mailbox parts_box() const {
    return {to.barrier, static_cast<uint32_t>(s.part_bytes())};
  }
  __device__ __forceinline__ Mailbox letters_box() const {
    return {to.barrier + 1, static_cast<uint32_t>(s.letter_bytes())};
  }
  __device__ __forceinline__ Mailbox scores_box(int64_t step) const {
    return {to.barrier + 2 + (step & 1), static_cast<uint32_t>(s.score_bytes())};
  }
  __device__ __forceinline__ Mailbox gradients_box(int slice) const {
    return {to.barrier + 4 + slice, static_cast<uint32_t>(s.gradient_bytes())};
  }
  __device__ __forceinline__ T* batch_at(int64_t step) const {
    return to.x + (s.buffers == 2 ? step & 1 : 0) * s.rows * s.x_row;
  }
  __device__ __forceinline__ int32_t* index_at(int64_t step) const {
    return to.index + step % to.INDICES * s.rows;
  }
  __device__ __forceinline__ int32_t* label_at(int64_t step) const {
    return to.label + step % 2 * s.rows;
  }
  __device__ __forceinline__ int block_of(int group, int slice) const {
    return group * s.slices + slice;
  }
  static __device__ __forceinline__ Quad& quad(float* p) { return *reinterpret_cast<Quad*>(p); }
  // f(row, quad) for each four numbers of `rows` rows of the group's hidden units, shared out from
  // a thread on.
  template <class F>
  __device__ __forceinline__ void each_quad(int rows, F&& f, int from = 0) const {
    const int quads = s.hidden / 4;
    for (int i = (thread - from) & (MLP_THREADS - 1); i < rows * quads; i += MLP_THREADS) {
      const int row = static_cast<int>(s.by_quads(i));
      f(row, (i - row * quads) * 4);
    }
  }

  // ---- the parameters, from and to the device's memory; what the last blocks lack is 0

  // f(number in a letter, place here, place there, whether there is one).
  template <class F> __device__ __forceinline__ void each_of_second(F&& f) const {
    for (int i = thread; i < s.classes * s.hidden; i += MLP_THREADS) {
      const int c = static_cast<int>(s.by_hidden(i)), u = i - c * s.hidden;
      f(i, c * s.h_row + u, c * mlp.hidden + first_unit + u, u < units);
    }
  }
  template <class F> __device__ __forceinline__ void each_of_first(F&& f) const {
    for (int u = warp; u < units; u += MLP_WARPS)
      for (int c = thread % 32; c < features; c += 32)
        f(u * s.w_row + c, (first_unit + u) * mlp.inputs + first_feature + c);
  }

  __device__ __forceinline__ void begin() {
    if (thread == 0) {
      parts_box().open(), letters_box().open();
      scores_box(0).open(), scores_box(1).open();
      for (int k = 0; k < s.slices; k++) gradients_box(k).open();
    }
    hopper::barriers_visible();
    uint32_t* words = reinterpret_cast<uint32_t*>(to.x);
    const int64_t end = reinterpret_cast<uint32_t*>(to.barrier) - words;
    for (int64_t i = thread; i < end; i += MLP_THREADS) words[i] = 0;
    __syncthreads();
    for (int64_t step = 0; step < 2 && step < mlp.steps; step++)
      if (thread < batch)
        index_at(step)[thread] =
            static_cast<int32_t>(mlp.checked(mlp.order[step * batch + thread]));
    each_of_first([&](int here, int64_t there) { to.w1[here] = mlp.param[M::W1][there]; });
    auto copy = [&](int p, float* w, float* v, int here, int64_t there) {
      w[here] = mlp.param[p][there];
      if (mlp.velocity[p]) v[here] = mlp.velocity[p][there];
    };
    each_of_second([&](int, int here, int64_t there, bool valid) {
      if (valid) copy(M::W2, to.w2, to.v2, here, there);
    });
    for (int u = thread; u < units; u += MLP_THREADS) copy(M::B1, to.b1, to.vb1, u, first_unit + u);
    if (thread < s.classes) copy(M::B2, to.b2, to.vb2, thread, thread);
    if (NORMALISED)
      for (int c = thread; c < features; c += MLP_THREADS) {
        to.scale[c] = mlp.scale ? mlp.scale[mlp.norm(first_feature + c)] : 1;
        to.shift[c] = mlp.shift ? mlp.shift[mlp.norm(first_feature + c)] : 0;
      }
    __syncthreads();
    fetch_labels(0);
    fetch_samples(0);
    wait_copies<0>();
    hopper::cluster_sync_all();
  }

  __device__ __forceinline__ void end() {
    each_of_first([&](int here, int64_t there) { mlp.param[M::W1][there] = to.w1[here]; });
    auto copy = [&](int p, const float* w, const float* v, int here, int64_t there) {
      mlp.param[p][there] = w[here];
      if (mlp.velocity[p]) mlp.velocity[p][there] = v[here];
    };
    if (slice == 0) {
      each_of_second([&](int, int here, int64_t there, bool valid) {
        if (valid) copy(M::W2, to.w2, to.v2, here, there);
      });
      for (int u = thread; u < units; u += MLP_THREADS)
        copy(M::B1, to.b1, to.vb1, u, first_unit + u);
      if (group == 0 && thread < s.classes) copy(M::B2, to.b2, to.vb2, thread, thread);
    }
    hopper::cluster_sync_all();  // nobody goes while messages may be on their way
  }

  // ---- the samples of a step

  __device__ __forceinline__ void fetch_labels(int64_t step) const {
    if (thread >= batch) return;
    const int32_t i = index_at(step)[thread];
    copy_async_or_zero<4>(label_at(step) + thread, mlp.target + (i < 0 ? 0 : i), i >= 0);
  }
  __device__ __forceinline__ void fetch_samples(int64_t step) const {
    x.fetch_columns(s.words, batch_at(step), index_at(step), batch, warp, MLP_WARPS, 0, features,
                    thread % 32, 32);
  }
  __device__ __forceinline__ void fetch_next(int64_t step) const {
    if (step == mlp.steps) return;
    fetch_labels(step);
    if (s.buffers == 2) fetch_samples(step);
  }

  const MlpTraining& mlp;
  const MlpShape& s;
  const MlpMemory<T> to;
  Samples x;
  int thread, warp, g, t;  // g, t: as in tile/mma.h
  int group, slice, batch;
  int units, features, first_unit, first_feature;  // that the block really has
  float unit;                                      // by which the products are still to be scaled
};

#endif
}  // namespace cdn
