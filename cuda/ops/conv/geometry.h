// What a two-dimensional convolution is asked to be. Images are [n, h, w, channels] in memory,
// filters [k, r, s, c / groups]: what is summed lies side by side.
#pragma once
#include "ops/linalg/matmul.h"

namespace cdn {

struct ConvGeometry {
  int64_t n, h, w, c;                        // x
  int64_t k, r, s;                           // filters, of c / groups channels
  int64_t p, q;                              // y is [n, p, q, k]
  int64_t stride_h, stride_w, pad_h, pad_w;  // padding above and on the left
  int64_t dilation_h, dilation_w, groups;

  CDN_FN int64_t taps() const { return r * s; }
  CDN_FN int64_t group_c() const { return c / groups; }
  CDN_FN int64_t group_k() const { return k / groups; }
  CDN_FN int64_t group_depth() const { return taps() * group_c(); }  // of one sum
  CDN_FN int64_t pixels() const { return p * q; }                    // of an image of y
  int64_t x_count() const { return n * h * w * c; }
  int64_t y_count() const { return n * pixels() * k; }
  int64_t w_count() const { return k * group_depth(); }
  bool depthwise() const { return groups == c && groups == k; }
  // y's pixels are sums over the channels of one pixel of x.
  bool pointwise() const {
    return taps() == 1 && stride_h == 1 && stride_w == 1 && pad_h == 0 && pad_w == 0 && p == h &&
           q == w;
  }
  // With a stride of 1 the convolution of y's gradient, by filters turned round, that gives x's.
  ConvGeometry turned() const {
    ConvGeometry back = *this;
    back.h = p, back.w = q, back.c = k, back.p = h, back.q = w, back.k = c;
    back.pad_h = (r - 1) * dilation_h - pad_h, back.pad_w = (s - 1) * dilation_w - pad_w;
    back.stride_h = back.stride_w = 1;
    return back;
  }
};

// What is computed from the two others of x, w and y; or from y's gradient.
enum class ConvDirection { FORWARD, GRAD_INPUT, GRAD_WEIGHT };
enum ConvMethod { DEFAULT, NAIVE, IM2COL, DEPTHWISE, IMPLICIT, DIRECT, MMA, WINOGRAD, CUDNN };

struct ConvRequest {
  ConvGeometry g;
  Precision precision;
  ConvMethod method;
  bool named;  // by the caller: else others may do it
};

// The operands, without that in question: the result is the epilogue's c. What else the epilogue
// has is of the forward pass. pooled: of that after ReLU the largest of each 2 x 2 and, unless
// argument is null, which they are.
template <class T> struct Convolution : ConvRequest {
  ConvDirection direction;
  const T *x = nullptr, *w = nullptr, *y = nullptr;
  Epilogue epilogue = {};
  bool pooled = false;
  uint8_t* argument = nullptr;

  T* to() const { return static_cast<T*>(epilogue.c); }
  bool forward() const { return direction == ConvDirection::FORWARD; }
  bool grad_weight() const { return direction == ConvDirection::GRAD_WEIGHT; }
  int64_t results() const {
    return forward() ? g.y_count() : grad_weight() ? g.w_count() : g.x_count();
  }
  // Of which a result is the sum.
  int64_t products() const {
    return forward() ? g.group_depth() : grad_weight() ? g.n * g.pixels() : g.taps() * g.group_k();
  }
};

// Where taps of one axis meet the output, seen from a place of the input: taps first, first + step,
// …, `count` of them, the first at output `at`, each next `back` before it.
struct TapWalk {
  int64_t first = 0, step = 1, count = 0, at = 0, back = 0;

  CDN_FN TapWalk(int64_t place, int64_t taps, int64_t outputs, int64_t stride, int64_t padding,
                 int64_t dilation) {
    const int64_t from = place + padding;
    for (first = 0; first < taps; first++) {
      const int64_t rest = from - first * dilation;
      if (rest < 0) return;
      if (rest % stride == 0 && rest / stride < outputs) break;
    }
    if (first >= taps) return;
    for (step = 1; step < taps && step * dilation % stride != 0;) step++;
    back = step * dilation / stride;
    at = (from - first * dilation) / stride;
    count = (taps - 1 - first) / step + 1;
    if (back > 0 && at / back + 1 < count) count = at / back + 1;
  }
};

}  // namespace cdn
