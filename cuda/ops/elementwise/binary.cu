// y = f(a, b) with broadcasting: arithmetic, local derivatives, comparisons.
#include "kernel/functions.h"

using namespace cdn;

namespace {

// Whole numbers wrap, as in PyTorch and typed arrays.
CDN_FN int32_t wrap(uint32_t x) { return static_cast<int32_t>(x); }

struct WeighOp {  // b takes out what it weighs with 0, even NaN and infinity
  template <class T> CDN_FN T operator()(T a, T b) const { return b == T(0) ? T(0) : a * b; }
};
struct DivOp {
  template <class T> CDN_FN T operator()(T a, T b) const { return a / b; }
};
struct FloorDivideOp {
  // By the exact remainder, as in PyTorch and Python: the floor of a rounded quotient may be one
  // too large.
  template <class T> CDN_FN T operator()(T a, T b) const {
    if (b == T(0)) return a / b;
    T rest = fn::fmod(a, b), whole = (a - rest) / b;
    if (rest != T(0) && (rest < T(0)) != (b < T(0))) whole -= T(1);
    T floor = fn::floor(whole);
    if (whole - floor > T(0.5)) floor += T(1);
    return whole == T(0) ? T(0) * (a / b) : floor;  // a zero of the quotient's sign
  }
  CDN_FN int32_t operator()(int32_t a, int32_t b) const {
    if (b == 0) return 0;
    if (b == -1) return wrap(0u - static_cast<uint32_t>(a));  // the least number has no positive
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
  }
  CDN_FN uint8_t operator()(uint8_t a, uint8_t b) const {
    return static_cast<uint8_t>(b == 0 ? 0 : a / b);
  }
};
struct RemainderOp {  // of the floor: with the sign of b
  template <class T> CDN_FN T operator()(T a, T b) const {
    T rest = fn::fmod(a, b);
    return rest != T(0) && (rest < T(0)) != (b < T(0)) ? rest + b : rest;
  }
  CDN_FN int32_t operator()(int32_t a, int32_t b) const {
    if (b == 0 || b == -1) return 0;
    int32_t rest = a % b;
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
  }
  CDN_FN uint8_t operator()(uint8_t a, uint8_t b) const {
    return static_cast<uint8_t>(b == 0 ? 0 : a % b);
  }
};
struct PowOp {
  template <class T> CDN_FN T operator()(T a, T b) const { return fn::pow(a, b); }
};
struct MaximumOp {
  template <class T> CDN_FN T operator()(T a, T b) const { return fn::larger(a, b); }
};
struct MinimumOp {
  template <class T> CDN_FN T operator()(T a, T b) const { return fn::smaller(a, b); }
};

struct PowGradBase {
  template <class T> CDN_FN T operator()(T a, T b) const {
    return b == T(0) ? T(0) : b * fn::pow(a, b - T(1));
  }
};
struct PowGradExponent {
  template <class T> CDN_FN T operator()(T a, T b) const {
    return a == T(0) && b >= T(0) ? T(0) : fn::pow(a, b) * fn::log(a);
  }
};
struct MaximumGrad {
  template <class T> CDN_FN T operator()(T a, T b) const {
    return a == b ? T(0.5) : a < b ? T(0) : T(1);
  }
};

// f with its second input given.
template <class F, class T> struct WithB {
  F f;
  T b;
  CDN_FN auto operator()(T a) const { return f(a, b); }
};

struct Arguments {
  uint32_t y, a, b;
  const int64_t* layout;
  int32_t rank;
  double scalar;
  int32_t dtype;
};

// Whether strides walk a contiguous tensor of the layout's extents.
bool in_order(const Layout& l, const int64_t* strides) {
  int64_t step = 1;
  for (int32_t d = l.rank - 1; d >= 0; d--) {
    if (strides[d] != step) return false;
    step *= l.extent[d];
  }
  return true;
}

template <class F, class Y, class T> void apply(Call& call, const Arguments& x) {
  Reach reach[2];
  Layout l = read_layout(x.layout, x.rank, 2, reach);
  if (reach[0].low < 0 || reach[1].low < 0)
    CDN_FAIL(CDN_BAD_ARGUMENT, "layout: strides must not be negative here");
  Y* y = call.out<Y>(x.y, "y", l.n);
  // y may be an input whose elements are each read for their own place alone.
  auto input = [&](int i, uint32_t handle, const char* name) {
    call.allow(sizeof(Y) == sizeof(T) && in_order(l, l.stride[i]) ? Call::IN_PLACE : Call::NONE);
    return call.in<T>(handle, name, l.n > 0 ? reach[i].high + 1 : 0);
  };
  const T* a = input(0, x.a, "a");
  if (x.b) return broadcast(call, l, F{}, y, a, input(1, x.b, "b"));
  if (!in_order(l, l.stride[0]))
    CDN_FAIL(CDN_BAD_ARGUMENT, "layout: with a scalar for b, a is contiguous");
  using C = Compute<T>;
  map(call, l.n, WithB<F, C>{F{}, Converted<C>{}(x.scalar)}, y, a);
}

// The result has the inputs' type, or what f makes of it: a comparison's is uint8.
template <class F, class DTypes>
int32_t binary(const char* op, DTypes with_dtype, const Arguments& x) {
  return run(op, with_dtype, x.dtype, [&]<class T>(Call& call, T zero) {
    using Result = decltype(F{}(wide(zero), wide(zero)));
    using Y = typename std::conditional<std::is_same<Result, uint8_t>::value, uint8_t, T>::type;
    apply<F, Y, T>(call, x);
  });
}

}  // namespace

