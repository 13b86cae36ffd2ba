// The persistent kernel that trains a perceptron: one cluster, whose blocks keep the weights from
// step to step. A step in a block, with what blocks send one another and who waits for it:
//
//   multiply_hidden   its slice of the features of all samples times its weights; the parts of a
//                     sample's hidden units go to the block of the group that owns the sample
//   hidden_units      (waits for the parts) adds them up: whole hidden units of its own samples
//   score             these times its weights of the second layer; the parts of the scores go to
//                     all blocks of the slice
//   losses            (waits for the scores) adds them up, each block for itself: losses, and the
//                     gradients of the scores
//   hidden_gradients  from there to the hidden units of its own samples; to all blocks of the group
//   letters           its samples' part of the second layer's gradients, to all blocks of the group
//   first_weights     (waits for all samples' gradients) gradients of its weights, and their step
//   second_weights    (waits for the letters) the step of the other parameters, of which blocks
//   have
//                     equal copies
//
// What a block sends in a step it sends after it had all that it waited for in the step before, so
// no message meets a mailbox of an earlier round. Scores alone go to blocks of which nothing was
// awaited since the last ones: they have two mailboxes, in turns.
#pragma once
#include "gpu/persistent/exchange.h"
#include "gpu/persistent/mlp_operands.h"
#include "gpu/persistent/mlp_samples.h"

