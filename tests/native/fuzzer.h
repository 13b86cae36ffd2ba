// One stream of random calls: what it holds, how it makes up arguments, and what must be true after
// each call.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "api.h"

constexpr int64_t KIB = 1024, MIB = 1024 * KIB;
constexpr int64_t HOST_BYTES = 4 * MIB;  // no buffer is larger
constexpr int64_t ARENA_BYTES = 64 * KIB;
constexpr size_t LAYOUT_BYTES = 40 * sizeof(int64_t);
constexpr int MAX_COUNT = 150;  // of tensors in a step: more than go into one launch
constexpr int64_t EXTREMES[] = {-1,
                                -2,
                                -7,
                                INT64_MIN,
                                INT64_MIN + 1,
                                INT64_MAX,
                                INT64_MAX - 1,
                                1ll << 31,
                                (1ll << 31) - 1,
                                (1ll << 31) + 1,
                                -(1ll << 31),
                                1ll << 32,
                                (1ll << 32) + 1,
                                3037000500,
                                1ll << 59,
                                1ll << 60,
                                (1ll << 60) + 1,
                                1ll << 62,
                                1ll << 63 >> 1};

struct Limits {
  const char* name;
  int64_t memory;   // with less than 2 MiB each buffer is an allocation of its own, which the
                    // sanitizers guard
  int64_t largest;  // buffer
  size_t buffers;   // at most this many at a time
  bool refuse;      // host memory, now and then
};
constexpr Limits TIGHT = {"tight", 2 * MIB - 256, 128 * KIB, 40, false};
constexpr Limits ROOMY = {"roomy", 96 * MIB, 3 * MIB, 60, false};
constexpr Limits REFUSED = {"refused", 96 * MIB, 3 * MIB, 60, true};

class Fuzzer {
 public:
  Fuzzer(uint64_t seed, Limits limits, bool alone)
      : random_(seed), limits_(limits), alone_(alone), host_(HOST_BYTES) {}

  void run(int64_t calls);
  void clean_up();

  // ---- arguments by type

  uint64_t below(uint64_t n) { return random_() % n; }
  bool chance(int percent) { return below(100) < static_cast<uint64_t>(percent); }
  template <class T, size_t N> T one_of(const T (&list)[N]) { return list[below(N)]; }

