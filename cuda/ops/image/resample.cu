// Images of other sizes: resizing, and pads that repeat what is there. In both the elements of an
// output are sums, along each axis, of a few neighbouring elements of the input times weights that
// depend on the place alone. A table for each axis has them, so that one pair of kernels serves
// all rules: the sum, and its transpose, which gathers. That adds in a fixed order, without
// atomics: the table also has, for each element of the input, the ranges of outputs that read it.
#include "kernel/strips.h"
#include "kernel/sum.h"

using namespace cdn;

namespace {

// Output o is the sum of weight[j] * x[first + j], with places beyond the ends moved to them.
template <class C, int TAPS> struct Tap {
  int32_t first;
  C weight[TAPS];
};
struct Range32 {
  int32_t begin, end;
};

// By the position in the input that the middle (or with `align` the corners) of an output has.
// scale is the one that was given, 0 where it follows from the sizes.
struct Resize {
  static constexpr int RANGES = 1;
  int64_t in, out;
  double scale;
  bool align;
  CDN_FN double ratio() const {
    if (align) return out > 1 ? static_cast<double>(in - 1) / static_cast<double>(out - 1) : 0;
    return scale > 0 ? 1 / scale : static_cast<double>(in) / static_cast<double>(out);
  }
  CDN_FN double position(int64_t o) const {
    double at = static_cast<double>(o), r = ratio(), limit = static_cast<double>(in);
    at = align ? r * at : r * (at + 0.5) - 0.5;
    return at < limit ? at : limit;
  }
  CDN_FN int64_t below(double at) const {
    int64_t place = static_cast<int64_t>(fn::floor(at));
    return place < in ? place : in - 1;
  }
  CDN_FN double share(double at, int64_t place) const {
    double rest = at - static_cast<double>(place);
    return rest < 1 ? rest : 1;
  }
  // Outputs read the input in its order, so those that read one element are neighbours: found by
  // bisection.
  template <class Taps> CDN_FN Range32 range(const Taps* taps, int taken, int64_t i, int) const {
    auto first_after = [&](int64_t place) {
      int64_t low = 0, high = out;
      while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        taps[middle].first > place ? high = middle : low = middle + 1;
      }
      return static_cast<int32_t>(low);
    };
    return {i == 0 ? 0 : first_after(i - taken),
            i == in - 1 ? static_cast<int32_t>(out) : first_after(i)};
  }
};

// In float32 whatever the dtype, as PyTorch: where a position falls on an edge, rounding decides.
struct Nearest : Resize {
  static constexpr int TAPS = 1;
  template <class C> CDN_FN Tap<C, 1> tap(int64_t o) const {
    float r = scale > 0 ? static_cast<float>(1 / scale)
                        : static_cast<float>(in) / static_cast<float>(out),
          at = static_cast<float>(o) * r;
    int64_t place = at < static_cast<float>(in) ? static_cast<int64_t>(at) : in - 1;
    return {static_cast<int32_t>(place < in ? place : in - 1), {C(1)}};
  }
};
struct Linear : Resize {
  static constexpr int TAPS = 2;
  template <class C> CDN_FN Tap<C, 2> tap(int64_t o) const {
    double at = position(o);
    at = at > 0 ? at : 0;
    int64_t place = below(at);
    double t = share(at, place);
    return {static_cast<int32_t>(place), {static_cast<C>(1 - t), static_cast<C>(t)}};
  }
};
// Keys' convolution with a = -0.75.
struct Cubic : Resize {
  static constexpr int TAPS = 4;
  static constexpr double A = -0.75;
  CDN_FN static double near(double t) { return ((A + 2) * t - (A + 3)) * t * t + 1; }
  CDN_FN static double far(double t) { return ((A * t - 5 * A) * t + 8 * A) * t - 4 * A; }
  template <class C> CDN_FN Tap<C, 4> tap(int64_t o) const {
    double at = position(o);
    int64_t place = below(at);
    double t = share(at, place);
    return {static_cast<int32_t>(place - 1),
            {static_cast<C>(far(t + 1)), static_cast<C>(near(t)), static_cast<C>(near(1 - t)),
             static_cast<C>(far(2 - t))}};
  }
};

