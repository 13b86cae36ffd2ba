// Neighbouring elements that one access moves.
#pragma once
#include <cstdint>

namespace cdn {

template <class T, int W> struct alignas(sizeof(T) * W) Pack {
  T v[W];
};

inline bool aligned16(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

}  // namespace cdn
