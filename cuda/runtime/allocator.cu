#include "runtime/allocator.h"

#include <algorithm>
#include <memory>

#include "runtime/poison.h"
#include "runtime/status.h"

namespace cdn {
namespace {

constexpr int64_t KIB = 1024, MIB = 1024 * KIB;
constexpr int64_t ALIGNMENT = 256;
constexpr int64_t SMALL_LIMIT = 1 * MIB, SLAB = 2 * MIB, LARGE_STEP = 2 * MIB,
                  LARGE_SEGMENT = 32 * MIB;

int64_t round_up(int64_t x, int64_t step) { return (x + step - 1) / step * step; }

// Classes: 256, 512, 768, 1024, then four to a doubling (1280, 1536, 1792, 2048, 2560, …) up to 1
// MiB.
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
  return 4 * (doubling + 1) +
         static_cast<int32_t>((bytes - (KIB << doubling) + quarter - 1) / quarter) - 1;
}

}  // namespace

// What is more than the limit is never counted, not even for a moment, in which others would find
// no room.
void* SharedDevice::take(int64_t bytes) {
  int64_t taken = reserved;
  do {
    if (bytes > limit - taken) return nullptr;
  } while (!reserved.compare_exchange_weak(taken, taken + bytes));
  void* base = backend::raw_alloc(index, bytes);
  if (!base) reserved -= bytes;
  return base;
}

Allocator::Allocator(SharedDevice& device) : device_(device) {
  stats_.limit = device.limit;
  std::lock_guard<std::mutex> lock(device_.mutex);
  device_.allocators.push_back(this);
}

Allocator::~Allocator() {
  {
    std::lock_guard<std::mutex> lock(device_.mutex);
    auto& all = device_.allocators;
    all.erase(std::find(all.begin(), all.end(), this));
  }
  trim();
}

Block* Allocator::allocate(int64_t bytes) {
  if (Block* block = try_allocate(bytes)) return block;
  trim();
  if (Block* block = try_allocate(bytes)) return block;
  {  // what other contexts keep unused, unless it is this one's own limit that is in the way
    std::lock_guard<std::mutex> lock(device_.mutex);
    const MemoryStats own = stats();
    if (round_up(bytes, ALIGNMENT) <= own.limit - own.reserved)
      for (Allocator* other : device_.allocators)
        if (other != this) other->trim();
  }
  if (Block* block = try_allocate(bytes)) return block;
  const MemoryStats own = stats();
  CDN_FAIL(CDN_OUT_OF_MEMORY,
           "device %d has no room for %lld bytes: %lld live, %lld cached, limit %lld; other "
           "threads hold %lld of the device's %lld; free some tensors, use a smaller batch or "
           "raise the memory limit",
           device_.index, (long long)bytes, (long long)own.live, (long long)own.cached,
           (long long)own.limit, (long long)(device_.reserved - own.reserved),
           (long long)device_.limit);
}

Block* Allocator::try_allocate(int64_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  Block* block = bytes <= SMALL_LIMIT ? allocate_small(class_of(bytes)) : nullptr;
  // Near the limit this may have room when slabs have none.
  if (!block) block = allocate_large(round_up(bytes, ALIGNMENT));
  if (!block) return nullptr;
  block->free = block->frozen = false;
  block->segment->live++;
  stats_.live += block->bytes;
  stats_.live_buffers++;
  stats_.allocations++;
  stats_.peak = std::max(stats_.peak, stats_.live);
  unpoison(block->data, bytes);
  return block;
}

Block* Allocator::allocate_small(int32_t size_class) {
  if (small_.size() <= static_cast<size_t>(size_class)) {
    small_blocks_.resize(size_class + 1);  // first, so that it is never the shorter one
    small_.resize(size_class + 1);
  }
  auto& free = small_[size_class];
  if (free.empty()) {
    int64_t bytes = class_bytes(size_class);
    Segment* slab = grow(SLAB, size_class);
    if (!slab) slab = grow(bytes, size_class);  // near the limit: a slab of one
    if (!slab) return nullptr;
    size_t count = static_cast<size_t>(slab->bytes / bytes);
    // For all of them, so that release() allocates nothing.
    free.reserve(small_blocks_[size_class] + count);
    for (size_t at = count; at-- > 0; small_blocks_[size_class]++)
      free.push_back(new Block(slab->base + static_cast<int64_t>(at) * bytes, bytes, slab));
  }
  Block* block = free.back();
  free.pop_back();
  return block;
}