// Pads: what is before the input, the input, and what is behind it. Each of these three repeats one
// element after another, from the element `at` on: forwards, backwards, or, with a step of 0, one.
struct Border {
  static constexpr int TAPS = 1, RANGES = 3;
  int64_t in, out, before;
  int64_t at[RANGES];
  int32_t step[RANGES];
  CDN_FN int64_t begin(int k) const { return k == 0 ? 0 : k == 1 ? before : before + in; }
  CDN_FN int64_t end(int k) const { return k == 2 ? out : begin(k + 1); }
  template <class C> CDN_FN Tap<C, 1> tap(int64_t o) const {
    const int k = (o >= before) + (o >= before + in);
    return {static_cast<int32_t>(at[k] + (o - begin(k)) * step[k]), {C(1)}};
  }
  template <class Taps> CDN_FN Range32 range(const Taps*, int, int64_t i, int k) const {
    const int64_t o = begin(k) + (i - at[k]) * step[k], last = step[k] == 0 ? end(k) : o + 1;
    const bool is = step[k] == 0 ? i == at[k] : o >= begin(k) && o < end(k);
    return {static_cast<int32_t>(o), static_cast<int32_t>(is ? last : o)};
  }
};

// A rule with its tables; ranges are there for the transpose alone.
template <class C, class Rule> struct Axis {
  using Number = C;
  static constexpr int TAPS = Rule::TAPS, RANGES = Rule::RANGES;
  Rule rule;
  Tap<C, TAPS>* taps;
  Range32* ranges;
  CDN_FN int32_t within(int32_t i) const {
    const int32_t last = rule.in - 1;
    return i < 0 ? 0 : i < last ? i : last;
  }
  CDN_FN C weight(int64_t o, int64_t i) const {
    if constexpr (TAPS == 1) return C(1);
    const Tap<C, TAPS>& tap = taps[o];
    if (i > 0 && i < rule.in - 1) {  // no place beyond an end is moved to this one
      int64_t j = i - tap.first;
      return j >= 0 && j < TAPS ? tap.weight[j] : C(0);
    }
    C sum(0);
    for (int j = 0; j < TAPS; j++)
      if (within(tap.first + j) == i) sum += tap.weight[j];
    return sum;
  }
};

// Both axes of an image, one after the other in the same launch.
template <class A, bool TRANSPOSE> struct Tables {
  A y, x;
  CDN_FN void fill(const A& axis, int64_t at) const {
    if constexpr (!TRANSPOSE)
      axis.taps[at] = axis.rule.template tap<typename A::Number>(at);
    else
      for (int k = 0; k < A::RANGES; k++)
        axis.ranges[at * A::RANGES + k] = axis.rule.range(axis.taps, A::TAPS, at, k);
  }
  CDN_FN static int64_t size(const A& axis) { return TRANSPOSE ? axis.rule.in : axis.rule.out; }
  CDN_FN void operator()(int64_t at) const { at < size(y) ? fill(y, at) : fill(x, at - size(y)); }
};

// The results of a strip. What a row of x gives along the row is kept for the next results that
// read it; a rule of one tap only chooses, so that the bits stay.
template <class T, class A, int W, int CH> struct Sample {  // W > 1: inner is 1
  using C = typename A::Number;
  static constexpr int TAPS = A::TAPS;
  A ys, xs;
  T* y;
  const T* x;
  int64_t inner;
  Strips strips;
  struct Line {
    typename std::conditional<TAPS == 1, T, C>::type at[W][CH];
  };

  CDN_FN Line line(const T* row, const Tap<C, TAPS> (&taps)[W]) const {
    Line line;
    CDN_UNROLLED
    for (int j = 0; j < W; j++) {
      C sum[CH] = {};
      CDN_UNROLLED
      for (int b = 0; b < TAPS; b++) {
        const auto found =
            *reinterpret_cast<const Neighbours<T, CH>*>(row + xs.within(taps[j].first + b) * inner);
        CDN_UNROLLED
        for (int c = 0; c < CH; c++)
          if constexpr (TAPS == 1)
            line.at[j][c] = found.v[c];
          else
            line.at[j][c] = sum[c] += taps[j].weight[b] * wide(found.v[c]);
      }
    }
    return line;
  }
  CDN_FN void operator()(int64_t at) const {
    const Strips::Strip s = strips.strip(at);
    const int32_t column = s.across * W, width = xs.rule.out;
    Tap<C, TAPS> taps[W];
    CDN_UNROLLED
    for (int j = 0; j < W; j++) taps[j] = xs.taps[column + j];
    const T* image = x + s.image * ys.rule.in * xs.rule.in * inner + int64_t{s.pack} * CH;
    Line lines[TAPS] = {};
    int32_t before = 0;
    CDN_ROLLED
    for (int32_t i = s.first; i < s.end; i++) {
      const Tap<C, TAPS> tap = ys.taps[i];
      const int32_t step = tap.first - before;
      before = tap.first;
      CDN_ROLLED
      for (int more = i == s.first || step < 0 || step > TAPS ? TAPS : step; more > 0; more--) {
        CDN_UNROLLED
        for (int a = 0; a < TAPS - 1; a++) lines[a] = lines[a + 1];
        lines[TAPS - 1] =
            line(image + int64_t{ys.within(tap.first + TAPS - more)} * xs.rule.in * inner, taps);
      }
      put<W * CH>(y + ((s.image * ys.rule.out + i) * width + column) * inner + int64_t{s.pack} * CH,
                  [&](int e) {
                    if constexpr (TAPS == 1) {
                      return lines[0].at[e / CH][e % CH];
                    } else {
                      C sum(0);
                      CDN_UNROLLED
                      for (int a = 0; a < TAPS; a++)
                        sum += tap.weight[a] * lines[a].at[e / CH][e % CH];
                      return static_cast<T>(sum);
                    }
                  });
    }
  }
};

