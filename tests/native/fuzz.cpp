// Throws random calls at every function of cudeno.h: live, stale, short, misaligned and made-up
// handles, sizes that are negative, huge or overflow when multiplied, unknown dtypes, outputs that
// overlap inputs, too little memory, host memory refused, tickets that other threads wait for, and
// all of it from several threads at once. Nothing may crash, every failure must explain itself and
// change nothing, and in the end all memory must have come back.
//
//   fuzz [--seed N] [--calls N] [--threads N] [LIBRARY]
//
// `make asan` and `make tsan` link it with the CPU library under the sanitizers. For any other
// library, the CUDA one for instance:
//   g++ -std=c++20 -O1 -Icuda tests/native/fuzz.cpp -o fuzz -ldl -pthread
//   compute-sanitizer --report-api-errors no ./fuzz --calls 60000 cuda/build/libcudeno_cuda.so
#include <atomic>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <new>
#include <thread>

#include "fuzzer.h"

extern "C" __attribute__((visibility("default"))) const char* __asan_default_options() {
  return "allocator_may_return_null=1";
}

// The library is linked in, so that this is its operator new too.
static void* allocated(size_t bytes, size_t alignment) {
  if (allocations_left > 0 && --allocations_left == 0) {
    refusals++;
    throw std::bad_alloc();
  }
  void* p = nullptr;
  if (posix_memalign(&p, std::max(alignment, sizeof(void*)), bytes ? bytes : 1))
    throw std::bad_alloc();
  return p;
}
void* operator new(size_t bytes) { return allocated(bytes, alignof(max_align_t)); }
void* operator new(size_t bytes, std::align_val_t alignment) {
  return allocated(bytes, size_t(alignment));
}
void operator delete(void* p) noexcept { free(p); }
void operator delete(void* p, size_t) noexcept { free(p); }
void operator delete(void* p, std::align_val_t) noexcept { free(p); }
void operator delete(void* p, size_t, std::align_val_t) noexcept { free(p); }

namespace {

// ---- functions that compute

// Calls as programs have them.
struct Words {
  std::vector<int64_t> words;
  std::string data;

  template <class T> void add(T argument) {
    if constexpr (std::is_pointer_v<T>) {  // a layout, of as many bytes as any is read
      words.push_back(argument ? static_cast<int64_t>(data.size()) : -1);
      if (argument) data.append(reinterpret_cast<const char*>(argument), LAYOUT_BYTES);
    } else if constexpr (std::is_same_v<T, double>) {
      int64_t bits;
      memcpy(&bits, &argument, sizeof bits);
      words.push_back(bits);
    } else {
      words.push_back(argument);
    }
  }
};

struct Entry {
  const char* name;
  std::function<int32_t(Fuzzer&)> call;
  std::function<void(Fuzzer&, Words&)> record = {};
};

template <class... A> Entry computing(const char* name, Function<int32_t(A...)> f) {
  const auto made = [](Fuzzer& fuzzer) {
    std::tuple<A...> args;
    std::apply([&](auto&... arg) { (fuzzer.make(&arg), ...); }, args);
    return args;
  };
  return {name, [=](Fuzzer& fuzzer) { return fuzzer.call(name, f, made(fuzzer)); },
          [=](Fuzzer& fuzzer, Words& to) {
            std::apply([&](auto... arg) { (to.add(arg), ...); }, made(fuzzer));
          }};
}

#define CDN_FUNCTION(name) #name,
constexpr const char* NUMBERED[] = {
#include "runtime/functions.inc"
};
#undef CDN_FUNCTION

int64_t number_of(const char* name) {
  const auto same = [&](const char* other) { return !strcmp(other + strlen("cdn_"), name); };
  return std::find_if(std::begin(NUMBERED), std::end(NUMBERED), same) - std::begin(NUMBERED);
}

std::atomic<int64_t> programs_run{0};

// cdn_matmul_fused has more arguments than are often right at once: some are left out, or chosen to
// fit.
int32_t fused_product(Fuzzer& fuzzer) {
  uint32_t c, a, b, optional[5];
  int64_t m, n, k, ld[3];
  const int64_t* layout;
  int32_t trans_a, trans_b, activation, dtype, out_dtype, precision, rank, variant = 0;
  double alpha, beta;
  auto make = [&](auto&... x) { (fuzzer.make(&x), ...); };
  make(c, a, b, m, n, k, layout, trans_a, trans_b, activation, dtype, out_dtype, precision, rank,
       alpha, beta);
  for (uint32_t& handle : optional) {
    make(handle);
    if (fuzzer.chance(60)) handle = 0;
  }
  for (int64_t& each : ld) {
    make(each);
    if (fuzzer.chance(60)) each = 0;
  }
  if (fuzzer.chance(60)) out_dtype = dtype;
  if (fuzzer.chance(30)) make(variant);
  auto [z, a_sums, bias, residual, mask] = optional;
  return fuzzer.call("matmul_fused", api.matmul_fused,
                     std::tuple(c, z, a_sums, a, b, bias, residual, mask, layout, rank, m, n, k,
                                ld[0], ld[1], ld[2], trans_a, trans_b, alpha, beta, activation,
                                dtype, out_dtype, precision, variant));
}

// So has attention: its numbers are those of heads that lie side by side or one after another, but
// for one now and then, and what may be left out often is.
struct AttentionArguments {
  uint32_t tensors[11];  // of the gradients: dq, dk, dv, dscores, dy, y, lse, q, k, v, mask
  uint32_t lengths, state;
  int64_t numbers[39], seed, offset;
  double scale, p;
  int32_t dtype, mask_dtype, precision;

