// Under AddressSanitizer, memory that the allocator keeps for reuse is as forbidden as memory that
// was freed, and what it gives out begins as NaN; elsewhere, nothing.
#pragma once
#include <cstdint>
#include <cstring>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CDN_POISONS
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define CDN_POISONS
#endif
#if defined(CDN_POISONS) && !defined(__CUDACC__)
#include <sanitizer/asan_interface.h>
#endif

namespace cdn {

#if defined(CDN_POISONS) && !defined(__CUDACC__)
inline void poison(void* p, int64_t bytes) {
  __asan_poison_memory_region(p, static_cast<size_t>(bytes));
}
inline void unpoison(void* p, int64_t bytes) {
  __asan_unpoison_memory_region(p, static_cast<size_t>(bytes));
  memset(p, 0xff, static_cast<size_t>(bytes));
}
inline void forget_poison(void* p, int64_t bytes) {
  __asan_unpoison_memory_region(p, static_cast<size_t>(bytes));
}
#else
inline void poison(void*, int64_t) {}
inline void unpoison(void*, int64_t) {}
inline void forget_poison(void*, int64_t) {}
#endif

}  // namespace cdn
