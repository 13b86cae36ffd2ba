// Devices, streams, buffers and copies: the exports that manage rather than compute.
#include <cstdio>
#include <cstring>
#include <exception>

#include "handles.h"

using namespace cdn;

namespace {

struct StreamName {
  int32_t device = 0, index = 0;
};
struct Ticket {
  backend::Read* read = nullptr;
  int32_t device = 0;
  Block* block = nullptr;
  int32_t waiters = 0;
};

HandleTable<StreamName>& stream_names() {
  static auto* table = new HandleTable<StreamName>;
  return *table;
}
HandleTable<Ticket>& tickets() {
  static auto* table = new HandleTable<Ticket>;
  return *table;
}

int32_t stream_index(int32_t device, uint32_t stream) {
  if (stream == 0) return 0;
  StreamName* name = stream_names().find(stream);
  if (!name) CDN_FAIL(CDN_BAD_HANDLE, "stream: handle %#x is not live", stream);
  if (name->device != device) CDN_FAIL(CDN_BAD_ARGUMENT, "stream belongs to device %d, not %d", name->device, device);
  return name->index;
}

// Bytes [offset, offset + bytes) of a buffer, ordered after its last use.
char* range_of(Buffer& buffer, const char* name, int64_t offset, int64_t bytes) {
  if (offset < 0 || bytes < 0 || offset > buffer.bytes || bytes > buffer.bytes - offset)
    CDN_FAIL(CDN_BAD_ARGUMENT, "%s: %lld bytes from byte %lld on are outside the buffer's %lld", name, (long long)bytes,
             (long long)offset, (long long)buffer.bytes);
  order_after(buffer.block, device_at(buffer.device).stream());
  return buffer.data + offset;
}

void sync_streams(int32_t device, const std::vector<Stream>& streams) {
  backend::activate(device);
  for (Stream s : streams) backend::stream_sync(s);
}

}  // namespace

CDN_API const char* cdn_build_info(void) { return backend::build_info(); }

CDN_API int32_t cdn_device_count(int32_t* count) {
  return guard("cdn_device_count", [&] {
    const char* why = nullptr;
    *required(count, "count") = backend::device_count(&why);
    if (*count == 0) set_last_error(CDN_OK, "cdn_device_count", why);
  });
}

CDN_API int32_t cdn_device_info(char* name, int64_t* info, int32_t device) {
  return locked("cdn_device_info", [&] {
    required(name, "name");
    required(info, "info");
    device_at(device);
    DeviceInfo d = backend::device_info(device);
    snprintf(name, 256, "%s", d.name);
    const int64_t all[8] = {d.total, d.free, d.major, d.minor, d.processors, d.driver, d.runtime, d.is_gpu};
    memcpy(info, all, sizeof all);
  });
}

// Waits without holding the library, so that other threads can go on queueing.
static void wait_for_device(int32_t device) {
  std::unique_lock<std::mutex> lock(library_mutex());
  std::vector<Stream> streams = device_at(device).streams;
  lock.unlock();
  sync_streams(device, streams);
}

CDN_API int32_t cdn_wait(int32_t device) {
  return guard("cdn_wait", [&] { wait_for_device(device); });
}

CDN_API int32_t cdn_sync(int32_t device) {
  return guard("cdn_sync", [&] {
    wait_for_device(device);
    std::lock_guard<std::mutex> lock(library_mutex());
    raise_fault(device);
  });
}

CDN_API int32_t cdn_stream_create(uint32_t* stream, int32_t device) {
  return locked("cdn_stream_create", [&] {
    required(stream, "stream");
    Device& d = device_at(device);
    size_t index = 1;
    while (index < d.streams.size() && d.in_use[index]) index++;
    if (index == d.streams.size()) {
      d.streams.push_back(backend::stream_create());
      d.in_use.push_back(false);
    }
    *stream = stream_names().insert({device, static_cast<int32_t>(index)});
    d.in_use[index] = true;
  });
}

CDN_API int32_t cdn_stream_destroy(uint32_t stream) {
  return locked("cdn_stream_destroy", [&] {
    StreamName* name = stream_names().find(stream);
    if (!name) CDN_FAIL(CDN_BAD_HANDLE, "stream: handle %#x is not live", stream);
    Device& d = device_at(name->device);
    backend::stream_sync(d.streams[name->index]);
    d.in_use[name->index] = false;
    if (d.current == name->index) d.current = 0;
    stream_names().erase(stream);
  });
}

CDN_API int32_t cdn_stream_use(int32_t device, uint32_t stream) {
  return locked("cdn_stream_use", [&] {
    Device& d = device_at(device);
    d.current = stream_index(device, stream);
  });
}

CDN_API int32_t cdn_stream_sync(int32_t device, uint32_t stream) {
  return guard("cdn_stream_sync", [&] {
    std::unique_lock<std::mutex> lock(library_mutex());
    std::vector<Stream> one{device_at(device).streams[stream_index(device, stream)]};
    lock.unlock();
    sync_streams(device, one);
    lock.lock();
    raise_fault(device);
  });
}

CDN_API int32_t cdn_alloc(uint32_t* y, int32_t device, int64_t bytes) {
  return locked("cdn_alloc", [&] {
    required(y, "y");
    Device& d = device_at(device);
    checked_size("bytes", bytes);
    Block* block = bytes ? allocate(d, bytes) : nullptr;
    try {
      *y = buffers().insert({block, block ? block->data : nullptr, bytes, device});
    } catch (...) {
      release(d, block);
      throw;
    }
  });
}

