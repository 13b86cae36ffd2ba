// The perceptron's steps on the CPU. Threads share out a step's samples, all the way to the hidden
// layer's gradients, and then the features, whose weights change as soon as their gradients are
// known. For the whole call the first weights lie transposed, so that no product packs anything.
#include "ops/persistent/mlp.h"

#include <algorithm>
#include <limits>

#include "cpu/device/threads.h"
#include "cpu/gemm/blocked.h"

namespace cdn {
namespace {

// c = a b, where element (i, p) of a is a[i * a_row + p * a_step], and b and c have rows.
void product(float* c, int64_t c_row, const float* a, int64_t a_row, int64_t a_step, const float* b,
             int64_t b_row, int64_t m, int64_t n, int64_t k) {
  const TileKernel<float>& kernel = tile_kernel<float>();
  TileProduct<float> x{};
  x.a = a, x.b = b, x.c = c;
  x.m = m, x.n = n, x.k = k, x.height = kernel.rows, x.width = kernel.panel;
  x.a_panel = kernel.rows * a_row, x.a_row = a_row, x.a_step = a_step;
  x.b_panel = kernel.panel, x.b_step = b_row, x.c_row = c_row, x.c_col = 1;
  kernel.multiply(x);
}

class Trainer {
 public:
  Trainer(Call& call, const MlpTraining& mlp) : m(mlp) {
    // Rows a multiple of a page apart would share few places in the cache.
    x_row = (m.inputs + 15) / 16 * 16;
    if (x_row % 1024 == 0) x_row += 16;
    auto take = [&call](int64_t count) { return call.scratch<float>(count); };
    x = take(m.batch * x_row);
    h = take(m.batch * m.hidden);
    dh = take(m.batch * m.hidden);
    scores = take(m.batch * m.classes);
    losses = take(m.batch);
    w1 = take(m.hidden * m.inputs);
    g1 = take(m.hidden * m.inputs);
    if (m.velocity[0]) v1 = take(m.hidden * m.inputs);
    w2 = take(m.hidden * m.classes);
    g2 = take(m.hidden * m.classes);
    right = call.scratch<bool>(m.batch);
  }

  void train() {
    const TileKernel<float>& kernel = tile_kernel<float>();
    auto turn = [&](float* to, const float* from, int64_t rows, int64_t cols) {
      parallel_for((cols + 15) / 16, 4, [&](int64_t begin, int64_t end) {
        const int64_t last = std::min(end * 16, cols);
        kernel.transpose(to + begin * 16 * rows, rows, from + begin * 16, cols, rows,
                         last - begin * 16);
      });
    };
    turn(w1, m.param[m.W1], m.hidden, m.inputs);
    if (v1) turn(v1, m.velocity[m.W1], m.hidden, m.inputs);
    for (int64_t t = 0; t < m.steps; t++) step(t);
    turn(m.param[m.W1], w1, m.inputs, m.hidden);
    if (v1) turn(m.velocity[m.W1], v1, m.inputs, m.hidden);
  }

 private:
  static constexpr int64_t FEATURES = 48;  // of the first weights at a time

