#include "image/resize.h"

#include <cmath>
#include <vector>

namespace cdn::image {

namespace {

constexpr int BITS = 22;  // of a weight's fraction

// For each place of the result where its sum begins, and the weights of it.
struct Weights {
  int64_t taps;
  std::vector<int64_t> begin, count;
  std::vector<int32_t> weights;  // [size, taps]

  Weights(int64_t size, int64_t from) {
    const double scale = static_cast<double>(from) / static_cast<double>(size);
    const double support = std::max(scale, 1.0);
    taps = 2 * static_cast<int64_t>(std::ceil(support)) + 1;
    begin.resize(static_cast<size_t>(size));
    count.resize(static_cast<size_t>(size));
    weights.resize(static_cast<size_t>(size * taps));
    std::vector<double> exact(static_cast<size_t>(taps));
    for (int64_t i = 0; i < size; i++) {
      const double center = (static_cast<double>(i) + 0.5) * scale;
      const int64_t first = std::max<int64_t>(static_cast<int64_t>(center - support + 0.5), 0);
      const int64_t n = std::min(static_cast<int64_t>(center + support + 0.5), from) - first;
      double sum = 0;
      for (int64_t k = 0; k < n; k++) {
        const double at = (static_cast<double>(k + first) - center + 0.5) / support;
        sum += exact[static_cast<size_t>(k)] = std::max(0.0, 1.0 - std::abs(at));
      }
      begin[static_cast<size_t>(i)] = first;
      count[static_cast<size_t>(i)] = n;
      for (int64_t k = 0; k < n; k++)
        weights[static_cast<size_t>(i * taps + k)] = static_cast<int32_t>(
            0.5 + exact[static_cast<size_t>(k)] / sum * static_cast<double>(1 << BITS));
    }
  }
};

// Along rows, which are n on both sides.
void across(uint8_t* to, int64_t size, const uint8_t* from, int64_t width, int64_t n) {
  const Weights all(size, width);
  for (int64_t y = 0; y < n; y++, to += size, from += width)
    for (int64_t x = 0; x < size; x++) {
      const size_t i = static_cast<size_t>(x);
      const int32_t* weights = &all.weights[i * static_cast<size_t>(all.taps)];
      const uint8_t* pixels = from + all.begin[i];
      int32_t sum = 1 << (BITS - 1);
      for (int64_t k = 0; k < all.count[i]; k++) sum += pixels[k] * weights[k];
      to[x] = to_byte(sum >> BITS);
    }
}

// Along columns.
void down(const Planes& to, const uint8_t* from, int64_t height) {
  const Weights all(to.height, height);
  const int64_t width = to.width;
  std::vector<int32_t> sums(static_cast<size_t>(width));
  for (int64_t c = 0; c < to.channels; c++, from += height * width)
    for (int64_t y = 0; y < to.height; y++) {
      const size_t i = static_cast<size_t>(y);
      std::fill(sums.begin(), sums.end(), 1 << (BITS - 1));
      for (int64_t k = 0; k < all.count[i]; k++) {
        const int32_t weight =
            all.weights[i * static_cast<size_t>(all.taps) + static_cast<size_t>(k)];
        const uint8_t* row = from + (all.begin[i] + k) * width;
        for (int64_t x = 0; x < width; x++) sums[static_cast<size_t>(x)] += row[x] * weight;
      }
      uint8_t* row = to.row(c, y);
      for (int64_t x = 0; x < width; x++) row[x] = to_byte(sums[static_cast<size_t>(x)] >> BITS);
    }
}

}  // namespace

void resize(const Planes& to, const Planes& from) {
  const int64_t rows = from.channels * from.height;
  if (to.height == from.height) {
    if (to.width == from.width)
      memcpy(to.data, from.data, static_cast<size_t>(rows * from.width));
    else
      across(to.data, to.width, from.data, from.width, rows);
    return;
  }
  if (to.width == from.width) return down(to, from.data, from.height);
  const auto between = room(rows * to.width);
  across(between.get(), to.width, from.data, from.width, rows);
  down(to, between.get(), from.height);
}

}  // namespace cdn::image
