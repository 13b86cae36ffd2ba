// Errors inside the library are exceptions of this one type; guard() turns them into status codes at the boundary.
#pragma once
#include <cstdint>
#include <exception>
#include <new>
#include <string>

#include "cudeno.h"

#define CDN_API extern "C" __attribute__((visibility("default")))

namespace cdn {

struct Error {
  int32_t code;
  std::string text;
};

// Throws Error{code, "formatted text (file:line)"}.
[[noreturn]] __attribute__((format(printf, 4, 5))) void fail(int32_t code, const char* file, int line,
                                                             const char* format, ...);
#define CDN_FAIL(code, ...) ::cdn::fail(code, __FILE__, __LINE__, __VA_ARGS__)

int32_t set_last_error(int32_t code, const char* op, const char* text) noexcept;  // returns code

// Runs body and returns its status: nothing thrown inside leaves the library.
template <class F> int32_t guard(const char* op, F&& body) noexcept {
  try {
    body();
    return CDN_OK;
  } catch (const Error& e) {
    return set_last_error(e.code, op, e.text.c_str());
  } catch (const std::bad_alloc&) {
    return set_last_error(CDN_OUT_OF_MEMORY, op, "no host memory left");
  } catch (const std::exception& e) {
    return set_last_error(CDN_INTERNAL, op, e.what());
  } catch (...) {
    return set_last_error(CDN_INTERNAL, op, "unknown exception");
  }
}

}  // namespace cdn