namespace cdn {
#if defined(CDN_HOPPER)

using Quad = Pack<float, 4>;

template <class T, bool NORMALISED> class MlpTrainer {
  using Samples = MlpSamples<T, NORMALISED>;
  using M = MlpTraining;

 public:
  __device__ __forceinline__ MlpTrainer(const MlpTraining& mlp, const MlpShape& shape,
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

  __device__ __forceinline__ void train() {
    begin();
    for (int64_t step = 0; step < mlp.steps; step++) {
      const float rate = mlp.rate_of(step);
      const bool comes = step + 2 < mlp.steps && thread < batch;
      const int64_t after_next = comes ? mlp.sample_at((step + 2) * batch + thread) : -1;
      x.x = batch_at(step);
      multiply_hidden();
      fetch_next(step + 1);
      hidden_units(step);
      if (comes) index_at(step + 2)[thread] = static_cast<int32_t>(after_next);
      const int counted = __syncthreads_count(
          thread < batch && (index_at(step)[thread] < 0 || label_at(step)[thread] != mlp.ignore));
      score(step);
      losses(step, counted);
      __syncthreads();
      hidden_gradients();
      letters();
      first_weights(step, rate);
      second_weights(step, rate, counted);
      wait_copies<0>();
      __syncthreads();
    }
    end();
  }

 private:
  __device__ __forceinline__ Mailbox parts_box() const {
    return {to.barrier, static_cast<uint32_t>(s.part_bytes())};
  }
  __device__ __forceinline__ Mailbox gradients_box() const {
    return {to.barrier + 1, static_cast<uint32_t>(s.part_bytes())};
  }
  __device__ __forceinline__ Mailbox letters_box() const {
    return {to.barrier + 2, static_cast<uint32_t>(s.letter_bytes())};
  }
  __device__ __forceinline__ Mailbox scores_box(int64_t step) const {
    return {to.barrier + 3 + (step & 1), static_cast<uint32_t>(s.score_bytes())};
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
  // f(row, quad) for each four numbers of `rows` rows of the group's hidden units.
  template <class F> __device__ __forceinline__ void each_quad(int rows, F&& f) const {
    const int quads = s.hidden / 4;
    for (int i = thread; i < rows * quads; i += MLP_THREADS) f(i / quads, i % quads * 4);
  }

  // ---- the parameters, from and to the device's memory; what the last blocks lack is 0

  template <class F> __device__ __forceinline__ void each_of_second(F&& f) const {
    for (int i = thread; i < s.classes * s.hidden; i += MLP_THREADS) {
      const int c = i / s.hidden, u = i % s.hidden;
      f(c * s.h_row + u, c * mlp.hidden + first_unit + u, u < units);
    }
  }
  template <class F> __device__ __forceinline__ void each_of_first(F&& f) const {
    for (int u = warp; u < units; u += MLP_WARPS)
      for (int c = thread % 32; c < features; c += 32)
        f(u * s.w_row + c, (first_unit + u) * mlp.inputs + first_feature + c);
  }

  __device__ __forceinline__ void begin() {
    if (thread == 0) {
      parts_box().open(), gradients_box().open(), letters_box().open();
      scores_box(0).open(), scores_box(1).open();
    }
    hopper::barriers_visible();
    uint32_t* words = reinterpret_cast<uint32_t*>(to.x);
    const int64_t end = reinterpret_cast<uint32_t*>(to.barrier) - words;
    for (int64_t i = thread; i < end; i += MLP_THREADS) words[i] = 0;
    __syncthreads();
    for (int64_t step = 0; step < 2 && step < mlp.steps; step++)
      if (thread < batch)
        index_at(step)[thread] = static_cast<int32_t>(mlp.sample_at(step * batch + thread));
    each_of_first([&](int here, int64_t there) { to.w1[here] = mlp.param[M::W1][there]; });
    auto copy = [&](int p, float* w, float* v, int here, int64_t there) {
      w[here] = mlp.param[p][there];
      if (mlp.velocity[p]) v[here] = mlp.velocity[p][there];
    };
    each_of_second([&](int here, int64_t there, bool valid) {
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
      each_of_second([&](int here, int64_t there, bool valid) {
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

  // ---- forward

  __device__ __forceinline__ void multiply_hidden() const {
    const int high = s.rows / 16, wide = s.hidden / 8;
    int down = 1;  // warps beside one another have the same samples
    while (down < high) down *= 2;
    const int m = warp % down, apart = MLP_WARPS / down;
    if (m >= high) return;
    for (int n = warp / down; n < wide;) {
      const int left = (wide - n + apart - 1) / apart;
      if (left >= 4)
        hidden_tiles<4>(m, n, apart), n += 4 * apart;
      else if (left >= 2)
        hidden_tiles<2>(m, n, apart), n += 2 * apart;
      else
        hidden_tiles<1>(m, n, apart), n += apart;
    }
  }
  // N tiles of 8 hidden units, from tile `first` on, of 16 samples.
  template <int N> __device__ __forceinline__ void hidden_tiles(int m, int first, int apart) const {
    const int r = m * 16 + g;
    float sum[1][N][4] = {};
    multiply_tiles<Samples::EXACT, false>(
        sum, s.columns,
        [&](int, int k) {
          return operand_a([&](int i, int half) { return x.at(r + 8 * i, k + t + 4 * half); });
        },
        [&](int n, int k) {
          const float* w = to.w1 + ((first + n * apart) * 8 + g) * s.w_row + k + t;
          return operand_b([&](int half) { return w[4 * half]; });
        });
    // Two threads beside one another turn two columns of two rows into four columns of one.
    const bool odd = t % 2;
    const int row = odd ? r + 8 : r, owner = row / s.own;
    float* place = to.parts + (slice * s.own + row % s.own) * s.h_row + t / 2 * 4;
#pragma unroll
    for (int n = 0; n < N; n++) {
      const float (&c)[4] = sum[0][n];
      const float other0 = __shfl_xor_sync(~0u, odd ? c[0] : c[2], 1);
      const float other1 = __shfl_xor_sync(~0u, odd ? c[1] : c[3], 1);
      const Quad four = odd ? Quad{{other0 * unit, other1 * unit, c[2] * unit, c[3] * unit}}
                            : Quad{{c[0] * unit, c[1] * unit, other0 * unit, other1 * unit}};
      parts_box().send(place + (first + n * apart) * 8, block_of(group, owner), four);
    }
  }

  __device__ __forceinline__ void hidden_units(int64_t step) const {
    parts_box().wait(step);
    each_quad(s.own, [&](int row, int u) {
      Quad sum = quad(to.parts + row * s.h_row + u);
      for (int k = 1; k < s.slices; k++) {
        const Quad part = quad(to.parts + (k * s.own + row) * s.h_row + u);
        for (int i = 0; i < 4; i++) sum.v[i] += part.v[i];
      }
      for (int i = 0; i < 4; i++) {
        const float y = sum.v[i] + to.b1[u + i];
        sum.v[i] = y < 0 ? 0 : y;  // NaN stays
      }
      quad(to.h + row * s.h_row + u) = sum;
    });
  }

  __device__ __forceinline__ void score(int64_t step) const {
    for (int i = thread; i < s.own * s.classes; i += MLP_THREADS) {
      const int row = i / s.classes, c = i % s.classes;
      float sum = 0;
      for (int u = 0; u < s.hidden; u += 4) {
        const Quad h = quad(to.h + row * s.h_row + u), w = quad(to.w2 + c * s.h_row + u);
        for (int j = 0; j < 4; j++) sum += h.v[j] * w.v[j];
      }
      for (int to_group = 0; to_group < s.groups; to_group++)
        scores_box(step).send(part_of_score(step, group, i), block_of(to_group, slice), sum);
    }
  }
  __device__ __forceinline__ float* part_of_score(int64_t step, int group, int i) const {
    return to.scores + (step % 2 * s.groups + group) * s.own * s.classes + i;
  }

  // Eight threads have a row, each every eighth class.
  template <class F> static __device__ __forceinline__ float join_row(float x, F&& join) {
#pragma unroll
    for (int lanes = 1; lanes < 8; lanes *= 2) x = join(x, __shfl_xor_sync(~0u, x, lanes));
    return x;
  }
  __device__ __forceinline__ void losses(int64_t step, int counted) const {
    constexpr int EACH = MLP_MAX_CLASSES / 8;
    scores_box(step).wait(step / 2);
    const auto add = [](float a, float b) { return a + b; };
    for (int first = 0; first < s.own; first += MLP_THREADS / 8) {
      const int row = first + thread / 8, place = slice * s.own + row, lane = thread % 8;
      const bool own = row < s.own, there = own && place < batch;
      const bool known = there && index_at(step)[place] >= 0;
      const int label = known ? label_at(step)[place] : -1;
      const bool ignored = !there || (known && label == mlp.ignore);
      const bool valid = label >= 0 && label < s.classes;
      float v[EACH], max = -INFINITY, at_label = 0;
#pragma unroll
      for (int j = 0; j < EACH; j++) {
        const int c = lane + 8 * j;
        v[j] = -INFINITY;
        if (c >= s.classes || !own) continue;
        v[j] = *part_of_score(step, 0, row * s.classes + c);
        for (int k = 1; k < s.groups; k++) v[j] += *part_of_score(step, k, row * s.classes + c);
        v[j] += to.b2[c];
        max = fn::larger(max, v[j]);
        if (c == label) at_label = v[j];
      }
      max = join_row(max, [](float a, float b) { return fn::larger(a, b); });
      at_label = join_row(at_label, add);
      float sum = 0, before = 0;  // classes before the label's that are as high
#pragma unroll
      for (int j = 0; j < EACH; j++) {
        if (lane + 8 * j < label && v[j] == max) before = 1;
        v[j] = fn::exp(v[j] - max);
        if (lane + 8 * j < s.classes) sum += v[j];
      }
      sum = join_row(sum, add);
      before = join_row(before, add);
      const float share = 1 / sum, scale = 1 / static_cast<float>(counted);
#pragma unroll
      for (int j = 0; j < EACH; j++) {
        const int c = lane + 8 * j;
        if (c < s.classes && own)
          to.ds[row * s.class_row + c] =
              ignored ? 0 : (v[j] * share - (c == label ? 1.0f : 0.0f)) * scale;
      }
      if (lane != 0 || !own) continue;
      to.loss[row] = ignored ? 0 : valid ? fn::log(sum) + (max - at_label) : NAN;
      to.right[row] = there && valid && at_label == max && before == 0;
      if (known && !ignored && !valid)
        report_fault(mlp.fault, FAULT_CROSS_ENTROPY, label, s.classes);
    }
  }

  // ---- backward

  __device__ __forceinline__ void hidden_gradients() const {
    each_quad(s.own, [&](int row, int u) {
      Quad sum{};
      for (int c = 0; c < s.classes; c++) {
        const Quad w = quad(to.w2 + c * s.h_row + u);
        for (int i = 0; i < 4; i++) sum.v[i] += to.ds[row * s.class_row + c] * w.v[i];
      }
      const Quad h = quad(to.h + row * s.h_row + u);
      for (int i = 0; i < 4; i++) sum.v[i] = h.v[i] <= 0 ? 0 : sum.v[i];
      for (int k = 0; k < s.slices; k++)
        gradients_box().send(to.dh + (slice * s.own + row) * s.h_row + u, block_of(group, k), sum);
    });
  }

  // A letter: the weights' gradients [classes][hidden], the biases', the loss, how many were right.
  __device__ __forceinline__ void letters() const {
    float* own = to.letters + slice * s.letter;
    auto send = [&](int at, const auto& value) {
      for (int k = 0; k < s.slices; k++) letters_box().send(own + at, block_of(group, k), value);
    };
    each_quad(s.classes, [&](int c, int u) {
      Quad sum{};
      for (int row = 0; row < s.own; row++) {
        const Quad h = quad(to.h + row * s.h_row + u);
        for (int i = 0; i < 4; i++) sum.v[i] += to.ds[row * s.class_row + c] * h.v[i];
      }
      send(c * s.hidden + u, sum);
    });
    const int late = MLP_THREADS - 1 - thread;  // threads with less to do
    if (late < s.classes) {
      float sum = 0;
      for (int row = 0; row < s.own; row++) sum += to.ds[row * s.class_row + late];
      send(s.classes * s.hidden + late, sum);
    } else if (late < s.classes + 2) {
      float sum = 0;
      for (int row = 0; row < s.own; row++)
        sum += late == s.classes ? to.loss[row] : static_cast<float>(to.right[row]);
      send(s.classes * s.hidden + late, sum);
    }
  }

  __device__ __forceinline__ void first_weights(int64_t step, float rate) {
    gradients_box().wait(step);
    const int tiles = s.columns / 8;
    for (int first = warp; first < tiles; first += 4 * MLP_WARPS) {
      const int left = (tiles - first + MLP_WARPS - 1) / MLP_WARPS;
      for (int u = 0; u < s.hidden; u += 32)
        if (left >= 4)
          weight_tiles<4>(first, u, rate);
        else if (left == 3)
          weight_tiles<3>(first, u, rate);
        else if (left == 2)
          weight_tiles<2>(first, u, rate);
        else
          weight_tiles<1>(first, u, rate);
    }
    // Where there is room for one batch, the next one's columns take the place of those that only
    // this warp still needed.
    if (s.buffers == 1 && step + 1 < mlp.steps) {
      __syncwarp();
      for (int n = warp; n < tiles; n += MLP_WARPS)
        x.fetch_columns(s.words, batch_at(step), index_at(step + 1), batch, thread % 32 / 8, 4,
                        8 * n, 8 * n + 8, thread % 8, 8);
    }
    if (warp == MLP_WARPS - 1) first_bias(rate);
  }
  // The weights of N tiles of 8 features, from tile `first` on, to 32 hidden units from u on.
  template <int N>
  __device__ __forceinline__ void weight_tiles(int first, int u, float rate) const {
    float sum[2][N][4] = {}, v[2][N][4] = {};
    auto each_weight = [&](auto&& f) {
#pragma unroll
      for (int m = 0; m < 2; m++)
#pragma unroll
        for (int n = 0; n < N; n++)
#pragma unroll
          for (int i = 0; i < 4; i++) {
            const int row = u + m * 16 + g + i / 2 * 8,
                      col = (first + n * MLP_WARPS) * 8 + 2 * t + i % 2;
            if (row < units && col < features)
              f(to.w1[row * s.w_row + col], (first_unit + row) * mlp.inputs + first_feature + col,
                v[m][n][i], sum[m][n][i]);
          }
    };
    float* velocity = mlp.velocity[M::W1];
    if (velocity) each_weight([&](float&, int64_t there, float& v, float) { v = velocity[there]; });
    // Step k of a tile is sample 2k, or 2k - 7 in its second half: then no two threads read from
    // one bank of the memory.
    multiply_tiles<false, Samples::EXACT>(
        sum, s.rows,
        [&](int m, int k) {
          const float* d = to.dh + (k + 2 * t) * s.h_row + u + m * 16 + g;
          return operand_a([&](int i, int half) { return d[half * s.h_row + 8 * i]; });
        },
        [&](int n, int k) {
          return operand_b(
              [&](int half) { return x.at(k + 2 * t + half, (first + n * MLP_WARPS) * 8 + g); });
        });
    each_weight([&](float& w, int64_t there, float& v, float gradient) {
      w = mlp.stepped(w, gradient * unit, v, rate);
      if (velocity) velocity[there] = v;
    });
  }
  __device__ __forceinline__ void first_bias(float rate) const {
    for (int u = thread % 32; u < units; u += 32) {
      float sum[4] = {};
      for (int r = 0; r < s.rows; r += 4)
        for (int i = 0; i < 4; i++) sum[i] += to.dh[(r + i) * s.h_row + u];
      to.b1[u] = mlp.stepped(to.b1[u], (sum[0] + sum[1]) + (sum[2] + sum[3]), to.vb1[u], rate);
    }
  }

  __device__ __forceinline__ void second_weights(int64_t step, float rate, int counted) const {
    letters_box().wait(step);
    auto total = [&](int at) {
      float sum = to.letters[at];
      for (int k = 1; k < s.slices; k++) sum += to.letters[k * s.letter + at];
      return sum;
    };
    for (int i = thread; i < s.classes * s.hidden; i += MLP_THREADS) {
      const int at = i / s.hidden * s.h_row + i % s.hidden;
      to.w2[at] = mlp.stepped(to.w2[at], total(i), to.v2[at], rate);
    }
    const int biases = s.classes * s.hidden, late = MLP_THREADS - 1 - thread;
    if (late < s.classes)
      to.b2[late] = mlp.stepped(to.b2[late], total(biases + late), to.vb2[late], rate);
    if (late != s.classes || group != 0 || slice != 0) return;
    mlp.losses[step] = total(biases + s.classes) / static_cast<float>(counted);
    if (mlp.correct) mlp.correct[step] = static_cast<int32_t>(total(biases + s.classes + 1));
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
