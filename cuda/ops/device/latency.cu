// How long a load takes that the next one waits for: a walk along a chain of places. How large it
// is decides which memory answers.
#include <chrono>

#include "kernel/drivers.h"

using namespace cdn;

namespace {

constexpr int64_t WORDS = 16;  // of a line, 128 bytes
constexpr int64_t MAX_LINES = 1 << 22, MAX_STEPS = 1 << 20;
constexpr int SHARED = 1024;

// The place after `at` on a way through all of 2^k places: a congruential generator of full period,
// whose strides no prefetcher guesses.
CDN_FN uint32_t after(uint32_t at, int64_t places) {
  return (at * 1664525u + 1013904223u) & static_cast<uint32_t>(places - 1);
}

CDN_FN uint64_t address(const uint64_t* place) { return reinterpret_cast<uint64_t>(place); }

struct Link {
  uint64_t* chain;
  int64_t lines;
  CDN_FN void operator()(int64_t i) const {
    chain[i * WORDS] = address(chain + after(static_cast<uint32_t>(i), lines) * WORDS);
  }
};

// What the clock is read behind, on GPUs by way of the L1 cache.
CDN_FN uint64_t load(uint64_t at) {
#if defined(__CUDA_ARCH__)
  asm volatile("ld.ca.u64 %0, [%1];" : "=l"(at) : "l"(at) : "memory");
  return at;
#else
  return *reinterpret_cast<const volatile uint64_t*>(at);
#endif
}

// The time once a load has given `after`.
CDN_FN int64_t nanoseconds([[maybe_unused]] uint64_t after) {
#if defined(__CUDA_ARCH__)
  int64_t time;
  asm volatile(
      "{\n\t.reg .pred p;\n\tsetp.ne.u64 p, %1, 0;\n\tmov.u64 %0, 0;\n\t"
      "@p mov.u64 %0, %%globaltimer;\n\t}"
      : "=l"(time)
      : "l"(after)
      : "memory");
  return time;
#else
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
#endif
}

struct Walk {
  double* y;
  const uint64_t* chain;  // null: in shared memory
  int64_t lines, steps;
  CDN_FN void operator()(int64_t) const {
    uint64_t at = address(chain);
#if defined(__CUDA_ARCH__)
    __shared__ uint64_t near[SHARED];
    for (int64_t i = 0; !chain && i < lines; i++)
      near[i] = address(near + after(static_cast<uint32_t>(i), lines));
    if (!chain) at = address(near);
#endif
    for (int64_t i = 0; i < lines && i < steps; i++) at = load(at);  // what fits a cache is there
    const int64_t start = nanoseconds(at);
    for (int64_t i = 0; i < steps; i++) at = load(at);
    *y = static_cast<double>(nanoseconds(at) - start) / static_cast<double>(steps);
  }
};

}  // namespace

CDN_API int32_t cdn_probe_latency(uint32_t y, int64_t lines, int64_t steps, int32_t shared) {
  return run("cdn_probe_latency", [&](Call& call) {
    double* to = call.out<double>(y, "y", 1);
    const bool near = shared && call.model().capability > 0;
    const int64_t most = near ? SHARED : MAX_LINES;
    if (lines < 1 || lines > most || (lines & (lines - 1)) || steps < 1 || steps > MAX_STEPS)
      CDN_FAIL(CDN_BAD_ARGUMENT,
               "lines is %lld, a power of two to %lld is wanted; steps is %lld, 1 to %lld",
               (long long)lines, (long long)most, (long long)steps, (long long)MAX_STEPS);
    uint64_t* chain = near ? nullptr : call.scratch<uint64_t>(lines * WORDS);
    if (chain) each(call, lines, Link{chain, lines});
    each(call, 1, Walk{to, chain, lines, steps});
  });
}