// Each element of dx gathers from the results that read it.
template <class T, class A> struct SampleGrad {
  using C = Compute<T>;
  A ys, xs;
  T* dx;
  const T* dy;
  Extent rows, cols, inner;
  CDN_FN void operator()(int64_t at) const {
    const int64_t pixel = inner.quotient(at), row = cols.quotient(pixel),
                  image = rows.quotient(row);
    const int64_t h = row - image * rows.by, w = pixel - row * cols.by;
    const T* from = dy + image * ys.rule.out * xs.rule.out * inner.by + (at - pixel * inner.by);
    Sum<T> sum(0);
    for (int a = 0; a < A::RANGES; a++) {
      const Range32 down = ys.ranges[h * A::RANGES + a];
      for (int32_t oy = down.begin; oy < down.end; oy++) {
        const C weight = ys.weight(oy, h);
        for (int b = 0; b < A::RANGES; b++) {
          const Range32 along = xs.ranges[w * A::RANGES + b];
          for (int32_t ox = along.begin; ox < along.end; ox++)
            sum = sum + weight * xs.weight(ox, w) *
                            wide(from[(int64_t{oy} * xs.rule.out + ox) * inner.by]);
        }
      }
    }
    dx[at] = static_cast<T>(sum);
  }
};

void check_extents(int64_t height, int64_t width) {
  for (int64_t extent : {height, width})
    if (extent < 1 || extent > int64_t{1} << 30)
      CDN_FAIL(CDN_BAD_ARGUMENT, "an extent is %lld; it must be 1 to 2^30", (long long)extent);
}

// to: y, or for the gradient dx; from: x or dy.
template <bool GRAD, class T, class Rule>
void resample(Call& call, uint32_t to, uint32_t from, int64_t outer, int64_t inner, Rule ys,
              Rule xs) {
  using C = Compute<T>;
  using A = Axis<C, Rule>;
  auto count = [&](int64_t height, int64_t width) {
    int64_t pixels = checked_product("height, width", height, width);
    return checked_product("outer, height * width, inner", outer, pixels, inner);
  };
  int64_t x_n = count(ys.in, xs.in), y_n = count(ys.out, xs.out);
  check_extents(ys.in, xs.in);
  check_extents(ys.out, xs.out);
  T* result = call.out<T>(to, GRAD ? "dx" : "y", GRAD ? x_n : y_n);
  const T* source = call.in<T>(from, GRAD ? "dy" : "x", GRAD ? y_n : x_n);
  if (y_n == 0) return;
  auto axis_of = [&](const Rule& rule) {
    return A{rule, call.scratch<Tap<C, A::TAPS>>(rule.out),
             GRAD ? call.scratch<Range32>(rule.in * A::RANGES) : nullptr};
  };
  A down = axis_of(ys), along = axis_of(xs);
  each(call, ys.out + xs.out, Tables<A, false>{down, along});
  if constexpr (GRAD) {
    each(call, ys.in + xs.in, Tables<A, true>{down, along});
    each(
        call, x_n,
        SampleGrad<T, A>{down, along, result, source, Extent(ys.in), Extent(xs.in), Extent(inner)});
  } else {
    constexpr int W = NEIGHBOURS<T>, ALONG_ROW = W < 4 ? W : 4;  // more would take all registers
    const bool aligned = aligned_neighbours({result, source});
    auto by = [&]<int ALONG, int CH>() {
      const Strips strips(outer, ys.out, xs.out, inner, ALONG, CH);
      each(call, strips.count, Sample<T, A, ALONG, CH>{down, along, result, source, inner, strips});
    };
    if (aligned && inner == 1 && xs.out % ALONG_ROW == 0)
      return by.template operator()<ALONG_ROW, 1>();
    aligned&& inner % W == 0 ? by.template operator()<1, W>() : by.template operator()<1, 1>();
  }
}

