#include "runtime/status.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>

namespace cdn {

static thread_local char last_error[1024];

namespace {
struct Error {
  int32_t code;
  char text[896];  // an array, so that an error needs no memory to say that there is none
};
}  // namespace

void fail(int32_t code, const char* file, int line, const char* format, ...) {
  Error error{code, {}};
  va_list args;
  va_start(args, format);
  int length = vsnprintf(error.text, 768, format, args);
  va_end(args);
  const char* base = strrchr(file, '/');
  length = std::min(std::max(length, 0), 767);
  snprintf(error.text + length, sizeof error.text - length, " (%s:%d)", base ? base + 1 : file,
           line);
  throw error;
}

int32_t set_last_error(int32_t code, const char* op, const char* text) noexcept {
  snprintf(last_error, sizeof last_error, "%s: %s", op, text);
  return code;
}

int32_t caught(const char* op) noexcept {
  try {
    throw;
  } catch (const Error& e) {
    return set_last_error(e.code, op, e.text);
  } catch (const std::bad_alloc&) {
    return set_last_error(CDN_OUT_OF_MEMORY, op, "no host memory left");
  } catch (const std::exception& e) {
    return set_last_error(CDN_INTERNAL, op, e.what());
  } catch (...) {
    return set_last_error(CDN_INTERNAL, op, "unknown exception");
  }
}

}  // namespace cdn

CDN_API int32_t cdn_abi_version(void) { return CDN_ABI_VERSION; }

CDN_API const char* cdn_last_error(void) { return cdn::last_error; }
