// The functions that programs call, each with its arguments taken from words.
#include <cstring>
#include <type_traits>
#include <utility>

#include "runtime/program.h"

namespace cdn {
namespace {

template <class T> T argument(int64_t word, char* data) {
  if constexpr (std::is_pointer_v<T>)
    return word < 0 ? nullptr : reinterpret_cast<T>(data + word);
  else if constexpr (std::is_same_v<T, double>) {
    double value;
    memcpy(&value, &word, sizeof value);
    return value;
  } else
    return static_cast<T>(word);
}

template <auto function> struct Bound;
template <class... A, int32_t (*function)(A...)> struct Bound<function> {
  static constexpr int32_t PARAMETERS = sizeof...(A);
  static constexpr uint64_t POINTERS = [] {
    uint64_t bits = 0, bit = 1;
    ((bits |= std::is_pointer_v<A> ? bit : 0, bit <<= 1), ...);
    return bits;
  }();
  static int32_t call(const int64_t* words, char* data) {
    return with(words, data, std::make_index_sequence<sizeof...(A)>{});
  }

 private:
  template <size_t... i>
  static int32_t with(const int64_t* words, char* data, std::index_sequence<i...>) {
    return function(argument<A>(words[i], data)...);
  }
};

#define CDN_FUNCTION(name) \
  {#name, Bound<&name>::call, Bound<&name>::PARAMETERS, Bound<&name>::POINTERS},
const Function FUNCTIONS[] = {
#include "runtime/functions.inc"
};
#undef CDN_FUNCTION

}  // namespace

const Function& function_at(int64_t number) {
  constexpr int64_t COUNT = sizeof FUNCTIONS / sizeof *FUNCTIONS;
  if (number < 0 || number >= COUNT)
    CDN_FAIL(CDN_BAD_ARGUMENT, "words: there is no function %lld; they are 0..%lld",
             (long long)number, (long long)COUNT - 1);
  return FUNCTIONS[number];
}

}  // namespace cdn
