// What the hardware shapes, once per library: gpu/device and cpu/device. Everything else
// in cuda/ops is shared.
#pragma once
#include <cstdint>
#include <memory>

struct CUstream_st;

namespace cdn {

struct DeviceInfo {
  char name[256];
  int64_t total, free, major, minor, processors, driver, runtime, is_gpu;
};

// What decides how work is cut, asked of the device once. Devices of one model answer alike, so
// that they add in the same order.
struct DeviceModel {
  int processors = 1;            // multiprocessors; threads of the CPU
  int capability = 0;            // 90 is compute capability 9.0; 0 for a CPU
  int shared_per_block = 0;      // bytes that a block may ask for
  int shared_per_processor = 0;  // bytes of a multiprocessor
  double bytes_per_cycle = 0;    // from memory, to all multiprocessors
  double clock = 0;              // Hz; 0 where nobody says
  int l2_bytes = 0;
};

// What a kernel writes when it meets a bad index. It lies where host and device both see it, so
// that looking at it after a wait costs nothing. op is a FaultOp. A negative limit says that
// indices may count from the end.
struct Fault {
  int32_t op;
  int32_t reserved;
  int64_t index, limit;
};
enum FaultOp : int32_t {  // context.cu has their names
  FAULT_NONE,
  FAULT_GATHER_ROWS,
  FAULT_CROSS_ENTROPY,
  FAULT_GATHER,
  FAULT_SCATTER_ADD,
  FAULT_INDEX_ADD,
  FAULT_ONE_HOT,
  FAULT_NLL_LOSS,
  FAULT_TAKE,
  FAULT_SCATTER,
  FAULT_WEIGHTS
};

namespace backend {

using Stream = CUstream_st*;  // cudaStream_t; nullptr on the CPU

int32_t device_count(const char** why_none);  // says why where there is none
DeviceInfo device_info(int32_t device);
DeviceModel device_model(int32_t device);
const char* build_info();

void activate(int32_t device);  // later calls of this thread concern this device
volatile Fault* fault_create();

void* raw_alloc(int32_t device, int64_t bytes);  // nullptr when there is no memory for it
void raw_free(int32_t device, void* p);
int64_t default_limit(int32_t device);

// Waits for all that it was given; what failed shows at the next call.
void device_sync(int32_t device) noexcept;

Stream stream_create();
void stream_sync(Stream s);
bool stream_capturing(Stream s);  // whether what it is given is recorded, not run
// What waiter is given from now on follows what other was given so far.
void stream_wait(Stream waiter, Stream other);

// A mark in a stream's work: when the device came by. Elapsed waits for both; microseconds,
// negative where `first` came later.
struct Event;
Event* event_create();
void event_record(Event& event, Stream s);
void event_wait(Stream waiter, Event& event);  // what waiter is given from now on follows the mark
double event_elapsed(Event& first, Event& second);
void event_destroy(Event* event) noexcept;

// Work that a stream is given between begin and end is recorded, not done; launching the graph does
// all of it. There are none on the CPU.
struct Graph;
bool has_graphs();
void graph_begin(Stream s);
Graph* graph_end(Stream s, bool wanted);  // null where it is not wanted
void graph_launch(Graph& graph, Stream s);
void graph_destroy(Graph* graph) noexcept;

void copy_in(void* dst, const void* host, int64_t bytes, Stream s);  // host may be reused on return
void copy_out(void* host, const void* src, int64_t bytes, Stream s);  // waits
void copy(void* dst, const void* src, int64_t bytes, Stream s);
// Throws what the last launch reported; waits for the work if asked.
void check_launch(Stream s, bool wait);

// Bytes on their way to or from memory that the device reads and writes by itself, for which any
// thread can wait.
struct Transfer;
Transfer* read_begin(const void* src, int64_t bytes, Stream s);
void read_end(void* host, Transfer* t, int64_t bytes);  // waits, copies, frees t
Transfer* write_begin(void* dst, const void* host, int64_t bytes, Stream s);  // as copy_in
bool transfer_done(Transfer* t);
void transfer_wait(Transfer* t);
void transfer_order(Stream waiter, Transfer* t);  // what waiter is given from now on follows it
void transfer_free(Transfer* t) noexcept;         // waits, frees t

template <auto free> struct FreedBy {
  template <class T> void operator()(T* p) const { free(p); }
};
using EventPointer = std::unique_ptr<Event, FreedBy<event_destroy>>;
using GraphPointer = std::unique_ptr<Graph, FreedBy<graph_destroy>>;
using TransferPointer = std::unique_ptr<Transfer, FreedBy<transfer_free>>;

}  // namespace backend
}  // namespace cdn
