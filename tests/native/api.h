// The functions of cudeno.h behind one table, from the library linked in or from one opened by
// name.
#pragma once
#include <dlfcn.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include "cudeno.h"
#include "table.h"

// COMPUTING functions take handles, sizes and scalars, the output first: their arguments are made
// up by type. The others, MANAGING, each have a place of their own in Fuzzer::manage() or
// computing_entries().
//
// Weak, so that the program also links without a library, to be given one by name.
#define DECLARE(f) extern "C" __attribute__((weak)) decltype(cdn_##f) cdn_##f;
COMPUTING(DECLARE)
MANAGING(DECLARE)

// While a thread is refusing, each call of the library is denied host memory at a random one of its
// first allocations, by the operator new of fuzz.cpp.
inline thread_local bool refusing = false;
inline thread_local int allocations_left = 0;  // until the one that is refused; 0: none is
inline thread_local int64_t refusals = 0;

template <class F> struct Function;
template <class R, class... A> struct Function<R(A...)> {
  R (*function)(A...);
  R operator()(A... args) const {
    static thread_local uint32_t random = 1;
    random = random * 1664525 + 1013904223;
    allocations_left = refusing ? static_cast<int>(random >> 29) : 0;
    R result = function(args...);
    allocations_left = 0;
    return result;
  }
};

inline struct Api {
#define MEMBER(f) Function<decltype(cdn_##f)> f{&cdn_##f};
  COMPUTING(MEMBER)
  MANAGING(MEMBER)
} api;

[[noreturn]] inline __attribute__((format(printf, 1, 2))) void die(const char* format, ...) {
  va_list args;
  va_start(args, format);
  fputs("fuzz: ", stderr);
  vfprintf(stderr, format, args);
  fputs("\n", stderr);
  fflush(stderr);
  _Exit(1);
}

inline void load(const char* path) {
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) die("%s", dlerror());
#define RESOLVE(f)                                                                               \
  if (!(api.f.function = reinterpret_cast<decltype(api.f.function)>(dlsym(library, "cdn_" #f)))) \
    die("%s lacks cdn_%s", path, #f);
  COMPUTING(RESOLVE)
  MANAGING(RESOLVE)
}
