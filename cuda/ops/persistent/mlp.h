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

  // The new value of parameter p; v: its velocity, or 0 if there are none, and so no momentum.
  // Choices of values rather than branches: a kernel does this for many numbers at once.
  CDN_FN float stepped(float p, float gradient, float& v, float rate) const {
    const float g = weight_decay != 0 ? gradient + weight_decay * p : gradient;
    const float moved = momentum * v + g;
    v = velocity[W1] ? moved : 0;
    return p - rate * (nesterov ? g + momentum * moved : moved);
  }
  // A number of the order if there is such a sample, or -1.
  CDN_FN int64_t checked(int64_t sample) const {
    if (sample >= 0 && sample < samples) return sample;
    report_fault(fault, FAULT_GATHER_ROWS, sample, samples);
    return -1;
  }
};

namespace backend {
// Throws CDN_UNSUPPORTED for what the device cannot hold.
void train_mlp(Call& call, const MlpTraining& mlp);
}  // namespace backend

}  // namespace cdn
