#include "cpu/device/threads.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace cdn {
namespace threads {
namespace {

int32_t detect() {
  if (const char* value = getenv("CUDENO_THREADS")) {
    int n = atoi(value);
    if (n > 0) return std::min(n, 1024);
  }
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// The processor that the calling thread runs on; -1 where nobody says.
int32_t processor() {
#if defined(__linux__)
  return sched_getcpu();
#else
  return -1;
#endif
}

// Some systems wake a thread on the processor of who wakes it and leave it there for long, although
// others are idle. This makes the calling thread go elsewhere, if there is a place for each worker,
// and leaves it free to be moved again.
void leave(int32_t processor, int32_t workers) {
#if defined(__linux__)
  cpu_set_t all, others;
  if (sched_getaffinity(0, sizeof all, &all) != 0 || processor >= CPU_SETSIZE) return;
  others = all;
  CPU_CLR(processor, &others);
  if (CPU_COUNT(&others) >= workers && sched_setaffinity(0, sizeof others, &others) == 0)
    sched_setaffinity(0, sizeof all, &all);
#else
  (void)processor, (void)workers;
#endif
}

struct Job {
  int64_t n, piece;
  Body body;
  void* context;
  int32_t processor = -1;  // of who waits for it
};

// Workers spin for a short while after a loop, since the next usually follows soon, then sleep.
class Pool {
 public:
  explicit Pool(int32_t workers) {
    try {
      for (int32_t i = 0; i < workers; i++) threads_.emplace_back([this] { work(); });
    } catch (...) {  // the system gives no more threads: go on with those there are
    }
  }

  // False when another loop has the threads.
  bool try_run(const Job& job) {
    std::unique_lock<std::mutex> taken(taken_, std::try_to_lock);
    if (!taken) return false;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      job_ = job;
      open_ = true;
      next_.store(0, std::memory_order_relaxed);
      round_.fetch_add(1, std::memory_order_release);
    }
    if (sleepers_.load() > 0) wake_.notify_all();
    take_pieces(job);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      open_ = false;  // who wakes up only now has nothing to do, and nobody waits for it
    }
    for (int32_t spins = 0; active_.load(std::memory_order_acquire) > 0; spins++) {
      if (spins < 10000)
        relax();
      else
        std::this_thread::yield();
    }
    return true;
  }

 private:
  void take_pieces(const Job& job) {
    for (;;) {
      int64_t begin = next_.fetch_add(job.piece, std::memory_order_relaxed);
      if (begin >= job.n) return;
      job.body(job.context, begin, std::min(begin + job.piece, job.n));
    }
  }
  void work() {
    uint64_t seen = 0;
    for (;;) {
      for (int32_t spins = 0; round_.load(std::memory_order_acquire) == seen && spins < SPINS;
           spins++)
        relax();
      std::unique_lock<std::mutex> lock(mutex_);
      if (round_.load() == seen) {
        sleepers_++;
        wake_.wait(lock, [&] { return round_.load() != seen; });
        sleepers_--;
      }
      const int32_t caller = job_.processor;
      if (caller >= 0 &&
          caller == processor()) {  // before it takes part: nobody shall wait for one that moves
        lock.unlock();
        leave(caller, count() - 1);
        lock.lock();
      }
      seen = round_.load();
      if (!open_) continue;
      Job job = job_;
      active_++;
      lock.unlock();
      take_pieces(job);
      active_.fetch_sub(1, std::memory_order_release);
    }
  }

  static constexpr int32_t SPINS = 4000;  // longer than the next loop usually takes to come
  std::vector<std::thread> threads_;
  std::mutex taken_;  // by the loop under way
  std::mutex mutex_;  // guards job_, open_
  std::condition_variable wake_;
  Job job_{};
  bool open_ = false;
  std::atomic<uint64_t> round_{0};
  std::atomic<int32_t> sleepers_{0}, active_{0};
  std::atomic<int64_t> next_{0};
};

}  // namespace

int32_t count() {
  static const int32_t n = detect();
  return n;
}

void run(int64_t n, int64_t grain, Body body, void* context) {
  if (count() == 1) return body(context, 0, n);
  static auto* pool =
      new Pool(count() - 1);  // never destroyed: at exit another thread may be in a loop
  // About two pieces a thread even out their speeds; none smaller than the grain.
  int64_t piece = std::max(grain, (n + 2 * count() - 1) / (2 * count()));
  if (!pool->try_run({n, piece, body, context, processor()})) body(context, 0, n);
}

}  // namespace threads
}  // namespace cdn
