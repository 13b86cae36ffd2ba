// The pointwise part of recurrent layers, one time step a call: what follows the products x W_ih^T
// and h W_hh^T, and its gradient. A thread takes one unit of one row and all gates of it, which lie
// `hidden` apart, so neighbours read neighbours, each number is read once and nothing in between is
// stored. The biases are added here: that spares a pass over the products of all steps. Gates stand
// in PyTorch's order: i, f, g, o and r, z, n.
#include "kernel/functions.h"

using namespace cdn;

namespace {

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

// row(r) of each functor below is itself, moved on to row r; count is the number of hidden units.

template <class T, bool BIAS> struct LstmCell {
  using C = Compute<T>;
  T *gates, *c, *h;
  Products<T, BIAS> in;
  const T* c_prev;
  int64_t count;

  CDN_FN LstmCell row(int64_t r) const {
    int64_t at = r * count;
    return {gates + 4 * at, c + at, h + at, in.at(4 * at), c_prev + at, count};
  }
  CDN_FN void operator()(int64_t j) const {
    C i = sigmoid(in.sum(j)), f = sigmoid(in.sum(j + count));
    C g = fn::tanh(in.sum(j + 2 * count)), o = sigmoid(in.sum(j + 3 * count));
    C cell = f * wide(c_prev[j]) + i * g;
    gates[j] = static_cast<T>(i);
    gates[j + count] = static_cast<T>(f);
    gates[j + 2 * count] = static_cast<T>(g);
    gates[j + 3 * count] = static_cast<T>(o);
    c[j] = static_cast<T>(cell);
    h[j] = static_cast<T>(o * fn::tanh(cell));
  }
};

template <class T> struct LstmCellGrad {
  using C = Compute<T>;
  T *dgates, *dc_prev;
  const T *dy, *dh, *dc, *gates, *c, *c_prev;
  int64_t count;

  CDN_FN LstmCellGrad row(int64_t r) const {
    int64_t at = r * count;
    return {dgates + 4 * at, dc_prev + at, dy + at,     dh + at, dc + at,
            gates + 4 * at,  c + at,       c_prev + at, count};
  }
  CDN_FN void operator()(int64_t j) const {
    C i = wide(gates[j]), f = wide(gates[j + count]), g = wide(gates[j + 2 * count]),
      o = wide(gates[j + 3 * count]);
    C tanh_c = fn::tanh(wide(c[j])), dout = wide(dy[j]) + wide(dh[j]);
    C dcell = wide(dc[j]) + tanh_grad(dout * o, tanh_c), before = wide(c_prev[j]);
    dgates[j] = static_cast<T>(sigmoid_grad(dcell * g, i));
    dgates[j + count] = static_cast<T>(sigmoid_grad(dcell * before, f));
    dgates[j + 2 * count] = static_cast<T>(tanh_grad(dcell * i, g));
    dgates[j + 3 * count] = static_cast<T>(sigmoid_grad(dout * tanh_c, o));
    dc_prev[j] = static_cast<T>(dcell * f);
  }
};

template <class T, bool BIAS> struct GruCell {
  using C = Compute<T>;
  T *gates, *inner, *h;
  Products<T, BIAS> in;
  const T* h_prev;
  int64_t count;

  CDN_FN GruCell row(int64_t r) const {
    int64_t at = r * count;
    return {gates + 3 * at, inner + at, h + at, in.at(3 * at), h_prev + at, count};
  }
  CDN_FN void operator()(int64_t j) const {
    C r = sigmoid(in.sum(j)), z = sigmoid(in.sum(j + count)), q = in.of_h(j + 2 * count);
    C n = fn::tanh(in.of_x(j + 2 * count) + r * q), before = wide(h_prev[j]);
    gates[j] = static_cast<T>(r);
    gates[j + count] = static_cast<T>(z);
    gates[j + 2 * count] = static_cast<T>(n);
    inner[j] = static_cast<T>(q);
    h[j] = static_cast<T>((C(1) - z) * n + z * before);
  }
};

template <class T> struct GruCellGrad {
  using C = Compute<T>;
  T *dgates_x, *dgates_h, *dh_prev;
  const T *dy, *dh, *dh_past, *gates, *inner, *h_prev;
  int64_t count;

  CDN_FN GruCellGrad row(int64_t r) const {
    int64_t at = r * count;
    return {dgates_x + 3 * at, dgates_h + 3 * at, dh_prev + at, dy + at,     dh + at,
            dh_past + at,      gates + 3 * at,    inner + at,   h_prev + at, count};
  }
  CDN_FN void operator()(int64_t j) const {
    C r = wide(gates[j]), z = wide(gates[j + count]), n = wide(gates[j + 2 * count]),
      q = wide(inner[j]);
    C dout = wide(dy[j]) + wide(dh[j]) + wide(dh_past[j]), before = wide(h_prev[j]);
    C dn = tanh_grad(dout * (C(1) - z), n), dr = sigmoid_grad(dn * q, r),
      dz = sigmoid_grad(dout * (before - n), z);
    dgates_x[j] = dgates_h[j] = static_cast<T>(dr);
    dgates_x[j + count] = dgates_h[j + count] = static_cast<T>(dz);
    dgates_x[j + 2 * count] = static_cast<T>(dn);
    dgates_h[j + 2 * count] = static_cast<T>(dn * r);
    dh_prev[j] = static_cast<T>(dout * z);
  }
};

template <class T, bool BIAS, bool RELU> struct RnnCell {
  T* h;
  Products<T, BIAS> in;
  int64_t count;

  CDN_FN RnnCell row(int64_t r) const { return {h + r * count, in.at(r * count), count}; }
  CDN_FN void operator()(int64_t j) const {
    Compute<T> x = in.sum(j);
    h[j] = static_cast<T>(RELU ? (x < 0 ? 0 : x) : fn::tanh(x));  // NaN stays NaN
  }
};

template <bool RELU> struct RnnCellGrad {
  template <class C> CDN_FN C operator()(C dy, C dh, C h) const {
    return RELU ? (h <= 0 ? C(0) : dy + dh) : tanh_grad(dy + dh, h);
  }
};

struct Cells {
  int64_t units;  // of one gate, in all rows
  int64_t hidden;
  Cells(int64_t n, int64_t hidden, int64_t gates)
      : units(checked_product("n, hidden", n, hidden)), hidden(checked_size("hidden", hidden)) {
    checked_product("n, gates, hidden", n, hidden, gates);
    checked_product("gates, hidden", hidden, gates);
  }
};

// f(products) with the biases or without.
template <class T, class F>
void with_products(Call& call, int64_t gates, const Cells& size, uint32_t x, uint32_t h,
                   uint32_t bias_ih, uint32_t bias_hh, F&& f) {
  if (!bias_ih != !bias_hh)
    CDN_FAIL(CDN_BAD_HANDLE, "bias_ih and bias_hh: one is 0; both may be, or none");
  const T* of_x = call.in<T>(x, "gates_x", gates * size.units);
  const T* of_h = call.in<T>(h, "gates_h", gates * size.units);
  if (!bias_ih) return f(Products<T, false>{of_x, of_h, nullptr, nullptr});
  call.allow(Call::NONE);  // all rows read the biases: no output may lie there
  const T* bias_x = call.in<T>(bias_ih, "bias_ih", gates * size.hidden);
  f(Products<T, true>{of_x, of_h, bias_x, call.in<T>(bias_hh, "bias_hh", gates * size.hidden)});
}

}  // namespace

