// Profiles: a pair of events around each kernel, read out when all is done.
#include "runtime/profile.h"

#include <cstdio>

#include "runtime/context.h"

namespace cdn {

using backend::EventPointer;

static constexpr int64_t NAME_BYTES = 256;

Recorder::Recorder(int32_t device, int64_t limit, Stream stream)
    : device(device), base(backend::event_create()), limit_(limit) {
  backend::event_record(*base, stream);
}

int64_t Recorder::begin(Stream stream, const void* kernel, int64_t blocks, int64_t threads) {
  const auto count = static_cast<int64_t>(launches.size());
  // Events within a captured graph have no times.
  if (count >= limit_ || backend::stream_capturing(stream)) {
    left_out++;
    return -1;
  }
  EventPointer begin(backend::event_create()), end(backend::event_create());
  backend::event_record(*begin, stream);
  launches.push_back({kernel, note, blocks, threads, std::move(begin), std::move(end)});
  return count;
}

void Recorder::end(int64_t launch, Stream stream) {
  if (launch < 0) return;
  Launch& l = launches[static_cast<size_t>(launch)];
  backend::event_record(*l.end, stream);
  l.ended = true;
}

void Recorder::call_begins() {
  if (depth_ == 0 && !stopped) call_ = begin(nullptr, nullptr, 1, 1);
  depth_++;
}

void Recorder::call_ends() {
  if (--depth_ > 0 || stopped) return;
  end(call_, nullptr);
}

Recorder* recorder_of(int32_t device) {
  Recorder* recorder = context().recorder.get();
  return recorder && !recorder->stopped && recorder->device == device ? recorder : nullptr;
}

static Recorder& recorder() {
  Recorder* recorder = context().recorder.get();
  if (!recorder) CDN_FAIL(CDN_BAD_ARGUMENT, "no profile was begun");
  return *recorder;
}

}  // namespace cdn

using namespace cdn;

CDN_API int32_t cdn_profile_begin(int32_t device, int64_t limit) {
  return guard("cdn_profile_begin", [&] {
    checked_size("limit", limit);
    Device& on = device_at(device);
    context().recorder = std::make_unique<Recorder>(device, limit, on.stream());
  });
}

CDN_API int32_t cdn_profile_note(int32_t note) {
  return guard("cdn_profile_note", [&] { recorder().note = note; });
}

CDN_API int32_t cdn_profile_stop(int64_t* counts) {
  return guard("cdn_profile_stop", [&] {
    required(counts, "counts");
    Recorder& r = recorder();
    r.stopped = true;
    device_at(r.device).wait();
    counts[0] = static_cast<int64_t>(r.launches.size());
    counts[1] = r.left_out;
  });
}

CDN_API int32_t cdn_profile_read(char* names, double* times, int64_t* facts, int64_t count) {
  return guard("cdn_profile_read", [&] {
    if (count == 0) {
      context().recorder.reset();
      return;
    }
    required(names, "names");
    required(times, "times");
    required(facts, "facts");
    Recorder& r = recorder();
    if (!r.stopped || count != static_cast<int64_t>(r.launches.size()))
      CDN_FAIL(CDN_BAD_ARGUMENT, "count is %lld; stop gives the one to ask for", (long long)count);
    backend::activate(r.device);
    for (const Recorder::Launch& l : r.launches) {
      snprintf(names, NAME_BYTES, "%s", backend::kernel_name(l.kernel).c_str());
      names += NAME_BYTES;
      *times++ = backend::event_elapsed(*r.base, *l.begin);
      *times++ = l.ended ? backend::event_elapsed(*l.begin, *l.end) : 0;
      *facts++ = l.note;
      *facts++ = l.blocks;
      *facts++ = l.threads;
    }
    context().recorder.reset();
  });
}
