// Values by 32-bit handle: 20 bits of slot, 12 bits of generation, never 0.
#pragma once
#include <atomic>
#include <cstdint>
#include <deque>
#include <utility>

#include "runtime/status.h"

namespace cdn {

// A freed slot waits behind at least MIN_FREE others before it is used again, so that a stale
// handle is caught for millions of allocations to come; and tables start at different generations,
// so that a handle of one is hardly ever live in another. Only insert() allocates.
template <class T> class HandleTable {
 public:
  HandleTable() {
    static std::atomic<uint32_t> tables{0};
    first_generation_ = 1 + tables.fetch_add(389) % MAX_GENERATION;
  }
  uint32_t insert(T value) {
    uint32_t slot;
    if (free_ > MIN_FREE || slots_.size() == MAX_SLOTS) {
      if (free_ == 0)
        CDN_FAIL(CDN_OUT_OF_MEMORY, "all %u handles are in use; free some tensors", MAX_SLOTS);
      slot = first_free_;
      first_free_ = slots_[slot].next_free;
      free_--;
    } else {
      slot = static_cast<uint32_t>(slots_.size());
      slots_.emplace_back();
      slots_[slot].generation = first_generation_;
    }
    slots_[slot].live = true;
    slots_[slot].value = std::move(value);
    return slots_[slot].generation << SLOT_BITS | slot;
  }
  T& at(uint32_t handle, const char* name) {  // throws CDN_BAD_HANDLE
    uint32_t slot = handle & (MAX_SLOTS - 1);
    if (slot >= slots_.size() || !slots_[slot].live ||
        slots_[slot].generation != handle >> SLOT_BITS)
      CDN_FAIL(CDN_BAD_HANDLE,
               "%s: handle %#x is not live: it was freed, never given out, or is another thread's",
               name, handle);
    return slots_[slot].value;
  }
  void erase(uint32_t handle) noexcept {
    uint32_t slot = handle & (MAX_SLOTS - 1);
    Slot& s = slots_[slot];
    s.live = false;
    s.value = T{};
    s.generation = s.generation == MAX_GENERATION ? 1 : s.generation + 1;
    slots_[free_ ? last_free_ : slot].next_free = slot;
    if (free_++ == 0) first_free_ = slot;
    last_free_ = slot;
  }
  // f(handle, value) for each that is live; f may erase it.
  template <class F> void each(F&& f) {
    for (uint32_t slot = 0; slot < slots_.size(); slot++)
      if (slots_[slot].live) f(slots_[slot].generation << SLOT_BITS | slot, slots_[slot].value);
  }

 private:
  static constexpr uint32_t SLOT_BITS = 20, MAX_SLOTS = 1u << SLOT_BITS, MAX_GENERATION = 4095,
                            MIN_FREE = 4096;
  struct Slot {
    uint32_t generation = 1, next_free = 0;
    bool live = false;
    T value{};
  };
  std::deque<Slot> slots_;
  uint32_t first_generation_, free_ = 0, first_free_ = 0, last_free_ = 0;
};

}  // namespace cdn
