// The persistent kernel that trains a perceptron: one cluster, whose blocks keep the weights from
// step to step. A block has some hidden units, each of its warps their weights to some features:
// in registers, with their velocity, and never moved. A step in a block:
//
//   hidden_parts      each warp: its features of all samples times its weights
//   hidden_units      all warps' parts added up: the block's hidden units of all samples
//   scores            these times their weights of the second layer; the parts of a sample's scores
//                     go to the block that owns the sample
//   losses            (waits for the parts) of its own samples, and the gradients of their scores,
//                     which go to all blocks
//   hidden_gradients  (waits for these) from there to the block's hidden units
//   first_weights     each warp: the gradients of its weights, and their step
//   second_weights    the same of the others, of which biases of the scores are in all blocks
//
// What a block sends in a step it sends after it had all that it waited for in the step before, so
// no message meets a mailbox of an earlier round. Lanes g and t: as in tile/mma.h. Of 32 features a
// lane has the weights of features 4g to 4g + 3 to units 2t and 2t + 1: rows g and g + 8 of two
// tiles. It loads four features at once, from which two lots of k, or rows of two tiles, come.
#pragma once
#include "gpu/persistent/exchange.h"
#include "gpu/persistent/mlp_operands.h"
#include "gpu/persistent/mlp_shape.h"

