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
//   first_weights     (waits for slice after slice of the samples' gradients) gradients of its
//                     weights, and their step
//   second_weights    (waits for the letters) the step of the other parameters, of which blocks
//   have
//                     equal copies
//
// What a block sends in a step it sends after it had all that it waited for in the step before, so
// no message meets a mailbox of an earlier round. Scores alone go to blocks of which nothing was
// awaited since the last ones: they have two mailboxes, in turns.
#pragma once
#include "gpu/persistent/mlp_block.h"
#include "gpu/persistent/mlp_operands.h"

namespace cdn {
#if defined(CDN_HOPPER)

template <class T, bool NORMALISED> class MlpTrainer : MlpBlock<T, NORMALISED> {
  using Base = MlpBlock<T, NORMALISED>;
  using Base::mlp, Base::s, Base::to, Base::x, Base::thread, Base::warp, Base::g, Base::t,
      Base::group, Base::slice, Base::batch, Base::units, Base::features, Base::first_unit,
      Base::first_feature, Base::unit;
  using Base::parts_box, Base::gradients_box, Base::letters_box, Base::scores_box, Base::batch_at,
      Base::index_at, Base::label_at, Base::block_of, Base::quad, Base::fetch_next;
  using typename Base::M;
  using typename Base::Samples;

 public:
  using Base::Base;

  __device__ __forceinline__ void train() {
    this->begin();
    for (int64_t step = 0; step < mlp.steps; step++) {
      const float rate = mlp.rates[step];
      const bool comes = step + 2 < mlp.steps && thread < batch;
      const int32_t after_next = comes ? mlp.order[(step + 2) * batch + thread] : -1;
      x.x = batch_at(step);
      multiply_hidden();
      fetch_next(step + 1);
      hidden_units(step);
      if (comes) index_at(step + 2)[thread] = static_cast<int32_t>(mlp.checked(after_next));
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
    this->end();
  }

 private:
  // ---- forward

  __device__ __forceinline__ void multiply_hidden() const {
    const int wide = s.hidden / 8, m = warp & ((1 << s.down) - 1), apart = MLP_WARPS >> s.down;
    if (m * 16 >= s.rows) return;
    for (int n = warp >> s.down; n < wide;) {
      const int left = wide - n;  // of which every apart-th is this warp's
      // Two at a time, so that the first messages travel while others are computed.
      if (left > apart)
        hidden_tiles<2>(m, n, apart), n += 2 * apart;
      else
        hidden_tiles<1>(m, n, apart), n += apart;
    }
  }
  // N tiles of 8 hidden units, from tile `first` on, of 16 samples.
  template <int N> __device__ __forceinline__ void hidden_tiles(int m, int first, int apart) const {
    const int r = m * 16 + g;
    float sum[1][N][4] = {};
    TileSums<1, N> sums;
    for (int first_step = 0; first_step < s.columns; first_step += sums.FEW) {
      sums.template multiply<Samples::EXACT, false>(
          first_step, min(first_step + sums.FEW, s.columns),
          [&](int, int k) {
            return operand_a([&](int i, int half) { return x.at(r + 8 * i, k + t + 4 * half); });
          },
          [&](int n, int k) {
            const float* w = to.w1 + ((first + n * apart) * 8 + g) * s.w_row + k + t;
            return operand_b([&](int half) { return w[4 * half]; });
          });
      sums.move_to(sum);
    }
    // Two threads beside one another turn two columns of two rows into four columns of one.
    const bool odd = t % 2;
    const int row = odd ? r + 8 : r, owner = static_cast<int>(s.by_own(row));
    float* place = to.parts + (slice * s.own + row - owner * s.own) * s.h_row + t / 2 * 4;
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
    this->each_quad(s.own, [&](int row, int u) {
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
      const int row = static_cast<int>(s.by_classes(i)), c = i - row * s.classes;
      Quad sums{};
      for (int u = 0; u < s.hidden; u += 4) {
        const Quad h = quad(to.h + row * s.h_row + u), w = quad(to.w2 + c * s.h_row + u);
        for (int j = 0; j < 4; j++) sums.v[j] += h.v[j] * w.v[j];
      }
      const float sum = (sums.v[0] + sums.v[1]) + (sums.v[2] + sums.v[3]);
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
    this->each_quad(s.own, [&](int row, int u) {
      Quad sum{};
      for (int c = 0; c < s.classes; c++) {
        const Quad w = quad(to.w2 + c * s.h_row + u);
        for (int i = 0; i < 4; i++) sum.v[i] += to.ds[row * s.class_row + c] * w.v[i];
      }
      const Quad h = quad(to.h + row * s.h_row + u);
      for (int i = 0; i < 4; i++) sum.v[i] = h.v[i] <= 0 ? 0 : sum.v[i];
      for (int k = 0; k < s.slices; k++)
        gradients_box(slice).send(to.dh + (slice * s.own + row) * s.h_row + u, block_of(group, k),
                                  sum);
    });
  }

  // A letter: the weights' gradients [classes][hidden], the biases', the loss, how many were right.
  __device__ __forceinline__ void letters() const {
    float* own = to.letters + slice * s.letter;
    auto send = [&](int at, const auto& value) {
      for (int k = 0; k < s.slices; k++) letters_box().send(own + at, block_of(group, k), value);
    };
    this->each_quad(
        s.classes,
        [&](int c, int u) {
          Quad sum{};
          for (int row = 0; row < s.own; row++) {
            const Quad h = quad(to.h + row * s.h_row + u);
            for (int i = 0; i < 4; i++) sum.v[i] += to.ds[row * s.class_row + c] * h.v[i];
          }
          send(c * s.hidden + u, sum);
        },
        32);                                    // the first warp has the most weights to see to
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
    const int tiles = s.columns / 8;
    for (int first = warp; first < tiles;) {
      const int left = (tiles - first + MLP_WARPS - 1) / MLP_WARPS;
      const int take = left == 4 ? 2 : min(left, 3);  // more would need too many registers
      for (int u = 0; u < s.hidden; u += 32)
        if (take == 3)
          weight_tiles<3>(step, first, u, rate);
        else if (take == 2)
          weight_tiles<2>(step, first, u, rate);
        else
          weight_tiles<1>(step, first, u, rate);
      first += take * MLP_WARPS;
    }
    // All hidden units' gradients are there, and used, before what they came from changes.
    for (int k = 0; k < s.slices; k++) gradients_box(k).wait(step);
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
  __device__ __forceinline__ void weight_tiles(int64_t step, int first, int u, float rate) const {
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
    // The block's own samples come first, as their gradients need not travel. Step k of a tile is
    // sample 2k, or 2k - 7 in its second half: then no two threads read from one bank.
    TileSums<2, N> sums;
    for (int k = 0, source = slice, done = 0; k < s.slices; k++) {
      gradients_box(source).await(step);
      sums.template multiply<false, Samples::EXACT>(
          source * s.own, (source + 1) * s.own,
          [&](int m, int k) {
            const float* d = to.dh + (k + 2 * t) * s.h_row + u + m * 16 + g;
            return operand_a([&](int i, int half) { return d[half * s.h_row + 8 * i]; });
          },
          [&](int n, int k) {
            return operand_b(
                [&](int half) { return x.at(k + 2 * t + half, (first + n * MLP_WARPS) * 8 + g); });
          });
      done += s.own;
      if (done >= sums.FEW || k + 1 == s.slices) sums.move_to(sum), done = 0;
      if (++source == s.slices) source = 0;
    }
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
    this->each_of_second([&](int i, int at, int64_t, bool) {
      to.w2[at] = mlp.stepped(to.w2[at], total(i), to.v2[at], rate);
    });
    const int biases = s.classes * s.hidden, late = MLP_THREADS - 1 - thread;
    if (late < s.classes)
      to.b2[late] = mlp.stepped(to.b2[late], total(biases + late), to.vb2[late], rate);
    if (late != s.classes || group != 0 || slice != 0) return;
    mlp.losses[step] = total(biases + s.classes) / static_cast<float>(counted);
    if (mlp.correct) mlp.correct[step] = static_cast<int32_t>(total(biases + s.classes + 1));
  }
};

#endif
}  // namespace cdn
