#include "runtime.h"

#include <cstdlib>
#include <cstring>
#include <memory>

#include "handles.h"

namespace cdn {

// The library's state is never destroyed: at exit another thread may still be inside a call.
std::mutex& library_mutex() {
  static auto* mutex = new std::mutex;
  return *mutex;
}

HandleTable<Buffer>& buffers() {
  static auto* table = new HandleTable<Buffer>;
  return *table;
}

// CUDENO_SYNC=1
static bool sync_each_call() {
  static const bool on = [] {
    const char* value = getenv("CUDENO_SYNC");
    return value && strcmp(value, "0") != 0 && *value;
  }();
  return on;
}

static std::vector<std::unique_ptr<Device>>& open_devices() {
  static auto* devices = new std::vector<std::unique_ptr<Device>>;
  return *devices;
}

Device& device_at(int32_t index) {
  auto& devices = open_devices();
  if (index >= 0 && static_cast<size_t>(index) < devices.size() && devices[index]) {
    backend::activate(index);
    return *devices[index];
  }
  const char* why = nullptr;
  int32_t count = backend::device_count(&why);
  if (count == 0) CDN_FAIL(CDN_NO_DEVICE, "no device: %s", why);
  if (index < 0 || index >= count)
    CDN_FAIL(CDN_BAD_ARGUMENT, "device is %d; there are %d, numbered from 0", index, count);
  if (devices.size() < static_cast<size_t>(count)) devices.resize(count);
  backend::activate(index);
  auto device = std::make_unique<Device>(index);
  device->streams.push_back(backend::stream_create());
  device->in_use.push_back(true);
  devices[index] = std::move(device);
  return *devices[index];
}

const char* dtype_name(int32_t dtype) {
  switch (dtype) {
    case CDN_FLOAT32: return "float32";
    case CDN_FLOAT64: return "float64";
    case CDN_INT32: return "int32";
    case CDN_UINT8: return "uint8";
    case CDN_FLOAT16: return "float16";
    case CDN_BFLOAT16: return "bfloat16";
    default: return "unknown";
  }
}

int64_t dtype_bytes(int32_t dtype) {
  switch (dtype) {
    case CDN_FLOAT32:
    case CDN_INT32: return 4;
    case CDN_FLOAT64: return 8;
    case CDN_UINT8: return 1;
    case CDN_FLOAT16:
    case CDN_BFLOAT16: return 2;
    default:
      CDN_FAIL(CDN_BAD_ARGUMENT, "dtype is %d; known are 0 float32, 1 float64, 2 int32, 3 uint8, 4 float16, 5 bfloat16",
               dtype);
  }
}

void unsupported(int32_t dtype, const char* wanted) {
  dtype_bytes(dtype);  // throws for one that does not exist
  CDN_FAIL(CDN_UNSUPPORTED, "dtype is %s; it must be %s", dtype_name(dtype), wanted);
}

int64_t checked_size(const char* name, int64_t n) {
  if (n < 0 || n > MAX_BYTES)
    CDN_FAIL(CDN_BAD_ARGUMENT, "%s is %lld; it must be 0 or more, and a size that memory can have", name, (long long)n);
  return n;
}

int64_t checked_product(const char* names, int64_t a, int64_t b, int64_t c) {
  checked_size(names, a);
  checked_size(names, b);
  checked_size(names, c);
  __int128 product = static_cast<__int128>(a) * b;
  if (product <= MAX_BYTES) product *= c;
  if (product > MAX_BYTES)
    CDN_FAIL(CDN_BAD_ARGUMENT, "%s: %lld x %lld x %lld elements are more than any memory holds", names, (long long)a,
             (long long)b, (long long)c);
  return static_cast<int64_t>(product);
}

Buffer& buffer_at(uint32_t handle, const char* name) {
  Buffer* buffer = buffers().find(handle);
  if (!buffer) CDN_FAIL(CDN_BAD_HANDLE, "%s: handle %#x is not live: it was freed, or never given out", name, handle);
  return *buffer;
}

void order_after(Block* block, Stream stream) {
  if (!block || block->stream == stream) return;
  if (block->stream) backend::stream_wait(stream, block->stream);
  block->stream = stream;
}

Call::Call(Overlap overlap) : overlap_(overlap) { library_mutex().lock(); }

int32_t Call::device() const { return device_->index; }
Stream Call::stream() const { return device_->stream(); }

void* Call::take(uint32_t handle, const char* name, int64_t count, int64_t element_bytes, bool write) {
  Buffer& buffer = buffer_at(handle, name);
  if (count < 0 || count > MAX_BYTES / element_bytes)
    CDN_FAIL(CDN_BAD_ARGUMENT, "%s: %lld elements is not a size that memory can have", name, (long long)count);
  int64_t bytes = count * element_bytes;
  if (bytes > buffer.bytes)
    CDN_FAIL(CDN_BAD_ARGUMENT, "%s: the buffer holds %lld bytes; %lld are needed", name, (long long)buffer.bytes,
             (long long)bytes);
  if (!device_)
    device_ = &device_at(buffer.device);
  else if (device_->index != buffer.device)
    CDN_FAIL(CDN_BAD_ARGUMENT, "%s is on device %d; the other arguments are on device %d", name, buffer.device,
             device_->index);
  if (bytes == 0) return buffer.data;
  if (reinterpret_cast<uintptr_t>(buffer.data) % element_bytes)
    CDN_FAIL(CDN_BAD_ARGUMENT, "%s: the view starts at a byte that is no multiple of its element size, %lld", name,
             (long long)element_bytes);
  check_overlap({buffer.data, buffer.data + bytes, write, name});
  order_after(buffer.block, stream());
  return buffer.data;
}

void Call::check_overlap(const Range& range) {
  if (overlap_ == UNCHECKED) return;
  for (const Range& other : ranges_) {
    if (!range.write && !other.write) continue;
    if (range.begin >= other.end || other.begin >= range.end) continue;
    if (overlap_ == IN_PLACE && range.begin == other.begin && range.end == other.end) continue;
    CDN_FAIL(CDN_BAD_ARGUMENT, "%s overlaps %s", range.name, other.name);
  }
  ranges_.push_back(range);
}

Block* allocate(Device& device, int64_t bytes) {
  Block* block = device.memory.allocate(bytes, [&] {
    for (Stream s : device.streams) backend::stream_sync(s);
  });
  order_after(block, device.stream());
  return block;
}

void release(Device& device, Block* block) {
  if (block && --block->references == 0) device.memory.release(block);
}

void* Call::scratch_bytes(int64_t bytes) {
  if (bytes == 0) return nullptr;
  scratch_.push_back(nullptr);  // room first, so that the block can't be lost
  scratch_.back() = allocate(*device_, bytes);
  return scratch_.back()->data;
}

Call::~Call() {
  for (Block* block : scratch_) {
    try {
      release(*device_, block);
    } catch (...) {  // only a device that has failed altogether gets here; the next call reports it
    }
  }
  library_mutex().unlock();
}

void Call::finish() {
  if (device_) backend::check_launch(stream(), sync_each_call());
  if (device_ && sync_each_call()) raise_fault(device_->index);
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

void raise_fault(int32_t device) {
  volatile Fault* fault = backend::fault(device);
  if (fault->op == FAULT_NONE) return;
  const char* op = FAULT_NAMES[fault->op];
  long long index = fault->index, limit = fault->limit;
  fault->op = FAULT_NONE;
  CDN_FAIL(CDN_BAD_ARGUMENT, "%s, called before, met index %lld; it must be in 0..%lld", op, index, limit - 1);
}

}  // namespace cdn
