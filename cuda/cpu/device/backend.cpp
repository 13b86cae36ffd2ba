// The CPU as a device: memory from the system, work done at once, so that streams and waits have
// nothing to do.
#include "runtime/backend.h"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>

#include "runtime/profile.h"
#include "runtime/status.h"
#include "cpu/device/memory_limit.h"
#include "cpu/device/threads.h"

namespace cdn {
namespace backend {

static std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    size_t colon = line.find(": ");
    if (line.compare(0, 10, "model name") == 0 && colon != std::string::npos)
      return line.substr(colon + 2);
  }
  return "CPU";
}

static const char* missing_instructions() {
#if defined(__x86_64__) && defined(__AVX2__)
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
    return "this library was built for processors with AVX2 and FMA, and this one lacks them; "
           "build it with: make "
           "CPU_ARCH=x86-64";
#endif
  return nullptr;
}

int32_t device_count(const char** why_none) {
  *why_none = missing_instructions();
  return *why_none ? 0 : 1;
}

DeviceInfo device_info(int32_t) {
  int64_t free = static_cast<int64_t>(sysconf(_SC_PAGESIZE)) *
#if defined(_SC_AVPHYS_PAGES)
                 sysconf(_SC_AVPHYS_PAGES);
#else
                 sysconf(_SC_PHYS_PAGES);
#endif
  DeviceInfo info{{}, physical_bytes(), free, 0, 0, threads::count(), 0, 0, 0};
  snprintf(info.name, sizeof info.name, "%s", processor_name().c_str());
  return info;
}

DeviceModel device_model(int32_t) {
  DeviceModel model;
  model.processors = threads::count();
  return model;
}

const char* build_info() {
#if defined(__clang__)
  return "cpu, clang " __clang_version__;
#else
  return "cpu, gcc " __VERSION__;
#endif
}

void activate(int32_t) {}

volatile Fault* fault_create() { return new Fault{}; }

void* raw_alloc(int32_t, int64_t bytes) {
  void* p = nullptr;
  return posix_memalign(&p, 4096, static_cast<size_t>(bytes)) == 0 ? p : nullptr;
}
void raw_free(int32_t, void* p) { free(p); }
int64_t default_limit(int32_t) { return memory_limit(); }

void device_sync(int32_t) noexcept {}

Stream stream_create() { return nullptr; }
void stream_sync(Stream) {}
bool stream_capturing(Stream) { return false; }
void stream_wait(Stream, Stream) {}

// Work is done when its call returns, so that the clock's time at the call is the device's.
struct Event {
  int64_t nanoseconds = 0;
};
Event* event_create() { return new Event; }
void event_record(Event& event, Stream) {
  auto now = std::chrono::steady_clock::now().time_since_epoch();
  event.nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}
void event_wait(Stream, Event&) {}
double event_elapsed(Event& first, Event& second) {
  return static_cast<double>(second.nanoseconds - first.nanoseconds) / 1000;
}
void event_destroy(Event* event) noexcept { delete event; }

struct Graph {};
bool has_graphs() { return false; }
void graph_begin(Stream) {}
Graph* graph_end(Stream, bool) { return nullptr; }
void graph_launch(Graph&, Stream) {}
void graph_destroy(Graph* graph) noexcept { delete graph; }

void copy_in(void* dst, const void* host, int64_t bytes, Stream) {
  memcpy(dst, host, static_cast<size_t>(bytes));
}
void copy_out(void* host, const void* src, int64_t bytes, Stream) {
  memcpy(host, src, static_cast<size_t>(bytes));
}
void copy(void* dst, const void* src, int64_t bytes, Stream) {
  memcpy(dst, src, static_cast<size_t>(bytes));
}
void check_launch(Stream, bool) {}

std::string kernel_name(const void*) { return ""; }

struct Transfer {
  std::string bytes;
};
Transfer* read_begin(const void* src, int64_t bytes, Stream) {
  auto r = std::make_unique<Transfer>();
  if (bytes) r->bytes.assign(static_cast<const char*>(src), static_cast<size_t>(bytes));
  return r.release();
}
Transfer* write_begin(void* dst, const void* host, int64_t bytes, Stream s) {
  auto t = std::make_unique<Transfer>();
  copy_in(dst, host, bytes, s);
  return t.release();
}
bool transfer_done(Transfer*) { return true; }
void transfer_wait(Transfer*) {}
void transfer_order(Stream, Transfer*) {}
void read_end(void* host, Transfer* r, int64_t bytes) {
  if (bytes) memcpy(host, r->bytes.data(), static_cast<size_t>(bytes));
  delete r;
}
void transfer_free(Transfer* r) noexcept { delete r; }

}  // namespace backend
}  // namespace cdn
