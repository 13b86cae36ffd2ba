// Loops over x[batch, channels, inner] for functors that know of each channel what its elements
// share, known = op.of(channel); what they take is N tensors of one type, C v[N] for an element:
//
// - map_by_channel(call, shape, op, y, in): y[i] = op(known, v)
// - sum_by_channel(call, shape, op, kept, in): op.store(channel, acc) of op(known, v) added up over
//   the channel's elements; op: Acc, start(), join(acc, part or acc), and parts have a `second`,
//   which goes to kept[i], unless kept is nullptr itself
//
// Parts are added to one another, a few at a time, before they are joined to an Acc, which may be
// the wider type. The order is fixed by the sizes, so results repeat bit by bit.
#pragma once
#include "kernel/sum.h"

namespace cdn {

struct ChannelShape {
  int64_t batch, channels, inner, n;
  ChannelShape(int64_t batch, int64_t channels, int64_t inner)
      : batch(batch),
        channels(channels),
        inner(inner),
        n(checked_product("batch, channels, inner", batch, channels, inner)) {}
};

template <class T, int N> struct Inputs {
  const T* x[N];
};
template <class T, class... Rest> Inputs(const T*, Rest...) -> Inputs<T, 1 + sizeof...(Rest)>;

}  // namespace cdn

#if defined(__CUDACC__)
#include "gpu/norm/by_channel.h"
#else
#include "cpu/norm/by_channel.h"
#endif