CDN_API int32_t cdn_view(uint32_t* y, uint32_t x, int64_t offset, int64_t bytes) {
  return locked("cdn_view", [&] {
    required(y, "y");
    Buffer parent = buffer_at(x, "x");
    char* data = range_of(parent, "x", offset, bytes);
    *y = buffers().insert({parent.block, data, bytes, parent.device});
    if (parent.block) parent.block->references++;
  });
}

CDN_API int32_t cdn_free(uint32_t x) {
  return locked("cdn_free", [&] {
    Buffer buffer = buffer_at(x, "x");
    buffers().erase(x);
    release(device_at(buffer.device), buffer.block);
  });
}

CDN_API int32_t cdn_write(uint32_t y, const void* host, int64_t offset, int64_t bytes) {
  return locked("cdn_write", [&] {
    Buffer& buffer = buffer_at(y, "y");
    char* data = range_of(buffer, "y", offset, bytes);
    if (bytes) backend::copy_in(data, required(host, "host"), bytes, device_at(buffer.device).stream());
  });
}

CDN_API int32_t cdn_read(void* host, uint32_t x, int64_t offset, int64_t bytes) {
  return locked("cdn_read", [&] {
    Buffer& buffer = buffer_at(x, "x");
    char* data = range_of(buffer, "x", offset, bytes);
    if (bytes) backend::copy_out(required(host, "host"), data, bytes, device_at(buffer.device).stream());
    raise_fault(buffer.device);
  });
}

CDN_API int32_t cdn_copy(uint32_t y, uint32_t x, int64_t y_offset, int64_t x_offset, int64_t bytes) {
  return locked("cdn_copy", [&] {
    Buffer &to = buffer_at(y, "y"), &from = buffer_at(x, "x");
    if (to.device != from.device)
      CDN_FAIL(CDN_BAD_ARGUMENT, "x is on device %d, y on device %d", from.device, to.device);
    char* dst = range_of(to, "y", y_offset, bytes);
    char* src = range_of(from, "x", x_offset, bytes);
    if (bytes && dst < src + bytes && src < dst + bytes) CDN_FAIL(CDN_BAD_ARGUMENT, "y overlaps x");
    if (bytes) backend::copy(dst, src, bytes, device_at(to.device).stream());
  });
}

CDN_API int32_t cdn_read_begin(uint32_t* ticket, uint32_t x, int64_t offset, int64_t bytes) {
  return locked("cdn_read_begin", [&] {
    required(ticket, "ticket");
    Buffer& buffer = buffer_at(x, "x");
    char* data = range_of(buffer, "x", offset, bytes);
    uint32_t handle = tickets().insert({nullptr, buffer.device, buffer.block, 0});
    try {
      tickets().find(handle)->read = backend::read_begin(data, bytes, device_at(buffer.device).stream());
    } catch (...) {
      tickets().erase(handle);
      throw;
    }
    if (buffer.block) buffer.block->references++;
    *ticket = handle;
  });
}

static Ticket& ticket_at(uint32_t ticket) {
  Ticket* t = tickets().find(ticket);
  if (!t) CDN_FAIL(CDN_BAD_HANDLE, "ticket: handle %#x is not live", ticket);
  return *t;
}

CDN_API int32_t cdn_read_wait(uint32_t ticket) {
  return guard("cdn_read_wait", [&] {
    std::unique_lock<std::mutex> lock(library_mutex());
    Ticket& t = ticket_at(ticket);
    t.waiters++;
    lock.unlock();
    std::exception_ptr failure;
    try {
      backend::activate(t.device);
      backend::read_wait(t.read);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    t.waiters--;
    if (failure) std::rethrow_exception(failure);
  });
}

CDN_API int32_t cdn_read_end(void* host, uint32_t ticket, int64_t bytes) {
  return locked("cdn_read_end", [&] {
    Ticket t = ticket_at(ticket);
    int64_t held = backend::read_bytes(t.read);
    if (t.waiters) CDN_FAIL(CDN_BAD_ARGUMENT, "ticket is still being waited for");
    if (bytes != held)
      CDN_FAIL(CDN_BAD_ARGUMENT, "bytes is %lld; the ticket holds %lld", (long long)bytes, (long long)held);
    if (bytes) required(host, "host");
    Device& d = device_at(t.device);
    tickets().erase(ticket);
    release(d, t.block);  // its bytes were captured by begin
    backend::read_end(host, t.read, bytes);
    raise_fault(t.device);
  });
}

CDN_API int32_t cdn_memory_stats(int64_t* stats, int32_t device) {
  return locked("cdn_memory_stats", [&] {
    required(stats, "stats");
    Device& d = device_at(device);
    MemoryStats s = d.memory.stats();
    const int64_t all[10] = {s.live,  s.reserved - s.live, s.reserved,    s.peak,     d.memory.largest_free(),
                             s.limit, s.live_buffers,      s.allocations, s.segments, s.raw_allocations};
    memcpy(stats, all, sizeof all);
  });
}

CDN_API int32_t cdn_memory_limit(int32_t device, int64_t bytes) {
  return locked("cdn_memory_limit", [&] {
    checked_size("bytes", bytes);
    device_at(device).memory.set_limit(bytes);
  });
}

CDN_API int32_t cdn_memory_trim(int32_t device) {
  return locked("cdn_memory_trim", [&] {
    Device& d = device_at(device);
    sync_streams(device, d.streams);
    d.memory.trim();
  });
}

CDN_API int32_t cdn_memory_reset_peak(int32_t device) {
  return locked("cdn_memory_reset_peak", [&] { device_at(device).memory.reset_peak(); });
}
