// Call, through which every operation takes its arguments, and what checks them. What is behind it:
// context.h.
#pragma once
#include <cstdint>
#include <vector>

#include "runtime/backend.h"
#include "kernel/half.h"
#include "runtime/status.h"

namespace cdn {

using backend::Stream;

constexpr int64_t MAX_BYTES = int64_t{1} << 60;
constexpr int32_t MAX_RANK = 8;

int64_t dtype_bytes(int32_t dtype);  // throws on an unknown dtype
const char* dtype_name(int32_t dtype);
[[noreturn]] void unsupported(int32_t dtype, const char* wanted);

struct Block;
struct Context;
struct Device;

// Memory that a call reads or writes.
struct Range {
  char *begin, *end;
  bool write;
  const char* name;
};

// One operation's arguments and its place in the stream. Outputs and inputs are taken through it
// before any work is queued, so that a call that throws has changed nothing.
class Call {
 public:
  // May an output be exactly an input, element by element? UNCHECKED is for lists of tensors, where
  // comparing all with all would take longer than the work: those that overlap give wrong numbers,
  // nothing worse.
  enum Overlap { NONE, IN_PLACE, UNCHECKED };
  explicit Call(Overlap overlap);
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  template <class T> T* out(uint32_t handle, const char* name, int64_t count) {
    return static_cast<T*>(take(handle, name, count, sizeof(T), true));
  }
  template <class T> const T* in(uint32_t handle, const char* name, int64_t count) {
    return static_cast<const T*>(take(handle, name, count, sizeof(T), false));
  }
  // An argument that may be left out, by the handle 0: then it is null.
  template <class T> T* optional_out(uint32_t handle, const char* name, int64_t count) {
    return handle ? out<T>(handle, name, count) : nullptr;
  }
  template <class T> const T* optional(uint32_t handle, const char* name, int64_t count) {
    return handle ? in<T>(handle, name, count) : nullptr;
  }
  void* take(uint32_t handle, const char* name, int64_t count, int64_t element_bytes, bool write);
  void allow(Overlap overlap) { overlap_ = overlap; }  // for the arguments taken from now on

  // Scratch memory on the call's device until the call returns.
  template <class T> T* scratch(int64_t count) {
    return static_cast<T*>(scratch_bytes(count * static_cast<int64_t>(sizeof(T))));
  }
  int32_t device() const;
  const DeviceModel& model() const;
  Stream stream() const;
  volatile Fault* fault() const;  // where its kernels report a bad index
  void finish();

 private:
  void* scratch_bytes(int64_t bytes);
  void check_overlap(const Range& range);

  Overlap overlap_;
  Context& context_;
  Device* device_ = nullptr;
};

// The body of an operation: run(name, [&](Call& call) { … }).
template <class F> int32_t run(const char* op, Call::Overlap overlap, F&& body) noexcept {
  return guard(op, [&] {
    Call call(overlap);
    body(call);
    call.finish();
  });
}
template <class F> int32_t run(const char* op, F&& body) noexcept {
  return run(op, Call::NONE, static_cast<F&&>(body));
}

bool sync_each_call();  // CUDENO_SYNC=1

int64_t checked_size(const char* name, int64_t n);  // n >= 0 and countable
// The same for a * b * c.
int64_t checked_product(const char* names, int64_t a, int64_t b, int64_t c = 1);

// The code of an element type.
template <class T> constexpr int32_t dtype_of = CDN_FLOAT32;
template <> constexpr int32_t dtype_of<double> = CDN_FLOAT64;
template <> constexpr int32_t dtype_of<float16> = CDN_FLOAT16;
template <> constexpr int32_t dtype_of<bfloat16> = CDN_BFLOAT16;

// dtype -> type: f is called with a value of the element type.
template <class F> void with_float(int32_t dtype, F&& f) {
  switch (dtype) {
    case CDN_FLOAT32: return f(float{});
    case CDN_FLOAT64: return f(double{});
    case CDN_FLOAT16: return f(float16{});
    case CDN_BFLOAT16: return f(bfloat16{});
    default: unsupported(dtype, "a float");
  }
}
template <class F> void with_number(int32_t dtype, F&& f) {
  if (dtype == CDN_INT32) return f(int32_t{});
  with_float(dtype, static_cast<F&&>(f));
}
template <class F> void with_any(int32_t dtype, F&& f) {
  if (dtype == CDN_UINT8) return f(uint8_t{});
  with_number(dtype, static_cast<F&&>(f));
}
// The same as values, so that one function serves operations on different dtypes.
struct Floats {
  template <class F> void operator()(int32_t dtype, F&& f) const { with_float(dtype, f); }
};
struct Numbers {
  template <class F> void operator()(int32_t dtype, F&& f) const { with_number(dtype, f); }
};
struct Any {
  template <class F> void operator()(int32_t dtype, F&& f) const { with_any(dtype, f); }
};
// For what moves elements: an integer of the dtype's size.
template <class F> void with_word(int32_t dtype, F&& f) {
  switch (dtype_bytes(dtype)) {
    case 1: return f(uint8_t{});
    case 2: return f(uint16_t{});
    case 4: return f(uint32_t{});
    default: return f(uint64_t{});
  }
}
struct AnyWord {
  template <class F> void operator()(int32_t dtype, F&& f) const { with_word(dtype, f); }
};

// The body of an operation that is written once for several dtypes, Floats for instance:
// run(name, Floats{}, dtype, [&](Call& call, auto zero) { using T = decltype(zero); … }).
template <class DTypes, class F>
int32_t run(const char* op, Call::Overlap overlap, DTypes with_dtype, int32_t dtype,
            F&& body) noexcept {
  return run(op, overlap,
             [&](Call& call) { with_dtype(dtype, [&](auto zero) { body(call, zero); }); });
}
template <class DTypes, class F>
int32_t run(const char* op, DTypes with_dtype, int32_t dtype, F&& body) noexcept {
  return run(op, Call::NONE, with_dtype, dtype, static_cast<F&&>(body));
}

}  // namespace cdn