namespace cdn {
#if defined(CDN_HOPPER)

using Quad = Pack<float, 4>;

// GROUPS of 32 features a warp, TILES of 8 hidden units a block.
template <class T, int GROUPS, int TILES> class MlpTrainer {
  static constexpr bool EXACT = sizeof(T) == 1;  // samples, in tf32
  static constexpr int NO_SAMPLE = INT32_MIN;    // for a label
  static constexpr int PIECE = 16 / sizeof(T);   // elements that are fetched at once
  using M = MlpTraining;

 public:
  __device__ __forceinline__ MlpTrainer(const MlpTraining& mlp, const MlpShape& shape,
                                        unsigned char* memory)
      : mlp(mlp), s(shape), memory(memory) {
    thread = static_cast<int>(threadIdx.x), threads = s.warps * 32;
    warp = thread / 32, lane = thread % 32, g = lane / 4, t = lane % 4;
    rank = static_cast<int>(hopper::cluster_rank());
    batch = static_cast<int>(mlp.batch), classes = static_cast<int>(mlp.classes);
    first_unit = rank * s.units;
    const int64_t left = mlp.hidden - first_unit;
    units = static_cast<int>(left < 0 ? 0 : left < s.units ? left : s.units);
    first_feature = warp * GROUPS * MLP_GROUP;
  }

  __device__ __forceinline__ void train() {
    begin();
    for (int64_t step = 0; step < mlp.steps; step++) {
      const float rate = mlp.rates[step];
      const int32_t now = label;
      label = label_of(after);
      after = checked(step + 2, later);
      if (thread < s.rows) index_of(step + 2)[thread] = after;
      later = ordered(step + 3);
      add_shifts();
      for (int row = 0; row < s.rows && warp < s.workers; row += 64 / TILES) hidden_parts(row);
      if (thread < s.rows) labels()[thread] = now;
      const int counted = __syncthreads_count(thread < batch && now != mlp.ignore);
      hidden_units_and_scores();
      losses(step, counted);
      hidden_gradients(step);
      __syncthreads();
      first_weights(rate);
      second_weights(step, rate, counted);
      slot += s.chunks();
      if (slot >= s.ring) slot -= s.ring;
    }
    end();
  }

 private:
  // ---- the samples. A warp fetches its own features, and nobody else reads them.

  // The number of the sample of this thread's row, not yet looked at, so as not to wait for it.
  __device__ __forceinline__ int32_t ordered(int64_t step) const {
    return step < mlp.steps && thread < batch ? mlp.order[step * batch + thread] : -1;
  }
  __device__ __forceinline__ int32_t checked(int64_t step, int32_t sample) const {
    return step < mlp.steps && thread < batch ? static_cast<int32_t>(mlp.checked(sample)) : -1;
  }
  __device__ __forceinline__ int32_t label_of(int32_t sample) const {
    return sample < 0 ? NO_SAMPLE : mlp.target[sample];
  }
  __device__ __forceinline__ int32_t* index_of(int64_t step) const {
    return reinterpret_cast<int32_t*>(memory + s.of.index) +
           static_cast<uint32_t>(step) % 4 * s.rows;
  }
  // Of a chunk of this step.
  __device__ __forceinline__ const T* samples_of(int chunk) const {
    const int at = slot + chunk;
    return samples() + (at < s.ring ? at : at - s.ring) * MLP_CHUNK * s.x_row + first_feature;
  }
  // Four lanes fetch every eighth row of a chunk.
  __device__ __forceinline__ void fetch() {
    const int features = min(static_cast<int>(mlp.inputs) - first_feature, GROUPS * MLP_GROUP);
    const int32_t* index = index_of(next_step) + next_chunk * MLP_CHUNK + g;
    T* to = samples() + (next_slot * MLP_CHUNK + g) * s.x_row + first_feature;
    const T* all = static_cast<const T*>(mlp.x) + first_feature;
    const int inputs = static_cast<int>(mlp.inputs);
#pragma unroll
    for (int i = 0; i < MLP_CHUNK; i += 8, to += 8 * s.x_row) {
      const int32_t sample = index[i];
      const T* from = all + int64_t{sample < 0 ? 0 : sample} * inputs;
      if (s.words)
        for (int f = t * PIECE; f < features; f += 4 * PIECE)
          copy_async_or_zero<16>(to + f, from + f, sample >= 0);
      else
        for (int f = t; f < features; f += 4) to[f] = sample >= 0 ? from[f] : T(0);
    }
    commit_copies();
    if (++next_slot == s.ring) next_slot = 0;
    if (++next_chunk == s.chunks()) next_chunk = 0, next_step++;
  }
  // For all but the last `younger` fetches, by the warp.
  __device__ __forceinline__ void wait_for_copies(int younger) const {
    if (younger >= 4)
      wait_copies<4>();
    else if (younger == 3)
      wait_copies<3>();
    else if (younger == 2)
      wait_copies<2>();
    else if (younger == 1)
      wait_copies<1>();
    else
      wait_copies<0>();
    __syncwarp();
  }
  __device__ __forceinline__ float* at(int place) const {
    return reinterpret_cast<float*>(memory + place);
  }
  __device__ __forceinline__ T* samples() const { return reinterpret_cast<T*>(memory); }
  __device__ __forceinline__ int32_t* labels() const {
    return reinterpret_cast<int32_t*>(memory + s.of.label);
  }
  __device__ __forceinline__ uint64_t* barrier() const {
    return reinterpret_cast<uint64_t*>(memory + s.of.barrier);
  }
  static __device__ __forceinline__ Quad four(const float* x) {
    return *reinterpret_cast<const Quad*>(x);
  }
  // A byte at the end of 2^23's float is added to it: a GPU converts integers slowly.
  static __device__ __forceinline__ Quad four(const uint8_t* x) {
    const uint32_t bytes = *reinterpret_cast<const uint32_t*>(x);
    Quad y;
#pragma unroll
    for (int i = 0; i < 4; i++)
      y.v[i] = __uint_as_float(__byte_perm(bytes, 0x4b000000, 0x7650 + i)) - 0x1p23f;
    return y;
  }
  static __device__ __forceinline__ Quad& quad(float* p) { return *reinterpret_cast<Quad*>(p); }
  static __device__ __forceinline__ float2& pair(float* p) {
    return *reinterpret_cast<float2*>(p);
  }

  // ---- the parameters, from and to the device's memory; what the last blocks lack is 0

  // f(weight, velocity, place of the weight), for those that there are.
  template <class F> __device__ __forceinline__ void each_of_first(int p, F&& f) {
#pragma unroll
    for (int n = 0; n < TILES; n++)
#pragma unroll
      for (int j = 0; j < 2; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
          const int unit = n * 8 + 2 * t + j, feature = first_feature + p * MLP_GROUP + 4 * g + i;
          if (unit < units && feature < mlp.inputs)
            f(w1[p][n][j].v[i], v1[p][n][j].v[i], (first_unit + unit) * mlp.inputs + feature);
        }
  }
  __device__ __forceinline__ void begin() {
    for (int i = thread; i < s.of.barrier / 4; i += threads) at(0)[i] = 0;
    if (thread == 0) scores_box().open(), messages_box().open();
    hopper::barriers_visible();
    __syncthreads();
    auto copy = [&](int p, float& w, float& v, int64_t at) {
      w = mlp.param[p][at];
      if (mlp.velocity[p]) v = mlp.velocity[p][at];
    };
#pragma unroll
    for (int p = 0; p < GROUPS; p++)
      each_of_first(p, [&](float& w, float& v, int64_t at) { copy(M::W1, w, v, at); });
    for (int i = thread; i < classes * s.units; i += threads) {
      const int c = i / s.units, u = i % s.units;
      if (u < units) copy(M::W2, at(s.of.w2)[i], at(s.of.v2)[i], c * mlp.hidden + first_unit + u);
    }
    for (int u = thread; u < units; u += threads)
      copy(M::B1, at(s.of.b1)[u], at(s.of.vb1)[u], first_unit + u);
    if (thread < classes) copy(M::B2, at(s.of.b2)[thread], at(s.of.vb2)[thread], thread);
    for (int i = thread; i < mlp.inputs; i += threads) {
      at(s.of.scale)[i] = mlp.scale ? mlp.scale[mlp.norm(i)] : 1;
      at(s.of.shift)[i] = mlp.shift ? mlp.shift[mlp.norm(i)] : 0;
    }
    const int32_t first = checked(0, ordered(0));
    label = label_of(first);
    after = checked(1, ordered(1));
    later = ordered(2);
    if (thread < s.rows) index_of(0)[thread] = first, index_of(1)[thread] = after;
    __syncthreads();
    for (int i = 0; i < s.ring && warp < s.workers; i++) fetch();
    hopper::cluster_sync_all();
  }
  __device__ __forceinline__ void end() {
    __syncthreads();
    auto copy = [&](int p, float w, float v, int64_t at) {
      mlp.param[p][at] = w;
      if (mlp.velocity[p]) mlp.velocity[p][at] = v;
    };
#pragma unroll
    for (int p = 0; p < GROUPS; p++)
      each_of_first(p, [&](float w, float v, int64_t at) { copy(M::W1, w, v, at); });
    for (int i = thread; i < classes * s.units; i += threads) {
      const int c = i / s.units, u = i % s.units;
      if (u < units) copy(M::W2, at(s.of.w2)[i], at(s.of.v2)[i], c * mlp.hidden + first_unit + u);
    }
    for (int u = thread; u < units; u += threads)
      copy(M::B1, at(s.of.b1)[u], at(s.of.vb1)[u], first_unit + u);
    if (rank == 0 && thread < classes) copy(M::B2, at(s.of.b2)[thread], at(s.of.vb2)[thread], thread);
    wait_copies<0>();
    hopper::cluster_sync_all();  // nobody goes while messages may be on their way
  }

  // ---- forward

  // x scale + shift, times w, is x times scale w, and shift times w: the same for all rows.
  __device__ __forceinline__ void add_shifts() {
#pragma unroll
    for (int n = 0; n < TILES; n++)
#pragma unroll
      for (int j = 0; j < 2; j++) shifts[n][j] = 0;
    if (!mlp.shift) return;
#pragma unroll
    for (int p = 0; p < GROUPS; p++) {
      const Quad shift = quad(at(s.of.shift) + first_feature + p * MLP_GROUP + 4 * g);
#pragma unroll
      for (int n = 0; n < TILES; n++)
#pragma unroll
        for (int j = 0; j < 2; j++)
          for (int i = 0; i < 4; i++) shifts[n][j] += shift.v[i] * w1[p][n][j].v[i];
    }
#pragma unroll
    for (int n = 0; n < TILES; n++)
#pragma unroll
      for (int j = 0; j < 2; j++)
        for (int lanes = 4; lanes < 32; lanes *= 2)
          shifts[n][j] += __shfl_xor_sync(~0u, shifts[n][j], lanes);
  }
  // Of rows [row, row + 64), or of half as many.
  __device__ __forceinline__ void hidden_parts(int row) {
    constexpr int MOST = 4 / TILES;
    const int tiles = min(MOST, (s.rows - row) / 16);
    wait_for_copies(s.ring - (row + 16 * tiles) / MLP_CHUNK);
    const T* x[MOST];
#pragma unroll
    for (int m = 0; m < MOST; m++)
      x[m] = samples_of(min(row / MLP_CHUNK + m / 2, s.chunks() - 1)) + (m % 2 * 16 + g) * s.x_row + 4 * t;
    TileSums sums[4 / TILES][TILES];
#pragma unroll
    for (int p = 0; p < GROUPS; p++) {
      if (first_feature + p * MLP_GROUP >= mlp.inputs) break;
      const Quad scale = quad(at(s.of.scale) + first_feature + p * MLP_GROUP + 4 * g);
#pragma unroll
      for (int half = 0; half < 2; half++) {
        // The weights of features 4t to 4t + 3 of this half to unit g.
        TwoTerms<MmaB> w[TILES][2];
        const int lane_of = (4 * half + t) * 4 + g / 2;
        // A mask that the compiler does not know, as it would make branches of a choice, and
        // shuffles of lanes that have parted are slow.
        uint32_t odd;
        asm("neg.s32 %0, %1;" : "=r"(odd) : "r"(g & 1));
#pragma unroll
        for (int n = 0; n < TILES; n++) {
          float v[4];
#pragma unroll
          for (int i = 0; i < 4; i++) {
            const auto from = [&](int j) {
              return __shfl_sync(~0u, __float_as_uint(w1[p][n][j].v[i] * scale.v[i]), lane_of);
            };
            v[i] = __uint_as_float((from(0) & ~odd) | (from(1) & odd));
          }
          w[n][0] = operand_b(v[0], v[1]), w[n][1] = operand_b(v[2], v[3]);
        }
#pragma unroll
        for (int m = 0; m < 4 / TILES; m++) {
          const T* at = x[m] + p * MLP_GROUP + 16 * half;
          const Quad low = four(at), high = four(at + 8 * s.x_row);
#pragma unroll
          for (int k = 0; k < 2; k++) {
            const auto a = operand_a<EXACT>(low.v[2 * k], high.v[2 * k], low.v[2 * k + 1],
                                            high.v[2 * k + 1]);
#pragma unroll
            for (int n = 0; n < TILES; n++) sums[m][n].template add<EXACT, false>(a, w[n][k]);
          }
        }
      }
    }
    float* part = at(s.of.parts) + (warp * s.rows + row + g) * s.units + 2 * t;
#pragma unroll
    for (int m = 0; m < 4 / TILES; m++)
#pragma unroll
      for (int n = 0; n < TILES; n++)
#pragma unroll
        for (int i = 0; i < 4; i += 2)
          if (m < tiles)
            pair(part + (16 * m + 4 * i) * s.units + 8 * n) = {sums[m][n].sum(i) + shifts[n][0],
                                                               sums[m][n].sum(i + 1) + shifts[n][1]};
  }

  // Beside one another, threads have a row's hidden units, two each, and then its classes, four
  // each.
  __device__ __forceinline__ void hidden_units_and_scores() {
    constexpr int PAIRS = 4 * TILES;
    for (int i = thread; i < s.rows * PAIRS; i += threads) {
      const int row = i / PAIRS, k = i % PAIRS;
      float2 own = pair(at(s.of.b1) + 2 * k);
#pragma unroll 4
      for (int w = 0; w < s.workers; w++) {
        const float2 part = pair(at(s.of.parts) + w * s.rows * s.units + 2 * i);
        own.x += part.x, own.y += part.y;
      }
      own.x = own.x < 0 ? 0 : own.x, own.y = own.y < 0 ? 0 : own.y;  // NaN stays
      pair(at(s.of.h) + 2 * i) = own;
      float h[2 * PAIRS];
#pragma unroll
      for (int j = 0; j < PAIRS; j++) {
        h[2 * j] = __shfl_sync(~0u, own.x, j, PAIRS);
        h[2 * j + 1] = __shfl_sync(~0u, own.y, j, PAIRS);
      }
      for (int c = 4 * k; c < s.classes; c += 4 * PAIRS) {
        Quad score;
#pragma unroll
        for (int j = 0; j < 4; j++) {
          const float* w = at(s.of.w2) + (c + j) * s.units;
          float sum[2] = {};
#pragma unroll
          for (int u = 0; u < 2 * PAIRS; u++) sum[u % 2] += h[u] * w[u];
          score.v[j] = sum[0] + sum[1];
        }
        scores_box().send(
            at(s.of.scores) + (rank * s.own() + (row >> s.log_blocks)) * s.classes + c,
            row & (s.blocks() - 1), score);
      }
    }
  }

  // A warp has a row, each lane two classes.
  __device__ __forceinline__ void losses(int64_t step, int counted) {
    if (warp >= s.own()) return;
    scores_box().await(step);
    if (thread == 0) scores_box().renew();
    float* message = at(s.of.messages) + warp * 64;
    for (int own = warp; own < s.own(); own += s.warps) {
      const int row = own << s.log_blocks | rank;
      const int label = row < batch ? labels()[row] : NO_SAMPLE;
      const bool ignored = row >= batch || label == mlp.ignore;
      const bool valid = label >= 0 && label < classes;
      float v[2], max = -INFINITY, at_label = 0;
      for (int j = 0; j < 2; j++) {
        const int c = lane + 32 * j;
        v[j] = -INFINITY;
        if (c >= classes) continue;
        v[j] = at(s.of.b2)[c];
#pragma unroll 8
        for (int k = 0; k < s.blocks(); k++)
          v[j] += at(s.of.scores)[(k * s.own() + own) * s.classes + c];
        max = fn::larger(max, v[j]);
        if (c == label) at_label = v[j];
      }
      for (int lanes = 16; lanes > 0; lanes /= 2) {
        max = fn::larger(max, __shfl_xor_sync(~0u, max, lanes));
        at_label += __shfl_xor_sync(~0u, at_label, lanes);
      }
      float sum = 0;
      bool before = false;  // a class before the label's that is as high
      for (int j = 0; j < 2; j++) {
        before |= lane + 32 * j < label && v[j] == max;
        v[j] = lane + 32 * j < classes ? fn::exp(v[j] - max) : 0;
        sum += v[j];
      }
      before = __any_sync(~0u, before);
      for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(~0u, sum, lanes);
      const float share = 1 / sum, scale = 1 / static_cast<float>(counted);
      __syncwarp();  // the row before is sent
      for (int j = 0; j < 2; j++) {
        const int c = lane + 32 * j;
        if (c < classes)
          message[c] = ignored ? 0 : (v[j] * share - (c == label ? 1.0f : 0.0f)) * scale;
      }
      if (lane == 0) {
        message[classes] = ignored ? 0 : valid ? fn::log(sum) + (max - at_label) : NAN;
        message[classes + 1] = row < batch && valid && at_label == max && !before;
        if (!ignored && !valid && label != NO_SAMPLE)
          report_fault(mlp.fault, FAULT_CROSS_ENTROPY, label, mlp.classes);
      }
      __syncwarp();
      for (int i = lane; i < s.message / 4 * s.blocks(); i += 32) {
        const int q = (i >> s.log_blocks) * 4;
        messages_box().send(at(s.of.ds) + row * s.message + q, i & (s.blocks() - 1),
                            quad(message + q));
      }
    }
  }

  // ---- backward

  __device__ __forceinline__ void hidden_gradients(int64_t step) {
    constexpr int PAIRS = 4 * TILES;
    messages_box().await(step);
    if (thread == 0) messages_box().renew();
    for (int i = thread; i < s.rows * PAIRS; i += threads) {
      const int row = i / PAIRS, u = i % PAIRS * 2;
      float2 sum{};
#pragma unroll 2
      for (int first = 0; first < classes; first += 4) {
        const Quad d = quad(at(s.of.ds) + row * s.message + first);
#pragma unroll
        for (int j = 0; j < 4; j++) {
          const float2 w = pair(at(s.of.w2) + (first + j) * s.units + u);
          const float dj = first + j < classes ? d.v[j] : 0;
          sum.x += dj * w.x, sum.y += dj * w.y;
        }
      }
      const float2 h = pair(at(s.of.h) + 2 * i);
      float* dh = at(s.of.dh) + u * s.dh_row + row;
      dh[0] = h.x <= 0 || u >= units ? 0 : sum.x;
      dh[s.dh_row] = h.y <= 0 || u + 1 >= units ? 0 : sum.y;
    }
  }
  // The gradients of unit 8n + g's sums in rows k + 2t and k + 2t + 1.
  __device__ __forceinline__ TwoTerms<MmaB> gradients(int n, int k) const {
    const float2 d = pair(at(s.of.dh) + (8 * n + g) * s.dh_row + k + 2 * t);
    return operand_b(d.x, d.y);
  }

  __device__ __forceinline__ void first_weights(float rate) {
    const bool biases = warp == s.workers;  // no worker, it has time for them
    float ones[TILES][2] = {};
    if (mlp.shift || biases) sum_gradients(ones);
    if (biases) {
      for (int j = 0; j < 2 * TILES; j++) {
        const int u = j / 2 * 8 + 2 * t + j % 2;
        float &b = at(s.of.b1)[u], &v = at(s.of.vb1)[u];
        if (g == 0) b = mlp.stepped(b, ones[j / 2][j % 2], v, rate);
      }
      return;
    }
    if (warp > s.workers) return;
    constexpr int TOGETHER = TILES == 1 ? 2 : 1;
#pragma unroll
    for (int p = 0; p < GROUPS; p += TOGETHER) {
      float sum[TOGETHER][TILES][2][4] = {};  // of units 2t and 2t + 1, of four features
      for (int c = 0; c < s.chunks(); c++) {
        add_gradients(sum, c * MLP_CHUNK, samples_of(c) + p * MLP_GROUP + 4 * g);
        if (p + TOGETHER == GROUPS) {  // what this warp has read it may overwrite
          __syncwarp();
          fetch();
        }
      }
#pragma unroll
      for (int q = 0; q < TOGETHER; q++) {
        const int feature = first_feature + (p + q) * MLP_GROUP + 4 * g;
        const Quad scale = quad(at(s.of.scale) + feature), shift = quad(at(s.of.shift) + feature);
#pragma unroll
        for (int n = 0; n < TILES; n++)
#pragma unroll
          for (int j = 0; j < 2; j++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
              float gradient = sum[q][n][j][i] * scale.v[i];
              if (mlp.shift) gradient += shift.v[i] * ones[n][j];
              float &w = w1[p + q][n][j].v[i], &v = v1[p + q][n][j].v[i];
              if (feature + i < mlp.inputs) w = mlp.stepped(w, gradient, v, rate);
            }
      }
    }
  }
  // x: four features of the chunk's first row, and those of the groups after.
  template <int N>
  __device__ __forceinline__ void add_gradients(float (&sum)[N][TILES][2][4], int row, const T* x) {
    TileSums sums[N][2][TILES];
    x += 2 * t * s.x_row;
#pragma unroll
    for (int k = 0; k < MLP_CHUNK; k += 8) {
      TwoTerms<MmaB> d[TILES];
#pragma unroll
      for (int n = 0; n < TILES; n++) d[n] = gradients(n, row + k);
#pragma unroll
      for (int q = 0; q < N; q++) {
        const T* at = x + k * s.x_row + q * MLP_GROUP;
        const Quad low = four(at), high = four(at + s.x_row);
#pragma unroll
        for (int m = 0; m < 2; m++) {
          const auto a = operand_a<EXACT>(low.v[2 * m], low.v[2 * m + 1], high.v[2 * m],
                                          high.v[2 * m + 1]);
#pragma unroll
          for (int n = 0; n < TILES; n++) sums[q][m][n].template add<EXACT, false>(a, d[n]);
        }
      }
    }
#pragma unroll
    for (int q = 0; q < N; q++)
#pragma unroll
      for (int n = 0; n < TILES; n++)
#pragma unroll
        for (int j = 0; j < 2; j++)
#pragma unroll
          for (int i = 0; i < 4; i++) sum[q][n][j][i] += sums[q][i / 2][n].sum(i % 2 * 2 + j);
  }
  // Over all rows, of units 2t and 2t + 1.
  __device__ __forceinline__ void sum_gradients(float (&sum)[TILES][2]) {
    const auto one = operand_a<true>(1, 1, 1, 1);
#pragma unroll
    for (int n = 0; n < TILES; n++) {
      TileSums sums;
      for (int k = 0; k < s.rows; k += 8) sums.template add<true, false>(one, gradients(n, k));
      sum[n][0] = sums.sum(0), sum[n][1] = sums.sum(1);
    }
  }

  // A warp has 16 classes, of 8 hidden units.
  __device__ __forceinline__ void second_weights(int64_t step, float rate, int counted) {
    const int tiles = (classes + 15) / 16 * TILES;
    for (int tile = s.warps - 1 - warp; tile < tiles; tile += s.warps)
      second_tile(tile / TILES * 16 + g, tile % TILES * 8, rate);
    if (warp != 0 || rank != 0) return;
    float loss = 0, right = 0;
    for (int row = lane; row < s.rows; row += 32) {
      loss += at(s.of.ds)[row * s.message + classes];
      right += at(s.of.ds)[row * s.message + classes + 1];
    }
    for (int lanes = 16; lanes > 0; lanes /= 2) {
      loss += __shfl_xor_sync(~0u, loss, lanes);
      right += __shfl_xor_sync(~0u, right, lanes);
    }
    if (lane != 0) return;
    mlp.losses[step] = loss / static_cast<float>(counted);
    if (mlp.correct) mlp.correct[step] = static_cast<int32_t>(right);
  }
  __device__ __forceinline__ void second_tile(int c, int u, float rate) {
    TileSums weights, biases;
    const auto one = operand_b(1, 1);
    auto d = [&](int row, int c) { return c < classes ? at(s.of.ds)[row * s.message + c] : 0; };
    for (int k = 2 * t; k < s.rows; k += 8) {
      const float* h = at(s.of.h) + k * s.units + u + g;
      const auto a = operand_a<false>(d(k, c), d(k, c + 8), d(k + 1, c), d(k + 1, c + 8));
      weights.template add<false, false>(a, operand_b(h[0], h[s.units]));
      biases.template add<false, true>(a, one);
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int of = c + i / 2 * 8, w = of * s.units + u + 2 * t + i % 2;
      if (of >= classes) continue;
      at(s.of.w2)[w] = mlp.stepped(at(s.of.w2)[w], weights.sum(i), at(s.of.v2)[w], rate);
      if (u == 0 && t == 0 && i % 2 == 0)
        at(s.of.b2)[of] = mlp.stepped(at(s.of.b2)[of], biases.sum(i), at(s.of.vb2)[of], rate);
    }
  }

  __device__ __forceinline__ Mailbox scores_box() const {
    return {barrier(), static_cast<uint32_t>(s.score_bytes())};
  }
  __device__ __forceinline__ Mailbox messages_box() const {
    return {barrier() + 1, static_cast<uint32_t>(s.message_bytes())};
  }

  const MlpTraining& mlp;
  const MlpShape& s;
  unsigned char* const memory;
  int thread, threads, warp, lane, g, t, rank;
  int batch, classes;
  int units, first_unit, first_feature;
  Quad w1[GROUPS][TILES][2] = {}, v1[GROUPS][TILES][2] = {};  // units 2t and 2t + 1
  float shifts[TILES][2];
  int slot = 0;  // where this step's samples begin
  // The chunk to be fetched next.
  int next_slot = 0, next_chunk = 0;
  int64_t next_step = 0;
  // Of this thread's row: this step's label, and the samples of the next step and of the one after.
  int32_t label, after, later;
};

#endif
}  // namespace cdn
