// From a JPEG's samples to pixels: triangle-shaped upsampling, colours, and EXIF's orientation, as
// libjpeg and Pillow round them.
#include "image/jpeg.h"

namespace cdn::image {

namespace {

// Rows of a component as long as the picture's, made where it has fewer samples than that.
class Rows {
 public:
  Rows(const Jpeg& jpeg, const Component& c) : c_(c), h_(jpeg.max_h / c.h), v_(jpeg.max_v / c.v) {
    fancy_h_ = h_ == 2 && v_ <= 2 && c.width > 2;
    fancy_v_ = v_ == 2 && (h_ == 1 || fancy_h_);
    if (h_ > 1 || fancy_v_) made_ = room(c.width * h_);
    if (fancy_h_) sums_.resize(static_cast<size_t>(c.width + 2));
  }

  const uint8_t* row(int64_t y) {
    const uint8_t* here = at(y / v_);
    // The nearest row but this, above or below.
    const uint8_t* near = at(y % 2 ? y / v_ + 1 : y / v_ - 1);
    const int64_t n = c_.width;
    uint8_t* to = made_.get();
    if (fancy_h_) {
      int16_t* sums = sums_.data() + 1;
      for (int64_t i = 0; i < n; i++)
        sums[i] = static_cast<int16_t>(fancy_v_ ? 3 * here[i] + near[i] : here[i]);
      sums[-1] = sums[0], sums[n] = sums[n - 1];
      if (fancy_v_)
        double_up<4, 8, 7>(to, sums, n);
      else
        double_up<2, 1, 2>(to, sums, n);
      return to;
    }
    if (fancy_v_) {
      const int half = y % 2 ? 2 : 1;
      for (int64_t i = 0; i < n; i++)
        to[i] = static_cast<uint8_t>((3 * here[i] + near[i] + half) >> 2);
      return to;
    }
    if (h_ == 1) return here;
    for (int64_t i = 0; i < n; i++) memset(to + i * h_, here[i], static_cast<size_t>(h_));
    return to;
  }

 private:
  const uint8_t* at(int64_t y) const {
    return &c_.samples[c_.stride() * std::clamp<int64_t>(y, 0, c_.height - 1)];
  }
  template <int SHIFT, int LEFT, int RIGHT>
  static void double_up(uint8_t* to, const int16_t* x, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
      to[2 * i] = static_cast<uint8_t>((3 * x[i] + x[i - 1] + LEFT) >> SHIFT);
      to[2 * i + 1] = static_cast<uint8_t>((3 * x[i] + x[i + 1] + RIGHT) >> SHIFT);
    }
  }

  const Component& c_;
  int h_, v_;  // pixels a sample
  bool fancy_h_, fancy_v_;
  std::unique_ptr<uint8_t[]> made_;
  std::vector<int16_t> sums_;
};

using Rgb = std::array<uint8_t*, 3>;

constexpr int fixed(double x) { return static_cast<int>(x * 65536 + 0.5); }

void ycc_to_rgb(const uint8_t* y, const uint8_t* cb, const uint8_t* cr, const Rgb& to, int64_t n) {
  uint8_t *r = to[0], *g = to[1], *b = to[2];
  for (int64_t i = 0; i < n; i++) {
    const int32_t blue = cb[i] - 128, red = cr[i] - 128;
    r[i] = to_byte(y[i] + ((fixed(1.402) * red + 32768) >> 16));
    g[i] = to_byte(y[i] + ((-fixed(0.34414) * blue - fixed(0.71414) * red + 32768) >> 16));
    b[i] = to_byte(y[i] + ((fixed(1.772) * blue + 32768) >> 16));
  }
}

// Ink that is stored as what it leaves of white, as Adobe's programs do.
void cmyk_to_rgb(const uint8_t* white, const uint8_t* black, uint8_t* to, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    const int32_t product = (255 - white[i]) * black[i] + 128;
    to[i] = to_byte(black[i] - (((product >> 8) + product) >> 8));
  }
}

void put_rows(const Jpeg& jpeg, const Planes& to) {
  const int64_t n = jpeg.width;
  std::vector<Rows> rows;
  for (const Component& c : jpeg.components) rows.emplace_back(jpeg, c);
  const Jpeg::Colour colour = jpeg.colour();
  const bool grey = to.channels <= 2;
  const bool only_first = colour == Jpeg::GREY || (colour == Jpeg::YCC && grey);
  const auto made = room(only_first ? 0 : 3 * n);
  for (int64_t y = 0; y < jpeg.height; y++) {
    const uint8_t* from[4] = {};
    for (size_t c = 0; c < (only_first ? 1 : rows.size()); c++) from[c] = rows[c].row(y);
    Rgb rgb;
    for (int64_t c = 0; c < 3; c++)
      rgb[static_cast<size_t>(c)] = grey ? &made[c * n] : to.row(c, y);
    const size_t bytes = static_cast<size_t>(n);
    if (to.channels % 2 == 0) memset(to.row(to.channels - 1, y), 255, bytes);
    if (only_first) {
      for (int64_t c = 0; c < (grey ? 1 : 3); c++) memcpy(to.row(c, y), from[0], bytes);
      continue;
    }
    if (colour == Jpeg::YCC || colour == Jpeg::YCCK) {
      ycc_to_rgb(from[0], from[1], from[2], rgb, n);
    } else {
      for (size_t c = 0; c < 3; c++) memcpy(rgb[c], from[c], bytes);
    }
    if (colour == Jpeg::YCCK)
      for (uint8_t* x : rgb)
        for (int64_t i = 0; i < n; i++) x[i] = static_cast<uint8_t>(255 - x[i]);
    if (colour == Jpeg::YCCK || colour == Jpeg::CMYK)
      for (uint8_t* x : rgb) cmyk_to_rgb(x, from[3], x, n);
    if (grey)
      for (int64_t i = 0; i < n; i++) to.row(0, y)[i] = luma(rgb[0][i], rgb[1][i], rgb[2][i]);
  }
}

}  // namespace

void put_jpeg(const Jpeg& jpeg, const Planes& to) {
  if (jpeg.orientation == 1) return put_rows(jpeg, to);
  const auto upright = room(to.channels * jpeg.height * jpeg.width);
  const Planes from = {upright.get(), to.channels, jpeg.height, jpeg.width};
  put_rows(jpeg, from);
  // Where pixel (y, x) of the result comes from: perhaps mirrored, then perhaps along columns.
  const int turn = jpeg.orientation - 1;
  const bool swap = jpeg.turned();
  const bool right = swap ? turn == 6 || turn == 7 : turn == 1 || turn == 2;
  const bool bottom = swap ? turn == 5 || turn == 6 : turn == 2 || turn == 3;
  for (int64_t c = 0; c < to.channels; c++)
    for (int64_t y = 0; y < to.height; y++) {
      uint8_t* row = to.row(c, y);
      for (int64_t x = 0; x < to.width; x++) {
        const int64_t i = swap ? y : x, j = swap ? x : y;
        row[x] = from.row(c, bottom ? from.height - 1 - j : j)[right ? from.width - 1 - i : i];
      }
    }
}

}  // namespace cdn::image