  void step(int64_t t) {
    const int64_t rows = tile_kernel<float>().rows;
    const int32_t* order = m.order + t * m.batch;
    counted = 0;
    for (int64_t r = 0; r < m.batch; r++)
      counted += order[r] < 0 || order[r] >= m.samples || m.target[order[r]] != m.ignore;
    tile_kernel<float>().transpose(w2, m.classes, m.param[m.W2], m.hidden, m.classes, m.hidden);
    parallel_for((m.batch + rows - 1) / rows, 1, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; b++)
        samples(t * m.batch, b * rows, std::min(rows, m.batch - b * rows));
    });
    double sum = 0;
    int32_t correct = 0;
    for (int64_t r = 0; r < m.batch; r++) sum += losses[r], correct += right[r];
    m.losses[t] = static_cast<float>(sum / static_cast<double>(counted));
    if (m.correct) m.correct[t] = correct;
    const float rate = m.rate_of(t);
    const int64_t blocks = (m.inputs + FEATURES - 1) / FEATURES;
    parallel_for(blocks + 1, 1, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; b++)
        if (b < blocks)
          features(b * FEATURES, std::min(FEATURES, m.inputs - b * FEATURES), rate);
        else
          others(rate);
    });
  }

  void take(float* to, int64_t sample) {
    if (sample < 0) {
      std::fill_n(to, m.inputs, 0.0f);
      return;
    }
    const int64_t first = sample * m.inputs;
    if (m.bytes) {
      const uint8_t* from = static_cast<const uint8_t*>(m.x) + first;
      for (int64_t i = 0; i < m.inputs; i++) to[i] = from[i];
    } else {
      std::copy_n(static_cast<const float*>(m.x) + first, m.inputs, to);
    }
    const float one = m.scale && m.norms == 1 ? *m.scale : 1;
    const float zero = m.shift && m.norms == 1 ? *m.shift : 0;
    if (m.norms == 1 && (m.scale || m.shift))
      for (int64_t i = 0; i < m.inputs; i++) to[i] = to[i] * one + zero;
    if (m.norms != 1 && m.scale)
      for (int64_t i = 0; i < m.inputs; i++) to[i] *= m.scale[i];
    if (m.norms != 1 && m.shift)
      for (int64_t i = 0; i < m.inputs; i++) to[i] += m.shift[i];
  }

  // Rows [first, first + count) of the step's batch, which begins at `place` in the order.
  void samples(int64_t place, int64_t first, int64_t count) {
    const int64_t hidden = m.hidden, classes = m.classes;
    const float *b1 = m.param[m.B1], *b2 = m.param[m.B2];
    float *xs = x + first * x_row, *hs = h + first * hidden, *ds = dh + first * hidden;
    float* score = scores + first * classes;
    int64_t sample[64];
    for (int64_t r = 0; r < count; r++)
      take(xs + r * x_row, sample[r] = m.sample_at(place + first + r));
    product(hs, hidden, xs, x_row, 1, w1, hidden, count, hidden, m.inputs);
    for (int64_t r = 0; r < count; r++)
      for (int64_t j = 0; j < hidden; j++) {
        const float sum = hs[r * hidden + j] + b1[j];
        hs[r * hidden + j] = sum < 0 ? 0 : sum;  // NaN stays
      }
    product(score, classes, hs, hidden, 1, w2, classes, count, classes, hidden);
    for (int64_t r = 0; r < count; r++, score += classes) {
      for (int64_t c = 0; c < classes; c++) score[c] += b2[c];
      loss_of(first + r, score, sample[r]);
    }
    product(ds, hidden, scores + first * classes, classes, 1, m.param[m.W2], hidden, count, hidden,
            classes);
    for (int64_t i = 0; i < count * hidden; i++) ds[i] = hs[i] <= 0 ? 0 : ds[i];
  }

  // Row r's loss; its scores become their gradients.
  void loss_of(int64_t r, float* score, int64_t sample) {
    const int64_t classes = m.classes;
    const int64_t target = sample < 0 ? -1 : m.target[sample];
    const bool ignored = sample >= 0 && target == m.ignore;
    const bool valid = target >= 0 && target < classes;
    float max = score[0];
    int64_t best = 0;
    for (int64_t c = 1; c < classes; c++)
      if (score[c] > max || is_nan(score[c])) max = score[c], best = c;
    right[r] = best == target && !is_nan(max);
    const float at_target = valid ? score[target] : 0;
    double sum = 0;
    for (int64_t c = 0; c < classes; c++) score[c] = fn::exp(score[c] - max);
    for (int64_t c = 0; c < classes; c++) sum += score[c];
    losses[r] = ignored ? 0
                : valid ? fn::log(static_cast<float>(sum)) + (max - at_target)
                        : std::numeric_limits<float>::quiet_NaN();
    if (!valid && !ignored && sample >= 0)
      report_fault(m.fault, FAULT_CROSS_ENTROPY, target, classes);
    const float share = 1 / static_cast<float>(sum), scale = 1 / static_cast<float>(counted);
    for (int64_t c = 0; c < classes; c++)
      score[c] = ignored ? 0 : (score[c] * share - (c == target ? 1.0f : 0.0f)) * scale;
  }

  void update(float* p, const float* g, float* v, int64_t count, float rate) {
    const MlpTraining rule = m;  // which the stores cannot change: the loops become vector code
    float none = 0;
    if (v)
      for (int64_t i = 0; i < count; i++) p[i] = rule.stepped(p[i], g[i], v[i], rate);
    else
      for (int64_t i = 0; i < count; i++) p[i] = rule.stepped(p[i], g[i], none, rate);
  }

  void features(int64_t first, int64_t count, float rate) {
    const int64_t at = first * m.hidden;
    product(g1 + at, m.hidden, x + first, 1, x_row, dh, m.hidden, count, m.hidden, m.batch);
    update(w1 + at, g1 + at, v1 ? v1 + at : nullptr, count * m.hidden, rate);
  }

  // The other parameters.
  void others(float rate) {
    product(g2, m.hidden, scores, 1, m.classes, h, m.hidden, m.classes, m.hidden, m.batch);
    update(m.param[m.W2], g2, m.velocity[m.W2], m.classes * m.hidden, rate);
    auto bias = [&](MlpTraining::Param p, const float* of, int64_t width) {
      std::copy_n(of, width, g2);  // no wider than the gradients that were there
      for (int64_t r = 1; r < m.batch; r++)
        for (int64_t j = 0; j < width; j++) g2[j] += of[r * width + j];
      update(m.param[p], g2, m.velocity[p], width, rate);
    };
    bias(m.B1, dh, m.hidden);
    bias(m.B2, scores, m.classes);
  }

  const MlpTraining& m;
  int64_t x_row, counted = 0;
  float *x, *h, *dh, *scores, *losses;
  float *w1, *g1, *v1 = nullptr;  // [inputs, hidden]
  float* w2;                      // [hidden, classes]
  float* g2;
  bool* right;
};

}  // namespace

void backend::train_mlp(Call& call, const MlpTraining& mlp) {
  if (mlp.steps) Trainer(call, mlp).train();
}

}  // namespace cdn
