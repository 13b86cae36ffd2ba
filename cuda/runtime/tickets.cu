// Tickets: what one thread begins and ends, and another waits for, so that an event loop can go on.
// A ticket is found from any thread; all else of a context is its own thread's.
#include <condition_variable>

#include "runtime/context.h"

using namespace cdn;

namespace {

struct Ticket {
  Context* owner = nullptr;
  int32_t device = 0;
  Block* block = nullptr;  // held by a reference until the end
  int64_t bytes = 0;
  backend::Read* read = nullptr;  // of a read; nullptr in a write, which goes to target on stream
  char* target = nullptr;
  Stream stream = nullptr;
  int32_t waiters = 0;
  std::exception_ptr failure;
};

struct Tickets {
  std::mutex mutex;
  std::condition_variable left;  // a thread that waited has gone
  HandleTable<Ticket> table;
};

Tickets& tickets() {
  static auto* all = new Tickets;  // never destroyed: at exit another thread may be waiting
  return *all;
}

Ticket& ticket_at(uint32_t ticket) {
  Ticket* t = tickets().table.find(ticket);
  if (!t) CDN_FAIL(CDN_BAD_HANDLE, "ticket: handle %#x is not live", ticket);
  return *t;
}

void check_kind(const Ticket& t, bool write) {
  if (write != (t.read == nullptr))
    CDN_FAIL(CDN_BAD_ARGUMENT, "ticket is one of a %s", t.read ? "read" : "write");
}

void check_bytes(const Ticket& t, int64_t bytes) {
  if (bytes != t.bytes)
    CDN_FAIL(CDN_BAD_ARGUMENT, "bytes is %lld; the ticket is for %lld", (long long)bytes,
             (long long)t.bytes);
}

uint32_t issue(Ticket ticket) {
  std::lock_guard<std::mutex> lock(tickets().mutex);
  return tickets().table.insert(std::move(ticket));
}

// Takes the ticket out of the table, for its owner alone.
Ticket redeem(uint32_t handle, int64_t bytes, bool write) {
  std::lock_guard<std::mutex> lock(tickets().mutex);
  Ticket t = ticket_at(handle);
  if (t.owner != &context())
    CDN_FAIL(CDN_BAD_HANDLE, "ticket: handle %#x is another thread's", handle);
  check_kind(t, write);
  if (t.waiters) CDN_FAIL(CDN_BAD_ARGUMENT, "ticket is still being waited for");
  check_bytes(t, bytes);
  tickets().table.erase(handle);
  return t;
}

// Waits for a ticket on any thread, without the lock, once check finds nothing wrong. What fails
// then is kept for the end, too.
template <class C, class F> void await(uint32_t handle, C&& check, F&& f) {
  std::unique_lock<std::mutex> lock(tickets().mutex);
  Ticket& t = ticket_at(handle);
  check(t);
  t.waiters++;
  const Ticket mine = t;
  lock.unlock();
  std::exception_ptr failure;
  try {
    backend::activate(mine.device);
    f(mine);
  } catch (...) {
    failure = std::current_exception();
  }
  lock.lock();
  if (failure) t.failure = failure;
  t.waiters--;
  tickets().left.notify_all();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

void cdn::end_tickets(Context& owner) {
  std::unique_lock<std::mutex> lock(tickets().mutex);
  tickets().table.each([&](uint32_t handle, Ticket& t) {
    if (t.owner != &owner) return;
    tickets().left.wait(lock, [&] { return t.waiters == 0; });
    const Ticket mine = t;
    tickets().table.erase(handle);
    lock.unlock();  // nobody else shall wait for this device
    if (mine.read) backend::read_free(mine.read);
    release(*owner.devices[mine.device], mine.block);
    lock.lock();
  });
}

CDN_API int32_t cdn_wait_begin(uint32_t* ticket, int32_t device) {
  return guard("cdn_wait_begin", [&] {
    required(ticket, "ticket");
    Device& d = device_at(device);
    Stream waiting = d.streams[Device::WAITING];
    for (Stream s : d.streams)
      if (s != waiting) backend::stream_wait(waiting, s);
    backend::ReadPointer read(backend::read_begin(nullptr, 0, waiting));
    Ticket t;
    t.owner = &context(), t.device = device, t.read = read.get();
    *ticket = issue(t);
    read.release();
  });
}

CDN_API int32_t cdn_read_begin(uint32_t* ticket, uint32_t x, int64_t offset, int64_t bytes) {
  return guard("cdn_read_begin", [&] {
    required(ticket, "ticket");
    Buffer& buffer = buffer_at(x, "x");
    char* data = range_of(buffer, "x", offset, bytes);
    Stream stream = stream_to_read(device_at(buffer.device), buffer.block);
    backend::ReadPointer read(backend::read_begin(data, bytes, stream));
    Ticket t;
    t.owner = &context(), t.device = buffer.device, t.block = buffer.block, t.bytes = bytes,
    t.read = read.get();
    *ticket = issue(t);
    read.release();
    if (buffer.block) buffer.block->references++;
  });
}

CDN_API int32_t cdn_read_wait(uint32_t ticket) {
  return guard("cdn_read_wait", [&] {
    await(
        ticket, [](const Ticket& t) { check_kind(t, false); },
        [](const Ticket& t) { backend::read_wait(t.read); });
  });
}

CDN_API int32_t cdn_read_end(void* host, uint32_t ticket, int64_t bytes) {
  return guard("cdn_read_end", [&] {
    if (bytes) required(host, "host");
    Ticket t = redeem(ticket, bytes, false);
    backend::ReadPointer read(t.read);
    Device& d = device_at(t.device);
    release(d, t.block);  // its bytes were captured by begin
    backend::read_end(host, read.release(), bytes);
    raise_fault(d);
  });
}

CDN_API int32_t cdn_write_begin(uint32_t* ticket, uint32_t y, int64_t offset, int64_t bytes) {
  return guard("cdn_write_begin", [&] {
    required(ticket, "ticket");
    Buffer& buffer = buffer_at(y, "y");
    Ticket t;
    t.target = range_of(buffer, "y", offset, bytes);
    Device& d = device_at(buffer.device);
    use(d, buffer.block, true);
    t.stream = d.streams[Device::WRITING];
    backend::stream_wait(t.stream, d.stream());
    t.owner = &context(), t.device = buffer.device, t.block = buffer.block, t.bytes = bytes;
    *ticket = issue(t);
    if (buffer.block) buffer.block->references++;
  });
}

CDN_API int32_t cdn_write_wait(uint32_t ticket, const void* host, int64_t bytes) {
  return guard("cdn_write_wait", [&] {
    if (bytes) required(host, "host");
    auto check = [=](const Ticket& t) {
      check_kind(t, true);
      check_bytes(t, bytes);
    };
    await(ticket, check, [=](const Ticket& t) {
      if (bytes == 0) return;
      backend::copy_in(t.target, host, bytes, t.stream);
      backend::stream_sync(t.stream);
    });
  });
}

CDN_API int32_t cdn_write_end(uint32_t ticket, int64_t bytes) {
  return guard("cdn_write_end", [&] {
    Ticket t = redeem(ticket, bytes, true);
    release(device_at(t.device), t.block);
    if (t.failure) std::rethrow_exception(t.failure);
  });
}
