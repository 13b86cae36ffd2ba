// Events: marks in a device's work that remember when it came by, for measuring what its clock
// says, not the host's.
#include "runtime/context.h"

using namespace cdn;

static Mark& recorded_mark(uint32_t event, const char* name) {
  Mark& mark = context().marks.at(event, name);
  if (!mark.recorded) CDN_FAIL(CDN_BAD_ARGUMENT, "%s: the event was not recorded", name);
  return mark;
}

CDN_API int32_t cdn_event_create(uint32_t* event, int32_t device) {
  return guard("cdn_event_create", [&] {
    required(event, "event");
    device_at(device);
    *event = context().marks.insert({backend::EventPointer(backend::event_create()), device});
  });
}

CDN_API int32_t cdn_event_record(uint32_t event) {
  return guard("cdn_event_record", [&] {
    Mark& mark = context().marks.at(event, "event");
    backend::event_record(*mark.event, device_at(mark.device).stream());
    mark.recorded = true;
  });
}

CDN_API int32_t cdn_event_elapsed(double* microseconds, uint32_t first, uint32_t second) {
  return guard("cdn_event_elapsed", [&] {
    required(microseconds, "microseconds");
    Mark &from = recorded_mark(first, "first"), &to = recorded_mark(second, "second");
    if (from.device != to.device)
      CDN_FAIL(CDN_BAD_ARGUMENT, "first is of device %d, second of device %d", from.device,
               to.device);
    backend::activate(from.device);
    *microseconds = backend::event_elapsed(*from.event, *to.event);
  });
}

CDN_API int32_t cdn_event_destroy(uint32_t event) {
  return guard("cdn_event_destroy", [&] {
    device_at(context().marks.at(event, "event").device);
    context().marks.erase(event);
  });
}
