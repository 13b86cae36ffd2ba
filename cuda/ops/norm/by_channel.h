// Loops over x[images, batch, channels, inner] for functors that know of each channel of an image,
// r = image * channels + channel, what its elements share, known = op.of(r); what they take is N
// tensors of one type, C v[N] for an element:
//
// - map_by_channel(call, shape, op, y, in): y[i] = op(known, v)
// - sum_by_channel(call, shape, op, kept, in): op.store(r, acc) of op(known, v) added up over the
//   elements of r; op: Acc, start(), join(acc, part or acc), and parts have a `second`, which goes
//   to kept[i], unless kept is nullptr itself
//
// Parts are added to one another, a few at a time, before they are joined to an Acc, which may be
// the wider type. The order is fixed by the sizes, so results repeat bit by bit.
#pragma once
#include "kernel/sum.h"

namespace cdn {

struct ChannelShape {
  int64_t images, batch, channels, inner, n;
  ChannelShape(int64_t images, int64_t batch, int64_t channels, int64_t inner)
      : images(images),
        batch(batch),
        channels(channels),
        inner(inner),
        n(checked_product("batch, channels, inner", images * batch, channels, inner)) {}
  int64_t rows() const { return images * channels; }
  CDN_FN int64_t count() const { return batch * inner; }
  CDN_FN int64_t first(int64_t r) const {
    return (r + (images > 1 ? quotient(r, channels) * (batch - 1) * channels : 0)) * inner;
  }
};

// (x - mean) * scale + shift. The mean is taken off in two parts: that keeps its digits without a
// float64 for x. Beside those of 16 bits the second is nothing.
template <class T> struct Normal {
  using C = Compute<T>;
  C high, low, scale, shift;
  CDN_FN C centred(C x) const { return is_half<T> ? x - high : (x - high) - low; }
  CDN_FN C operator()(C x) const { return centred(x) * scale + shift; }
};
template <class T> CDN_FN Normal<T> normal(double mean, double scale, Compute<T> shift) {
  using C = Compute<T>;
  const C high = static_cast<C>(mean);
  return {high, static_cast<C>(mean - high), static_cast<C>(scale), shift};
}

// Of each channel, about its first element: so a large mean costs no digits. float64, for the same
// reason.
template <class T> struct Statistics : Adding<Moments> {
  using C = Compute<T>;
  ChannelShape s;
  const T* x;
  double *mean, *var;
  struct Known {
    C near;
  };
  CDN_FN Known of(int64_t r) const { return {wide(x[s.first(r)])}; }
  CDN_FN Moments operator()(const Known& k, const C (&v)[1]) const { return moments(v[0], k.near); }
  CDN_FN void store(int64_t r, Moments sums) const {
    const double n = static_cast<double>(s.count());
    mean[r] = static_cast<double>(of(r).near) + sums.first / n;
    var[r] = squares_about_mean(sums, n) / n;
  }
};

// Of pairs of numbers, in a type that is wide enough for long sums.
template <class T> struct AddingPairs : Adding<Pair<Sum<T>>> {
  using typename Adding<Pair<Sum<T>>>::Acc;
  template <class B> CDN_FN Acc join(Acc a, B b) const {
    return {a.first + b.first, a.second + b.second};
  }
};

}  // namespace cdn

#if defined(__CUDACC__)
#include "gpu/norm/by_channel.h"
#else
#include "cpu/norm/by_channel.h"
#endif
