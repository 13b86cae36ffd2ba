// The pointwise part of recurrent layers, one time step a call: what follows the products x W_ih^T
// and h W_hh^T, and its gradient. A thread takes one unit of one row and all gates of it, which lie
// `hidden` apart, so neighbours read neighbours, each number is read once and nothing in between is
// stored. The biases are added here: that spares a pass over the products of all steps. Gates stand
// in PyTorch's order.
//
// A functor's row(r) is itself, moved on to row r; its count is the number of hidden units.
#pragma once
#include "kernel/functions.h"

namespace cdn {

template <class C> CDN_FN C sigmoid(C x) { return C(1) / (C(1) + fn::exp(-x)); }
template <class C> CDN_FN C sigmoid_grad(C dy, C y) { return dy * y * (C(1) - y); }
template <class C> CDN_FN C tanh_grad(C dy, C y) { return dy * (C(1) - y * y); }

// Both parts of a gate before its activation; without biases the pointers are null.
template <class T, bool BIAS> struct Products {
  static constexpr bool HAS_BIAS = BIAS;
  using C = Compute<T>;
  const T *x, *h, *bias_x, *bias_h;
  CDN_FN Products at(int64_t offset) const { return {x + offset, h + offset, bias_x, bias_h}; }
  CDN_FN C of_x(int64_t i) const { return BIAS ? wide(x[i]) + wide(bias_x[i]) : wide(x[i]); }
  CDN_FN C of_h(int64_t i) const { return BIAS ? wide(h[i]) + wide(bias_h[i]) : wide(h[i]); }
  CDN_FN C sum(int64_t i) const { return of_x(i) + of_h(i); }
};

// Whether the sequence of a row has ended before step t: then its states stay as they are. A kernel
// for sequences of one length has no such question in it.
struct Ends {
  static constexpr bool SOME = true;
  const int32_t* lengths;
  int32_t t;
  CDN_FN bool before(int64_t r) const { return t >= lengths[r]; }
};
struct NoEnds {
  static constexpr bool SOME = false;
  CDN_FN static constexpr bool before(int64_t) { return false; }
};

// The arguments of a step of n rows: tensors of so many numbers for each hidden unit.
template <class T> struct Step {
  Call& call;
  int64_t n, hidden, gates, units;  // units: of all rows

  Step(Call& call, int64_t n, int64_t hidden, int64_t gates)
      : call(call),
        n(n),
        hidden(checked_size("hidden", hidden)),
        gates(gates),
        units(checked_product("n, hidden", n, hidden)) {
    checked_product("n, gates, hidden", n, hidden, gates);
    checked_product("gates, hidden", hidden, gates);
  }
  T* out(uint32_t handle, const char* name, int64_t each = 1) const {
    return call.out<T>(handle, name, each * units);
  }
  const T* in(uint32_t handle, const char* name, int64_t each = 1) const {
    return call.in<T>(handle, name, each * units);
  }

  // use(ends): of the lengths, or none where there are no lengths.
  template <class Use> void with_ends(uint32_t lengths, int32_t t, Use&& use) const {
    if (!lengths) return use(NoEnds{});
    call.allow(Call::NONE);
    use(Ends{call.in<int32_t>(lengths, "lengths", n), t});
  }

  // make(products, ends), with the biases or without, gives the functor.
  template <class Make>
  void each_row_of(uint32_t x, uint32_t h, uint32_t bias_ih, uint32_t bias_hh, uint32_t lengths,
                   int32_t t, Make&& make) const {
    if (!bias_ih != !bias_hh)
      CDN_FAIL(CDN_BAD_HANDLE, "bias_ih and bias_hh: one is 0; both may be, or none");
    const T *of_x = in(x, "gates_x", gates), *of_h = in(h, "gates_h", gates);
    auto with = [&](auto in) {
      with_ends(lengths, t, [&](auto ends) { each_row(call, n, hidden, make(in, ends)); });
    };
    if (!bias_ih) return with(Products<T, false>{of_x, of_h, nullptr, nullptr});
    call.allow(Call::NONE);  // all rows read the biases: no output may lie there
    const T* bias_x = call.in<T>(bias_ih, "bias_ih", gates * hidden);
    const T* bias_h = call.in<T>(bias_hh, "bias_hh", gates * hidden);
    with(Products<T, true>{of_x, of_h, bias_x, bias_h});
  }
};

}  // namespace cdn
