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
// lane has the weights of features 4g to 4g + 3, which lie in one word of a sample, to units 2t and
// 2t + 1: rows g and g + 8 of two tiles of gradients.
#pragma once
#include "gpu/persistent/exchange.h"
#include "gpu/persistent/fixed_point.h"
#include "gpu/persistent/mlp_shape.h"

namespace cdn {
#if defined(CDN_HOPPER)

using Quad = Pack<float, 4>;

// GROUPS of 32 features a warp, TILES of 8 hidden units a block.
template <int GROUPS, int TILES> class MlpTrainer {
  static constexpr int NO_SAMPLE = INT32_MIN;  // for a label
  static constexpr int PAIRS = 4 * TILES;      // of the block's hidden units
  static constexpr int X_ROW = mlp_row(GROUPS);
  using M = MlpTraining;

 public:
  __device__ __forceinline__ MlpTrainer(const MlpTraining& mlp, const MlpShape& shape,
                                        unsigned char* memory)
      : mlp(mlp), s(shape), memory(memory) {
    thread = static_cast<int>(threadIdx.x), threads = s.warps * 32;
    warp = thread / 32, lane = thread % 32, g = lane / 4, t = lane % 4;
    rank = static_cast<int>(hopper::cluster_rank());
    batch = static_cast<int>(mlp.batch), classes = static_cast<int>(mlp.classes);
    inputs = static_cast<int>(mlp.inputs);
    first_unit = rank * s.units;
    const int64_t left = mlp.hidden - first_unit;
    units = static_cast<int>(left < 0 ? 0 : left < s.units ? left : s.units);
    first_feature = warp * GROUPS * MLP_GROUP;
    worker = warp < s.workers;
  }

  __device__ __forceinline__ void train() {
    begin();
    for (int64_t step = 0; step < mlp.steps; step++) {
      const float rate = mlp.rates[step];
      const int32_t now = label;
      label = label_of(after);
      after = checked(step + 2, later);
      if (thread < s.rows) index_of(step + 2)[thread] = after, labels()[thread] = now;
      later = ordered(step + 3);
      if (worker) hidden_parts();
      const int counted = __syncthreads_count(thread < batch && now != mlp.ignore);
      hidden_units_and_scores();
      losses(step, counted);
      hidden_gradients(step);
      __syncthreads();
      if (worker)
        first_weights(step, rate);
      else
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
  // Row `row` of a chunk of this step, from the warp's first feature on.
  __device__ __forceinline__ const uint8_t* sample(int chunk, int row) const {
    const int at = slot + chunk;
    return memory + ((at < s.ring ? at : at - s.ring) * MLP_CHUNK + row) * X_ROW + first_feature;
  }
  // Four lanes fetch every eighth row of a chunk.
  __device__ __forceinline__ void fetch() {
    const int features = min(inputs - first_feature, GROUPS * MLP_GROUP);
    const int32_t* index = index_of(next_step) + next_chunk * MLP_CHUNK + g;
    uint8_t* to = memory + (next_slot * MLP_CHUNK + g) * X_ROW + first_feature;
    const uint8_t* all = static_cast<const uint8_t*>(mlp.x) + first_feature;
    if (s.words) {
#pragma unroll
      for (int i = 0; i < MLP_CHUNK; i += 8) {
        const int32_t sample = index[i];
        const uint8_t* from = all + int64_t{sample < 0 ? 0 : sample} * inputs;
#pragma unroll
        for (int f = 0; f < GROUPS * MLP_GROUP; f += 64)
          if (f + 16 * t < features)
            copy_async_or_zero<16>(to + i * X_ROW + f + 16 * t, from + f + 16 * t, sample >= 0);
      }
    } else {
#pragma unroll 1
      for (int i = 0; i < MLP_CHUNK; i += 8)
#pragma unroll 1
        for (int f = t; f < features; f += 4)
          to[i * X_ROW + f] = index[i] < 0 ? 0 : all[int64_t{index[i]} * inputs + f];
    }
    commit_copies();
    if (++next_slot == s.ring) next_slot = 0;
    if (++next_chunk == s.chunks()) next_chunk = 0, next_step++;
  }
  // For all but the last `younger` fetches, by the warp.
  __device__ __forceinline__ void wait_for_copies(int younger) const {
    if (younger > 2)
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
  __device__ __forceinline__ int32_t* labels() const {
    return reinterpret_cast<int32_t*>(memory + s.of.label);
  }
  __device__ __forceinline__ int32_t* index_of(int64_t step) const {
    return reinterpret_cast<int32_t*>(memory + s.of.index) +
           static_cast<uint32_t>(step) % 4 * s.rows;
  }
  // The largest gradients of the hidden units, as bits, whose order is that of positive floats.
  __device__ __forceinline__ uint32_t* largest_of(int64_t step) const {
    return reinterpret_cast<uint32_t*>(memory + s.of.largest) + (step & 1) * s.units;
  }
  __device__ __forceinline__ uint64_t* barrier() const {
    return reinterpret_cast<uint64_t*>(memory + s.of.barrier);
  }
  static __device__ __forceinline__ uint32_t word(const uint8_t* x) {
    return *reinterpret_cast<const uint32_t*>(x);
  }
  static __device__ __forceinline__ Quad& quad(float* p) { return *reinterpret_cast<Quad*>(p); }
  static __device__ __forceinline__ float2& pair(float* p) { return *reinterpret_cast<float2*>(p); }

  // ---- the parameters, from and to the device's memory; what the last blocks lack is 0

  // f(parameter, it and its velocity, the same in memory) for those of this block.
  template <class F> __device__ __forceinline__ void each_parameter(F&& f) {
#pragma unroll
    for (int p = 0; p < GROUPS; p++)
#pragma unroll
      for (int n = 0; n < TILES; n++)
#pragma unroll
        for (int j = 0; j < 2; j++)
#pragma unroll
          for (int i = 0; i < 4; i++) {
            const int unit = n * 8 + 2 * t + j, feature = first_feature + p * MLP_GROUP + 4 * g + i;
            if (unit < units && feature < inputs)
              f(M::W1, w1[p][n][j].v[i], v1[p][n][j].v[i],
                (first_unit + unit) * mlp.inputs + feature);
          }
    for (int i = thread; i < classes * s.units; i += threads) {
      const int c = i / s.units, u = i % s.units;
      if (u < units) f(M::W2, at(s.of.w2)[i], at(s.of.v2)[i], c * mlp.hidden + first_unit + u);
    }
    for (int u = thread; u < units; u += threads)
      f(M::B1, at(s.of.b1)[u], at(s.of.vb1)[u], first_unit + u);
    if (thread < classes) f(M::B2, at(s.of.b2)[thread], at(s.of.vb2)[thread], thread);
  }
  __device__ __forceinline__ void begin() {
    for (int i = thread; i < s.of.barrier / 4; i += threads) at(0)[i] = 0;
    if (thread == 0) scores_box().open(), messages_box().open();
    hopper::barriers_visible();
    __syncthreads();
    each_parameter([&](int p, float& w, float& v, int64_t place) {
      w = mlp.param[p][place];
      if (mlp.velocity[p]) v = mlp.velocity[p][place];
    });
    for (int i = thread; i < inputs; i += threads) {
      at(s.of.scale)[i] = mlp.scale ? mlp.scale[mlp.norm(i)] : 1;
      at(s.of.shift)[i] = mlp.shift ? mlp.shift[mlp.norm(i)] : 0;
    }
    const int32_t first = checked(0, ordered(0));
    label = label_of(first);
    after = checked(1, ordered(1));
    later = ordered(2);
    if (thread < s.rows) index_of(0)[thread] = first, index_of(1)[thread] = after;
    __syncthreads();
    for (int i = 0; i < s.ring && worker; i++) fetch();
    hopper::cluster_sync_all();
  }
  __device__ __forceinline__ void end() {
    __syncthreads();
    each_parameter([&](int p, float w, float v, int64_t place) {
      if (p == M::B2 && rank != 0) return;  // all have it
      mlp.param[p][place] = w;
      if (mlp.velocity[p]) mlp.velocity[p][place] = v;
    });
    wait_copies<0>();
    hopper::cluster_sync_all();  // nobody goes while messages may be on their way
  }

  // ---- forward

  // A normalised sample, x scale + shift, times w is x times scale w, and shift times w, which is
  // the same for all.
  __device__ __forceinline__ void hidden_parts() const {
    FourDigits w[GROUPS][TILES][2];  // of unit g, features 4t to 4t + 3 of either half of a group
    float unit[TILES][2], shifts[TILES][2] = {};  // of units 2t and 2t + 1
    if (mlp.shift) add_shifts(shifts);
#pragma unroll
    for (int n = 0; n < TILES; n++) {
      FourDigits own[2][GROUPS];
#pragma unroll
      for (int j = 0; j < 2; j++) {
        Quad scaled[GROUPS];
        float largest = 0;
#pragma unroll
        for (int p = 0; p < GROUPS; p++) {
          const int feature = first_feature + p * MLP_GROUP + 4 * g;
          const Quad scale = quad(at(s.of.scale) + feature);
#pragma unroll
          for (int i = 0; i < 4; i++) {
            scaled[p].v[i] = w1[p][n][j].v[i] * scale.v[i];
            largest = fn::larger(largest, fabsf(scaled[p].v[i]));
          }
        }
#pragma unroll
        for (int lanes = 4; lanes < 32; lanes *= 2)
          largest = fn::larger(largest, __shfl_xor_sync(~0u, largest, lanes));
        const FixedPoint point(largest);
        unit[n][j] = point.unit;
#pragma unroll
        for (int p = 0; p < GROUPS; p++) {
          const float (&x)[4] = scaled[p].v;
          own[j][p] = FourDigits(point, x[0], x[1], x[2], x[3]);
        }
      }
      // A mask that the compiler does not know, as it would make branches of a choice, and shuffles
      // of lanes that have parted are slow.
      uint32_t odd;
      asm("neg.s32 %0, %1;" : "=r"(odd) : "r"(g & 1));
#pragma unroll
      for (int p = 0; p < GROUPS; p++)
#pragma unroll
        for (int half = 0; half < 2; half++)
#pragma unroll
          for (int d = 0; d < DIGITS; d++) {
            const int from = (4 * half + t) * 4 + g / 2;
            const uint32_t word0 = __shfl_sync(~0u, own[0][p].place[d], from);
            const uint32_t word1 = __shfl_sync(~0u, own[1][p].place[d], from);
            w[p][n][half].place[d] = (word0 & ~odd) | (word1 & odd);
          }
    }
#pragma unroll 1
    for (int c = 0; c < s.chunks(); c++) {
      wait_for_copies(s.ring - 1 - c);
      for (int m = 0; m < MLP_CHUNK; m += 16) {
        DigitSums sums[TILES];
        const uint8_t *low = sample(c, m + g) + 4 * t, *high = low + 8 * X_ROW;
#pragma unroll
        for (int p = 0; p < GROUPS; p++) {
          const int f = p * MLP_GROUP;
          const MmaA a{word(low + f), word(high + f), word(low + f + 16), word(high + f + 16)};
#pragma unroll
          for (int n = 0; n < TILES; n++) sums[n].add(a, w[p][n][0], w[p][n][1]);
        }
        const int row = c * MLP_CHUNK + m + g;
        float* part = at(s.of.parts) + (warp * s.rows + row) * s.units + 2 * t;
#pragma unroll
        for (int n = 0; n < TILES; n++, part += 8)
#pragma unroll
          for (int i = 0; i < 4; i += 2)
            pair(part + 4 * i * s.units) = {fmaf(sums[n].total(i), unit[n][0], shifts[n][0]),
                                            fmaf(sums[n].total(i + 1), unit[n][1], shifts[n][1])};
      }
    }
  }
  __device__ __forceinline__ void add_shifts(float (&shifts)[TILES][2]) const {
#pragma unroll
    for (int p = 0; p < GROUPS; p++) {
      const Quad shift = quad(at(s.of.shift) + first_feature + p * MLP_GROUP + 4 * g);
#pragma unroll
      for (int n = 0; n < TILES; n++)
#pragma unroll
        for (int j = 0; j < 2; j++)
#pragma unroll
          for (int i = 0; i < 4; i++) shifts[n][j] += shift.v[i] * w1[p][n][j].v[i];
    }
#pragma unroll
    for (int n = 0; n < TILES; n++)
#pragma unroll
      for (float& x : shifts[n])
#pragma unroll
        for (int lanes = 4; lanes < 32; lanes *= 2) x += __shfl_xor_sync(~0u, x, lanes);
  }
  // Beside one another, threads have a row's hidden units, two each, and then its classes, four
  // each.
  __device__ __forceinline__ void hidden_units_and_scores() {
#pragma unroll 1
    for (int i = thread; i < s.rows * PAIRS; i += threads) {
      const int row = i / PAIRS, k = i % PAIRS;
      float2 own = pair(at(s.of.b1) + 2 * k);
#pragma unroll 8
      for (int w = 0; w < s.workers; w++) {
        const float2 part = pair(at(s.of.parts) + w * s.rows * s.units + 2 * i);
        own.x += part.x, own.y += part.y;
      }
      own.x = own.x < 0 ? 0 : own.x, own.y = own.y < 0 ? 0 : own.y;  // NaN stays
      pair(at(s.of.h) + 2 * i) = own;
      Quad h[2 * TILES];
#pragma unroll
      for (int j = 0; j < PAIRS; j++) {
        h[j / 2].v[j % 2 * 2] = __shfl_sync(~0u, own.x, j, PAIRS);
        h[j / 2].v[j % 2 * 2 + 1] = __shfl_sync(~0u, own.y, j, PAIRS);
      }
#pragma unroll 1
      for (int c = 4 * k; c < s.classes; c += 4 * PAIRS) {
        Quad score{};
#pragma unroll
        for (int q = 0; q < 2 * TILES; q++)
#pragma unroll
          for (int j = 0; j < 4; j++) {
            const Quad w = quad(at(s.of.w2) + (c + j) * s.units + 4 * q);
            score.v[j] += (h[q].v[0] * w.v[0] + h[q].v[1] * w.v[1]) +
                          (h[q].v[2] * w.v[2] + h[q].v[3] * w.v[3]);
          }
        scores_box().send(
            at(s.of.scores) + (rank * s.own() + (row >> s.log_blocks)) * s.classes + c,
            row & (s.blocks() - 1), score);
      }
    }
  }

  // A warp has a row, each lane a class.
  __device__ __forceinline__ void losses(int64_t step, int counted) {
    if (warp >= s.own()) return;
    float* message = at(s.of.messages) + warp * 32;
    const float scale = 1 / static_cast<float>(counted);
    const bool is_class = lane < classes;
    scores_box().await(step);
    if (thread == 0) scores_box().renew();
#pragma unroll 1
    for (int own = warp; own < s.own(); own += s.warps) {
      const int row = own << s.log_blocks | rank, label = labels()[row];
      const bool ignored = row >= batch || label == mlp.ignore;
      const bool valid = label >= 0 && label < classes;
      float score = is_class ? at(s.of.b2)[lane] : -INFINITY;
      const float* part = at(s.of.scores) + own * s.classes + (is_class ? lane : 0);
#pragma unroll 8
      for (int k = 0; k < s.blocks(); k++, part += s.own() * s.classes) score += *part;
      const float at_label = __shfl_sync(~0u, score, label & 31);
      float max = score;
#pragma unroll
      for (int lanes = 16; lanes > 0; lanes /= 2)
        max = fn::larger(max, __shfl_xor_sync(~0u, max, lanes));
      const bool before = __any_sync(~0u, lane < label && score == max);  // a class as high
      const float power = is_class ? fn::exp(score - max) : 0;
      float sum = power;
#pragma unroll
      for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(~0u, sum, lanes);
      float said = (power * (1 / sum) - (lane == label ? 1.0f : 0.0f)) * scale;
      if (ignored) said = 0;
      if (lane == classes) said = ignored ? 0 : valid ? fn::log(sum) + (max - at_label) : NAN;
      if (lane == classes + 1) said = row < batch && valid && at_label == max && !before;
      __syncwarp();  // the row before is sent
      message[lane] = said;
      __syncwarp();
#pragma unroll 1
      for (int i = lane; i < s.message / 4 * s.blocks(); i += 32) {
        const int q = (i >> s.log_blocks) * 4;
        messages_box().send(at(s.of.ds) + row * s.message + q, i & (s.blocks() - 1),
                            quad(message + q));
      }
      if (lane == 0 && !ignored && !valid && label != NO_SAMPLE)
        report_fault(mlp.fault, FAULT_CROSS_ENTROPY, label, mlp.classes);
    }
  }

  // ---- backward

  __device__ __forceinline__ void hidden_gradients(int64_t step) {
    if (thread < s.units) largest_of(step + 1)[thread] = 0;
    messages_box().await(step);
    if (thread == 0) messages_box().renew();
#pragma unroll 1
    for (int i = thread; i < s.rows * PAIRS; i += threads) {
      const int row = i / PAIRS, u = i % PAIRS * 2;
      float2 sum{};
#pragma unroll 1
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
      dh[0] = sum.x = h.x <= 0 || u >= units ? 0 : sum.x;
      dh[s.dh_row] = sum.y = h.y <= 0 || u + 1 >= units ? 0 : sum.y;
      float largest[] = {fabsf(sum.x), fabsf(sum.y)};
#pragma unroll
      for (int lanes = PAIRS; lanes < 32; lanes *= 2)
#pragma unroll
        for (float& x : largest) x = fn::larger(x, __shfl_xor_sync(~0u, x, lanes));
      if (lane < PAIRS)
#pragma unroll
        for (int j = 0; j < 2; j++)
          atomicMax(largest_of(step) + u + j, __float_as_uint(largest[j]) & 0x7fffffff);
    }
  }
  __device__ __forceinline__ FixedPoint point_of(int64_t step, int unit) const {
    return FixedPoint(__uint_as_float(largest_of(step)[unit]));
  }

  // A product takes 32 samples. A lane's four of a word are two times two beside one another, so
  // that the words which a warp reads at once lie in different banks.
  __device__ __forceinline__ void first_weights(int64_t step, float rate) {
    FixedPoint point[TILES];
    float unit[TILES][2], sums[TILES] = {}, biases[TILES][2];
#pragma unroll
    for (int n = 0; n < TILES; n++) {
      point[n] = point_of(step, 8 * n + g);
      for (int j = 0; j < 2; j++) unit[n][j] = point_of(step, 8 * n + 2 * t + j).unit;
    }
    constexpr int TOGETHER = TILES == 1 ? 2 : 1;
#pragma unroll
    for (int p = 0; p < GROUPS; p += TOGETHER) {
      DigitSums sum[TOGETHER][2][TILES];
#pragma unroll 1
      for (int c = 0; c < s.chunks(); c++) {
        FourDigits d[TILES][2];
#pragma unroll
        for (int n = 0; n < TILES; n++)
#pragma unroll
          for (int half = 0; half < 2; half++) {
            float* dh = at(s.of.dh) + (8 * n + g) * s.dh_row + c * MLP_CHUNK + 16 * half + 2 * t;
            const float2 a = pair(dh), b = pair(dh + 8);
            d[n][half] = FourDigits(point[n], a.x, a.y, b.x, b.y);
            if (p == 0) sums[n] += (a.x + a.y) + (b.x + b.y);
          }
        add_gradients(sum, d, sample(c, 2 * t) + p * MLP_GROUP + 4 * g);
        if (p + TOGETHER == GROUPS) {  // what this warp has read it may overwrite
          __syncwarp();
          fetch();
        }
      }
      if (p == 0)
#pragma unroll
        for (int n = 0; n < TILES; n++) {
          for (int lanes = 1; lanes < 4; lanes *= 2)
            sums[n] += __shfl_xor_sync(~0u, sums[n], lanes);
          for (int j = 0; j < 2; j++) biases[n][j] = __shfl_sync(~0u, sums[n], (2 * t + j) * 4);
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
              // 0 where there is no feature
              const float gradient =
                  sum[q][i / 2][n].total(i % 2 * 2 + j) * (unit[n][j] * scale.v[i]) +
                  shift.v[i] * biases[n][j];
              float &w = w1[p + q][n][j].v[i], &v = v1[p + q][n][j].v[i];
              w = mlp.stepped(w, gradient, v, rate);
            }
      }
    }
    if (warp == 0 && g == 0)
      for (int j = 0; j < 2 * TILES; j++) {
        const int u = j / 2 * 8 + 2 * t + j % 2;
        float &b = at(s.of.b1)[u], &v = at(s.of.vb1)[u];
        b = mlp.stepped(b, biases[j / 2][j % 2], v, rate);
      }
  }
  // x: this lane's four features of its first sample, in the first of N groups.
  template <int N>
  __device__ __forceinline__ void add_gradients(DigitSums (&sum)[N][2][TILES],
                                                const FourDigits (&d)[TILES][2],
                                                const uint8_t* x) const {
#pragma unroll
    for (int q = 0; q < N; q++, x += MLP_GROUP) {
      uint32_t words[2][4];
#pragma unroll
      for (int half = 0; half < 2; half++) {
#pragma unroll
        for (int i = 0; i < 4; i++)
          words[half][i] = word(x + (16 * half + i % 2 + i / 2 * 8) * X_ROW);
        transpose_bytes(words[half]);
      }
#pragma unroll
      for (int m = 0; m < 2; m++) {
        const MmaA a{words[0][2 * m], words[0][2 * m + 1], words[1][2 * m], words[1][2 * m + 1]};
#pragma unroll
        for (int n = 0; n < TILES; n++) sum[q][m][n].add(a, d[n][0], d[n][1]);
      }
    }
  }

  // Those of the second layer, one by one, and the biases of the scores.
  __device__ __forceinline__ void second_weights(int64_t step, float rate, int counted) {
    const int helper = thread - s.workers * 32, helpers = threads - s.workers * 32;
    const int weights = classes * s.units;
#pragma unroll 1
    for (int i = helper; i < weights + classes; i += helpers) {
      const bool bias = i >= weights;
      const int c = bias ? i - weights : i / (8 * TILES);
      const float *d = at(s.of.ds) + c, *h = at(s.of.h) + i % (8 * TILES);
      float sum[4] = {};
#pragma unroll 1
      for (int row = 0; row < s.rows; row += 4)
#pragma unroll
        for (int j = 0; j < 4; j++, d += s.message, h += 8 * TILES) sum[j] += *d * (bias ? 1 : *h);
      const float gradient = (sum[0] + sum[1]) + (sum[2] + sum[3]);
      float& w = bias ? at(s.of.b2)[c] : at(s.of.w2)[i];
      float& v = bias ? at(s.of.vb2)[c] : at(s.of.v2)[i];
      w = mlp.stepped(w, gradient, v, rate);
    }
    if (warp != s.workers || rank != 0) return;
    float loss = 0, right = 0;
#pragma unroll 1
    for (int row = lane; row < s.rows; row += 32) {
      loss += at(s.of.ds)[row * s.message + classes];
      right += at(s.of.ds)[row * s.message + classes + 1];
    }
#pragma unroll 1
    for (int lanes = 16; lanes > 0; lanes /= 2) {
      loss += __shfl_xor_sync(~0u, loss, lanes);
      right += __shfl_xor_sync(~0u, right, lanes);
    }
    if (lane != 0) return;
    mlp.losses[step] = loss / static_cast<float>(counted);
    if (mlp.correct) mlp.correct[step] = static_cast<int32_t>(right);
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
  int batch, classes, inputs;
  int units, first_unit, first_feature;
  bool worker;                                                // it has features
  Quad w1[GROUPS][TILES][2] = {}, v1[GROUPS][TILES][2] = {};  // units 2t and 2t + 1
  int slot = 0;                                               // where this step's samples begin
  // The chunk to be fetched next.
  int next_slot = 0, next_chunk = 0;
  int64_t next_step = 0;
  // Of this thread's row: the next step's label, and the samples of the two steps after this one.
  int32_t label, after, later;
};

#endif
}  // namespace cdn
