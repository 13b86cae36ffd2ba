// JPEG (ITU-T T.81), what its parts share: markers are read by jpeg.cpp, scans by jpeg_scan.cpp;
// jpeg_idct.cpp makes samples of coefficients and jpeg_pixels.cpp pixels of samples, both as
// libjpeg rounds them.
#pragma once
#include <array>
#include <vector>

#include "image/image.h"
#include "image/jpeg_bits.h"

namespace cdn::image {

// Where the k-th coefficient of a file stands in a block.
constexpr uint8_t ZIGZAG[64] = {0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,
                                12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6,  7,  14, 21, 28,
                                35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
                                58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63};

struct Component {
  int id, h, v;  // sampling factors
  int quantization;
  int64_t width, height;             // samples that the picture has
  int64_t blocks_x, blocks_y;        // with those that fill the last units up
  std::array<uint16_t, 64> steps{};  // of quantization, in a block's order
  bool seen = false;                 // a scan of it has begun
  std::unique_ptr<uint8_t[]> samples;
  std::vector<int16_t> coefficients;  // of all blocks, where scans refine them
  std::array<int8_t, 64> low_bit;     // per coefficient of a file: what is still to come, or -1

  int64_t stride() const { return 8 * blocks_x; }
  uint8_t* block(int64_t x, int64_t y) const { return &samples[8 * (y * stride() + x)]; }
};

struct Jpeg {
  enum Colour { GREY, YCC, RGB, CMYK, YCCK };
  Bytes file{};
  int64_t width = 0, height = 0;
  bool progressive = false;
  int max_h = 1, max_v = 1;
  std::vector<Component> components;  // none before the frame's header
  bool has_jfif = false;
  int adobe = -1;       // its kind of colours, or none
  int orientation = 1;  // EXIF's
  int64_t restart = 0;  // units between restart markers
  std::array<std::array<uint16_t, 64>, 4> quantization{};
  std::array<bool, 4> has_quantization{};
  std::array<HuffmanTable, 4> dc, ac;

  Colour colour() const;
  bool turned() const { return orientation >= 5; }
  int64_t units_x() const { return (width + 8 * max_h - 1) / (8 * max_h); }
  int64_t units_y() const { return (height + 8 * max_v - 1) / (8 * max_v); }
};

// One scan, from the body of its header on; gives where it ends.
const uint8_t* read_scan(Jpeg& jpeg, Bytes header);

// The samples of a block, 8 rows of them.
void inverse_dct(const int16_t* block, const uint16_t* steps, uint8_t* to, int64_t stride);
// The same where all but the first coefficient are 0.
void inverse_dct_flat(int dc, int step, uint8_t* to, int64_t stride);

// Pixels of the samples, turned as `orientation` says.
void put_jpeg(const Jpeg& jpeg, const Planes& to);

}  // namespace cdn::image
