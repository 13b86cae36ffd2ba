// The GRU cell. Its gates are r, z, n.
#include "ops/recurrent/recurrent.h"

using namespace cdn;

namespace {

template <class T, bool BIAS, class E> struct GruCell {
  using C = Compute<T>;
  T *gates, *inner, *h;
  Products<T, BIAS> in;
  const T* h_prev;
  int64_t count;
  E ends;
  bool over = false;

  CDN_FN GruCell row(int64_t r) const {
    int64_t at = r * count;
    return {gates + 3 * at, inner + at, h + at, in.at(3 * at),
            h_prev + at,    count,      ends,   ends.before(r)};
  }
  CDN_FN void operator()(int64_t j) const {
    if (over) {
      h[j] = h_prev[j];
      return;
    }
    C r = sigmoid(in.sum(j)), z = sigmoid(in.sum(j + count)), q = in.of_h(j + 2 * count);
    C n = fn::tanh(in.of_x(j + 2 * count) + r * q), before = wide(h_prev[j]);
    gates[j] = static_cast<T>(r);
    gates[j + count] = static_cast<T>(z);
    gates[j + 2 * count] = static_cast<T>(n);
    inner[j] = static_cast<T>(q);
    h[j] = static_cast<T>((C(1) - z) * n + z * before);
  }
};

template <class T, class E> struct GruCellGrad {
  using C = Compute<T>;
  T *dgates_x, *dgates_h, *dh_prev;
  const T *dy, *dh, *dh_past, *gates, *inner, *h_prev;
  int64_t count;
  E ends;
  bool over = false;

  CDN_FN GruCellGrad row(int64_t r) const {
    int64_t at = r * count;
    return {dgates_x + 3 * at, dgates_h + 3 * at, dh_prev + at, dy + at, dh + at, dh_past + at,
            gates + 3 * at,    inner + at,        h_prev + at,  count,   ends,    ends.before(r)};
  }
  CDN_FN void operator()(int64_t j) const {
    if (over) {
      for (int k = 0; k < 3; k++) dgates_x[j + k * count] = dgates_h[j + k * count] = T(0);
      dh_prev[j] = static_cast<T>(wide(dh[j]) + wide(dh_past[j]));
      return;
    }
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

}  // namespace

CDN_API int32_t cdn_gru_cell(uint32_t gates, uint32_t inner, uint32_t h, uint32_t gates_x,
                             uint32_t gates_h, uint32_t h_prev, uint32_t bias_ih, uint32_t bias_hh,
                             uint32_t lengths, int32_t t, int64_t n, int64_t hidden,
                             int32_t dtype) {
  return run("cdn_gru_cell", Call::IN_PLACE, Floats{}, dtype, [&]<class T>(Call& call, T) {
    Step<T> step(call, n, hidden, 3);
    T *to_gates = step.out(gates, "gates", 3), *to_inner = step.out(inner, "inner"),
      *to_h = step.out(h, "h");
    const T* before = step.in(h_prev, "h_prev");
    step.each_row_of(gates_x, gates_h, bias_ih, bias_hh, lengths, t, [&](auto in, auto ends) {
      return GruCell<T, decltype(in)::HAS_BIAS, decltype(ends)>{to_gates, to_inner, to_h, in,
                                                                before,   hidden,   ends};
    });
  });
}

CDN_API int32_t cdn_gru_cell_grad(uint32_t dgates_x, uint32_t dgates_h, uint32_t dh_prev,
                                  uint32_t dy, uint32_t dh, uint32_t dh_past, uint32_t gates,
                                  uint32_t inner, uint32_t h_prev, uint32_t lengths, int32_t t,
                                  int64_t n, int64_t hidden, int32_t dtype) {
  return run("cdn_gru_cell_grad", Call::IN_PLACE, Floats{}, dtype, [&]<class T>(Call& call, T) {
    Step<T> step(call, n, hidden, 3);
    T *to_x = step.out(dgates_x, "dgates_x", 3), *to_h = step.out(dgates_h, "dgates_h", 3),
      *to_prev = step.out(dh_prev, "dh_prev");
    const T *upstream = step.in(dy, "dy"), *later = step.in(dh, "dh"),
            *past = step.in(dh_past, "dh_past"), *kept = step.in(gates, "gates", 3),
            *of_h = step.in(inner, "inner"), *before = step.in(h_prev, "h_prev");
    step.with_ends(lengths, t, [&](auto ends) {
      each_row(call, n, hidden,
               GruCellGrad<T, decltype(ends)>{to_x, to_h, to_prev, upstream, later, past, kept,
                                              of_h, before, hidden, ends});
    });
  });
}