  void make(uint32_t* handle) {
    uint64_t kind = below(100);
    if (kind < 12 && recent_)
      *handle = recent_;  // in place, or the same buffer twice
    else if (kind < 88 && !buffers_.empty())
      *handle = buffers_[below(buffers_.size())].handle;
    else if (kind < 91 && !freed_.empty())
      *handle = freed_[below(freed_.size())];
    else if (kind < 93 && !buffers_.empty())
      *handle = buffers_[below(buffers_.size())].handle + (chance(50) ? 1u << 20 : 0u - (1u << 20));
    else if (kind < 94 && !streams_.empty())
      *handle = streams_[below(streams_.size())];
    else if (kind < 95 && !events_.empty() && chance(50))
      *handle = events_[below(events_.size())];
    else if (kind < 95 && !programs_.empty() && chance(50))
      *handle = programs_[below(programs_.size())];
    else if (kind < 95 && !tickets_.empty())
      *handle = tickets_[below(tickets_.size())].handle;
    else if (kind < 97)
      *handle = static_cast<uint32_t>(random_());
    else
      *handle = chance(50) ? 0 : 0xffffffffu;
    recent_ = *handle;
  }
  void make(int64_t* size) {
    uint64_t kind = below(100);
    if (kind < 45)
      *size = static_cast<int64_t>(below(10));
    else if (kind < 75)
      *size = static_cast<int64_t>(16 + below(115));
    else if (kind < 84)
      *size = static_cast<int64_t>(256 << below(8)) + static_cast<int64_t>(below(3)) - 1;
    else if (kind < 88)
      *size = static_cast<int64_t>(below(200000));
    else if (kind < 94)
      *size = 1;
    else if (kind < 98)
      *size = one_of(EXTREMES);
    else
      *size = static_cast<int64_t>(random_());
  }
  void make(int32_t* code) {  // dtype, rank, flag, variant
    uint64_t kind = below(100);
    if (kind < 42)
      *code = 0;
    else if (kind < 70)
      *code = 1;
    else if (kind < 80)
      *code = 2;
    else if (kind < 90)
      *code = 3;
    else if (kind < 97)
      *code = static_cast<int32_t>(below(12)) - 2;
    else
      *code = chance(50) ? INT32_MIN : chance(50) ? INT32_MAX : static_cast<int32_t>(random_());
  }
  void make(double* scalar) {
    constexpr double VALUES[] = {0,    0,   1,    1,     0.5,    2,      -1,  0.9,      1e-3,
                                 -0.0, 255, 1e10, 1e300, -1e300, 5e-324, NAN, INFINITY, -INFINITY};
    *scalar = one_of(VALUES);
  }
  void make(const int64_t** layout) {
    if (chance(2)) {
      *layout = nullptr;
      return;
    }
    for (int64_t& x : layout_) x = static_cast<int64_t>(below(chance(10) ? 100 : 7));
    if (chance(15)) {  // images and their windows, as pooling has them
      layout_[0] = static_cast<int64_t>(below(5));
      layout_[1] = static_cast<int64_t>(below(9));
      for (size_t axis : {2, 8}) {
        int64_t kernel = static_cast<int64_t>(below(5)),
                extent = kernel + 1 + static_cast<int64_t>(below(9)),
                stride = 1 + static_cast<int64_t>(below(6)),
                padding = static_cast<int64_t>(below(static_cast<uint64_t>(kernel) / 2 + 1)),
                out = kernel ? (extent + 2 * padding - kernel) / stride + 1 : stride;
        const int64_t sizes[] = {extent, out, kernel, stride, padding, 1};
        std::copy(std::begin(sizes), std::end(sizes), &layout_[axis]);
      }
    } else if (chance(15)) {  // a convolution: n, then for each axis of images
      const int64_t groups = static_cast<int64_t>(1 + below(2));
      int64_t at[16] = {static_cast<int64_t>(below(3)), 0, 0, 0, 0};
      at[3] = groups * static_cast<int64_t>(1 + below(8));
      at[4] = groups * static_cast<int64_t>(1 + below(8));
      at[15] = groups;
      for (size_t axis : {0, 1}) {
        int64_t taps = static_cast<int64_t>(1 + below(3)),
                stride = static_cast<int64_t>(1 + below(3)),
                dilation = static_cast<int64_t>(1 + below(2)),
                padding = static_cast<int64_t>(below(3)), span = (taps - 1) * dilation + 1,
                extent = span + static_cast<int64_t>(below(7));
        at[1 + axis] = extent, at[5 + axis] = taps;
        at[7 + axis] = (extent + 2 * padding - span) / stride + 1;
        at[9 + axis] = stride, at[11 + axis] = padding, at[13 + axis] = dilation;
      }
      std::copy(std::begin(at), std::end(at), layout_.begin());
    } else if (chance(60)) {  // rows, or a matrix, as tensors have them; sometimes broadcast
      bool two = chance(60), large = chance(10);
      int64_t rows = static_cast<int64_t>(below(large ? 400 : 20)),
              cols = static_cast<int64_t>(1 + below(large ? 400 : 40));
      int64_t at = 0;
      for (int64_t extent : {rows, cols}) {
        int64_t stride = extent == cols && at ? 1 : cols;
        layout_[at++] = extent;
        layout_[at++] = chance(70) ? stride : 0;
        if (two) layout_[at++] = chance(70) ? stride : chance(50) ? 0 : 2;
      }
      if (!two) layout_[at] = static_cast<int64_t>(below(5));
    }
    if (chance(15)) layout_[below(8)] = one_of(EXTREMES);
    if (chance(10)) layout_[1 + below(6)] = -static_cast<int64_t>(below(5));
    *layout = layout_.data();
  }

  // ---- one call and what must hold after it

  int32_t check(const char* name, int32_t status) {
    calls_++;
    if (status < 0 || status > CDN_INTERNAL) die("%s returned %d", name, status);
    counts_[status]++;
    if (status == CDN_OK) return status;
    const char* text = api.last_error();
    std::string start = std::string("cdn_") + name + ": ";
    if (strncmp(text, start.c_str(), start.size()) != 0 || strlen(text) <= start.size())
      die("%s failed with %d and says: \"%s\"", name, status, text);
    if (status == CDN_CUDA_FAILURE || status == CDN_INTERNAL) die("status %d: %s", status, text);
    return status;
  }

