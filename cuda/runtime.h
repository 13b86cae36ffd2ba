// From handles to memory: the handle tables, the devices, and Call, through which every operation takes its arguments.
#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "allocator.h"
#include "backend.h"
#include "half.h"
#include "status.h"

namespace cdn {

using backend::Stream;

constexpr int64_t MAX_BYTES = int64_t{1} << 60;
constexpr int32_t MAX_RANK = 8;

// Values by 32-bit handle: 20 bits of slot, 12 bits of generation, never 0. A freed slot waits behind at least
// MIN_FREE others before it is used again, so a stale handle is caught for millions of allocations to come.
template <class T> class HandleTable {
 public:
  uint32_t insert(T value) {
    uint32_t slot;
    if (free_.size() > MIN_FREE || slots_.size() == MAX_SLOTS) {
      if (free_.empty()) CDN_FAIL(CDN_OUT_OF_MEMORY, "all %u handles are in use; free some tensors", MAX_SLOTS);
      slot = free_.front();
      free_.pop_front();
    } else {
      slot = static_cast<uint32_t>(slots_.size());
      slots_.push_back({});
    }
    slots_[slot].live = true;
    slots_[slot].value = value;
    return slots_[slot].generation << SLOT_BITS | slot;
  }
  T* find(uint32_t handle) {
    uint32_t slot = handle & (MAX_SLOTS - 1);
    if (slot >= slots_.size()) return nullptr;
    Slot& s = slots_[slot];
    return s.live && s.generation == handle >> SLOT_BITS ? &s.value : nullptr;
  }
  void erase(uint32_t handle) {
    uint32_t slot = handle & (MAX_SLOTS - 1);
    Slot& s = slots_[slot];
    s.live = false;
    s.value = T{};
    s.generation = s.generation == MAX_GENERATION ? 1 : s.generation + 1;
    free_.push_back(slot);
  }

 private:
  static constexpr uint32_t SLOT_BITS = 20, MAX_SLOTS = 1u << SLOT_BITS, MAX_GENERATION = 4095;
  static constexpr size_t MIN_FREE = 4096;
  struct Slot {
    uint32_t generation = 1;
    bool live = false;
    T value{};
  };
  std::deque<Slot> slots_;
  std::deque<uint32_t> free_;
};

struct Buffer {
  Block* block = nullptr;  // nullptr when empty
  char* data = nullptr;
  int64_t bytes = 0;
  int32_t device = 0;
};

struct Device {
  explicit Device(int32_t index) : index(index), memory(index) {}
  int32_t index;
  Allocator memory;
  std::vector<Stream> streams;  // [0] is the default; never destroyed, so a block may name one for ever
  std::vector<bool> in_use;
  int32_t current = 0;
  Stream stream() const { return streams[current]; }
};

std::mutex& library_mutex();
Device& device_at(int32_t index);  // opens it at first use; throws CDN_NO_DEVICE or CDN_BAD_ARGUMENT
bool sync_each_call();             // CUDENO_SYNC=1

int64_t dtype_bytes(int32_t dtype);  // throws on an unknown dtype
const char* dtype_name(int32_t dtype);
[[noreturn]] void unsupported(int32_t dtype, const char* wanted);

// One operation's arguments and its place in the stream. Outputs and inputs are taken through it before any work is
// queued, so that a call that throws has changed nothing.
class Call {
 public:
  // May an output be exactly an input, element by element? UNCHECKED is for lists of tensors, where comparing all with
  // all would take longer than the work: those that overlap give wrong numbers, nothing worse.
  enum Overlap { NONE, IN_PLACE, UNCHECKED };
  explicit Call(Overlap overlap) : overlap_(overlap) {}
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  template <class T> T* out(uint32_t handle, const char* name, int64_t count) {
    return static_cast<T*>(take(handle, name, count, sizeof(T), true));
  }
  template <class T> const T* in(uint32_t handle, const char* name, int64_t count) {
    return static_cast<const T*>(take(handle, name, count, sizeof(T), false));
  }
  void* take(uint32_t handle, const char* name, int64_t count, int64_t element_bytes, bool write);
  void allow(Overlap overlap) { overlap_ = overlap; }  // for the arguments taken from now on

  // Scratch memory on the call's device until the call returns.
  template <class T> T* scratch(int64_t count) {
    return static_cast<T*>(scratch_bytes(count * static_cast<int64_t>(sizeof(T))));
  }
  Device& device() const { return *device_; }
  Stream stream() const { return device_->stream(); }
  void finish();

 private:
  struct Range {
    char *begin, *end;
    bool write;
    const char* name;
  };
  void* scratch_bytes(int64_t bytes);
  void check_overlap(const Range& range);

  Overlap overlap_;
  Device* device_ = nullptr;
  std::vector<Range> ranges_;
  std::vector<Block*> scratch_;
};

// The body of an operation: run(name, [&](Call& call) { … }).
template <class F> int32_t run(const char* op, Call::Overlap overlap, F&& body) noexcept {
  return guard(op, [&] {
    std::lock_guard<std::mutex> lock(library_mutex());
    Call call(overlap);
    body(call);
    call.finish();
  });
}
template <class F> int32_t run(const char* op, F&& body) noexcept {
  return run(op, Call::NONE, static_cast<F&&>(body));
}

int64_t checked_size(const char* name, int64_t n);                                // n >= 0 and countable
int64_t checked_product(const char* names, int64_t a, int64_t b, int64_t c = 1);  // the same for a * b * c

// dtype -> type: f is called with a value of the element type.
template <class F> void with_float(int32_t dtype, F&& f) {
  switch (dtype) {
    case CDN_FLOAT32: return f(float{});
    case CDN_FLOAT64: return f(double{});
    case CDN_FLOAT16: return f(float16{});
    case CDN_BFLOAT16: return f(bfloat16{});
    default: unsupported(dtype, "a float");
  }
}
template <class F> void with_number(int32_t dtype, F&& f) {
  if (dtype == CDN_INT32) return f(int32_t{});
  with_float(dtype, static_cast<F&&>(f));
}
template <class F> void with_any(int32_t dtype, F&& f) {
  if (dtype == CDN_UINT8) return f(uint8_t{});
  with_number(dtype, static_cast<F&&>(f));
}
// The same as values, so that one function serves operations on different dtypes.
struct Floats {
  template <class F> void operator()(int32_t dtype, F&& f) const { with_float(dtype, f); }
};
struct Numbers {
  template <class F> void operator()(int32_t dtype, F&& f) const { with_number(dtype, f); }
};
struct Any {
  template <class F> void operator()(int32_t dtype, F&& f) const { with_any(dtype, f); }
};
// For what moves elements: an integer of the dtype's size.
template <class F> void with_word(int32_t dtype, F&& f) {
  switch (dtype_bytes(dtype)) {
    case 1: return f(uint8_t{});
    case 2: return f(uint16_t{});
    case 4: return f(uint32_t{});
    default: return f(uint64_t{});
  }
}

}  // namespace cdn
