// Random words from a counter: Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random
// numbers: as easy as 1, 2, 3", 2011). A block of four words depends on seed and counter alone, so
// every device draws the same bits.
#pragma once
#include "kernel/drivers.h"

namespace cdn {

struct Words {
  uint32_t v[4];
};

// A seed's keys of the ten rounds: worked out once, not by every thread.
struct Keys {
  uint32_t v[10][2];
};

CDN_FN Keys keys_of(uint64_t seed) {
  Keys keys;
  for (uint32_t round = 0; round < 10; round++) {
    keys.v[round][0] = static_cast<uint32_t>(seed) + round * 0x9E3779B9u;
    keys.v[round][1] = static_cast<uint32_t>(seed >> 32) + round * 0xBB67AE85u;
  }
  return keys;
}

CDN_FN Words philox(const Keys& keys, uint64_t counter) {
  Words w{{static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), 0, 0}};
  for (const auto& key : keys.v) {
    uint64_t p0 = uint64_t{0xD2511F53u} * w.v[0], p1 = uint64_t{0xCD9E8D57u} * w.v[2];
    w = Words{{static_cast<uint32_t>(p1 >> 32) ^ w.v[1] ^ key[0], static_cast<uint32_t>(p1),
               static_cast<uint32_t>(p0 >> 32) ^ w.v[3] ^ key[1], static_cast<uint32_t>(p0)}};
  }
  return w;
}

// A stream of blocks of four words: from `offset` on, or by the seed in device memory and from as
// much further than the offset there, so that a captured step draws other words when it is
// replayed.
struct RandomStream {
  Keys keys;
  uint64_t offset;
  const uint64_t* state;
  CDN_FN Words block(int64_t i) const {
    const uint64_t at = offset + static_cast<uint64_t>(i);
    return state ? philox(keys_of(state[0]), state[1] + at) : philox(keys, at);
  }
};
inline RandomStream random_stream(Call& call, uint32_t state, int64_t seed, int64_t offset) {
  return {keys_of(static_cast<uint64_t>(seed)), static_cast<uint64_t>(offset),
          state ? call.in<uint64_t>(state, "state", 2) : nullptr};
}

// The N elements that a block of words serves, which a thread takes with one access where memory
// is aligned to them.
template <class T, int N> struct alignas(sizeof(T) * N) Served {
  T v[N];
};

// f for each block of words that serves some of n elements: f.store(block, words, f.load(block))
// for whole blocks, f.part(block, words) for others. A GPU's thread takes several blocks, far
// apart, to be asked for memory and to work out what they share once.
template <class F> struct ByBlocks {
#if defined(__CUDACC__)
  static constexpr int PER_THREAD = 4;
#else
  static constexpr int PER_THREAD = 1;
#endif
  F f;
  RandomStream stream;
  int64_t blocks, whole, apart;
  CDN_FN void operator()(int64_t first) const {
    const uint64_t* state = stream.state;
    if (state)
      take(first, keys_of(state[0]), state[1] + stream.offset);
    else
      take(first, stream.keys, stream.offset);
  }
  CDN_FN void take(int64_t first, const Keys& keys, uint64_t offset) const {
    auto words = [&](int64_t block) { return philox(keys, offset + static_cast<uint64_t>(block)); };
    if (first + (PER_THREAD - 1) * apart < whole) {
      typename F::Elements x[PER_THREAD];
      for (int k = 0; k < PER_THREAD; k++) x[k] = f.load(first + k * apart);
      for (int k = 0; k < PER_THREAD; k++)
        f.store(first + k * apart, words(first + k * apart), x[k]);
    } else {
      for (int64_t block = first; block < blocks; block += apart) f.part(block, words(block));
    }
  }
};
template <class F, class... P>
void each_block(Call& call, int64_t n, const RandomStream& stream, F f, P... memory) {
  using Elements = typename F::Elements;
  constexpr int64_t N = F::COUNT;
  bool aligned = (reinterpret_cast<uintptr_t>(memory) | ...) % alignof(Elements) == 0;
  int64_t blocks = ceil_div(n, N), apart = ceil_div(blocks, ByBlocks<F>::PER_THREAD);
  each(call, apart, ByBlocks<F>{f, stream, blocks, aligned ? n / N : 0, apart});
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