template <bool GRAD>
int32_t upsample(const char* name, uint32_t to, uint32_t from, int64_t outer, int64_t height,
                 int64_t width, int64_t out_height, int64_t out_width, int64_t inner, int32_t mode,
                 int32_t align_corners, double scale_height, double scale_width, int32_t dtype) {
  return run(name, Floats{}, dtype, [&]<class T>(Call& call, T) {
    for (double scale : {scale_height, scale_width})
      if (!(scale >= 0 && 1 / scale > 0 && (scale == 0 || 1 / scale < 0x1p60)))
        CDN_FAIL(CDN_BAD_ARGUMENT, "a scale is %g; it must be 0 or a positive number", scale);
    auto by = [&]<class Rule>(Rule) {
      bool align = align_corners != 0;
      resample<GRAD, T>(call, to, from, outer, inner,
                        Rule{{height, out_height, scale_height, align}},
                        Rule{{width, out_width, scale_width, align}});
    };
    switch (mode) {
      case CDN_RESIZE_NEAREST: return by(Nearest{});
      case CDN_RESIZE_LINEAR: return by(Linear{});
      case CDN_RESIZE_CUBIC: return by(Cubic{});
      default:
        CDN_FAIL(CDN_BAD_ARGUMENT, "mode is %d; it must be one of CDN_RESIZE_NEAREST …", mode);
    }
  });
}

template <bool GRAD>
int32_t pad_image(const char* name, uint32_t to, uint32_t from, int64_t outer, int64_t height,
                  int64_t width, int64_t inner, int64_t top, int64_t bottom, int64_t left,
                  int64_t right, int32_t mode, int32_t dtype) {
  return run(name, Floats{}, dtype, [&]<class T>(Call& call, T) {
    check_extents(height, width);
    if (mode < CDN_BORDER_REFLECT || mode > CDN_BORDER_CIRCULAR)
      CDN_FAIL(CDN_BAD_ARGUMENT, "mode is %d; it must be one of CDN_BORDER_REFLECT …", mode);
    auto rule = [&](int64_t in, int64_t before, int64_t after) {
      const int64_t most = mode == CDN_BORDER_REFLECT     ? in - 1
                           : mode == CDN_BORDER_REPLICATE ? INT32_MAX
                                                          : in;
      if (before < 0 || before > most || after < 0 || after > most)
        CDN_FAIL(CDN_BAD_ARGUMENT, "a pad is %lld or %lld; it must be 0 to %lld", (long long)before,
                 (long long)after, (long long)most);
      const int64_t out = before + in + after;
      if (mode == CDN_BORDER_REFLECT)
        return Border{in, out, before, {before, 0, in - 2}, {-1, 1, -1}};
      if (mode == CDN_BORDER_REPLICATE) return Border{in, out, before, {0, 0, in - 1}, {0, 1, 0}};
      return Border{in, out, before, {in - before, 0, 0}, {1, 1, 1}};
    };
    resample<GRAD, T>(call, to, from, outer, inner, rule(height, top, bottom),
                      rule(width, left, right));
  });
}

}  // namespace

CDN_API int32_t cdn_upsample(uint32_t y, uint32_t x, int64_t outer, int64_t height, int64_t width,
                             int64_t out_height, int64_t out_width, int64_t inner, int32_t mode,
                             int32_t align_corners, double scale_height, double scale_width,
                             int32_t dtype) {
  return upsample<false>("cdn_upsample", y, x, outer, height, width, out_height, out_width, inner,
                         mode, align_corners, scale_height, scale_width, dtype);
}
CDN_API int32_t cdn_upsample_grad(uint32_t dx, uint32_t dy, int64_t outer, int64_t height,
                                  int64_t width, int64_t out_height, int64_t out_width,
                                  int64_t inner, int32_t mode, int32_t align_corners,
                                  double scale_height, double scale_width, int32_t dtype) {
  return upsample<true>("cdn_upsample_grad", dx, dy, outer, height, width, out_height, out_width,
                        inner, mode, align_corners, scale_height, scale_width, dtype);
}

CDN_API int32_t cdn_pad_image(uint32_t y, uint32_t x, int64_t outer, int64_t height, int64_t width,
                              int64_t inner, int64_t top, int64_t bottom, int64_t left,
                              int64_t right, int32_t mode, int32_t dtype) {
  return pad_image<false>("cdn_pad_image", y, x, outer, height, width, inner, top, bottom, left,
                          right, mode, dtype);
}
CDN_API int32_t cdn_pad_image_grad(uint32_t dx, uint32_t dy, int64_t outer, int64_t height,
                                   int64_t width, int64_t inner, int64_t top, int64_t bottom,
                                   int64_t left, int64_t right, int32_t mode, int32_t dtype) {
  return pad_image<true>("cdn_pad_image_grad", dx, dy, outer, height, width, inner, top, bottom,
                         left, right, mode, dtype);
}
