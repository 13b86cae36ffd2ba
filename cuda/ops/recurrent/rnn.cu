// The Elman cell.
#include "ops/recurrent/recurrent.h"

using namespace cdn;

namespace {

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

}  // namespace

CDN_API int32_t cdn_rnn_cell(uint32_t h, uint32_t gates_x, uint32_t gates_h, uint32_t bias_ih,
                             uint32_t bias_hh, int64_t n, int64_t hidden, int32_t relu,
                             int32_t dtype) {
  return run("cdn_rnn_cell", Call::IN_PLACE, Floats{}, dtype, [&]<class T>(Call& call, T) {
    Step<T> step(call, n, hidden, 1);
    T* to = step.out(h, "h");
    auto by = [&](auto rule) {
      step.each_row_of(gates_x, gates_h, bias_ih, bias_hh, [&](auto in) {
        return RnnCell<T, decltype(in)::HAS_BIAS, decltype(rule)::value>{to, in, hidden};
      });
    };
    relu ? by(std::true_type{}) : by(std::false_type{});
  });
}

CDN_API int32_t cdn_rnn_cell_grad(uint32_t dgates, uint32_t dy, uint32_t dh, uint32_t h, int64_t n,
                                  int64_t hidden, int32_t relu, int32_t dtype) {
  return run("cdn_rnn_cell_grad", Call::IN_PLACE, Floats{}, dtype, [&]<class T>(Call& call, T) {
    Step<T> step(call, n, hidden, 1);
    T* to = step.out(dgates, "dgates");
    const T *upstream = step.in(dy, "dy"), *later = step.in(dh, "dh"), *y = step.in(h, "h");
    auto by = [&](auto rule) { map(call, step.units, rule, to, upstream, later, y); };
    relu ? by(RnnCellGrad<true>{}) : by(RnnCellGrad<false>{});
  });
}
