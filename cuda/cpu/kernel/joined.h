// What reductions on CPUs are made of. Included by drivers.h only.
#pragma once

namespace cdn {

template <class S> struct Pair;  // sum.h

constexpr int LANES = 32;

// Results that run side by side; the parts of a pair each in an array of their own, so that they
// are vectors too.
template <class A, int N = LANES> struct Lanes {
  A v[N];
  A get(int64_t l) const { return v[l]; }
  void set(int64_t l, A a) { v[l] = a; }
};
template <class S, int N> struct Lanes<Pair<S>, N> {
  S first[N], second[N];
  Pair<S> get(int64_t l) const { return {first[l], second[l]}; }
  void set(int64_t l, Pair<S> a) { first[l] = a.first, second[l] = a.second; }
};

// join(.., value(i)) of all i below count, from `start`, which changes nothing. What value() does
// besides must be independent from one i to another. More than FEW are worth vectors.
template <int64_t FEW = LANES / 2, class A, class Value, class Join>
CDN_FN A joined(A start, int64_t count, Value value, Join join) {
  A result = start;
  int64_t i = 0;
  if (count >= 2 * LANES) {
    Lanes<A> lanes;
    CDN_INDEPENDENT
    for (int l = 0; l < LANES; l++) lanes.set(l, join(start, value(l)));
    for (i = LANES; i + LANES <= count; i += LANES) {
      CDN_INDEPENDENT
      for (int l = 0; l < LANES; l++) lanes.set(l, join(lanes.get(l), value(i + l)));
    }
#pragma GCC unroll 8
    for (int half = LANES / 2; half > 1; half /= 2)
#pragma GCC unroll 16
      for (int l = 0; l < half; l++) lanes.set(l, join(lanes.get(l), lanes.get(l + half)));
    result = join(lanes.get(0), lanes.get(1));
  }
  if (count - i > FEW) {
    decltype(value(i)) rest[2 * LANES];
    CDN_INDEPENDENT
    for (int64_t k = i; k < count; k++) rest[k - i] = value(k);
    for (int64_t k = i; k < count; k++) result = join(result, rest[k - i]);
    return result;
  }
  for (; i < count; i++) result = join(result, value(i));
  return result;
}

}  // namespace cdn