CDN_API int32_t cdn_lstm_cell(uint32_t gates, uint32_t c, uint32_t h, uint32_t gates_x,
                              uint32_t gates_h, uint32_t c_prev, uint32_t bias_ih, uint32_t bias_hh,
                              int64_t n, int64_t hidden, int32_t dtype) {
  return run("cdn_lstm_cell", Call::IN_PLACE, [&](Call& call) {
    Cells size(n, hidden, 4);
    with_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      T* to_gates = call.out<T>(gates, "gates", 4 * size.units);
      T* to_c = call.out<T>(c, "c", size.units);
      T* to_h = call.out<T>(h, "h", size.units);
      const T* before = call.in<T>(c_prev, "c_prev", size.units);
      with_products<T>(call, 4, size, gates_x, gates_h, bias_ih, bias_hh, [&](auto in) {
        constexpr bool BIAS = decltype(in)::HAS_BIAS;
        each_row(call, n, hidden, LstmCell<T, BIAS>{to_gates, to_c, to_h, in, before, hidden});
      });
    });
  });
}

CDN_API int32_t cdn_lstm_cell_grad(uint32_t dgates, uint32_t dc_prev, uint32_t dy, uint32_t dh,
                                   uint32_t dc, uint32_t gates, uint32_t c, uint32_t c_prev,
                                   int64_t n, int64_t hidden, int32_t dtype) {
  return run("cdn_lstm_cell_grad", Call::IN_PLACE, [&](Call& call) {
    Cells size(n, hidden, 4);
    with_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      LstmCellGrad<T> op;
      op.dgates = call.out<T>(dgates, "dgates", 4 * size.units);
      op.dc_prev = call.out<T>(dc_prev, "dc_prev", size.units);
      op.dy = call.in<T>(dy, "dy", size.units);
      op.dh = call.in<T>(dh, "dh", size.units);
      op.dc = call.in<T>(dc, "dc", size.units);
      op.gates = call.in<T>(gates, "gates", 4 * size.units);
      op.c = call.in<T>(c, "c", size.units);
      op.c_prev = call.in<T>(c_prev, "c_prev", size.units);
      op.count = hidden;
      each_row(call, n, hidden, op);
    });
  });
}