Block* Allocator::allocate_large(int64_t bytes) {
  Block wanted(nullptr, bytes, nullptr);
  auto fit = large_.lower_bound(&wanted);
  if (fit == large_.end()) {
    Segment* segment = grow(std::max(LARGE_SEGMENT, round_up(bytes, LARGE_STEP)), -1);
    if (!segment) segment = grow(bytes, -1);
    if (!segment) return nullptr;
    auto block = std::make_unique<Block>(segment->base, segment->bytes, segment);
    fit = large_.insert(block.get()).first;
    block.release();
  }
  Block* block = *fit;
  int64_t rest = block->bytes - bytes;
  std::unique_ptr<Block> tail;
  if (rest >= SMALL_LIMIT) {  // a smaller rest could serve no large request
    tail = std::make_unique<Block>(block->data + bytes, rest, block->segment);
    tail->stream = block->stream;
    large_.insert(tail.get());
  }
  block->node = large_.extract(fit);
  if (tail) {
    tail->previous = block;
    tail->next = block->next;
    if (tail->next) tail->next->previous = tail.get();
    block->next = tail.release();
    block->bytes = bytes;
  }
  return block;
}

Segment* Allocator::grow(int64_t bytes, int32_t size_class) {
  if (bytes > stats_.limit - stats_.reserved) return nullptr;
  segments_.push_front(Segment{this, nullptr, bytes, size_class});
  void* base = device_.take(bytes);
  if (!base) {
    segments_.pop_front();
    return nullptr;
  }
  segments_.front().base = static_cast<char*>(base);
  stats_.reserved += bytes;
  stats_.segments++;
  stats_.raw_allocations++;
  poison(base, bytes);
  return &segments_.front();
}

void Allocator::release(Block* block) noexcept {
  std::lock_guard<std::mutex> lock(mutex_);
  Segment* segment = block->segment;
  block->free = true;
  segment->live--;
  stats_.live -= block->bytes;
  stats_.live_buffers--;
  poison(block->data, block->bytes);
  if (segment->size_class >= 0) {
    small_[segment->size_class].push_back(block);
    return;
  }
  auto node = std::move(block->node);
  if (block->next && block->next->free) absorb_next(block);
  if (block->previous && block->previous->free) {
    block = block->previous;
    large_.extract(block);
    absorb_next(block);
  }
  node.value() = block;
  large_.insert(std::move(node));
}

// The stream of the two waits for what the other's was given; if that fails the device has, and all
// calls will say so.
void Allocator::absorb_next(Block* block) {
  Block* next = block->next;
  large_.erase(next);
  block->staged = 0;  // both are done when the stream is
  if (next->stream && next->stream != block->stream) {
    try {
      backend::stream_wait(block->stream, next->stream);
    } catch (...) {
    }
  }
  block->bytes += next->bytes;
  block->next = next->next;
  if (block->next) block->next->previous = block;
  delete next;
}

void Allocator::trim() {
  std::list<Segment> idle;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    auto in_use = [](const Block* b) { return b->segment->live > 0; };
    for (size_t c = 0; c < small_.size(); c++) {
      auto& free = small_[c];
      auto keep = std::partition(free.begin(), free.end(), in_use);
      std::for_each(keep, free.end(), [](Block* b) { delete b; });
      small_blocks_[c] -= static_cast<size_t>(free.end() - keep);
      free.erase(keep, free.end());
    }
    for (auto it = large_.begin(); it != large_.end();) {
      if (in_use(*it)) {
        ++it;
      } else {  // nothing live: the blocks have coalesced into this one
        delete *it;
        it = large_.erase(it);
      }
    }
    for (auto it = segments_.begin(); it != segments_.end();) {
      auto segment = it++;
      if (segment->live == 0) idle.splice(idle.begin(), segments_, segment);
    }
  }
  if (idle.empty()) return;
  // Without the lock, since this waits: what was taken out is nobody else's.
  backend::device_sync(device_.index);
  int64_t freed = 0;
  for (const Segment& segment : idle) {
    forget_poison(segment.base, segment.bytes);
    backend::raw_free(device_.index, segment.base);
    freed += segment.bytes;
  }
  device_.reserved -= freed;
  std::lock_guard<std::mutex> lock(mutex_);
  stats_.reserved -= freed;
  stats_.segments -= static_cast<int64_t>(idle.size());
}

void Allocator::set_limit(int64_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  stats_.limit = bytes > 0 ? bytes : device_.limit;
}

void Allocator::reset_peak() {
  std::lock_guard<std::mutex> lock(mutex_);
  stats_.peak = stats_.live;
}

MemoryStats Allocator::stats() const {
  std::lock_guard<std::mutex> lock(mutex_);
  MemoryStats s = stats_;
  s.cached = s.reserved - s.live;
  s.largest_free = large_.empty() ? 0 : (*large_.rbegin())->bytes;
  for (size_t c = 0; c < small_.size(); c++)
    if (!small_[c].empty())
      s.largest_free = std::max(s.largest_free, class_bytes(static_cast<int32_t>(c)));
  return s;
}

}  // namespace cdn
