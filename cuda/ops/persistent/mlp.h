// Training of a perceptron of two layers, many steps in a call: what both backends take.
#pragma once
#include "kernel/functions.h"

namespace cdn {

// Addresses as cudeno.h names them; those that may be null: correct, the velocities, scale, shift.
struct MlpTraining {
  static constexpr int PARAMS = 4;
  enum Param { W1, B1, W2, B2 };
  float* losses;
  int32_t* correct;
  float *param[PARAMS], *velocity[PARAMS];
  const void* x;
  bool bytes;  // x is uint8
  const int32_t *target, *order;
  const float *rates, *scale, *shift;
  int64_t samples, inputs, hidden, classes, batch, steps, norms;
  float momentum, weight_decay;
  bool nesterov;
  int32_t ignore;
  volatile Fault* fault;

  // Which element of scale and shift is feature i's.
  CDN_FN int64_t norm(int64_t i) const { return norms == 1 ? 0 : i; }
  CDN_FN float rate_of(int64_t step) const { return rates[step]; }

  // The new value of parameter p; v: its velocity, if there are any.
  CDN_FN float stepped(float p, float gradient, float& v, float rate) const {
    float g = weight_decay != 0 ? gradient + weight_decay * p : gradient;
    if (velocity[W1]) {
      v = momentum * v + g;
      g = nesterov ? g + momentum * v : v;
    }
    return p - rate * g;
  }
  // A sample's number in x, or -1.
  CDN_FN int64_t sample_at(int64_t place) const {
    const int64_t i = order[place];
    if (i >= 0 && i < samples) return i;
    report_fault(fault, FAULT_GATHER_ROWS, i, samples);
    return -1;
  }
};

namespace backend {
// Throws CDN_UNSUPPORTED for what the device cannot hold.
void train_mlp(Call& call, const MlpTraining& mlp);
}  // namespace backend

}  // namespace cdn