CDN_API int32_t cdn_gru_cell(uint32_t gates, uint32_t inner, uint32_t h, uint32_t gates_x,
                             uint32_t gates_h, uint32_t h_prev, uint32_t bias_ih, uint32_t bias_hh,
                             int64_t n, int64_t hidden, int32_t dtype) {
  return run("cdn_gru_cell", Call::IN_PLACE, [&](Call& call) {
    Cells size(n, hidden, 3);
    with_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      T* to_gates = call.out<T>(gates, "gates", 3 * size.units);
      T* to_inner = call.out<T>(inner, "inner", size.units);
      T* to_h = call.out<T>(h, "h", size.units);
      const T* before = call.in<T>(h_prev, "h_prev", size.units);
      with_products<T>(call, 3, size, gates_x, gates_h, bias_ih, bias_hh, [&](auto in) {
        constexpr bool BIAS = decltype(in)::HAS_BIAS;
        each_row(call, n, hidden, GruCell<T, BIAS>{to_gates, to_inner, to_h, in, before, hidden});
      });
    });
  });
}

CDN_API int32_t cdn_gru_cell_grad(uint32_t dgates_x, uint32_t dgates_h, uint32_t dh_prev,
                                  uint32_t dy, uint32_t dh, uint32_t dh_past, uint32_t gates,
                                  uint32_t inner, uint32_t h_prev, int64_t n, int64_t hidden,
                                  int32_t dtype) {
  return run("cdn_gru_cell_grad", Call::IN_PLACE, [&](Call& call) {
    Cells size(n, hidden, 3);
    with_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      GruCellGrad<T> op;
      op.dgates_x = call.out<T>(dgates_x, "dgates_x", 3 * size.units);
      op.dgates_h = call.out<T>(dgates_h, "dgates_h", 3 * size.units);
      op.dh_prev = call.out<T>(dh_prev, "dh_prev", size.units);
      op.dy = call.in<T>(dy, "dy", size.units);
      op.dh = call.in<T>(dh, "dh", size.units);
      op.dh_past = call.in<T>(dh_past, "dh_past", size.units);
      op.gates = call.in<T>(gates, "gates", 3 * size.units);
      op.inner = call.in<T>(inner, "inner", size.units);
      op.h_prev = call.in<T>(h_prev, "h_prev", size.units);
      op.count = hidden;
      each_row(call, n, hidden, op);
    });
  });
}

CDN_API int32_t cdn_rnn_cell(uint32_t h, uint32_t gates_x, uint32_t gates_h, uint32_t bias_ih,
                             uint32_t bias_hh, int64_t n, int64_t hidden, int32_t relu,
                             int32_t dtype) {
  return run("cdn_rnn_cell", Call::IN_PLACE, [&](Call& call) {
    Cells size(n, hidden, 1);
    with_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      T* to = call.out<T>(h, "h", size.units);
      with_products<T>(call, 1, size, gates_x, gates_h, bias_ih, bias_hh, [&](auto in) {
        constexpr bool BIAS = decltype(in)::HAS_BIAS;
        if (relu)
          each_row(call, n, hidden, RnnCell<T, BIAS, true>{to, in, hidden});
        else
          each_row(call, n, hidden, RnnCell<T, BIAS, false>{to, in, hidden});
      });
    });
  });
}

CDN_API int32_t cdn_rnn_cell_grad(uint32_t dgates, uint32_t dy, uint32_t dh, uint32_t h, int64_t n,
                                  int64_t hidden, int32_t relu, int32_t dtype) {
  return run("cdn_rnn_cell_grad", Call::IN_PLACE, [&](Call& call) {
    Cells size(n, hidden, 1);
    with_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      T* to = call.out<T>(dgates, "dgates", size.units);
      const T* upstream = call.in<T>(dy, "dy", size.units);
      const T* later = call.in<T>(dh, "dh", size.units);
      const T* y = call.in<T>(h, "h", size.units);
      if (relu)
        map(call, size.units, RnnCellGrad<true>{}, to, upstream, later, y);
      else
        map(call, size.units, RnnCellGrad<false>{}, to, upstream, later, y);
    });
  });
}
