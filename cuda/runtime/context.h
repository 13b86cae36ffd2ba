// A context is what one isolate (the main thread, a Worker) has of the library: its handles, and of
// each device the memory, the streams and the faults. An isolate lives on one thread, so that
// nothing in a context needs a lock; what threads share is in SharedDevice and in tickets.cu. What
// the functions that manage rather than compute use.
#pragma once
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "runtime/allocator.h"
#include "runtime/handles.h"
#include "runtime/call.h"
#include "runtime/profile.h"

namespace cdn {

struct Buffer {
  BlockRef block;  // none when empty
  char* data = nullptr;
  int64_t bytes = 0;
  int32_t device = 0;
};
struct StreamName {
  int32_t device = 0, index = 0;
};
struct Mark {
  backend::EventPointer event;
  int32_t device = 0;
  bool recorded = false;
};

// Marks on a stream after every few calls, so that a read need not wait for all that was queued
// since its tensor was written. The CPU, where nothing is queued, has none.
class Milestones {
 public:
  Milestones();
  int64_t passed() const { return calls_; }
  void pass(Stream stream);                         // a call has queued its work
  backend::Event* first_after(int64_t call) const;  // that is kept; nullptr if there is none

 private:
#if defined(__CUDACC__)
  static constexpr bool QUEUED = true;
#else
  static constexpr bool QUEUED = false;
#endif
  static constexpr int64_t KEPT = 64, EVERY = 8;
  int64_t calls_ = 0;
  std::vector<backend::EventPointer> kept_;  // mark m, after EVERY * m calls, is at m % KEPT
};

// Copies to the device by way of pinned memory, on a stream of their own, so that they run beside
// what is computed meanwhile. Each has a number, and follows those before it.
class Staging {
 public:
  int64_t begin(char* dst, const void* host, int64_t bytes, Stream stream);
  void order(Stream waiter, int64_t copy);  // what waiter is given from now on follows that copy

 private:
  struct Copy {
    backend::TransferPointer transfer;
    int64_t bytes;
  };
  void end_first();
  static constexpr int64_t MOST_BYTES = 256 << 20;  // under way, unless it is a single copy
  std::deque<Copy> copies_;
  int64_t first_ = 1, bytes_ = 0;
};

// A device as one context has it.
struct Device {
  // Streams: for calls, for tickets; then the user's.
  enum : int32_t { DEFAULT, READING, WRITING, WAITING, OWN };
  explicit Device(int32_t index);
  ~Device();  // gives back what its constructor took, also when that fails
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  SharedDevice& shared;
  const int32_t index;
  volatile Fault* fault = nullptr;  // what its kernels report
  std::vector<Stream> streams;
  std::vector<bool> in_use;
  int32_t current = DEFAULT;
  Milestones milestones;  // of the default stream
  Allocator memory;
  Staging staging;

  Stream stream() const { return streams[current]; }
  int32_t unused_stream();
  void wait() const;  // until all its streams are done

 private:
  Device(SharedDevice& shared, int32_t index) : shared(shared), index(index), memory(shared) {}
};

class Program;
class Footprint;

struct Context {
  explicit Context(double isolate) : isolate(isolate) {}
  ~Context();
  const double isolate;
  std::vector<std::unique_ptr<Device>> devices;
  HandleTable<Buffer> buffers;
  HandleTable<StreamName> streams;
  HandleTable<Mark> marks;
  HandleTable<std::shared_ptr<Program>> programs;
  std::unique_ptr<Recorder> recorder;  // of the profile under way
  std::vector<Range> ranges;  // of the call under way: kept, so that a call allocates nothing
  std::vector<BlockRef> scratch;
  Footprint* footprint = nullptr;  // of the program that runs
  bool capturing = false;          // whether its calls are recorded, not made
};

Context& context();  // the calling thread's; begins at first use and ends with the thread
void end_tickets(Context& context);  // waits for the threads that wait for them

// Opens it at first use, and makes it the active one.
Device& device_at(int32_t index);  // throws CDN_NO_DEVICE or CDN_BAD_ARGUMENT

// Bytes of a buffer, checked, whose device is the active one.
struct Part {
  Buffer& buffer;
  char* data;
  Device& device;
};
Part part_of(uint32_t handle, const char* name, int64_t offset, int64_t bytes);

BlockRef allocate(Device& device, int64_t bytes);
Stream stream_to_read(Device& device, Block* block);  // one on which to copy from it
// Work queued on the current stream follows the block's last use.
void use(Device& device, Block* block, bool write);
// Fills part of a block beside what is computed; later work on the block follows.
void stage(Device& device, Block* block, char* dst, const void* host, int64_t bytes);
void raise_fault(Device& device);  // throws what a kernel has reported since the last look

template <class T> T* required(T* p, const char* name) {
  if (!p) CDN_FAIL(CDN_BAD_ARGUMENT, "%s is null", name);
  return p;
}

}  // namespace cdn
