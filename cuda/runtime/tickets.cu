// Tickets: what one thread begins and ends, and another waits for, so that an event loop can go on.
// A ticket is found from any thread; all else of a context is its own thread's.
#include <condition_variable>
#include <optional>

#include "runtime/context.h"

using namespace cdn;

namespace {

struct Ticket {
  Context* owner = nullptr;
  int32_t device = 0;
  BlockRef block;  // until the end
  int64_t bytes = 0;
  backend::TransferPointer read;  // none in a write, which goes to target on stream
  char* target = nullptr;
  Stream stream = nullptr;
  int32_t waiters = 0;
  std::exception_ptr failure = nullptr;
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

Ticket& ticket_at(uint32_t handle) { return tickets().table.at(handle, "ticket"); }

// Throws unless it is one of a write or a read, as said, of so many bytes.
void check(const Ticket& t, bool write, std::optional<int64_t> bytes) {
  if (write != !t.read)
    CDN_FAIL(CDN_BAD_ARGUMENT, "ticket is one of a %s", t.read ? "read" : "write");
  if (bytes && *bytes != t.bytes)
    CDN_FAIL(CDN_BAD_ARGUMENT, "bytes is %lld; the ticket is for %lld", (long long)*bytes,
             (long long)t.bytes);
}

uint32_t issue(Ticket ticket) {
  std::lock_guard<std::mutex> lock(tickets().mutex);
  return tickets().table.insert(std::move(ticket));
}

// Takes the ticket out of the table, for its owner alone.
Ticket redeem(uint32_t handle, bool write, int64_t bytes) {
  std::lock_guard<std::mutex> lock(tickets().mutex);
  Ticket& t = ticket_at(handle);
  if (t.owner != &context())
    CDN_FAIL(CDN_BAD_HANDLE, "ticket: handle %#x is another thread's", handle);
  check(t, write, bytes);
  if (t.waiters) CDN_FAIL(CDN_BAD_ARGUMENT, "ticket is still being waited for");
  Ticket redeemed = std::move(t);
  tickets().table.erase(handle);
  return redeemed;
}

// Waits for a ticket on any thread, without the lock: it stays where it is while there are waiters.
// What fails then is kept for the end, too.
template <class F> void await(uint32_t handle, bool write, std::optional<int64_t> bytes, F&& f) {
  std::unique_lock<std::mutex> lock(tickets().mutex);
  Ticket& t = ticket_at(handle);
  check(t, write, bytes);
  t.waiters++;
  lock.unlock();
  std::exception_ptr failure;
  try {
    backend::activate(t.device);
    f(t);
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
    {
      const Ticket ended = std::move(t);
      tickets().table.erase(handle);
      lock.unlock();  // nobody else shall wait for this device
    }
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
    backend::TransferPointer read(backend::read_begin(nullptr, 0, waiting));
    *ticket = issue({&context(), device, BlockRef(), 0, std::move(read)});
  });
}

CDN_API int32_t cdn_read_begin(uint32_t* ticket, uint32_t x, int64_t offset, int64_t bytes) {
  return guard("cdn_read_begin", [&] {
    required(ticket, "ticket");
    Part from = part_of(x, "x", offset, bytes);
    Stream stream = stream_to_read(from.device, from.buffer.block);
    backend::TransferPointer read(backend::read_begin(from.data, bytes, stream));
    *ticket = issue({&context(), from.device.index, from.buffer.block, bytes, std::move(read)});
  });
}

CDN_API int32_t cdn_read_wait(uint32_t ticket) {
  return guard("cdn_read_wait", [&] {
    await(ticket, false, std::nullopt,
          [](const Ticket& t) { backend::transfer_wait(t.read.get()); });
  });
}

CDN_API int32_t cdn_read_end(void* host, uint32_t ticket, int64_t bytes) {
  return guard("cdn_read_end", [&] {
    if (bytes) required(host, "host");
    Ticket t = redeem(ticket, false, bytes);
    Device& d = device_at(t.device);
    backend::read_end(host, t.read.release(), bytes);
    raise_fault(d);
  });
}

CDN_API int32_t cdn_write_begin(uint32_t* ticket, uint32_t y, int64_t offset, int64_t bytes) {
  return guard("cdn_write_begin", [&] {
    required(ticket, "ticket");
    Part to = part_of(y, "y", offset, bytes);
    use(to.device, to.buffer.block, true);
    Stream stream = to.device.streams[Device::WRITING];
    backend::stream_wait(stream, to.device.stream());
    *ticket =
        issue({&context(), to.device.index, to.buffer.block, bytes, nullptr, to.data, stream});
  });
}

CDN_API int32_t cdn_write_wait(uint32_t ticket, const void* host, int64_t bytes) {
  return guard("cdn_write_wait", [&] {
    if (bytes) required(host, "host");
    await(ticket, true, bytes, [=](const Ticket& t) {
      if (bytes == 0) return;
      backend::copy_in(t.target, host, bytes, t.stream);
      backend::stream_sync(t.stream);
    });
  });
}

CDN_API int32_t cdn_write_end(uint32_t ticket, int64_t bytes) {
  return guard("cdn_write_end", [&] {
    const Ticket t = redeem(ticket, true, bytes);
    device_at(t.device);  // active while the block goes back
    if (t.failure) std::rethrow_exception(t.failure);
  });
}
