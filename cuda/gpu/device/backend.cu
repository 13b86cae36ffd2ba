// An NVIDIA GPU as a device: the CUDA runtime behind the functions of backend.h.
#include "runtime/backend.h"

#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "gpu/device/check.h"

namespace cdn {
namespace backend {
namespace {

constexpr int MAX_DEVICES = 64;

// Pinned host memory for transfers, kept by size: making it costs far more than the copy it serves.
class PinnedCache {
 public:
  void* take(int64_t bytes) {
    const int64_t size = size_class(bytes);
    void* p = kept(size);
    if (p) return p;
    if (cudaHostAlloc(&p, static_cast<size_t>(size), cudaHostAllocDefault) != cudaSuccess) {
      cudaGetLastError();
      CDN_FAIL(CDN_OUT_OF_MEMORY, "no pinned host memory for a copy of %lld bytes",
               (long long)bytes);
    }
    return p;
  }
  void give(void* p, int64_t bytes) noexcept {
    if (!keep(p, size_class(bytes))) cudaFreeHost(p);
  }

 private:
  void* kept(int64_t size) {
    std::lock_guard<std::mutex> lock(mutex_);
    auto& free = free_[size];
    if (free.empty()) return nullptr;
    void* p = free.back();
    free.pop_back();
    held_ -= size;
    return p;
  }
  bool keep(void* p, int64_t size) noexcept {
    std::lock_guard<std::mutex> lock(mutex_);
    if (held_ + size > KEEP) return false;
    try {
      free_[size].push_back(p);
    } catch (...) {  // no host memory to remember it in
      return false;
    }
    held_ += size;
    return true;
  }
  static constexpr int64_t KEEP = 256 << 20;
  static int64_t size_class(int64_t bytes) {
    int64_t size = 4096;
    while (size < bytes) size *= 2;
    return size;
  }
  std::mutex mutex_;
  std::map<int64_t, std::vector<void*>> free_;
  int64_t held_ = 0;
};

PinnedCache& pinned() {
  static auto* cache = new PinnedCache;  // outlives the driver's own tear-down
  return *cache;
}

thread_local int32_t active_device = -1;

int32_t count_devices(std::string* why) {
  int count = 0;
  cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) {
    cudaGetLastError();
    *why = std::string("the CUDA driver says: ") + cudaGetErrorString(status);
    return 0;
  }
  if (count == 0) *why = "the CUDA driver sees no GPU";
  return count < MAX_DEVICES ? count : MAX_DEVICES;
}

}  // namespace

int32_t device_count(const char** why_none) {
  static auto* why = new std::string;  // never destroyed: at exit another thread may ask
  static const int32_t count = count_devices(why);
  *why_none = why->c_str();
  return count;
}

DeviceInfo device_info(int32_t device) {
  cudaDeviceProp p;
  CUDA_CHECK(cudaGetDeviceProperties(&p, device));
  size_t free = 0, total = 0;
  CUDA_CHECK(cudaMemGetInfo(&free, &total));
  int driver = 0, runtime = 0;
  CUDA_CHECK(cudaDriverGetVersion(&driver));
  CUDA_CHECK(cudaRuntimeGetVersion(&runtime));
  DeviceInfo info{{},      (int64_t)total, (int64_t)free,
                  p.major, p.minor,        p.multiProcessorCount,
                  driver,  runtime,        1};
  snprintf(info.name, sizeof info.name, "%s", p.name);
  return info;
}

DeviceModel device_model(int32_t device) {
  auto ask = [&](cudaDeviceAttr what) {
    int value = 0;
    CUDA_CHECK(cudaDeviceGetAttribute(&value, what, device));
    return value;
  };
  DeviceModel model;
  model.processors = ask(cudaDevAttrMultiProcessorCount);
  model.capability =
      ask(cudaDevAttrComputeCapabilityMajor) * 10 + ask(cudaDevAttrComputeCapabilityMinor);
  model.shared_per_block = ask(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  model.shared_per_processor = ask(cudaDevAttrMaxSharedMemoryPerMultiprocessor);
  // Two transfers for each of the memory's clocks.
  model.bytes_per_cycle = 2.0 * ask(cudaDevAttrMemoryClockRate) *
                          ask(cudaDevAttrGlobalMemoryBusWidth) / 8 / ask(cudaDevAttrClockRate);
  model.clock = 1000.0 * ask(cudaDevAttrClockRate);
  model.l2_bytes = ask(cudaDevAttrL2CacheSize);
  return model;
}

const char* build_info() {
#define CDN_TEXT(x) #x
#define CDN_TEXT_OF(x) CDN_TEXT(x)
  return "cuda, nvcc " CDN_TEXT_OF(__CUDACC_VER_MAJOR__) "." CDN_TEXT_OF(__CUDACC_VER_MINOR__)
#ifdef CDN_ARCHS
      ", architectures " CDN_ARCHS
#endif
      ;
}

void activate(int32_t device) {
  if (active_device == device) return;
  CUDA_CHECK(cudaSetDevice(device));
  active_device = device;
}

volatile Fault* fault_create() {
  void* p = nullptr;
  CUDA_CHECK(cudaHostAlloc(&p, sizeof(Fault), cudaHostAllocPortable | cudaHostAllocMapped));
  memset(p, 0, sizeof(Fault));
  return static_cast<Fault*>(p);
}

void* raw_alloc(int32_t, int64_t bytes) {
  void* p = nullptr;
  if (cudaMalloc(&p, static_cast<size_t>(bytes)) == cudaSuccess) return p;
  cudaGetLastError();
  return nullptr;
}
void raw_free(int32_t, void* p) { cudaFree(p); }

int64_t default_limit(int32_t) {
  size_t free = 0, total = 0;
  CUDA_CHECK(cudaMemGetInfo(&free, &total));
  return static_cast<int64_t>(total);
}

void device_sync(int32_t device) noexcept {
  if (cudaSetDevice(device) == cudaSuccess) cudaDeviceSynchronize();
  active_device = -1;
}

Stream stream_create() {
  cudaStream_t s;
  CUDA_CHECK(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
  return s;
}
void stream_sync(Stream s) { CUDA_CHECK(cudaStreamSynchronize(s)); }
bool stream_capturing(Stream s) {
  cudaStreamCaptureStatus status;
  CUDA_CHECK(cudaStreamIsCapturing(s, &status));
  return status != cudaStreamCaptureStatusNone;
}

struct Event {
  explicit Event(unsigned flags) { CUDA_CHECK(cudaEventCreateWithFlags(&event, flags)); }
  ~Event() { cudaEventDestroy(event); }  // freed once it has happened
  cudaEvent_t event = nullptr;
};

void stream_wait(Stream waiter, Stream other) {
  Event event(cudaEventDisableTiming);
  event_record(event, other);
  event_wait(waiter, event);
}

Event* event_create() { return new Event(cudaEventBlockingSync); }
void event_record(Event& event, Stream s) { CUDA_CHECK(cudaEventRecord(event.event, s)); }

void event_wait(Stream waiter, Event& event) {
  CUDA_CHECK(cudaStreamWaitEvent(waiter, event.event, 0));
}

double event_elapsed(Event& first, Event& second) {
  CUDA_CHECK(cudaEventSynchronize(first.event));
  CUDA_CHECK(cudaEventSynchronize(second.event));
  float milliseconds = 0;
  CUDA_CHECK(cudaEventElapsedTime(&milliseconds, first.event, second.event));
  return static_cast<double>(milliseconds) * 1000;
}
void event_destroy(Event* event) noexcept { delete event; }

struct Graph {
  cudaGraphExec_t exec = nullptr;
  ~Graph() {
    if (exec) cudaGraphExecDestroy(exec);
  }
};
bool has_graphs() { return true; }
// Concerns this thread alone: others may allocate meanwhile.
void graph_begin(Stream s) {
  CUDA_CHECK(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal));
}
Graph* graph_end(Stream s, bool wanted) {
  cudaGraph_t graph = nullptr;
  const cudaError_t status = cudaStreamEndCapture(s, &graph);
  const std::unique_ptr<CUgraph_st, FreedBy<cudaGraphDestroy>> recorded(graph);
  if (!wanted) {
    cudaGetLastError();
    return nullptr;
  }
  CUDA_CHECK(status);
  auto made = std::make_unique<Graph>();
  CUDA_CHECK(cudaGraphInstantiate(&made->exec, graph, 0));
  CUDA_CHECK(cudaGraphUpload(made->exec, s));
  return made.release();
}
void graph_launch(Graph& graph, Stream s) { CUDA_CHECK(cudaGraphLaunch(graph.exec, s)); }
void graph_destroy(Graph* graph) noexcept { delete graph; }

void copy_in(void* dst, const void* host, int64_t bytes, Stream s) {
  CUDA_CHECK(cudaMemcpyAsync(dst, host, static_cast<size_t>(bytes), cudaMemcpyHostToDevice, s));
}
void copy_out(void* host, const void* src, int64_t bytes, Stream s) {
  CUDA_CHECK(cudaMemcpyAsync(host, src, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost, s));
  CUDA_CHECK(cudaStreamSynchronize(s));
}
void copy(void* dst, const void* src, int64_t bytes, Stream s) {
  CUDA_CHECK(cudaMemcpyAsync(dst, src, static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice, s));
}

void check_launch(Stream s, bool wait) {
  cudaError_t status = cudaGetLastError();
  if (status == cudaSuccess && wait) status = cudaStreamSynchronize(s);
  if (status != cudaSuccess)
    CDN_FAIL(CDN_CUDA_FAILURE, "the kernel failed: %s", cudaGetErrorString(status));
}

struct Transfer {
  explicit Transfer(int64_t bytes)
      : bytes(bytes),
        done(cudaEventDisableTiming | cudaEventBlockingSync),
        host(bytes ? pinned().take(bytes) : nullptr) {}
  ~Transfer() {
    if (host) pinned().give(host, bytes);
  }
  int64_t bytes;
  Event done;
  void* host;
};

// Marks the end of a copy that was queued, if it was.
static Transfer* queued(std::unique_ptr<Transfer> t, cudaError_t status, Stream s) {
  if (status == cudaSuccess) status = cudaEventRecord(t->done.event, s);
  if (status != cudaSuccess) cudaStreamSynchronize(s);  // before its memory serves another
  CUDA_CHECK(status);
  return t.release();
}

Transfer* read_begin(const void* src, int64_t bytes, Stream s) {
  auto t = std::make_unique<Transfer>(bytes);
  cudaError_t status = cudaSuccess;
  if (bytes)
    status = cudaMemcpyAsync(t->host, src, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost, s);
  return queued(std::move(t), status, s);
}
Transfer* write_begin(void* dst, const void* host, int64_t bytes, Stream s) {
  auto t = std::make_unique<Transfer>(bytes);
  memcpy(t->host, host, static_cast<size_t>(bytes));
  const cudaError_t status =
      cudaMemcpyAsync(dst, t->host, static_cast<size_t>(bytes), cudaMemcpyHostToDevice, s);
  return queued(std::move(t), status, s);
}

bool transfer_done(Transfer* t) {
  const cudaError_t status = cudaEventQuery(t->done.event);
  if (status == cudaErrorNotReady) {
    cudaGetLastError();  // which the next launch would take for its own
    return false;
  }
  CUDA_CHECK(status);
  return true;
}
void transfer_wait(Transfer* t) { CUDA_CHECK(cudaEventSynchronize(t->done.event)); }
void transfer_order(Stream waiter, Transfer* t) { event_wait(waiter, t->done); }
void read_end(void* host, Transfer* r, int64_t bytes) {
  const std::unique_ptr<Transfer> ended(r);
  transfer_wait(r);
  if (bytes) memcpy(host, r->host, static_cast<size_t>(bytes));
}
void transfer_free(Transfer* r) noexcept {
  cudaEventSynchronize(r->done.event);
  delete r;
}

}  // namespace backend
}  // namespace cdn
