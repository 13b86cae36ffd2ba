#include "runtime/call.h"

#include <cstdlib>
#include <cstring>

#include "runtime/context.h"
#include "runtime/program.h"

namespace cdn {

bool sync_each_call() {
  static const bool on = [] {
    const char* value = getenv("CUDENO_SYNC");
    return value && strcmp(value, "0") != 0 && *value;
  }();
  return on;
}

// By dtype.
static constexpr struct {
  const char* name;
  int64_t bytes;
} DTYPES[] = {{"float32", 4}, {"float64", 8}, {"int32", 4},
              {"uint8", 1},   {"float16", 2}, {"bfloat16", 2}};

static bool exists(int32_t dtype) { return dtype >= CDN_FLOAT32 && dtype <= CDN_BFLOAT16; }

const char* dtype_name(int32_t dtype) { return exists(dtype) ? DTYPES[dtype].name : "unknown"; }

int64_t dtype_bytes(int32_t dtype) {
  if (!exists(dtype))
    CDN_FAIL(CDN_BAD_ARGUMENT,
             "dtype is %d; known are 0 float32, 1 float64, 2 int32, 3 uint8, 4 float16, 5 bfloat16",
             dtype);
  return DTYPES[dtype].bytes;
}

void unsupported(int32_t dtype, const char* wanted) {
  dtype_bytes(dtype);  // throws for one that does not exist
  CDN_FAIL(CDN_UNSUPPORTED, "dtype is %s; it must be %s", dtype_name(dtype), wanted);
}

int64_t checked_size(const char* name, int64_t n) {
  if (n < 0 || n > MAX_BYTES)
    CDN_FAIL(CDN_BAD_ARGUMENT, "%s is %lld; it must be 0 or more, and a size that memory can have",
             name, (long long)n);
  return n;
}

int64_t checked_product(const char* names, int64_t a, int64_t b, int64_t c) {
  checked_size(names, a);
  checked_size(names, b);
  checked_size(names, c);
  __int128 product = static_cast<__int128>(a) * b;
  if (product <= MAX_BYTES) product *= c;
  if (product > MAX_BYTES)
    CDN_FAIL(CDN_BAD_ARGUMENT, "%s: %lld x %lld x %lld elements are more than any memory holds",
             names, (long long)a, (long long)b, (long long)c);
  return static_cast<int64_t>(product);
}

// On the CPU, where a call does its work, a profile times calls; on GPUs it times kernels, in
// launch().
#if defined(__CUDACC__)
static constexpr bool TIMED = false;
#else
static constexpr bool TIMED = true;
#endif

Call::Call(Overlap overlap) : overlap_(overlap), context_(context()) {
  context_.ranges.clear();
  if (TIMED && context_.recorder) context_.recorder->call_begins();
}

int32_t Call::device() const { return device_->index; }
const DeviceModel& Call::model() const { return device_->shared.model; }
Stream Call::stream() const { return device_->stream(); }
volatile Fault* Call::fault() const { return device_->fault; }

void* Call::take(uint32_t handle, const char* name, int64_t count, int64_t element_bytes,
                 bool write) {
  Buffer& buffer = context_.buffers.at(handle, name);
  if (count < 0 || count > MAX_BYTES / element_bytes)
    CDN_FAIL(CDN_BAD_ARGUMENT, "%s: %lld elements is not a size that memory can have", name,
             (long long)count);
  int64_t bytes = count * element_bytes;
  if (bytes > buffer.bytes)
    CDN_FAIL(CDN_BAD_ARGUMENT, "%s: the buffer holds %lld bytes; %lld are needed", name,
             (long long)buffer.bytes, (long long)bytes);
  if (!device_)
    device_ = &device_at(buffer.device);
  else if (device_->index != buffer.device)
    CDN_FAIL(CDN_BAD_ARGUMENT, "%s is on device %d; the other arguments are on device %d", name,
             buffer.device, device_->index);
  if (bytes == 0) return buffer.data;
  if (reinterpret_cast<uintptr_t>(buffer.data) % element_bytes)
    CDN_FAIL(CDN_BAD_ARGUMENT,
             "%s: the view starts at a byte that is no multiple of its element size, %lld", name,
             (long long)element_bytes);
  check_overlap({buffer.data, buffer.data + bytes, write, name});
  use(*device_, buffer.block, write);
  if (context_.footprint) context_.footprint->note(handle, buffer.block, write);
  return buffer.data;
}

void Call::check_overlap(const Range& range) {
  if (overlap_ == UNCHECKED) return;
  for (const Range& other : context_.ranges) {
    if (!range.write && !other.write) continue;
    if (range.begin >= other.end || other.begin >= range.end) continue;
    if (overlap_ == IN_PLACE && range.begin == other.begin && range.end == other.end) continue;
    CDN_FAIL(CDN_BAD_ARGUMENT, "%s overlaps %s", range.name, other.name);
  }
  context_.ranges.push_back(range);
}

void* Call::scratch_bytes(int64_t bytes) {
  if (bytes == 0) return nullptr;
  if (context_.footprint) return context_.footprint->scratch(*device_, bytes);
  context_.scratch.push_back(allocate(*device_, bytes));
  return context_.scratch.back()->data;
}

Call::~Call() {
  context_.scratch.clear();
  if (context_.footprint) context_.footprint->call_ends();
  if (TIMED && context_.recorder) context_.recorder->call_ends();
}

void Call::finish() {
  if (!device_) return;
  backend::check_launch(stream(), sync_each_call());
  if (device_->current == Device::DEFAULT && !context_.capturing)
    device_->milestones.pass(stream());
  if (sync_each_call()) raise_fault(*device_);
}

}  // namespace cdn
