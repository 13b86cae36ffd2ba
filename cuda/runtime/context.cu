#include "runtime/context.h"

#include <algorithm>
#include <cstdlib>
#include <shared_mutex>

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace cdn {
namespace {

// Exit waits for the contexts that are ending, and ends no more: the driver goes with the process.
struct Leaving {
  std::shared_mutex ending;
  bool begun = false;
};
Leaving& leaving() {
  static auto* one = new Leaving;
  return *one;
}

// Never destroyed: at exit another thread may still be inside a call.
SharedDevice& shared_device(int32_t index) {
  static auto* mutex = new std::mutex;
  static auto* devices = new std::vector<std::unique_ptr<SharedDevice>>;
  std::lock_guard<std::mutex> lock(*mutex);
  if (devices->empty())
    std::atexit([] {  // before the driver's own, which were there before
      std::lock_guard<std::shared_mutex> lock(leaving().ending);
      leaving().begun = true;
    });
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

// A plain pointer, so that reaching it takes no check whether it was set up.
thread_local Context* current = nullptr;

void end() {
  std::shared_lock<std::shared_mutex> lock(leaving().ending);
  if (!leaving().begun) delete current;
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

Context::~Context() { end_tickets(*this); }

Device::Device(int32_t index) : Device(shared_device(index), index) {
  while (streams.size() < OWN) in_use[unused_stream()] = true;
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

int32_t Device::unused_stream() {
  const size_t index = std::find(in_use.begin(), in_use.end(), false) - in_use.begin();
  if (index == streams.size()) {
    streams.reserve(index + 1);
    in_use.reserve(index + 1);
    streams.push_back(shared.streams.take(backend::stream_create));
    in_use.push_back(false);
  }
  return static_cast<int32_t>(index);
}

void Device::wait() const {
  for (Stream s : streams) backend::stream_sync(s);
}

Milestones::Milestones() {
  for (int64_t m = 0; QUEUED && m < KEPT; m++) kept_.emplace_back(backend::event_create());
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

Part part_of(uint32_t handle, const char* name, int64_t offset, int64_t bytes) {
  Buffer& buffer = context().buffers.at(handle, name);
  if (offset < 0 || bytes < 0 || offset > buffer.bytes || bytes > buffer.bytes - offset)
    CDN_FAIL(CDN_BAD_ARGUMENT, "%s: %lld bytes from byte %lld on are outside the buffer's %lld",
             name, (long long)bytes, (long long)offset, (long long)buffer.bytes);
  return {buffer, buffer.data + offset, device_at(buffer.device)};
}

int64_t Staging::begin(char* dst, const void* host, int64_t bytes, Stream stream) {
  while (!copies_.empty() &&
         (bytes_ + bytes > MOST_BYTES || backend::transfer_done(copies_.front().transfer.get())))
    end_first();
  copies_.push_back({nullptr, bytes});  // finds room before there is work
  try {
    copies_.back().transfer.reset(backend::write_begin(dst, host, bytes, stream));
  } catch (...) {
    copies_.pop_back();
    throw;
  }
  bytes_ += bytes;
  return first_ + static_cast<int64_t>(copies_.size()) - 1;
}

void Staging::order(Stream waiter, int64_t copy) {
  if (copy >= first_)
    backend::transfer_order(waiter, copies_[static_cast<size_t>(copy - first_)].transfer.get());
}

void Staging::end_first() {  // waits for it
  bytes_ -= copies_.front().bytes;
  copies_.pop_front();
  first_++;
}

// Work queued on stream from now on follows the block's last use.
static void order_after(Device& device, Block* block, Stream stream) {
  if (!block || block->stream == stream) return;
  if (block->staged)
    device.staging.order(stream, block->staged);  // not what was staged since
  else if (block->stream)
    backend::stream_wait(stream, block->stream);
  block->staged = 0;
  block->stream = stream;
}

Stream stream_to_read(Device& device, Block* block) {
  Stream stream = device.stream();
  backend::Event* written = block && block->stream == device.streams[Device::DEFAULT]
                                ? device.milestones.first_after(block->written)
                                : nullptr;
  if (!written) {
    order_after(device, block, stream);
    return stream;
  }
  // So that what comes to write there waits for the read.
  block->stream = device.streams[Device::READING];
  backend::event_wait(block->stream, *written);
  return block->stream;
}

void use(Device& device, Block* block, bool write) {
  if (!block) return;
  if (write && block->frozen && !context().footprint)  // a program only writes the same again
    CDN_FAIL(CDN_BAD_ARGUMENT,
             "an output may only be read: it is a copy of a tensor in another memory format, or a "
             "view of one; change the tensor itself, or a copy by clone()");
  Stream stream = device.stream();
  if (write || block->stream != stream) block->written = device.milestones.passed() + 1;
  order_after(device, block, stream);
}

void stage(Device& device, Block* block, char* dst, const void* host, int64_t bytes) {
  if (backend::stream_capturing(device.stream()))
    CDN_FAIL(CDN_UNSUPPORTED, "data cannot be staged while the stream is captured");
  const Stream stream = device.streams[Device::WRITING];
  use(device, block, true);
  backend::stream_wait(stream, device.stream());
  block->staged = device.staging.begin(dst, host, bytes, stream);
  block->stream = stream;
}

BlockRef allocate(Device& device, int64_t bytes) {
  BlockRef block(device.memory.allocate(bytes));
  order_after(device, block, device.stream());
  return block;
}

// By FaultOp.
static const char* const FAULTS[] = {
    "",        "gather_rows", "cross_entropy", "gather",  "scatter_add", "index_add",
    "one_hot", "nll_loss",    "take",          "scatter", "multinomial"};

void raise_fault(Device& device) {
  volatile Fault* fault = device.fault;
  if (fault->op == FAULT_NONE) return;
  const char* op = FAULTS[fault->op];
  long long index = fault->index, limit = fault->limit;
  bool of_weights = fault->op == FAULT_WEIGHTS;
  fault->op = FAULT_NONE;
  if (of_weights)
    CDN_FAIL(CDN_BAD_ARGUMENT,
             "cdn_%s, called before, met a weight in row %lld that is negative or not finite, or "
             "fewer than %lld above 0",
             op, index, limit);
  CDN_FAIL(CDN_BAD_ARGUMENT, "cdn_%s, called before, met index %lld; it must be in %lld..%lld", op,
           index, limit < 0 ? limit : 0, (limit < 0 ? -limit : limit) - 1);
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
