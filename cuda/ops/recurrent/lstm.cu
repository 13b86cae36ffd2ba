// The LSTM cell. Its gates are i, f, g, o.
#include "ops/recurrent/recurrent.h"

using namespace cdn;

namespace {

template <class T, bool BIAS, class E> struct LstmCell {
  using C = Compute<T>;
  T *gates, *c, *h;
  Products<T, BIAS> in;
  const T *c_prev, *h_prev;
  int64_t count;
  E ends;
  bool over = false;

  CDN_FN LstmCell row(int64_t r) const {
    int64_t at = r * count;
    return {gates + 4 * at, c + at, h + at, in.at(4 * at), c_prev + at,
            h_prev + at,    count,  ends,   ends.before(r)};
  }
  CDN_FN void operator()(int64_t j) const {
    if (over) {
      c[j] = c_prev[j];
      h[j] = h_prev[j];
      return;
    }
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

template <class T, class E> struct LstmCellGrad {
  using C = Compute<T>;
  T *dgates, *dc_prev, *dh_past;
  const T *dy, *dh, *dc, *gates, *c, *c_prev;
  int64_t count;
  E ends;
  bool over = false;

  CDN_FN LstmCellGrad row(int64_t r) const {
    int64_t at = r * count;
    T* past = E::SOME ? dh_past + at : nullptr;
    return {dgates + 4 * at, dc_prev + at, past,        dy + at, dh + at, dc + at,
            gates + 4 * at,  c + at,       c_prev + at, count,   ends,    ends.before(r)};
  }
  CDN_FN void operator()(int64_t j) const {
    if (over) {
      dh_past[j] = static_cast<T>(wide(dh[j]) + wide(dh_past[j]));
      for (int k = 0; k < 4; k++) dgates[j + k * count] = T(0);
      dc_prev[j] = dc[j];
      return;
    }
    C i = wide(gates[j]), f = wide(gates[j + count]), g = wide(gates[j + 2 * count]),
      o = wide(gates[j + 3 * count]);
    C tanh_c = fn::tanh(wide(c[j])), dout = wide(dy[j]) + wide(dh[j]);
    if constexpr (E::SOME) {
      dout += wide(dh_past[j]);
      dh_past[j] = T(0);
    }
    C dcell = wide(dc[j]) + tanh_grad(dout * o, tanh_c), before = wide(c_prev[j]);
    dgates[j] = static_cast<T>(sigmoid_grad(dcell * g, i));
    dgates[j + count] = static_cast<T>(sigmoid_grad(dcell * before, f));
    dgates[j + 2 * count] = static_cast<T>(tanh_grad(dcell * i, g));
    dgates[j + 3 * count] = static_cast<T>(sigmoid_grad(dout * tanh_c, o));
    dc_prev[j] = static_cast<T>(dcell * f);
  }
};

}  // namespace

CDN_API int32_t cdn_lstm_cell(uint32_t gates, uint32_t c, uint32_t h, uint32_t gates_x,
                              uint32_t gates_h, uint32_t c_prev, uint32_t h_prev, uint32_t bias_ih,
                              uint32_t bias_hh, uint32_t lengths, int32_t t, int64_t n,
                              int64_t hidden, int32_t dtype) {
  return run("cdn_lstm_cell", Call::IN_PLACE, Floats{}, dtype, [&]<class T>(Call& call, T) {
    Step<T> step(call, n, hidden, 4);
    T *to_gates = step.out(gates, "gates", 4), *to_c = step.out(c, "c"), *to_h = step.out(h, "h");
    const T *c_before = step.in(c_prev, "c_prev"), *h_before = step.in(h_prev, "h_prev");
    step.each_row_of(gates_x, gates_h, bias_ih, bias_hh, lengths, t, [&](auto in, auto ends) {
      return LstmCell<T, decltype(in)::HAS_BIAS, decltype(ends)>{to_gates, to_c,     to_h,   in,
                                                                 c_before, h_before, hidden, ends};
    });
  });
}

CDN_API int32_t cdn_lstm_cell_grad(uint32_t dgates, uint32_t dc_prev, uint32_t dh_past, uint32_t dy,
                                   uint32_t dh, uint32_t dc, uint32_t gates, uint32_t c,
                                   uint32_t c_prev, uint32_t lengths, int32_t t, int64_t n,
                                   int64_t hidden, int32_t dtype) {
  return run("cdn_lstm_cell_grad", Call::IN_PLACE, Floats{}, dtype, [&]<class T>(Call& call, T) {
    Step<T> step(call, n, hidden, 4);
    T *to_gates = step.out(dgates, "dgates", 4), *to_c = step.out(dc_prev, "dc_prev");
    T* past = lengths ? step.out(dh_past, "dh_past") : nullptr;
    const T *upstream = step.in(dy, "dy"), *later = step.in(dh, "dh"), *of_c = step.in(dc, "dc");
    const T *kept = step.in(gates, "gates", 4), *now = step.in(c, "c"),
            *before = step.in(c_prev, "c_prev");
    step.with_ends(lengths, t, [&](auto ends) {
      each_row(call, n, hidden,
               LstmCellGrad<T, decltype(ends)>{to_gates, to_c, past, upstream, later, of_c, kept,
                                               now, before, hidden, ends});
    });
  });
}