  // grad: of the gradients, which lse is for.
  AttentionArguments(Fuzzer& fuzzer, bool grad) {
    auto make = [&](auto&... x) { (fuzzer.make(&x), ...); };
    auto below = [&](uint64_t n) { return static_cast<int64_t>(fuzzer.below(n)); };
    for (uint32_t& tensor : tensors) make(tensor);
    make(lengths, state, seed, offset, scale, p, dtype, mask_dtype, precision);
    for (uint32_t* handle : {&tensors[3], &tensors[6], &tensors[10], &lengths, &state})
      if (fuzzer.chance(70) && !(grad && handle == &tensors[6])) *handle = 0;
    if (fuzzer.chance(70)) mask_dtype = fuzzer.chance(50) ? dtype : CDN_UINT8;
    if (fuzzer.chance(60)) p = 0.25 * static_cast<double>(below(5));
    if (fuzzer.chance(80)) precision = static_cast<int32_t>(below(4));
    const bool few = fuzzer.chance(60);
    const int64_t kv_heads = 1 + below(2), heads = kv_heads * (1 + below(2)),
                  queries = below(few ? 4 : 70), keys = below(few ? 4 : 140),
                  features = 1 + below(few ? 4 : 20);
    const int64_t sizes[] = {1 + below(2),
                             heads,
                             kv_heads,
                             queries,
                             keys,
                             features,
                             features,
                             below(9) - 4,
                             below(2),
                             below(9) - 1,
                             below(9) - 1,
                             queries * keys,
                             0,
                             keys,
                             1};
    std::copy(std::begin(sizes), std::end(sizes), numbers);
    const bool aside = fuzzer.chance(50);  // heads in turns
    for (int i = 0; i < 8; i++) {
      const bool key = i == 1 || i == 2 || i == 5 || i == 6;
      const int64_t count = key ? kv_heads : heads, rows = key ? keys : queries;
      numbers[15 + 3 * i] = count * rows * features;
      numbers[16 + 3 * i] = aside ? features : rows * features;
      numbers[17 + 3 * i] = aside ? count * features : features;
    }
    if (fuzzer.chance(30)) make(numbers[below(39)]);
  }
};

int32_t attention(Fuzzer& fuzzer) {
  const AttentionArguments x(fuzzer, false);
  const uint32_t* t = x.tensors;
  return fuzzer.call("attention", api.attention,
                     std::tuple(t[5], t[6], t[7], t[8], t[9], t[10], x.lengths, x.state,
                                static_cast<const int64_t*>(x.numbers), x.scale, x.p, x.seed,
                                x.offset, x.dtype, x.mask_dtype, x.precision));
}

int32_t attention_grad(Fuzzer& fuzzer) {
  const AttentionArguments x(fuzzer, true);
  const uint32_t* t = x.tensors;
  return fuzzer.call("attention_grad", api.attention_grad,
                     std::tuple(t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9], t[10],
                                x.lengths, x.state, static_cast<const int64_t*>(x.numbers), x.scale,
                                x.p, x.seed, x.offset, x.dtype, x.mask_dtype, x.precision));
}

std::vector<Entry> computing_entries() {
#define ENTRY(f) computing(#f, api.f),
  return {COMPUTING(ENTRY) Entry{"matmul_fused", fused_product}, Entry{"attention", attention},
          Entry{"attention_grad", attention_grad}};
}

}  // namespace

// ---- functions that manage

namespace {

// Waits for a ticket on a thread of its own, which is about to do so when this returns.
std::thread waiter(uint32_t ticket, int64_t bytes) {
  auto begun = std::make_shared<std::atomic<bool>>(false);
  std::thread thread([=] {
    static const std::vector<char> host(HOST_BYTES);
    *begun = true;
    int32_t status = api.read_wait(ticket);
    if (status == CDN_BAD_ARGUMENT && strstr(api.last_error(), "one of a write"))
      status = api.write_wait(ticket, host.data(), bytes);
    if (status != CDN_OK && status != CDN_BAD_HANDLE)
      die("a wait on another thread: %s", api.last_error());
  });
  while (!*begun) std::this_thread::yield();
  return thread;
}

// A context that ends while others wait for its tickets: some of them still find these, some no
// longer.
void short_life(int64_t bytes) {
  std::thread waiters[4];
  std::thread([&] {
    uint32_t x = 0, ticket = 0;
    for (std::thread& each : waiters) {
      const bool write = &each == &waiters[0];  // one alone, so that no two write at once
      if (api.alloc(&x, 0, bytes) != CDN_OK ||
          (write ? api.write_begin : api.read_begin)(&ticket, x, 0, bytes) != CDN_OK)
        die("a short life: %s", api.last_error());
      each = waiter(ticket, bytes);
    }
  }).join();
  for (std::thread& each : waiters) each.join();
}

}  // namespace