  // Calls f(args), and for a sample looks at the memory around the output afterwards.
  template <class... A>
  int32_t call(const char* name, Function<int32_t(A...)> f, std::tuple<A...> args) {
    uint32_t y = std::get<0>(args);
    bool look = alone_ && chance(30);
    if (look && chance(50)) y = std::get<0>(args) = guarded_view();
    std::vector<char> before = look ? arena() : std::vector<char>();
    std::vector<char> output = look ? contents(y) : std::vector<char>();
    int32_t status = check(name, std::apply(f, args));
    // With CUDENO_SYNC=1 a bad index in random data is an error of the call that met it; its
    // results stand all the same.
    if (status == CDN_BAD_ARGUMENT && strstr(api.last_error(), "called before")) return CDN_OK;
    if (!look) return status;
    if (status == CDN_OUT_OF_MEMORY && limits_.refuse) return status;  // it may have begun its work
    if (status != CDN_OK) {
      if (contents(y) != output)
        die("%s failed and yet changed its output: %s", name, api.last_error());
      if (arena() != before) die("%s failed and yet changed memory", name);
    } else if (y == guarded_.handle && !others_guarded(args)) {
      std::vector<char> after = arena();
      if (memcmp(after.data(), before.data(), guarded_offset_) != 0)
        die("%s wrote before its output", name);
      size_t end = guarded_offset_ + static_cast<size_t>(guarded_.bytes);
      if (memcmp(after.data() + end, before.data() + end, after.size() - end) != 0)
        die("%s wrote behind its output", name);
    }
    return status;
  }

  int64_t calls() const { return calls_; }
  const std::array<int64_t, 8>& counts() const { return counts_; }
  std::vector<int64_t> succeeded;  // by index into computing_entries()

 private:
  struct Held {
    uint32_t handle = 0;
    int64_t bytes = 0;
    bool guarded = false;  // part of the arena
  };

  // Whether an argument but the first lies in the arena too, where it may be another output.
  template <class... A> bool others_guarded(std::tuple<A...> args) const {
    auto guarded = [this](auto x) {
      if constexpr (std::is_same_v<decltype(x), uint32_t>) return is_guarded(x);
      return false;
    };
    return std::apply([&](auto, auto... rest) { return (guarded(rest) || ...); }, args);
  }
  bool is_guarded(uint32_t handle) const {
    for (const Held& b : buffers_)
      if (b.handle == handle) return b.guarded;
    return false;
  }

  int32_t device() {
    int32_t d = 0;
    if (chance(8)) make(&d);
    return d;
  }
  int64_t bytes_to_allocate() {
    uint64_t kind = below(100);
    if (kind < 30)
      return static_cast<int64_t>(256 * (1 + below(32)));  // fills its block to the last byte
    if (kind < 45) return static_cast<int64_t>(below(2000));
    if (kind < 85) return static_cast<int64_t>(below(limits_.largest / 8));
    if (kind < 92) return static_cast<int64_t>(below(limits_.largest));
    if (kind < 95) return 0;
    int64_t any;
    make(&any);
    return any > limits_.largest && any < 1ll << 40 ? limits_.largest : any;
  }
  int64_t bytes_of(uint32_t handle) const {
    for (const Held& b : buffers_)
      if (b.handle == handle) return b.bytes;
    return -1;
  }
  void range(uint32_t handle, int64_t* offset, int64_t* bytes) {
    int64_t all = std::max<int64_t>(bytes_of(handle), 0);
    *offset = static_cast<int64_t>(below(static_cast<uint64_t>(all) + 1));
    *bytes = static_cast<int64_t>(below(static_cast<uint64_t>(all - *offset) + 1));
    if (chance(50)) *offset -= *offset % 8;
    if (chance(3)) *bytes = all - *offset + 1;
    if (chance(10)) *offset = one_of(EXTREMES);
    if (chance(10)) *bytes = one_of(EXTREMES);
  }
  // Valid for the length stated, or null.
  void* host_for(int64_t bytes) { return bytes > HOST_BYTES || chance(2) ? nullptr : host_.data(); }

