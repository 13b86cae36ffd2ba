#include "allocator.h"

#include <algorithm>

#include "status.h"

namespace cdn {
namespace {

constexpr int64_t KIB = 1024, MIB = 1024 * KIB;
constexpr int64_t ALIGNMENT = 256;
constexpr int64_t SMALL_LIMIT = 1 * MIB, SLAB = 2 * MIB, LARGE_STEP = 2 * MIB, LARGE_SEGMENT = 32 * MIB;

int64_t round_up(int64_t x, int64_t step) { return (x + step - 1) / step * step; }

// Classes: 256, 512, 768, 1024, then four to a doubling (1280, 1536, 1792, 2048, 2560, …) up to 1 MiB.
int64_t class_bytes(int32_t size_class) {
  if (size_class < 4) return ALIGNMENT * (size_class + 1);
  int32_t doubling = size_class / 4 - 1, step = size_class % 4;
  return (KIB << doubling) + (step + 1) * ((KIB << doubling) / 4);
}

int32_t class_of(int64_t bytes) {
  if (bytes <= KIB) return static_cast<int32_t>((bytes + ALIGNMENT - 1) / ALIGNMENT) - 1;
  int32_t doubling = 0;
  while ((KIB << (doubling + 1)) < bytes) doubling++;
  int64_t quarter = (KIB << doubling) / 4;
  return 4 * (doubling + 1) + static_cast<int32_t>((bytes - (KIB << doubling) + quarter - 1) / quarter) - 1;
}

}  // namespace

Block* Allocator::try_allocate(int64_t bytes) {
  Block* block = bytes <= SMALL_LIMIT ? allocate_small(class_of(bytes)) : nullptr;
  if (!block)
    block = allocate_large(round_up(bytes, ALIGNMENT));  // near the limit this may have room when slabs have none
  if (!block) return nullptr;
  block->free = false;
  block->references = 1;
  block->segment->live++;
  stats_.live += block->bytes;
  stats_.live_buffers++;
  stats_.allocations++;
  stats_.peak = std::max(stats_.peak, stats_.live);
  return block;
}

Block* Allocator::allocate_small(int32_t size_class) {
  if (small_.size() <= static_cast<size_t>(size_class)) small_.resize(size_class + 1);
  auto& free = small_[size_class];
  if (free.empty()) {
    int64_t bytes = class_bytes(size_class);
    Segment* slab = grow(SLAB, size_class);
    if (!slab) slab = grow(bytes, size_class);  // near the limit: a slab of one
    if (!slab) return nullptr;
    free.reserve(free.size() + slab->bytes / bytes);
    for (int64_t at = slab->bytes / bytes - 1; at >= 0; at--) {
      auto* block = new Block;
      block->data = slab->base + at * bytes;
      block->bytes = bytes;
      block->segment = slab;
      free.push_back(block);
    }
  }
  Block* block = free.back();
  free.pop_back();
  return block;
}

Block* Allocator::allocate_large(int64_t bytes) {
  Block wanted{};
  wanted.bytes = bytes;
  auto fit = large_.lower_bound(&wanted);
  Block* block;
  if (fit != large_.end()) {
    block = *fit;
    large_.erase(fit);
  } else {
    Segment* segment = grow(std::max(LARGE_SEGMENT, round_up(bytes, LARGE_STEP)), -1);
    if (!segment) segment = grow(bytes, -1);
    if (!segment) return nullptr;
    block = new Block;
    block->data = segment->base;
    block->bytes = segment->bytes;
    block->segment = segment;
  }
  int64_t rest = block->bytes - bytes;
  if (rest >= SMALL_LIMIT) {  // a smaller rest could serve no large request
    auto* tail = new Block(*block);
    tail->data += bytes;
    tail->bytes = rest;
    tail->previous = block;
    if (tail->next) tail->next->previous = tail;
    block->next = tail;
    block->bytes = bytes;
    large_.insert(tail);
  }
  return block;
}

Segment* Allocator::grow(int64_t bytes, int32_t size_class) {
  if (bytes > limit_ - stats_.reserved) return nullptr;
  void* base = backend::raw_alloc(device_, bytes);
  if (!base) return nullptr;
  segments_.push_front(Segment{static_cast<char*>(base), bytes, size_class, 0, {}});
  segments_.front().self = segments_.begin();
  stats_.reserved += bytes;
  stats_.segments++;
  stats_.raw_allocations++;
  return &segments_.front();
}

void Allocator::release(Block* block) {
  block->free = true;
  block->segment->live--;
  stats_.live -= block->bytes;
  stats_.live_buffers--;
  if (block->segment->size_class >= 0) {
    small_[block->segment->size_class].push_back(block);
    return;
  }
  if (block->next && block->next->free) {
    large_.erase(block->next);
    absorb_next(block);
  }
  if (block->previous && block->previous->free) {
    block = block->previous;
    large_.erase(block);
    absorb_next(block);
  }
  large_.insert(block);
}

void Allocator::absorb_next(Block* block) {
  Block* next = block->next;
  if (next->stream && next->stream != block->stream) backend::stream_wait(block->stream, next->stream);
  block->bytes += next->bytes;
  block->next = next->next;
  if (block->next) block->next->previous = block;
  delete next;
}

int64_t Allocator::trim() {
  for (auto& free : small_) {
    auto keep = std::partition(free.begin(), free.end(), [](Block* b) { return b->segment->live > 0; });
    std::for_each(keep, free.end(), [](Block* b) { delete b; });
    free.erase(keep, free.end());
  }
  for (auto it = large_.begin(); it != large_.end();) {
    if ((*it)->segment->live > 0) {
      ++it;
    } else {  // nothing live: the blocks have coalesced into this one
      delete *it;
      it = large_.erase(it);
    }
  }
  int64_t before = stats_.reserved;
  for (auto it = segments_.begin(); it != segments_.end();) {
    Segment* segment = &*it++;
    if (segment->live == 0) drop(segment);
  }
  return before - stats_.reserved;
}

void Allocator::drop(Segment* segment) {
  backend::raw_free(device_, segment->base);
  stats_.reserved -= segment->bytes;
  stats_.segments--;
  segments_.erase(segment->self);
}

int64_t Allocator::largest_free() const {
  int64_t largest = large_.empty() ? 0 : (*large_.rbegin())->bytes;
  for (size_t c = 0; c < small_.size(); c++)
    if (!small_[c].empty()) largest = std::max(largest, class_bytes(static_cast<int32_t>(c)));
  return largest;
}

MemoryStats Allocator::stats() const {
  MemoryStats s = stats_;
  s.limit = limit_;
  return s;
}

void Allocator::out_of_memory(int64_t bytes) const {
  CDN_FAIL(CDN_OUT_OF_MEMORY,
           "device %d has no room for %lld bytes: %lld live, %lld cached, limit %lld; free some tensors, use a smaller "
           "batch or "
           "raise the memory limit",
           device_, (long long)bytes, (long long)stats_.live, (long long)(stats_.reserved - stats_.live),
           (long long)limit_);
}

}  // namespace cdn
