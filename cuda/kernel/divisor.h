// Division of numbers below 2^31 by one that is known before a kernel starts. A GPU divides
// integers by some 30 instructions that wait for one another, and a small kernel can load nothing
// before it knows its tile. Instead n / d = n f / 2^s, rounded down, with f = 2^s / d, rounded up:
// with 2^s >= 2^31 d, n f / 2^s is less than 1 / d above n / d, too little to reach the next
// integer.
#pragma once
#include "kernel/half.h"

namespace cdn {

struct Divisor {
  uint32_t factor = 0x80000000u, shift = 31;

  Divisor() = default;
  explicit Divisor(uint32_t d) {
    for (shift = 31; uint64_t{1} << (shift - 31) < d;) shift++;
    factor = static_cast<uint32_t>(((uint64_t{1} << shift) + d - 1) / d);
  }
  CDN_FN uint32_t operator()(uint32_t n) const {
    return static_cast<uint32_t>(static_cast<uint64_t>(n) * factor >> shift);
  }
};

// One of several extents that an element's number is taken apart by; below 2^31. Larger numbers are
// divided.
struct Extent {
  uint32_t by = 1;
  Divisor divisor;

  Extent() = default;
  explicit Extent(int64_t extent)
      : by(static_cast<uint32_t>(extent < 1 ? 1 : extent)), divisor(by) {}
  CDN_FN int64_t quotient(int64_t n) const {
    return n >> 31 ? n / by : divisor(static_cast<uint32_t>(n));
  }
};

}  // namespace cdn
