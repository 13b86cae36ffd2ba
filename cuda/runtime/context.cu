#include "runtime/context.h"

#include <algorithm>

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace cdn {
namespace {

// Never destroyed: at exit another thread may still be inside a call.
std::mutex& devices_mutex() {
  static auto* mutex = new std::mutex;
  return *mutex;
}

SharedDevice& shared_device(int32_t index) {
  static auto* devices = new std::vector<std::unique_ptr<SharedDevice>>;
  std::lock_guard<std::mutex> lock(devices_mutex());
  if (devices->size() <= static_cast<size_t>(index)) devices->resize(index + 1);
  if (!(*devices)[index])
    (*devices)[index] = std::make_unique<SharedDevice>(index, backend::default_limit(index));
  return *(*devices)[index];
}

// The main thread ends with the process, when there is nothing left to give back to, and the driver
// may be gone.
bool on_main_thread() {
#if defined(__linux__)
  return syscall(SYS_gettid) == getpid();
#else
  return false;
#endif
}

thread_local Context* current =
    nullptr;  // a plain pointer, so that reaching it takes no check whether it was set up

void end() {
  delete current;
  current = nullptr;
}

void begin(double isolate) {
  struct WithThread {
    ~WithThread() {
      if (!on_main_thread()) end();
    }
  };
  static thread_local WithThread ends;
  (void)ends;
  current = new Context(isolate);
}

}  // namespace

Context& context() {
  if (!current) begin(0);
  return *current;
}

Context::~Context() {
  end_tickets(*this);
  buffers.each([&](uint32_t, Buffer& buffer) { release(*devices[buffer.device], buffer.block); });
}

Device::Device(int32_t index) : Device(shared_device(index), index) {
  while (streams.size() < OWN) add_stream();
  fault = shared.faults.take(backend::fault_create);
}

Device::~Device() {
  try {
    backend::activate(index);
    wait();
  } catch (...) {  // a device that has failed altogether: the next context hears of it
  }
  for (Stream s : streams) shared.streams.give(s);
  if (!fault) return;
  fault->op = FAULT_NONE;
  shared.faults.give(fault);
}

int32_t Device::add_stream() {
  size_t free = OWN;
  while (free < streams.size() && in_use[free]) free++;
  if (free >= streams.size()) {
    free = streams.size();
    streams.reserve(free + 1);
    in_use.reserve(free + 1);
    streams.push_back(shared.streams.take(backend::stream_create));
    in_use.push_back(true);
  }
  in_use[free] = true;
  return static_cast<int32_t>(free);
}

void Device::wait() const {
  for (Stream s : streams) backend::stream_sync(s);
}

Milestones::Milestones() {
  for (int64_t m = 0; QUEUED && m < KEPT; m++)
    kept_.emplace_back(backend::event_create(), backend::event_destroy);
}

void Milestones::pass(Stream stream) {
  calls_++;
  if (QUEUED && calls_ % EVERY == 0) backend::event_record(*kept_[calls_ / EVERY % KEPT], stream);
}

backend::Event* Milestones::first_after(int64_t call) const {
  const int64_t wanted = (call + EVERY - 1) / EVERY, last = calls_ / EVERY;
  if (!QUEUED || wanted > last) return nullptr;
  return kept_[std::max(wanted, last - KEPT + 1) % KEPT].get();
}

Device& device_at(int32_t index) {
  auto& devices = context().devices;
  if (index < 0 || static_cast<size_t>(index) >= devices.size() || !devices[index]) {
    const char* why = nullptr;
    int32_t count = backend::device_count(&why);
    if (count == 0) CDN_FAIL(CDN_NO_DEVICE, "no device: %s", why);
    if (index < 0 || index >= count)
      CDN_FAIL(CDN_BAD_ARGUMENT, "device is %d; there are %d, numbered from 0", index, count);
    if (devices.size() < static_cast<size_t>(count)) devices.resize(count);
    backend::activate(index);
    devices[index] = std::make_unique<Device>(index);
  }
  backend::activate(index);
  return *devices[index];
}

Buffer& buffer_at(uint32_t handle, const char* name) {
  Buffer* buffer = context().buffers.find(handle);
  if (!buffer)
    CDN_FAIL(CDN_BAD_HANDLE,
             "%s: handle %#x is not live: it was freed, never given out, or is another thread's",
             name, handle);
  return *buffer;
}

char* range_of(Buffer& buffer, const char* name, int64_t offset, int64_t bytes) {
  if (offset < 0 || bytes < 0 || offset > buffer.bytes || bytes > buffer.bytes - offset)
    CDN_FAIL(CDN_BAD_ARGUMENT, "%s: %lld bytes from byte %lld on are outside the buffer's %lld",
             name, (long long)bytes, (long long)offset, (long long)buffer.bytes);
  return buffer.data + offset;
}

Stream stream_to_read(Device& device, Block* block) {
  Stream stream = device.stream();
  backend::Event* written = block && block->stream == device.streams[Device::DEFAULT]
                                ? device.milestones.first_after(block->written)
                                : nullptr;
  if (!written) {
    order_after(block, stream);
    return stream;
  }
  block->stream =
      device.streams[Device::READING];  // so that what comes to write there waits for the read
  backend::event_wait(block->stream, *written);
  return block->stream;
}

void use(Device& device, Block* block, bool write) {
  if (!block) return;
  if (write && block->frozen)
    CDN_FAIL(CDN_BAD_ARGUMENT,
             "an output may only be read: it is a copy of a tensor in another memory format, or a "
             "view of one; change the tensor itself, or a copy by clone()");
  Stream stream = device.stream();
  if (write || block->stream != stream) block->written = device.milestones.passed() + 1;
  order_after(block, stream);
}

void order_after(Block* block, Stream stream) {
  if (!block || block->stream == stream) return;
  if (block->stream) backend::stream_wait(stream, block->stream);
  block->stream = stream;
}

Block* allocate(Device& device, int64_t bytes) {
  Block* block = device.memory.allocate(bytes);
  try {
    order_after(block, device.stream());
  } catch (...) {
    device.memory.release(block);
    throw;
  }
  return block;
}

void release(Device& device, Block* block) {
  if (block && --block->references == 0) device.memory.release(block);
}

// By FaultOp.
static const char* const FAULT_NAMES[] = {"",
                                          "cdn_gather_rows",
                                          "cdn_cross_entropy",
                                          "cdn_gather",
                                          "cdn_scatter_add",
                                          "cdn_index_add",
                                          "cdn_one_hot",
                                          "cdn_nll_loss"};

void raise_fault(Device& device) {
  volatile Fault* fault = device.fault;
  if (fault->op == FAULT_NONE) return;
  const char* op = FAULT_NAMES[fault->op];
  long long index = fault->index, limit = fault->limit;
  fault->op = FAULT_NONE;
  CDN_FAIL(CDN_BAD_ARGUMENT, "%s, called before, met index %lld; it must be in 0..%lld", op, index,
           limit - 1);
}

}  // namespace cdn

using namespace cdn;

// A thread that serves one isolate after another gets a fresh context for each.
CDN_API int32_t cdn_attach(double isolate) {
  return guard("cdn_attach", [&] {
    if (current && current->isolate == isolate) return;
    end();
    begin(isolate);
  });
}
