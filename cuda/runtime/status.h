// Errors inside the library are exceptions; guard() turns them into status codes at the boundary.
#pragma once
#include <cstdint>

#include "cudeno.h"

#define CDN_API extern "C" __attribute__((visibility("default")))

namespace cdn {

// Throws an error of this code and text, after which comes (file:line).
[[noreturn]] __attribute__((format(printf, 4, 5))) void fail(int32_t code, const char* file,
                                                             int line, const char* format, ...);
#define CDN_FAIL(code, ...) ::cdn::fail(code, __FILE__, __LINE__, __VA_ARGS__)

int32_t set_last_error(int32_t code, const char* op, const char* text) noexcept;  // returns code
int32_t caught(const char* op) noexcept;  // the same for what is being handled, in a catch

// Runs body and returns its status: nothing thrown inside leaves the library.
template <class F> int32_t guard(const char* op, F&& body) noexcept {
  try {
    body();
    return CDN_OK;
  } catch (...) {
    return caught(op);
  }
}

}  // namespace cdn
