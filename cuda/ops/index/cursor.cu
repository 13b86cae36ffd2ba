// What goes by a place that is counted on the device, so that a captured step finds the next one
// each time. A cursor is two float64: how many steps were taken, and at which the count from 0
// begins for what is taken.
#include "kernel/row_walk.h"

using namespace cdn;

namespace {

struct TakeAt {
  int32_t* y;
  const int32_t* x;
  const double* cursor;
  IndexedAxis places;
  int64_t steps, offset;  // places of a step; where in them
  CDN_FN void operator()(int64_t i) const {
    // In float64, as a count that is none must not overflow.
    const double place = (cursor[0] - cursor[1]) * static_cast<double>(steps) +
                         static_cast<double>(offset) + static_cast<double>(i);
    const bool countable = place >= 0 && place < 0x1p53;
    const int64_t at = places.place(countable ? static_cast<int64_t>(place) : -1);
    y[i] = at < 0 ? 0 : x[at];
  }
};

template <class T> struct RingPut {
  T* ring;
  double* cursor;
  const T* x;
  int64_t size;
  CDN_FN void operator()(int64_t) const {
    const double taken = cursor[0] >= 0 && cursor[0] < 0x1p53 ? cursor[0] : 0;
    ring[static_cast<int64_t>(taken) % size] = *x;
    cursor[0] = taken + 1;
  }
};

}  // namespace

CDN_API int32_t cdn_take_at(uint32_t y, uint32_t x, uint32_t cursor, int64_t n, int64_t size,
                            int64_t stride, int64_t offset) {
  return run("cdn_take_at", [&](Call& call) {
    checked_size("stride", stride);
    checked_size("offset", offset);
    int32_t* to = call.out<int32_t>(y, "y", n);
    const int32_t* from = call.in<int32_t>(x, "x", size);
    const double* at = call.in<double>(cursor, "cursor", 2);
    const IndexedAxis places{size, 1, FAULT_GATHER, call.fault()};
    each(call, n, TakeAt{to, from, at, places, stride, offset});
  });
}

CDN_API int32_t cdn_ring_put(uint32_t ring, uint32_t cursor, uint32_t x, int64_t size,
                             int32_t dtype) {
  return run("cdn_ring_put", Floats{}, dtype, [&](Call& call, auto zero) {
    using T = decltype(zero);
    if (size < 1)
      CDN_FAIL(CDN_BAD_ARGUMENT, "size is %lld; it must be at least 1", (long long)size);
    T* to = call.out<T>(ring, "ring", size);
    double* at = call.out<double>(cursor, "cursor", 2);
    each(call, 1, RingPut<T>{to, at, call.in<T>(x, "x", 1), size});
  });
}