  // While it lives no memory is refused: for calls that look at what other calls did.
  struct Granted {
    bool before = refusing;
    Granted() { refusing = false; }
    ~Granted() { refusing = before; }
  };
  void settle() {
    Granted granted;
    for (int i = 0; i < 8; i++)
      if (api.sync(0) == CDN_OK) return;  // each failure reports one bad index that a kernel met
    die("cdn_sync goes on failing: %s", api.last_error());
  }
  std::vector<char> contents(uint32_t handle) {
    Granted granted;
    int64_t bytes = bytes_of(handle);
    std::vector<char> data(bytes > 0 ? static_cast<size_t>(bytes) : 0);
    settle();
    if (bytes > 0 && api.read(data.data(), handle, 0, bytes) != CDN_OK) data.clear();
    return data;
  }
  // A buffer that only views written through guarded_view() may change.
  std::vector<char> arena() {
    Granted granted;
    for (;;) {
      std::vector<char> data = contents(arena_);
      if (!data.empty()) return data;
      restore_limit();
      if (api.alloc(&arena_, 0, ARENA_BYTES) != CDN_OK) {
        while (!buffers_.empty()) give_up(buffers_.size() - 1);
        continue;
      }
      buffers_.push_back({arena_, ARENA_BYTES, true});
      fill_host();
      if (api.write(arena_, host_.data(), 0, ARENA_BYTES) != CDN_OK)
        die("the arena cannot be written: %s", api.last_error());
      guarded_ = {};
    }
  }
  uint32_t guarded_view() {
    Granted granted;
    arena();
    if (guarded_.handle && chance(80) && bytes_of(guarded_.handle) >= 0) return guarded_.handle;
    guarded_offset_ = 8 * (1 + below(1000));
    guarded_.bytes = static_cast<int64_t>(8 * below(chance(30) ? 6000 : 200));
    if (api.view(&guarded_.handle, arena_, static_cast<int64_t>(guarded_offset_), guarded_.bytes) !=
        CDN_OK)
      die("no view of the arena: %s", api.last_error());
    guarded_.guarded = true;
    buffers_.push_back(guarded_);
    return guarded_.handle;
  }
  void fill_host() {
    for (size_t i = 0; i + 4 <= ARENA_BYTES; i += 4) {
      constexpr float SPECIAL[] = {NAN, INFINITY, -INFINITY, -0.0f, 1e-45f, 3.4e38f, 0, 1};
      float x = chance(10) ? one_of(SPECIAL) : static_cast<float>(below(2001)) / 100 - 10;
      uint32_t bits = static_cast<uint32_t>(below(8));
      memcpy(host_.data() + i, chance(70) ? static_cast<void*>(&x) : static_cast<void*>(&bits), 4);
    }
  }
  void give_up(size_t i) {
    if (check("free", api.free(buffers_[i].handle)) == CDN_OK) freed_.push_back(buffers_[i].handle);
    buffers_.erase(buffers_.begin() + static_cast<std::ptrdiff_t>(i));
    if (freed_.size() > 64) freed_.erase(freed_.begin());
  }
  void forget(uint32_t handle) {
    for (size_t i = 0; i < buffers_.size(); i++)
      if (buffers_[i].handle == handle) {
        buffers_.erase(buffers_.begin() + static_cast<std::ptrdiff_t>(i));
        freed_.push_back(handle);
        return;
      }
  }
  void restore_limit() { check("memory_limit", api.memory_limit(0, limits_.memory)); }

  void manage();
  void reads();
  int32_t end(uint32_t ticket, int64_t bytes, void* host);
  void streams();
  void events();
  void memory();
  void programs();
  void profile();
  void information();
  void images();
  void lists();
  void training();

  std::mt19937_64 random_;
  Limits limits_;
  bool alone_;
  std::vector<char> host_;
  std::array<int64_t, LAYOUT_BYTES / sizeof(int64_t)> layout_{};
  std::vector<Held> buffers_, tickets_;
  std::vector<uint32_t> freed_, streams_, events_, programs_;
  uint32_t recent_ = 0, arena_ = 0;
  Held guarded_;
  size_t guarded_offset_ = 0;
  int64_t calls_ = 0;
  std::array<int64_t, 8> counts_{};
};
