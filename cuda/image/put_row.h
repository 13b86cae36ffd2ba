// From pixels as files have them, the channels of each side by side, to planes.
#pragma once
#include <type_traits>

#include "image/image.h"

namespace cdn::image {

template <int FROM, int TO>
void put_pixels(const Planes& to, const uint8_t* from, int64_t n, int64_t y, int64_t x,
                int64_t step) {
  uint8_t* rows[TO];
  for (int c = 0; c < TO; c++) rows[c] = to.row(c, y) + x;
  for (int64_t i = 0; i < n; i++, from += FROM) {
    const int64_t at = i * step;
    if constexpr (TO <= 2)
      rows[0][at] =
          FROM <= 2 ? from[0] : luma(from[0], from[FROM > 2 ? 1 : 0], from[FROM > 2 ? 2 : 0]);
    else
      for (int c = 0; c < 3; c++) rows[c][at] = from[FROM <= 2 ? 0 : c];
    if constexpr (TO % 2 == 0) rows[TO - 1][at] = FROM % 2 == 0 ? from[FROM - 1] : 255;
  }
}

// Puts n pixels of so many channels into row y, at x, x + step, …: brightness where colours are not
// wanted, opaque where transparency is.
inline void put_row(const Planes& to, const uint8_t* from, int64_t channels, int64_t n, int64_t y,
                    int64_t x = 0, int64_t step = 1) {
  auto put = [&](auto f, auto t) {
    constexpr int FROM = decltype(f)::value, TO = decltype(t)::value;
    if (step == 1)
      put_pixels<FROM, TO>(to, from, n, y, x, 1);
    else
      put_pixels<FROM, TO>(to, from, n, y, x, step);
  };
  auto with_channels = [](int64_t n, auto&& f) {
    if (n == 1) return f(std::integral_constant<int, 1>());
    if (n == 2) return f(std::integral_constant<int, 2>());
    if (n == 3) return f(std::integral_constant<int, 3>());
    f(std::integral_constant<int, 4>());
  };
  with_channels(channels, [&](auto f) { with_channels(to.channels, [&](auto t) { put(f, t); }); });
}

}  // namespace cdn::image