void Fuzzer::manage() {
  uint32_t y = 0, x;
  int64_t offset, bytes, other;
  make(&x);
  switch (below(13)) {
    case 12: return programs();
    case 0:
    case 1:
    case 2: {
      bytes = bytes_to_allocate();
      if (check("alloc", api.alloc(chance(2) ? nullptr : &y, device(), bytes)) != CDN_OK) break;
      buffers_.push_back({y, bytes});
      fill_host();
      check("write", api.write(y, host_.data(), 0, std::min<int64_t>(bytes, ARENA_BYTES)));
      break;
    }
    case 3:
    case 4:
      range(x, &offset, &bytes);
      if (check("view", api.view(chance(2) ? nullptr : &y, x, offset, bytes)) == CDN_OK)
        buffers_.push_back({y, bytes, is_guarded(x)});
      if (chance(3)) check("freeze", api.freeze(chance(30) ? x : y));
      break;
    case 5:
    case 6:
      if (int32_t status = check("free", api.free(x)); status == CDN_OK)
        forget(x);
      else if (status == CDN_OUT_OF_MEMORY && bytes_of(x) >= 0)
        die("free needs memory: %s", api.last_error());
      break;
    case 7:
      range(x, &offset, &bytes);
      fill_host();
      if (chance(50))
        check("write", api.write(x, host_for(bytes), offset, bytes));
      else
        check("stage", api.stage(x, host_for(bytes), offset, bytes));
      break;
    case 8:
      range(x, &offset, &bytes);
      check("read", api.read(host_for(bytes), x, offset, bytes));
      break;
    case 9:
      make(&y);
      range(x, &offset, &bytes);
      other = offset;
      if (chance(70))
        other = static_cast<int64_t>(
            below(static_cast<uint64_t>(std::max<int64_t>(bytes_of(y), 0)) + 1));
      if (chance(5)) make(&other);
      check("copy", api.copy(y, x, other, offset, bytes));
      break;
    case 10: return chance(80) ? lists() : training();
    default:
      switch (below(7)) {
        case 0: return reads();
        case 1: return streams();
        case 2: return events();
        case 3: return memory();
        case 4: return information();
        case 5: return profile();
        default: return images();
      }
  }
}

// Of each ticket some steps are left out, or done twice or with other bytes.
void Fuzzer::reads() {
  for (int step = 0; step < 4; step++) {
    Held ticket;
    if (!tickets_.empty()) ticket = tickets_[below(tickets_.size())];
    const Held known = ticket;
    if (chance(5)) make(&ticket.handle);
    int64_t bytes = ticket.bytes;
    if (chance(10)) make(&bytes);
    uint64_t kind = below(10);
    if (kind < 3) {
      uint32_t x;
      int64_t offset;
      make(&x);
      range(x, &offset, &bytes);
      if (chance(10)) {
        bytes = 0;
        if (check("wait_begin", api.wait_begin(chance(2) ? nullptr : &ticket.handle, device())) !=
            CDN_OK)
          continue;
      } else if (kind == 0) {
        if (check("write_begin", api.write_begin(chance(2) ? nullptr : &ticket.handle, x, offset,
                                                 bytes)) != CDN_OK)
          continue;
      } else {
        if (check("read_begin",
                  api.read_begin(chance(2) ? nullptr : &ticket.handle, x, offset, bytes)) != CDN_OK)
          continue;
      }
      tickets_.push_back({ticket.handle, bytes});
    } else if (kind < 5) {
      check("read_wait", api.read_wait(ticket.handle));
    } else if (kind < 7) {
      check("write_wait", api.write_wait(ticket.handle, host_for(bytes), bytes));
    } else {
      std::thread other;  // waits for it meanwhile
      if (chance(10)) other = waiter(known.handle, known.bytes);
      int32_t status = end(ticket.handle, bytes, host_for(bytes));
      if (other.joinable()) other.join();
      bool gone =
          status == CDN_OK || (status == CDN_BAD_HANDLE && chance(50));  // some are used twice
      auto same = [&](const Held& t) { return t.handle == ticket.handle; };
      if (gone)
        tickets_.erase(std::remove_if(tickets_.begin(), tickets_.end(), same), tickets_.end());
    }
  }
  if (chance(2))
    short_life(1 + static_cast<int64_t>(below(static_cast<uint64_t>(limits_.largest))));
  while (tickets_.size() > 20) {
    end(tickets_[0].handle, tickets_[0].bytes, host_.data());
    tickets_.erase(tickets_.begin());
  }
}

