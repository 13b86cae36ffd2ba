// A small pool of threads for loops: not OpenMP, because it has to be there with every compiler.
#pragma once
#include <cstdint>
#include <type_traits>

namespace cdn {
namespace threads {

int32_t count();  // CUDENO_THREADS, else the processors this process may use

using Body = void (*)(void* context, int64_t begin, int64_t end);
void run(int64_t n, int64_t grain, Body body, void* context);

}  // namespace threads

// Calls f(begin, end) over pieces of [0, n), on several threads when n > grain. f must not throw or
// call parallel_for. While one thread's loop has the pool, those of others run where they are
// called: nobody waits.
template <class F> void parallel_for(int64_t n, int64_t grain, F&& f) {
  if (n <= 0) return;
  if (n <= grain) return f(int64_t{0}, n);
  auto body = [](void* context, int64_t begin, int64_t end) {
    (*static_cast<std::remove_reference_t<F>*>(context))(begin, end);
  };
  threads::run(n, grain, body, const_cast<void*>(static_cast<const void*>(&f)));
}

// The same element by element: f(i).
template <class F> void parallel_each(int64_t n, int64_t grain, F&& f) {
  parallel_for(n, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) f(i);
  });
}

}  // namespace cdn
