// The Elman cell.
#include "ops/recurrent/recurrent.h"

using namespace cdn;

namespace {

template <class T, bool BIAS, bool RELU, class E> struct RnnCell {
  T* h;
  Products<T, BIAS> in;
  const T* h_prev;
  int64_t count;
  E ends;
  bool over = false;

  CDN_FN RnnCell row(int64_t r) const {
    int64_t at = r * count;
    return {h + at, in.at(at), h_prev + at, count, ends, ends.before(r)};
  }
  CDN_FN void operator()(int64_t j) const {
    if (over) {
      h[j] = h_prev[j];
      return;
    }
    Compute<T> x = in.sum(j);
    h[j] = static_cast<T>(RELU ? (x < 0 ? 0 : x) : fn::tanh(x));  // NaN stays NaN
  }
};

template <bool RELU> struct RnnCellGrad {
  template <class C> CDN_FN C operator()(C dy, C dh, C h) const {
    return RELU ? (h <= 0 ? C(0) : dy + dh) : tanh_grad(dy + dh, h);
  }
};

// The same where sequences may have ended.
template <class T, bool RELU> struct RnnCellEndsGrad {
  T *dgates, *dh_past;
  const T *dy, *dh, *h;
  int64_t count;
  Ends ends;
  bool over = false;

  CDN_FN RnnCellEndsGrad row(int64_t r) const {
    int64_t at = r * count;
    return {dgates + at, dh_past + at, dy + at, dh + at, h + at, count, ends, ends.before(r)};
  }
  CDN_FN void operator()(int64_t j) const {
    Compute<T> later = wide(dh[j]) + wide(dh_past[j]);
    dh_past[j] = over ? static_cast<T>(later) : T(0);
    dgates[j] = over ? T(0) : static_cast<T>(RnnCellGrad<RELU>{}(wide(dy[j]), later, wide(h[j])));
  }
};

}  // namespace

CDN_API int32_t cdn_rnn_cell(uint32_t h, uint32_t gates_x, uint32_t gates_h, uint32_t h_prev,
                             uint32_t bias_ih, uint32_t bias_hh, uint32_t lengths, int32_t t,
                             int64_t n, int64_t hidden, int32_t relu, int32_t dtype) {
  return run("cdn_rnn_cell", Call::IN_PLACE, Floats{}, dtype, [&]<class T>(Call& call, T) {
    Step<T> step(call, n, hidden, 1);
    T* to = step.out(h, "h");
    const T* before = step.in(h_prev, "h_prev");
    auto by = [&](auto rule) {
      step.each_row_of(gates_x, gates_h, bias_ih, bias_hh, lengths, t, [&](auto in, auto ends) {
        return RnnCell<T, decltype(in)::HAS_BIAS, decltype(rule)::value, decltype(ends)>{
            to, in, before, hidden, ends};
      });
    };
    relu ? by(std::true_type{}) : by(std::false_type{});
  });
}

CDN_API int32_t cdn_rnn_cell_grad(uint32_t dgates, uint32_t dh_past, uint32_t dy, uint32_t dh,
                                  uint32_t h, uint32_t lengths, int32_t t, int64_t n,
                                  int64_t hidden, int32_t relu, int32_t dtype) {
  return run("cdn_rnn_cell_grad", Call::IN_PLACE, Floats{}, dtype, [&]<class T>(Call& call, T) {
    Step<T> step(call, n, hidden, 1);
    T* to = step.out(dgates, "dgates");
    const T *upstream = step.in(dy, "dy"), *later = step.in(dh, "dh"), *y = step.in(h, "h");
    T* past = lengths ? step.out(dh_past, "dh_past") : nullptr;
    auto by = [&](auto is_relu) {
      constexpr bool RELU = decltype(is_relu)::value;
      step.with_ends(lengths, t, [&](auto ends) {
        if constexpr (decltype(ends)::SOME)
          each_row(call, n, hidden,
                   RnnCellEndsGrad<T, RELU>{to, past, upstream, later, y, hidden, ends});
        else
          map(call, step.units, RnnCellGrad<RELU>{}, to, upstream, later, y);
      });
    };
    relu ? by(std::true_type{}) : by(std::false_type{});
  });
}
