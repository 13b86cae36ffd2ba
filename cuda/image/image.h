// What the decoders of PNG and JPEG files share. They work on the host's memory alone, on the
// calling thread. What a file says of itself is checked before memory is asked for it, and what is
// wrong with a file is a status, whatever the bytes.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>

#include "runtime/status.h"

namespace cdn::image {

struct Bytes {
  const uint8_t* data;
  int64_t size;
};

struct Info {
  enum Kind { PNG = 1, JPEG = 2 };
  int64_t kind;
  int64_t channels;       // 1 grey, 2 with alpha, 3 RGB, 4 with alpha
  int64_t height, width;  // as it is to be shown
  int64_t bits;           // of a sample in the file
};

// Where a picture goes: `channels` planes of height rows, one behind the other.
struct Planes {
  uint8_t* data;
  int64_t channels, height, width;

  uint8_t* row(int64_t channel, int64_t y) const { return data + (channel * height + y) * width; }
};

constexpr int64_t MAX_PIXELS = 1 << 28;

// Throws unless a picture of this size may be decoded.
inline void check_size(int64_t width, int64_t height) {
  if (width < 1 || height < 1)
    CDN_FAIL(CDN_BAD_ARGUMENT, "its header says %lld x %lld pixels; it must be at least 1 x 1",
             (long long)width, (long long)height);
  if (width > MAX_PIXELS / height)
    CDN_FAIL(CDN_UNSUPPORTED, "its header says %lld x %lld pixels; at most %lld are decoded",
             (long long)width, (long long)height, (long long)MAX_PIXELS);
}

[[noreturn]] inline void truncated(Bytes file) {
  CDN_FAIL(CDN_BAD_ARGUMENT, "it is truncated, at %lld bytes", (long long)file.size);
}

// Memory that is written before it is read.
inline std::unique_ptr<uint8_t[]> room(int64_t bytes) {
  return std::unique_ptr<uint8_t[]>(new uint8_t[static_cast<size_t>(bytes)]);
}

inline uint8_t to_byte(int32_t x) { return static_cast<uint8_t>(std::clamp(x, 0, 255)); }

// ITU-R 601's brightness, as other libraries round it.
inline uint8_t luma(int32_t r, int32_t g, int32_t b) {
  return static_cast<uint8_t>((19595 * r + 38470 * g + 7471 * b + 32768) >> 16);
}

bool is_png(Bytes file);
Info png_info(Bytes file);
void decode_png(Bytes file, const Planes& to);

bool is_jpeg(Bytes file);
Info jpeg_info(Bytes file);
void decode_jpeg(Bytes file, const Planes& to);

}  // namespace cdn::image
