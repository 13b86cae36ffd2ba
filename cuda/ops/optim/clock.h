// What changes from step to step is device memory: how many steps were taken, the learning rate,
// and what follows from them. So a captured step replays unchanged, and no step waits for the host.
#pragma once
#include "kernel/lists.h"

namespace cdn {

// The ABI's `clock`, 11 float64. The host writes the first four, and the rates again when they
// change.
struct Clock {
  double step;          // steps taken
  double extra;         // what else an optimizer carries from step to step
  double lr, momentum;  // the learning rate, and the momentum or beta1
  double runs;          // 1, or 0 while a step is left out
  double value[6];      // of this step, for the kernels that take it

  template <class... C> CDN_FN void get(C&... to) const {
    int i = 0;
    ((to = static_cast<C>(value[i++])), ...);
  }
};
constexpr int64_t CLOCK_SIZE = sizeof(Clock) / sizeof(double);

// Begins a step, on one thread: counts it and computes its values in float64, unless the flag is
// set.
template <class Values> struct Advance {
  Clock* clock;
  const double* skip;
  Values values;
  CDN_FN void operator()(int64_t) const {
    clock->runs = skip && *skip != 0 ? 0 : 1;
    if (clock->runs == 0) return;
    clock->step += 1;
    values(*clock);
  }
  void queue(Call& call) const {
    if (clock) each(call, 1, *this);
  }
};

inline Clock* clock_of(Call& call, uint32_t handle) {
  return reinterpret_cast<Clock*>(call.out<double>(handle, "clock", CLOCK_SIZE));
}
inline const double* skip_of(Call& call, uint32_t handle) {
  return handle ? call.in<double>(handle, "skip", 1) : nullptr;
}

}  // namespace cdn
