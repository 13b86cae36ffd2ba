// From handles to memory: the handle tables and the devices. What the functions that manage rather than compute use
// besides runtime.h.
#pragma once
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "allocator.h"
#include "runtime.h"

namespace cdn {

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

HandleTable<Buffer>& buffers();
Buffer& buffer_at(uint32_t handle, const char* name);  // throws CDN_BAD_HANDLE
Block* allocate(Device& device, int64_t bytes);
void release(Device& device, Block* block);
void order_after(Block* block, Stream stream);  // work queued on stream from now on follows the block's last use
void raise_fault(int32_t device);               // throws what a kernel has reported since the last look

// The body of a function that manages: it holds the library.
template <class F> int32_t locked(const char* op, F&& body) noexcept {
  return guard(op, [&] {
    std::lock_guard<std::mutex> lock(library_mutex());
    body();
  });
}

template <class T> T* required(T* p, const char* name) {
  if (!p) CDN_FAIL(CDN_BAD_ARGUMENT, "%s is null", name);
  return p;
}

}  // namespace cdn
