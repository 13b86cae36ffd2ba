// Random words from a counter: Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random
// numbers: as easy as 1, 2, 3", 2011). A block of four words depends on seed and counter alone, so
// every device draws the same bits.
#pragma once
#include "kernel/drivers.h"

namespace cdn {

struct Words {
  uint32_t v[4];
};

CDN_FN Words philox(uint64_t seed, uint64_t counter) {
  uint32_t key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
  Words w{{static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), 0, 0}};
  for (int round = 0; round < 10; round++) {
    uint64_t p0 = uint64_t{0xD2511F53u} * w.v[0], p1 = uint64_t{0xCD9E8D57u} * w.v[2];
    w = Words{{static_cast<uint32_t>(p1 >> 32) ^ w.v[1] ^ key0, static_cast<uint32_t>(p1),
               static_cast<uint32_t>(p0 >> 32) ^ w.v[3] ^ key1, static_cast<uint32_t>(p0)}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return w;
}

// A stream of blocks of four words: from `offset` on, or by the seed in device memory and from as
// much further than the offset there, so that a captured step draws other words when it is
// replayed.
struct RandomStream {
  uint64_t seed, offset;
  const uint64_t* state;
  CDN_FN Words block(int64_t i) const {
    uint64_t at = offset + static_cast<uint64_t>(i);
    return state ? philox(state[0], state[1] + at) : philox(seed, at);
  }
};
inline RandomStream random_stream(Call& call, uint32_t state, int64_t seed, int64_t offset) {
  return {static_cast<uint64_t>(seed), static_cast<uint64_t>(offset),
          state ? call.in<uint64_t>(state, "state", 2) : nullptr};
}

// [0, 1) with all the bits the type has.
template <class T> struct Unit;
template <> struct Unit<float> {
  static constexpr int PER_BLOCK = 4;
  CDN_FN static float draw(const Words& w, int j) {
    return static_cast<float>(w.v[j] >> 8) * 0x1p-24f;
  }
};
template <> struct Unit<double> {
  static constexpr int PER_BLOCK = 2;
  CDN_FN static double draw(const Words& w, int j) {
    uint64_t bits = (static_cast<uint64_t>(w.v[2 * j]) << 32 | w.v[2 * j + 1]) >> 11;
    return static_cast<double>(bits) * 0x1p-53;
  }
};

}  // namespace cdn
