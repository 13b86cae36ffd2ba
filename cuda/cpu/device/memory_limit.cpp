#include "cpu/device/memory_limit.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

namespace cdn {

int64_t physical_bytes() {
  return static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
}

// The least number in `file` in the folder `root` + `path` and those around it. In a container
// `path` may be the host's, which is not to be seen; then root's own file is the container's.
static int64_t least_in(const std::string& root, std::string path, const char* file,
                        int64_t least) {
  for (;;) {
    int64_t bytes = 0;
    if (std::ifstream(root + path + "/" + file) >> bytes && bytes > 0)
      least = std::min(least, bytes);
    if (path.empty()) return least;
    path.erase(path.rfind('/'));
  }
}

// Lines are "number:controllers:path"; version 2 has one, without controllers.
static int64_t cgroup_limit(int64_t least) {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    std::string path = line.substr(second + 1);
    while (!path.empty() && path.back() == '/') path.pop_back();
    if (controllers == ",,") least = least_in("/sys/fs/cgroup", path, "memory.max", least);
    if (controllers.find(",memory,") != std::string::npos)
      least = least_in("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes", least);
  }
  return least;
}

int64_t memory_limit() {
  constexpr int64_t RESERVE = 256 << 20;
  int64_t limit = cgroup_limit(physical_bytes());
  rlimit space;
  if (getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY)
    limit = std::min(limit, static_cast<int64_t>(space.rlim_cur));
  return limit - std::min(limit / 4, std::max(RESERVE, limit / 16));
}

}  // namespace cdn
