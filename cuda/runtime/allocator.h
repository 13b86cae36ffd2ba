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
#include <utility>
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
  Allocator* owner;
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
  Block(char* data, int64_t bytes, Segment* segment) : data(data), bytes(bytes), segment(segment) {}

  char* data;
  int64_t bytes;
  Segment* segment;
  Block *previous = nullptr, *next = nullptr;  // neighbours in a large segment
  backend::Stream stream = nullptr;            // used it last
  int64_t staged = 0;                          // by which staged copy, if that was all; or 0
  int64_t written = 0;                         // by which of the device's calls, last
  int32_t references = 0;
  bool free = true, frozen = false;
  // Of a large block in use: its place among the free ones, so that release() allocates nothing.
  Free::node_type node;
};

// In the order in which cdn_memory_stats gives them.
struct MemoryStats {
  int64_t live, cached, reserved, peak, largest_free, limit, live_buffers, allocations, segments,
      raw_allocations;
};

class Allocator {
 public:
  explicit Allocator(SharedDevice& device);
  ~Allocator();
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  Block* allocate(int64_t bytes);  // throws CDN_OUT_OF_MEMORY, with everything left usable
  void release(Block* block) noexcept;
  void trim();  // frees segments without live blocks, once the device is idle
  void set_limit(int64_t bytes);
  void reset_peak();
  MemoryStats stats() const;

 private:
  Block* try_allocate(int64_t bytes);
  Block* allocate_small(int32_t size_class);
  Block* allocate_large(int64_t bytes);
  Segment* grow(int64_t bytes, int32_t size_class);
  void absorb_next(Block* block);

  SharedDevice& device_;
  mutable std::mutex mutex_;  // guards all below
  MemoryStats stats_{};       // but for cached and largest_free
  std::list<Segment> segments_;
  std::vector<std::vector<Block*>> small_;  // free blocks by class
  std::vector<size_t> small_blocks_;        // all blocks by class
  Block::Free large_;                       // free blocks by size, then address
};

// A share in a block, which goes back to its allocator with the last one. All are on one thread.
class BlockRef {
 public:
  BlockRef() = default;
  explicit BlockRef(Block* block) : block_(block) {
    if (block_) block_->references++;
  }
  BlockRef(const BlockRef& other) : BlockRef(other.block_) {}
  BlockRef(BlockRef&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  BlockRef& operator=(BlockRef other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~BlockRef() {
    if (block_ && --block_->references == 0) block_->segment->owner->release(block_);
  }
  operator Block*() const { return block_; }
  Block* operator->() const { return block_; }

 private:
  Block* block_ = nullptr;
};

}  // namespace cdn
