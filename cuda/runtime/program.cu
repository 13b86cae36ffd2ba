#include "runtime/program.h"

#include <algorithm>
#include <chrono>
#include <cstring>

namespace cdn {
namespace {

// Steps in one graph, where many are asked for at once: as many as make up for a launch, in a graph
// that is still made in little time.
constexpr int64_t MANY = 16, MOST_CALLS = 1024;

constexpr const char* NAME = "a tensor of the program";

// While it lives the thread's calls are a program's.
struct Running {
  Running(Footprint& footprint, bool capturing) {
    context().footprint = &footprint;
    context().capturing = capturing;
  }
  ~Running() {
    context().footprint = nullptr;
    context().capturing = false;
  }
};

}  // namespace

void* Footprint::scratch(Device& device, int64_t bytes) {
  for (Scratch& kept : scratch_)
    if (!kept.taken && kept.bytes >= bytes && kept.bytes <= 2 * bytes) {
      kept.taken = true;
      return kept.block->data;
    }
  scratch_.push_back({allocate(device, bytes), bytes, true});
  return scratch_.back().block->data;
}

void Footprint::call_ends() {
  for (Scratch& kept : scratch_) kept.taken = false;
}

void Footprint::note(uint32_t handle, Block* block, bool write) {
  if (known || !block) return;
  const auto [at, first] = used_.try_emplace(block, Use{handle, write});
  if (!first) at->second.write |= write;
}

void Footprint::use_all(Device& device) const {
  for (const auto& [block, how] : used_) context().buffers.at(how.handle, NAME);
  for (const auto& [block, how] : used_) use(device, block, how.write);
  for (const Scratch& kept : scratch_) use(device, kept.block, true);
}

Program::Program(int32_t device, std::vector<int64_t> words, std::vector<uint64_t> data,
                 std::vector<uint32_t> uses)
    : device_(device), words_(std::move(words)), data_(std::move(data)), uses_(std::move(uses)) {
  device_at(device);
  const auto size = static_cast<int64_t>(words_.size());
  const auto bytes = static_cast<int64_t>(data_.size() * sizeof(uint64_t));
  for (int64_t at = 0; at < size; calls_++) {
    const Function& function = function_at(words_[at++]);
    if (function.parameters > size - at)
      CDN_FAIL(CDN_BAD_ARGUMENT, "words: %s takes %d; %lld are left", function.name,
               function.parameters, (long long)(size - at));
    const uint64_t pointers = function.pointers;
    for (int32_t i = 0; i < function.parameters; i++, at++)
      if (pointers >> i & 1 && words_[at] >= 0 && (words_[at] >= bytes || words_[at] % 8))
        CDN_FAIL(CDN_BAD_ARGUMENT,
                 "words: %s finds argument %d at byte %lld of %lld; it must be within, at a "
                 "multiple of 8",
                 function.name, i, (long long)words_[at], (long long)bytes);
  }
}

int32_t Program::call_all() {
  char* data = reinterpret_cast<char*>(data_.data());
  // The host has told a profile of all the calls; its note is of the last one.
  Recorder* recorder = recorder_of(device_);
  if (recorder) recorder->note -= static_cast<int32_t>(calls_);
  for (size_t at = 0; at < words_.size();) {
    const Function& function = function_at(words_[at]);
    if (recorder) recorder->note++;
    const int32_t status = function.call(&words_[at + 1], data);
    if (status != CDN_OK) return status;
    at += 1 + static_cast<size_t>(function.parameters);
  }
  return CDN_OK;
}

backend::GraphPointer Program::record(Device& device, int64_t times, int32_t& status) {
  const Running running(footprint_, true);
  backend::graph_begin(device.stream());
  for (int64_t i = 0; i < times && status == CDN_OK; i++) status = call_all();
  return backend::GraphPointer(backend::graph_end(device.stream(), status == CDN_OK));
}

int32_t Program::launch(Device& device, int64_t most, int64_t& launched) {
  const int64_t copies = std::min(MANY, MOST_CALLS / std::max<int64_t>(calls_, 1));
  const bool several = copies > 1 && most >= copies;
  backend::GraphPointer& graph = several ? many_ : once_;
  launched = several ? copies : 1;
  int32_t status = CDN_OK;
  if (!graph) graph = record(device, launched, status);
  if (status == CDN_OK) {
    backend::graph_launch(*graph, device.stream());
    if (device.current == Device::DEFAULT) device.milestones.pass(device.stream());
  }
  return status;
}

int32_t Program::run(int64_t times, double milliseconds, int64_t& done) {
  Device& device = device_at(device_);
  for (const uint32_t handle : uses_) context().buffers.at(handle, NAME);
  const auto order = [&] {
    const Running running(footprint_, false);
    footprint_.use_all(device);
  };
  order();
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  const std::chrono::duration<double, std::milli> most(milliseconds);
  // One by one where each is looked at.
  const bool graphs = backend::has_graphs() && !sync_each_call() && !recorder_of(device_);
  for (done = 0; done < times;) {
    int64_t made = 1;
    int32_t status;
    if (graphs && footprint_.known) {
      status = launch(device, times - done, made);
    } else {
      const Running running(footprint_, false);
      status = call_all();
      footprint_.known |= status == CDN_OK;
    }
    if (status != CDN_OK) return status;
    done += made;
    if (Clock::now() - start >= most) break;
  }
  if (graphs) order();  // so that a read waits for the last of them
  return CDN_OK;
}

void Program::wait() const { device_at(device_).wait(); }

}  // namespace cdn

using namespace cdn;

CDN_API int32_t cdn_program_create(uint32_t* program, int32_t device, const int64_t* words,
                                   int64_t count, const void* data, int64_t bytes,
                                   const uint32_t* uses, int64_t used) {
  return guard("cdn_program_create", [&] {
    required(program, "program");
    checked_size("count", count);
    checked_size("bytes", bytes);
    checked_size("used", used);
    if (count) required(words, "words");
    if (bytes) required(data, "data");
    if (used) required(uses, "uses");
    std::vector<uint64_t> own(static_cast<size_t>((bytes + 7) / 8));
    if (bytes) memcpy(own.data(), data, static_cast<size_t>(bytes));
    *program = context().programs.insert(
        std::make_shared<Program>(device, std::vector<int64_t>(words, words + count),
                                  std::move(own), std::vector<uint32_t>(uses, uses + used)));
  });
}

CDN_API int32_t cdn_program_run(int64_t* done, uint32_t program, int64_t times,
                                double milliseconds) {
  int32_t status = CDN_OK;  // of a call that failed, which has said why
  const int32_t own = guard("cdn_program_run", [&] {
    required(done, "done");
    checked_size("times", times);
    status = context().programs.at(program, "program")->run(times, milliseconds, *done);
  });
  return own != CDN_OK ? own : status;
}

CDN_API int32_t cdn_program_destroy(uint32_t program) {
  return guard("cdn_program_destroy", [&] {
    context().programs.at(program, "program")->wait();
    context().programs.erase(program);
  });
}