int32_t Fuzzer::end(uint32_t ticket, int64_t bytes, void* host) {
  int32_t status = check("read_end", api.read_end(host, ticket, bytes));
  if (status == CDN_BAD_ARGUMENT && strstr(api.last_error(), "one of a write"))
    status = check("write_end", api.write_end(ticket, bytes));
  return status;
}

void Fuzzer::streams() {
  uint32_t stream = 0;
  if (!streams_.empty()) stream = streams_[below(streams_.size())];
  if (chance(20)) stream = 0;
  if (chance(5)) make(&stream);
  switch (below(4)) {
    case 0:
      if (streams_.size() < 6 &&
          check("stream_create", api.stream_create(chance(5) ? nullptr : &stream, device())) ==
              CDN_OK)
        streams_.push_back(stream);
      break;
    case 1:
      if (check("stream_destroy", api.stream_destroy(stream)) == CDN_OK || chance(30))
        streams_.erase(std::remove(streams_.begin(), streams_.end(), stream), streams_.end());
      break;
    case 2: check("stream_use", api.stream_use(device(), stream)); break;
    default: check("stream_sync", api.stream_sync(device(), stream));
  }
}

void Fuzzer::events() {
  uint32_t pair[2] = {0, 0};
  for (uint32_t& event : pair) {
    if (!events_.empty()) event = events_[below(events_.size())];
    if (chance(5)) make(&event);
  }
  double microseconds = 0;
  switch (below(5)) {
    case 0:
      if (events_.size() < 8 &&
          check("event_create", api.event_create(chance(5) ? nullptr : &pair[0], device())) ==
              CDN_OK)
        events_.push_back(pair[0]);
      break;
    case 1:
      if (check("event_destroy", api.event_destroy(pair[0])) == CDN_OK || chance(30))
        events_.erase(std::remove(events_.begin(), events_.end(), pair[0]), events_.end());
      break;
    case 2: {
      int32_t status = check("event_elapsed", api.event_elapsed(chance(5) ? nullptr : &microseconds,
                                                                pair[0], pair[1]));
      if (status == CDN_OK && !std::isfinite(microseconds)) die("event_elapsed: %g", microseconds);
      break;
    }
    default: check("event_record", api.event_record(pair[0]));
  }
}

// Programs of up to four calls, now and then cut short or with a number changed. Such a number is
// no place in the data, of which more would be read than there is.
void Fuzzer::programs() {
  uint32_t program = 0;
  if (!programs_.empty()) program = programs_[below(programs_.size())];
  if (chance(5)) make(&program);
  switch (programs_.empty() ? 0 : below(5)) {
    case 0: {
      if (programs_.size() >= 4) break;
      static const std::vector<Entry> entries = computing_entries();
      Words calls;
      for (uint64_t left = 1 + below(4); left > 0;) {
        const Entry& entry = entries[below(entries.size())];
        if (!entry.record) continue;
        recent_ = 0;
        calls.words.push_back(number_of(entry.name));
        entry.record(*this, calls);
        left--;
      }
      std::vector<int64_t>& words = calls.words;
      if (chance(10)) words[below(words.size())] = one_of(EXTREMES);
      if (chance(10)) words.resize(1 + below(words.size()));
      uint32_t uses[3];
      for (uint32_t& handle : uses) make(&handle);
      auto count = static_cast<int64_t>(words.size()), used = static_cast<int64_t>(below(3));
      if (chance(2)) count = -count;
      if (chance(2)) used = -used;
      if (check("program_create",
                api.program_create(chance(2) ? nullptr : &program, device(),
                                   chance(2) ? nullptr : words.data(), count, calls.data.data(),
                                   static_cast<int64_t>(calls.data.size()),
                                   chance(2) ? nullptr : uses, used)) == CDN_OK)
        programs_.push_back(program);
      break;
    }
    case 1:
      if (check("program_destroy", api.program_destroy(program)) == CDN_OK || chance(30))
        programs_.erase(std::remove(programs_.begin(), programs_.end(), program), programs_.end());
      break;
    default: {
      int64_t done = 0, times = static_cast<int64_t>(below(4));
      if (chance(5)) times = one_of(EXTREMES);
      const int32_t status = api.program_run(chance(2) ? nullptr : &done, program, times,
                                             0.1 * static_cast<double>(below(3)));
      const std::string text = api.last_error();  // that of a call, where one has failed
      const std::string name = text.substr(0, text.find(':'));
      check(status == CDN_OK || name.size() < 5 ? "program_run" : name.c_str() + 4, status);
      if (status == CDN_OK && (done < 0 || done > times || (times > 0 && done == 0)))
        die("program_run: %lld of %lld times", (long long)done, (long long)times);
      if (status == CDN_OK && done > 0) programs_run++;
    }
  }
}