#define CDN_BINARY(name, F, DTypes)                                                     \
  CDN_API int32_t cdn_##name(uint32_t y, uint32_t a, uint32_t b, const int64_t* layout, \
                             int32_t rank, double scalar, int32_t dtype) {              \
    return binary<F>("cdn_" #name, DTypes{}, {y, a, b, layout, rank, scalar, dtype});   \
  }

#define CDN_ARITHMETIC(name, F, sign)                                                           \
  namespace {                                                                                   \
  struct F {                                                                                    \
    template <class T> CDN_FN T operator()(T a, T b) const { return static_cast<T>(a sign b); } \
    CDN_FN int32_t operator()(int32_t a, int32_t b) const {                                     \
      return wrap(static_cast<uint32_t>(a) sign static_cast<uint32_t>(b));                      \
    }                                                                                           \
  };                                                                                            \
  }                                                                                             \
  CDN_BINARY(name, F, Any)

CDN_ARITHMETIC(add, AddOp, +)
CDN_ARITHMETIC(sub, SubOp, -)
CDN_ARITHMETIC(mul, MulOp, *)
CDN_BINARY(weigh, WeighOp, Floats)
CDN_BINARY(div, DivOp, Floats)
CDN_BINARY(floor_divide, FloorDivideOp, Any)
CDN_BINARY(remainder, RemainderOp, Any)
CDN_BINARY(pow, PowOp, Floats)
CDN_BINARY(maximum, MaximumOp, Any)
CDN_BINARY(minimum, MinimumOp, Any)

CDN_BINARY(pow_grad_base, PowGradBase, Floats)
CDN_BINARY(pow_grad_exponent, PowGradExponent, Floats)
CDN_BINARY(maximum_grad, MaximumGrad, Floats)

#define CDN_COMPARISON(name, F, sign)                                                 \
  namespace {                                                                         \
  struct F {                                                                          \
    template <class T> CDN_FN uint8_t operator()(T a, T b) const { return a sign b; } \
  };                                                                                  \
  }                                                                                   \
  CDN_BINARY(name, F, Any)

CDN_COMPARISON(eq, Eq, ==)
CDN_COMPARISON(ne, Ne, !=)
CDN_COMPARISON(lt, Lt, <)
CDN_COMPARISON(le, Le, <=)
CDN_COMPARISON(gt, Gt, >)
CDN_COMPARISON(ge, Ge, >=)
