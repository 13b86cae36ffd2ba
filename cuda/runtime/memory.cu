// Devices, streams, buffers and copies: the exports that manage rather than compute.
#include <cstdio>
#include <cstring>

#include "runtime/context.h"
#include "runtime/program.h"

using namespace cdn;

namespace {

int32_t stream_index(int32_t device, uint32_t stream) {
  if (stream == 0) return Device::DEFAULT;
  const StreamName& name = context().streams.at(stream, "stream");
  if (name.device != device)
    CDN_FAIL(CDN_BAD_ARGUMENT, "stream belongs to device %d, not %d", name.device, device);
  return name.index;
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
  return guard("cdn_device_info", [&] {
    required(name, "name");
    required(info, "info");
    device_at(device);
    DeviceInfo d = backend::device_info(device);
    snprintf(name, 256, "%s", d.name);
    const int64_t all[8] = {d.total,      d.free,   d.major,   d.minor,
                            d.processors, d.driver, d.runtime, d.is_gpu};
    memcpy(info, all, sizeof all);
  });
}

CDN_API int32_t cdn_device_limits(double* limits, int32_t device) {
  return guard("cdn_device_limits", [&] {
    required(limits, "limits");
    device_at(device);
    const DeviceModel model = backend::device_model(device);
    limits[0] = model.bytes_per_cycle * model.clock;
    limits[1] = model.clock;
    limits[2] = model.l2_bytes;
  });
}

CDN_API int32_t cdn_sync(int32_t device) {
  return guard("cdn_sync", [&] {
    Device& d = device_at(device);
    d.wait();
    raise_fault(d);
  });
}

CDN_API int32_t cdn_stream_create(uint32_t* stream, int32_t device) {
  return guard("cdn_stream_create", [&] {
    required(stream, "stream");
    Device& d = device_at(device);
    int32_t index = d.unused_stream();
    *stream = context().streams.insert({device, index});
    d.in_use[index] = true;
  });
}

CDN_API int32_t cdn_stream_destroy(uint32_t stream) {
  return guard("cdn_stream_destroy", [&] {
    StreamName name = context().streams.at(stream, "stream");
    Device& d = device_at(name.device);
    backend::stream_sync(d.streams[name.index]);
    d.in_use[name.index] = false;
    if (d.current == name.index) d.current = Device::DEFAULT;
    context().streams.erase(stream);
  });
}

CDN_API int32_t cdn_stream_use(int32_t device, uint32_t stream) {
  return guard("cdn_stream_use", [&] {
    Device& d = device_at(device);
    d.current = stream_index(device, stream);
  });
}

CDN_API int32_t cdn_stream_sync(int32_t device, uint32_t stream) {
  return guard("cdn_stream_sync", [&] {
    Device& d = device_at(device);
    backend::stream_sync(d.streams[stream_index(device, stream)]);
    raise_fault(d);
  });
}

CDN_API int32_t cdn_alloc(uint32_t* y, int32_t device, int64_t bytes) {
  return guard("cdn_alloc", [&] {
    required(y, "y");
    Device& d = device_at(device);
    checked_size("bytes", bytes);
    BlockRef block = bytes ? allocate(d, bytes) : BlockRef();
    *y = context().buffers.insert({block, block ? block->data : nullptr, bytes, device});
  });
}

CDN_API int32_t cdn_view(uint32_t* y, uint32_t x, int64_t offset, int64_t bytes) {
  return guard("cdn_view", [&] {
    required(y, "y");
    Part part = part_of(x, "x", offset, bytes);
    *y = context().buffers.insert({part.buffer.block, part.data, bytes, part.device.index});
  });
}

CDN_API int32_t cdn_freeze(uint32_t x) {
  return guard("cdn_freeze", [&] {
    Block* block = context().buffers.at(x, "x").block;
    if (block) block->frozen = true;
  });
}

CDN_API int32_t cdn_free(uint32_t x) {
  return guard("cdn_free", [&] {
    device_at(context().buffers.at(x, "x").device);  // active while the block goes back
    context().buffers.erase(x);
  });
}

CDN_API int32_t cdn_write(uint32_t y, const void* host, int64_t offset, int64_t bytes) {
  return guard("cdn_write", [&] {
    Part to = part_of(y, "y", offset, bytes);
    if (bytes == 0) return;
    required(host, "host");
    use(to.device, to.buffer.block, true);
    backend::copy_in(to.data, host, bytes, to.device.stream());
  });
}

CDN_API int32_t cdn_stage(uint32_t y, const void* host, int64_t offset, int64_t bytes) {
  return guard("cdn_stage", [&] {
    Part to = part_of(y, "y", offset, bytes);
    if (bytes == 0) return;
    stage(to.device, to.buffer.block, to.data, required(host, "host"), bytes);
  });
}

CDN_API int32_t cdn_read(void* host, uint32_t x, int64_t offset, int64_t bytes) {
  return guard("cdn_read", [&] {
    Part from = part_of(x, "x", offset, bytes);
    if (bytes)
      backend::copy_out(required(host, "host"), from.data, bytes,
                        stream_to_read(from.device, from.buffer.block));
    raise_fault(from.device);
  });
}

CDN_API int32_t cdn_copy(uint32_t y, uint32_t x, int64_t y_offset, int64_t x_offset,
                         int64_t bytes) {
  return guard("cdn_copy", [&] {
    Part to = part_of(y, "y", y_offset, bytes), from = part_of(x, "x", x_offset, bytes);
    if (&to.device != &from.device)
      CDN_FAIL(CDN_BAD_ARGUMENT, "x is on device %d, y on device %d", from.device.index,
               to.device.index);
    if (bytes == 0) return;
    if (to.data < from.data + bytes && from.data < to.data + bytes)
      CDN_FAIL(CDN_BAD_ARGUMENT, "y overlaps x");
    use(to.device, to.buffer.block, true);
    use(to.device, from.buffer.block, false);
    if (Footprint* footprint = context().footprint) {
      footprint->note(y, to.buffer.block, true);
      footprint->note(x, from.buffer.block, false);
    }
    backend::copy(to.data, from.data, bytes, to.device.stream());
  });
}

CDN_API int32_t cdn_memory_stats(int64_t* stats, int32_t device) {
  return guard("cdn_memory_stats", [&] {
    required(stats, "stats");
    const MemoryStats all = device_at(device).memory.stats();
    memcpy(stats, &all, sizeof all);
  });
}

CDN_API int32_t cdn_memory_limit(int32_t device, int64_t bytes) {
  return guard("cdn_memory_limit", [&] {
    checked_size("bytes", bytes);
    device_at(device).memory.set_limit(bytes);
  });
}

CDN_API int32_t cdn_memory_trim(int32_t device) {
  return guard("cdn_memory_trim", [&] { device_at(device).memory.trim(); });
}

CDN_API int32_t cdn_memory_reset_peak(int32_t device) {
  return guard("cdn_memory_reset_peak", [&] { device_at(device).memory.reset_peak(); });
}
