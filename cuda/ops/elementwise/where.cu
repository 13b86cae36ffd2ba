// y = condition ? a : b with broadcasting. Elements are moved as integers of their size; a number
// becomes one first.
#include "kernel/functions.h"

using namespace cdn;

namespace {

struct Select {
  template <class T> CDN_FN T operator()(uint8_t condition, T a, T b) const {
    return condition ? a : b;
  }
};
// The same with one or both of a and b given.
template <class T> struct SelectA {
  T a;
  CDN_FN T operator()(uint8_t condition, T b) const { return condition ? a : b; }
};
template <class T> struct SelectB {
  T b;
  CDN_FN T operator()(uint8_t condition, T a) const { return condition ? a : b; }
};
template <class T> struct SelectBoth {
  T a, b;
  CDN_FN T operator()(uint8_t condition) const { return condition ? a : b; }
};

// A number as the dtype stores it.
template <class Word> Word word_of(double value, int32_t dtype) {
  Word word{};
  with_any(dtype, [&]<class T>(T) {
    if constexpr (sizeof(T) == sizeof(Word))
      word = bits_as<Word>(static_cast<T>(Converted<Compute<T>>{}(value)));
  });
  return word;
}

}  // namespace

CDN_API int32_t cdn_where(uint32_t y, uint32_t condition, uint32_t a, uint32_t b,
                          const int64_t* layout, int32_t rank, double a_scalar, double b_scalar,
                          int32_t dtype) {
  return run("cdn_where", AnyWord{}, dtype, [&]<class T>(Call& call, T) {
    Reach reach[3];
    Layout l = read_layout(layout, rank, 3, reach);
    for (const Reach& r : reach)
      if (r.low < 0) CDN_FAIL(CDN_BAD_ARGUMENT, "layout: strides must not be negative here");
    auto count = [&](int i) { return l.n > 0 ? reach[i].high + 1 : 0; };
    T* to = call.out<T>(y, "y", l.n);
    const uint8_t* chosen = call.in<uint8_t>(condition, "condition", count(0));
    const T *from_a = call.optional<T>(a, "a", count(1)),
            *from_b = call.optional<T>(b, "b", count(2));
    if (a && b) return broadcast(call, l, Select{}, to, chosen, from_a, from_b);
    T a_word = a ? T(0) : word_of<T>(a_scalar, dtype),
      b_word = b ? T(0) : word_of<T>(b_scalar, dtype);
    if (a) return broadcast(call, l, SelectB<T>{b_word}, to, chosen, from_a);
    if (!b) return broadcast(call, l, SelectBoth<T>{a_word, b_word}, to, chosen);
    for (int32_t d = 0; d < l.rank; d++) l.stride[1][d] = l.stride[2][d];
    broadcast(call, l, SelectA<T>{a_word}, to, chosen, from_b);
  });
}
