// The caching allocator: one per device, the same on both backends.
//
// Small requests (up to 1 MiB) take a block of a size class, four classes to a doubling, from a 2-MiB slab of that
// class. Large ones take the best fit among the free blocks of 32-MiB (or larger) segments; blocks split on use and
// coalesce on release. Nothing goes back to the system until memory runs out or trim() is called. Reuse is
// stream-ordered: a block remembers the stream that used it last, and another stream waits for that one before using
// it.
#pragma once
#include <cstdint>
#include <list>
#include <set>
#include <vector>

#include "backend.h"

namespace cdn {

struct Segment {
  char* base;
  int64_t bytes;
  int32_t size_class;  // -1: large
  int32_t live = 0;    // blocks in use
  std::list<Segment>::iterator self;
};

struct Block {
  char* data;
  int64_t bytes;
  Segment* segment;
  Block *previous = nullptr, *next = nullptr;  // neighbours in a large segment
  backend::Stream stream = nullptr;            // used it last
  int32_t references = 0;                      // handles, tickets: held by the handle table
  bool free = true;
};

struct MemoryStats {
  int64_t live, reserved, peak, limit, live_buffers, allocations, segments, raw_allocations;
};

class Allocator {
 public:
  explicit Allocator(int32_t device) : device_(device), limit_(backend::default_limit(device)) {}

  // Throws CDN_OUT_OF_MEMORY, with everything left usable. sync() waits for the device; called before memory is freed.
  template <class Sync> Block* allocate(int64_t bytes, Sync&& sync) {
    Block* block = try_allocate(bytes);
    if (!block) {
      sync();
      trim();
      block = try_allocate(bytes);
    }
    if (!block) out_of_memory(bytes);
    return block;
  }
  void release(Block* block);
  int64_t trim();  // frees segments without live blocks; the device must be idle
  void set_limit(int64_t bytes) { limit_ = bytes > 0 ? bytes : backend::default_limit(device_); }
  void reset_peak() { stats_.peak = stats_.live; }
  MemoryStats stats() const;
  int64_t largest_free() const;

 private:
  struct BySize {
    bool operator()(const Block* a, const Block* b) const {
      return a->bytes != b->bytes ? a->bytes < b->bytes : a->data < b->data;
    }
  };
  Block* try_allocate(int64_t bytes);
  Block* allocate_small(int32_t size_class);
  Block* allocate_large(int64_t bytes);
  Segment* grow(int64_t bytes, int32_t size_class);
  void absorb_next(Block* block);
  void drop(Segment* segment);
  [[noreturn]] void out_of_memory(int64_t bytes) const;

  int32_t device_;
  int64_t limit_;
  MemoryStats stats_{};
  std::list<Segment> segments_;
  std::vector<std::vector<Block*>> small_;  // free blocks by class
  std::set<Block*, BySize> large_;          // free blocks by size, then address
};

}  // namespace cdn