void Fuzzer::profile() {
  int64_t counts[2] = {};
  if (chance(50)) {
    check("profile_begin", api.profile_begin(device(), static_cast<int64_t>(below(100))));
    return;
  }
  check("profile_note", api.profile_note(static_cast<int32_t>(below(10))));
  if (check("profile_stop", api.profile_stop(chance(5) ? nullptr : counts)) != CDN_OK) return;
  const auto count = static_cast<size_t>(counts[0]);
  std::vector<char> names(256 * count);
  std::vector<double> times(2 * count);
  std::vector<int64_t> facts(3 * count);
  check("profile_read", api.profile_read(chance(5) ? nullptr : names.data(), times.data(),
                                         facts.data(), counts[0] + (chance(5) ? 1 : 0)));
}

void Fuzzer::memory() {
  int64_t stats[10];
  constexpr int64_t LIMITS[] = {1,  256,       4096,      64 * KIB,       MIB,
                                -1, INT64_MIN, INT64_MAX, (1ll << 60) + 1};
  switch (below(4)) {
    case 0:
      if (check("memory_stats", api.memory_stats(chance(5) ? nullptr : stats, device())) == CDN_OK)
        for (int64_t n : stats)
          if (n < 0) die("memory_stats: a negative number");
      break;
    case 1: check("memory_limit", api.memory_limit(device(), one_of(LIMITS))); break;
    case 2: check("memory_trim", api.memory_trim(device())); break;
    default: check("memory_reset_peak", api.memory_reset_peak(device()));
  }
}

void Fuzzer::information() {
  char name[256];
  int64_t info[8];
  int32_t number;
  double limits[3];
  switch (below(7)) {
    case 6:
      check("device_limits", api.device_limits(chance(5) ? nullptr : limits, device()));
      break;
    case 0:
      if (check("device_info", api.device_info(chance(5) ? nullptr : name,
                                               chance(5) ? nullptr : info, device())) == CDN_OK &&
          !memchr(name, 0, sizeof name))
        die("device_info: the name has no end");
      break;
    case 1: check("device_count", api.device_count(chance(10) ? nullptr : &number)); break;
    case 2: check("sync", api.sync(device())); break;
    case 3: check("attach", api.attach(0)); break;  // as before, so that nothing ends
    case 4: {
      make(&number);
      for (const char* variant : {api.matmul_variant(number), api.conv2d_variant(number)})
        if (number < 0 && variant) die("variant %d is %s", number, variant);
      break;
    }
    default:
      if (!*api.build_info() || api.abi_version() != CDN_ABI_VERSION)
        die("build_info or abi_version is wrong");
  }
}

