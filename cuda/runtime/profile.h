// What a profile remembers of each kernel that was started, or on the CPU of each call: when it
// began and ended by the device's clock, and what call it was for.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/backend.h"

namespace cdn {

class Recorder {
 public:
  struct Launch {
    const void* kernel;  // null on the CPU
    int32_t note;
    int64_t blocks, threads;
    backend::EventPointer begin, end;
    bool ended = false;
  };

  Recorder(int32_t device, int64_t limit, backend::Stream stream);
  // The number of a launch, whose end is to be told; below 0 where there is no room for it.
  int64_t begin(backend::Stream stream, const void* kernel, int64_t blocks, int64_t threads);
  void end(int64_t launch, backend::Stream stream);
  // The same for a call on the CPU; one that is made within another is part of that.
  void call_begins();
  void call_ends();

  const int32_t device;
  int32_t note = 0;  // what the next launches are for
  bool stopped = false;
  int64_t left_out = 0;
  backend::EventPointer base;
  std::vector<Launch> launches;

 private:
  int32_t depth_ = 0;  // of calls
  int64_t call_ = -1;  // the launch that stands for the outermost one
  const int64_t limit_;
};

// The calling thread's, while it records on this device; else null.
Recorder* recorder_of(int32_t device);

namespace backend {
std::string kernel_name(const void* kernel);
}

}  // namespace cdn
