// The caching allocator: one for each device of a context, the same on both backends. Its lock is
// for other contexts, which may ask it for what it keeps unused when the device has no more.
//
// Small requests (up to 1 MiB) take a block of a size class, four classes to a doubling, from a
// 2-MiB slab of that class. Large ones take the best fit among the free blocks of 32-MiB (or
// larger) segments; blocks split on use and coalesce on release. Nothing goes back to the system
// until memory runs out or trim() is called. Reuse is stream-ordered: a block remembers the stream
// that used it last, and another stream waits for that one before using it.
#pragma once
#include <atomic>
#include <cstdint>
#include <list>
#include <mutex>
#include <set>
#include <vector>

#include "runtime/backend.h"

namespace cdn {

class Allocator;

// Things that are made when none is idle and never destroyed. Giving back allocates nothing.
template <class T> class IdlePool {
 public:
  template <class Make> T take(Make&& make) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (idle_.empty()) {
      idle_.reserve(made_ + 1);
      T fresh = make();
      made_++;
      return fresh;
    }
    T item = idle_.back();
    idle_.pop_back();
    return item;
  }
  void give(T item) {
    std::lock_guard<std::mutex> lock(mutex_);
    idle_.push_back(item);
  }

 private:
  std::mutex mutex_;
  std::vector<T> idle_;
  size_t made_ = 0;
};

// What all contexts share of a device. That streams live for ever lets a block name one.
struct SharedDevice {
  SharedDevice(int32_t index, int64_t limit)
      : index(index), limit(limit), model(backend::device_model(index)) {}
  const int32_t index;
  const int64_t limit;  // the most that all allocators together may take
  const DeviceModel model;
  std::atomic<int64_t> reserved{0};  // and what they have taken
  void* take(int64_t bytes);         // nullptr where it does not fit
  IdlePool<backend::Stream> streams;
  IdlePool<volatile Fault*> faults;
  std::mutex mutex;  // guards allocators
  std::vector<Allocator*> allocators;
};

struct Segment {
  char* base;
  int64_t bytes;
  int32_t size_class;  // -1: large
  int32_t live = 0;    // blocks in use
};

struct Block {
  struct BySize {
    bool operator()(const Block* a, const Block* b) const {
      return a->bytes != b->bytes ? a->bytes < b->bytes : a->data < b->data;
    }
  };
  using Free = std::set<Block*, BySize>;

  char* data;
  int64_t bytes;
  Segment* segment;
  Block *previous = nullptr, *next = nullptr;  // neighbours in a large segment
  backend::Stream stream = nullptr;            // used it last
  int64_t written = 0;                         // by which of the device's calls, last
  int32_t references = 0;                      // handles, tickets
  bool free = true, frozen = false;
  Free::node_type node;  // of a large block in use: its place among the free ones, so that
                         // release() allocates nothing
};

struct MemoryStats {
  int64_t live, reserved, peak, limit, live_buffers, allocations, segments, raw_allocations,
      largest_free;
};

class Allocator {
 public:
  explicit Allocator(SharedDevice& device);
  ~Allocator();
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  Block* allocate(int64_t bytes);  // throws CDN_OUT_OF_MEMORY, with everything left usable
  void release(Block* block);
  void trim();  // frees segments without live blocks, once the device is idle
  void set_limit(int64_t bytes);
  void reset_peak();
  MemoryStats stats() const;

 private:
  Block* try_allocate(int64_t bytes);
  Block* allocate_small(int32_t size_class);
  Block* allocate_large(int64_t bytes);
  int64_t room() const;  // below this allocator's own limit
  Segment* grow(int64_t bytes, int32_t size_class);
  void absorb_next(Block* block);
  [[noreturn]] void out_of_memory(int64_t bytes) const;

  SharedDevice& device_;
  mutable std::mutex mutex_;  // guards all below
  int64_t limit_;
  MemoryStats stats_{};
  std::list<Segment> segments_;
  std::vector<std::vector<Block*>> small_;  // free blocks by class
  std::vector<size_t> small_blocks_;        // all blocks by class
  Block::Free large_;                       // free blocks by size, then address
};

}  // namespace cdn