namespace {

// Those of the tests, where the program runs in the repository.
std::vector<std::string> image_files() {
  std::vector<std::string> files;
  std::error_code missing;
  for (const auto& entry : std::filesystem::directory_iterator("tests/fixtures/images", missing)) {
    std::ifstream file(entry.path(), std::ios::binary);
    files.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  if (files.empty()) files.push_back("no image");
  return files;
}

// Puts the checksums of a PNG right, so that what was changed is looked at.
void renew_checksums(std::string& png) {
  const auto number = [&](size_t at) {
    uint32_t value = 0;
    for (size_t i = 0; i < 4; i++) value = value << 8 | static_cast<uint8_t>(png[at + i]);
    return value;
  };
  for (size_t at = 8; at + 12 <= png.size() && number(at) <= png.size() - at - 12;) {
    const size_t end = at + 8 + number(at);
    uint32_t crc = ~0u;
    for (size_t i = at + 4; i < end; i++) {
      crc ^= static_cast<uint8_t>(png[i]);
      for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    for (size_t i = 0; i < 4; i++) png[end + i] = static_cast<char>(~crc >> (24 - 8 * i));
    at = end + 4;
  }
}

}  // namespace

// Image files as they are, with bytes changed, or cut off; then resized.
void Fuzzer::images() {
  static const std::vector<std::string> files = image_files();
  std::string file = files[below(files.size())];
  for (uint64_t n = below(5); n > 0; n--) file[below(file.size())] ^= 1 << below(8);
  if (chance(20)) file[below(file.size())] = static_cast<char>(random_());
  if (chance(20)) file.resize(below(file.size() + 1));
  if (file[0] != '\xff' && chance(90)) renew_checksums(file);
  const int64_t bytes = static_cast<int64_t>(file.size());
  int64_t info[5], height, width, channels = static_cast<int64_t>(1 + below(4));
  if (check("image_info", api.image_info(chance(2) ? nullptr : info, file.data(), bytes)) != CDN_OK)
    return;
  if (info[1] < 1 || info[1] > 4 || info[2] < 1 || info[3] < 1)
    die("image_info: %lld channels", (long long)info[1]);
  if (info[2] > HOST_BYTES / 4 / info[3]) return;
  std::vector<char> x(static_cast<size_t>(channels * info[2] * info[3]));
  if (chance(2)) channels = one_of(EXTREMES);
  int32_t status =
      check("image_decode", api.image_decode(chance(2) ? nullptr : x.data(), file.data(), bytes,
                                             channels, info[2], chance(2) ? info[2] : info[3]));
  if (status != CDN_OK) return;
  make(&height), make(&width);
  const double size =
      static_cast<double>(channels) * static_cast<double>(height) * static_cast<double>(width);
  const bool valid = height > 0 && height <= 1 << 20 && width > 0 && width <= 1 << 20;
  if (valid && size > HOST_BYTES) return;
  std::vector<char> y(valid ? static_cast<size_t>(size) : 0);
  check("image_resize",
        api.image_resize(y.data(), x.data(), channels, height, width, info[2], info[3]));
}

// Up to five lists of handles and one of sizes, for one of the functions that take such.
void Fuzzer::lists() {
  constexpr int LISTS = 5;
  uint32_t handles[LISTS][MAX_COUNT];
  int64_t sizes[MAX_COUNT];
  int32_t count = static_cast<int32_t>(below(chance(10) ? MAX_COUNT : 4)), dtype;
  bool valid = chance(70);
  // Tensors that do not overlap are too rare among random buffers: cut some out of one.
  Held own;
  if (valid) {
    own.bytes = LISTS * 64 * MAX_COUNT;
    if (check("alloc", api.alloc(&own.handle, 0, own.bytes)) != CDN_OK) return;
    buffers_.push_back(own);
  }
  std::vector<uint32_t> views;
  for (int i = 0; i < count; i++) {
    for (int k = 0; k < LISTS; k++) {
      uint32_t& handle = handles[k][i];
      make(&handle);
      if (valid && api.view(&handle, own.handle, 64 * (LISTS * i + k), 64) == CDN_OK)
        views.push_back(handle);
    }
    make(&sizes[i]);
    if (valid && chance(95)) sizes[i] = static_cast<int64_t>(below(9));
  }
  double s[5];
  int32_t flag[2];
  uint32_t single, skip;
  for (double& x : s) make(&x);
  for (int32_t& x : flag) make(&x);
  make(&dtype), make(&single), make(&skip);
  if (chance(2)) count = -count;
  const uint32_t* list[LISTS];
  bool null = chance(2);  // with null instead of a list any count will do
  for (int k = 0; k < LISTS; k++)
    list[k] = (k == 0 && null) || (k > 1 && chance(10)) ? nullptr : handles[k];
  if (null) make(&count);
  switch (below(12)) {
    case 0:
      check("sgd_step", api.sgd_step(list[0], list[1], list[2], sizes, count, single, skip, s[0],
                                     s[1], flag[0], flag[1], dtype));
      break;
    case 1:
      check("adam_step", api.adam_step(list[0], list[1], list[2], list[3], list[4], sizes, count,
                                       single, skip, s[0], s[1], s[2], flag[0], flag[1], dtype));
      break;
    case 2:
      check("nadam_step", api.nadam_step(list[0], list[1], list[2], list[3], sizes, count, single,
                                         skip, s[0], s[1], s[2], s[3], flag[0], flag[1], dtype));
      break;
    case 3:
      check("rmsprop_step",
            api.rmsprop_step(list[0], list[1], list[2], list[3], list[4], sizes, count, single,
                             skip, s[0], s[1], s[2], flag[0], dtype));
      break;
    case 4:
      check("adagrad_step", api.adagrad_step(list[0], list[1], list[2], sizes, count, single, skip,
                                             s[0], s[1], s[2], flag[0], dtype));
      break;
    case 5: check("list_norm", api.list_norm(single, list[0], sizes, count, s[0], dtype)); break;
    case 6:
      check("list_clip_norm", api.list_clip_norm(list[0], single, sizes, count, s[0], dtype));
      break;
    case 7: check("list_clip", api.list_clip(list[0], sizes, count, s[0], s[1], dtype)); break;
    case 8: check("list_zero", api.list_zero(list[0], sizes, count, dtype)); break;
    case 9:
      check("list_lerp", api.list_lerp(list[0], list[1], sizes, count, chance(50) ? single : 0,
                                       skip, s[0], s[1], dtype));
      break;
    case 10:
      check("scale_update", api.scale_update(single, list[0], count, s[0], s[1], s[2]));
      break;
    default: check("list_unscale", api.list_unscale(list[0], single, skip, sizes, count, dtype));
  }
  for (uint32_t view : views) api.free(view);
}

// cdn_mlp_train of small layers, with places in one buffer, a wrong one now and then.
void Fuzzer::training() {
  constexpr int PLACES = 16, SIZES = 7;
  Held own;
  own.bytes = PLACES * 512;
  if (check("alloc", api.alloc(&own.handle, 0, own.bytes)) != CDN_OK) return;
  buffers_.push_back(own);
  uint32_t at[PLACES];
  std::vector<uint32_t> views;
  for (uint32_t& handle : at) {
    make(&handle);
    if (chance(99) && api.view(&handle, own.handle, 512 * (&handle - at), 512) == CDN_OK)
      views.push_back(handle);
  }
  int64_t sizes[SIZES];
  for (int64_t& size : sizes) size = static_cast<int64_t>(1 + below(chance(50) ? 3 : 11));
  if (chance(30)) sizes[5] = 0;
  sizes[6] = chance(50) ? 1 : sizes[1];
  if (chance(5)) make(&sizes[below(SIZES)]);
  double momentum, decay;
  int32_t flag;
  make(&momentum), make(&decay), make(&flag);
  for (int i : {8, 9, 10})
    if (chance(20)) at[i] = 0;
  check("mlp_train", api.mlp_train(at[11], at[10], chance(1) ? nullptr : at,
                                   chance(5) ? nullptr : at + 4, at[12], at[13], at[14], at[15],
                                   at[8], at[9], chance(1) ? nullptr : sizes, momentum, decay, flag,
                                   flag, chance(90) ? static_cast<int32_t>(3 * below(2)) : flag));
  for (uint32_t view : views) api.free(view);
}

// ---- the whole

void Fuzzer::run(int64_t calls) {
  std::vector<Entry> entries = computing_entries();
  succeeded.resize(entries.size());
  restore_limit();
  refusing = limits_.refuse;
  while (calls_ < calls) {
    if (chance(4)) restore_limit();
    if (chance(30) || buffers_.size() < 12) {
      manage();
    } else {
      size_t i = below(entries.size());
      if (chance(10))  // what hardly ever succeeds is tried more often
        i = size_t(std::min_element(succeeded.begin(), succeeded.end()) - succeeded.begin());
      recent_ = 0;
      if (entries[i].call(*this) == CDN_OK) succeeded[i]++;
    }
    while (buffers_.size() > limits_.buffers) give_up(below(buffers_.size()));
  }
  refusing = false;
  if (limits_.refuse && refusals == 0) die("no memory was ever refused");
}

void Fuzzer::clean_up() {
  settle();
  while (!tickets_.empty()) {
    end(tickets_.back().handle, tickets_.back().bytes, host_.data());
    tickets_.pop_back();
  }
  for (uint32_t p : programs_) check("program_destroy", api.program_destroy(p));
  for (uint32_t s : streams_) check("stream_destroy", api.stream_destroy(s));
  for (uint32_t e : events_) check("event_destroy", api.event_destroy(e));
  while (!buffers_.empty()) give_up(buffers_.size() - 1);
}

namespace {

void expect_empty(const char* when) {
  int32_t devices = 0;
  api.device_count(&devices);
  for (int32_t d = 0; d < devices; d++) {
    for (int i = 0; i < 8 && api.sync(d) != CDN_OK; i++) {
    }
    int64_t stats[10];
    if (api.memory_trim(d) != CDN_OK || api.memory_stats(stats, d) != CDN_OK)
      die("%s: %s", when, api.last_error());
    if (stats[0] || stats[1] || stats[2] || stats[6] || stats[8])
      die("%s: %lld bytes are live in %lld buffers, %lld cached in %lld segments", when,
          (long long)stats[0], (long long)stats[6], (long long)stats[1], (long long)stats[8]);
  }
}

// How often each function that computes has succeeded, over all phases.
std::vector<int64_t> successes;

void phase(Limits limits, uint64_t seed, int64_t calls, int threads) {
  std::vector<Fuzzer> fuzzers;
  for (int i = 0; i < threads; i++)
    fuzzers.emplace_back(seed + static_cast<uint64_t>(i), limits, threads == 1);
  std::vector<std::thread> running;
  for (int i = 0; i < threads; i++)
    running.emplace_back([&fuzzers, i, limits, calls, threads] {
      fuzzers[i].run(calls / threads);
      if (i % 2 == 1) return;  // what it leaves behind, the end of its thread frees
      fuzzers[i].clean_up();
      expect_empty(limits.name);
    });
  for (std::thread& t : running) t.join();

  std::array<int64_t, 8> counts{};
  int64_t made = 0;
  for (Fuzzer& f : fuzzers) {
    made += f.calls();
    for (size_t i = 0; i < counts.size(); i++) counts[i] += f.counts()[i];
  }
  printf("%s, %d thread%s: %lld calls, %lld succeeded; by status:", limits.name, threads,
         threads == 1 ? "" : "s", (long long)made, (long long)counts[0]);
  for (size_t i = 1; i < counts.size(); i++) printf(" %lld", (long long)counts[i]);
  printf("\n");
  fflush(stdout);
  successes.resize(computing_entries().size());
  for (size_t i = 0; i < successes.size(); i++)
    for (const Fuzzer& f : fuzzers) successes[i] += f.succeeded[i];
}

// Each host allocation of a call refused in turn, in a fresh context: then the same call must
// succeed.
void refuse_each() {
  static uint32_t y;
  int32_t (*const calls[])() = {
      [] { return api.alloc.function(&y, 0, 100); },
      [] { return api.alloc.function(&y, 0, 3 * MIB); },
      [] { return api.stream_create.function(&y, 0); },
      [] { return api.event_create.function(&y, 0); },
      [] { return api.wait_begin.function(&y, 0); },
      [] { return api.program_create.function(&y, 0, nullptr, 0, nullptr, 0, nullptr, 0); },
  };
  for (auto call : calls) {
    bool refused = true;
    for (int i = 1; refused; i++)
      std::thread([&] {
        allocations_left = i;
        int32_t status = call();
        refused = allocations_left == 0;
        allocations_left = 0;
        if (status != CDN_OK && status != CDN_OUT_OF_MEMORY)
          die("allocation %d refused: %s", i, api.last_error());
        if (call() != CDN_OK) die("after allocation %d was refused: %s", i, api.last_error());
      }).join();
  }
}

// Indices that are all bad, so that the threads of a loop meet such at once.
void bad_indices() {
  constexpr int64_t N = 1 << 18, ROWS = 4, COLS = 8;
  const std::vector<int32_t> bad(N, 9);
  uint32_t y, x, index;
  if (api.alloc(&y, 0, 4 * N * COLS) || api.alloc(&x, 0, 4 * ROWS * COLS) ||
      api.alloc(&index, 0, 4 * N) || api.fill(x, ROWS * COLS, 1, CDN_FLOAT32) ||
      api.write(index, bad.data(), 0, 4 * N))
    die("bad indices: %s", api.last_error());
  const bool late =
      api.gather_rows(y, x, index, N, COLS, ROWS, 1, 0, CDN_FLOAT32, CDN_FLOAT32) == CDN_OK;
  if ((late && api.sync(0) != CDN_BAD_ARGUMENT) || !strstr(api.last_error(), "index 9") ||
      api.sync(0) != CDN_OK)
    die("bad indices are not reported, once: %s", api.last_error());
  for (uint32_t handle : {y, x, index}) api.free(handle);
}

// More memory than there is, and more handles than there are.
void exhaust() {
  uint32_t handle = 0, last = 0;
  if (api.memory_limit(0, 1ll << 60) != CDN_OK) die("%s", api.last_error());
  if (api.alloc(&handle, 0, 1ll << 50) != CDN_OUT_OF_MEMORY)
    die("more was allocated than there is");
  api.memory_limit(0, 0);
  std::vector<uint32_t> handles;
  while (api.alloc(&handle, 0, 0) == CDN_OK) {
    handles.push_back(handle);
    if (handles.size() > 1u << 24) die("handles never run out");
  }
  if (api.alloc(&last, 0, 256) != CDN_OUT_OF_MEMORY || last)
    die("without handles left: %s", api.last_error());
  for (uint32_t h : handles)
    if (api.free(h) != CDN_OK) die("%s", api.last_error());
  if (api.alloc(&last, 0, 256) != CDN_OK || api.free(last) != CDN_OK)
    die("after giving handles back: %s", api.last_error());
  expect_empty("exhausted");
  printf("exhausted: %zu handles, all given back\n", handles.size());
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t seed = 1;
  int64_t calls = 200000;
  int threads = 4;
  const char* library = nullptr;
  for (int i = 1; i < argc; i++) {
    std::string option = argv[i];
    if (option.rfind("--", 0) != 0)
      library = argv[i];
    else if (i + 1 == argc)
      die("%s needs a number", argv[i]);
    else if (option == "--seed")
      seed = strtoull(argv[++i], nullptr, 0);
    else if (option == "--calls")
      calls = atoll(argv[++i]);
    else if (option == "--threads")
      threads = std::max(1, atoi(argv[++i]));
    else
      die("unknown option %s; known are --seed, --calls, --threads", argv[i]);
  }
  if (library) load(library);
  if (!api.abi_version.function) die("name the library: this program was linked without one");
  if (api.abi_version() != CDN_ABI_VERSION)
    die("the library has ABI version %d, the header %d", api.abi_version(), CDN_ABI_VERSION);
  printf("%s\nseed %llu\n", api.build_info(), (unsigned long long)seed);
  int32_t devices = 0;
  if (api.device_count(&devices) != CDN_OK || devices == 0) die("no device: %s", api.last_error());
  phase(TIGHT, seed, calls / 4, 1);
  if (!library) refuse_each();
  if (!library) phase(REFUSED, seed + 3, calls / 4, 1);
  phase(ROOMY, seed + 1, calls / 4, 1);
  phase(ROOMY, seed + 2, calls / 4, threads);
  std::vector<Entry> entries = computing_entries();
  for (size_t i = 0; i < entries.size() && calls >= 150000; i++)
    if (successes[i] == 0)
      die("cdn_%s never succeeded: the calls made up for it are no test", entries[i].name);
  if (programs_run == 0 && calls >= 150000) die("no program ever succeeded");
  bad_indices();
  exhaust();
  return 0;
}
