// A small pool of threads for loops. Not OpenMP, because it has to be there with every compiler and to end cleanly when
// the library is closed: Deno unloads it while the process goes on.
#pragma once
#include <cstdint>
#include <type_traits>

namespace cdn {
namespace threads {

int32_t count();  // CUDENO_THREADS, else the processors this process may use

using Body = void (*)(void* context, int64_t begin, int64_t end);
void run(int64_t n, int64_t grain, Body body, void* context);

}  // namespace threads

// Calls f(begin, end) over pieces of [0, n), on several threads when n > grain. f must not throw or call parallel_for;
// callers hold the library's lock, so that there is one loop at a time.
template <class F> void parallel_for(int64_t n, int64_t grain, F&& f) {
  if (n <= 0) return;
  if (n <= grain) return f(int64_t{0}, n);
  auto body = [](void* context, int64_t begin, int64_t end) {
    (*static_cast<std::remove_reference_t<F>*>(context))(begin, end);
  };
  threads::run(n, grain, body, const_cast<void*>(static_cast<const void*>(&f)));
}

}  // namespace cdn
