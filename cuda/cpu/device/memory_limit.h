// How much memory this process may take.
#pragma once
#include <cstdint>

namespace cdn {
int64_t physical_bytes();

// The least of what the machine has, its container's and cgroups' limits (version 1 and 2) and
// RLIMIT_AS, less a reserve for everything that is no tensor.
int64_t memory_limit();
}  // namespace cdn
