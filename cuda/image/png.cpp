// PNG (ISO/IEC 15948).
#include <array>
#include <cctype>
#include <cstdlib>
#include <vector>

#include "image/inflate.h"
#include "image/put_row.h"

namespace cdn::image {

namespace {

constexpr uint8_t SIGNATURE[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
enum Colour { GREY = 0, RGB = 2, PALETTE = 3, GREY_ALPHA = 4, RGB_ALPHA = 6 };

uint32_t big_endian(const uint8_t* at) {
  return uint32_t{at[0]} << 24 | uint32_t{at[1]} << 16 | uint32_t{at[2]} << 8 | at[3];
}

using CrcTables = std::array<std::array<uint32_t, 256>, 8>;
constexpr CrcTables crc_tables() {
  CrcTables tables{};
  for (uint32_t byte = 0; byte < 256; byte++) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? 0xedb88320 ^ (crc >> 1) : crc >> 1;
    tables[0][byte] = crc;
  }
  for (size_t k = 1; k < 8; k++)
    for (size_t byte = 0; byte < 256; byte++) {
      const uint32_t before = tables[k - 1][byte];
      tables[k][byte] = tables[0][before & 255] ^ (before >> 8);
    }
  return tables;
}
constexpr CrcTables CRC = crc_tables();

// CRC-32, eight bytes at a time.
uint32_t crc32(const uint8_t* data, int64_t size) {
  uint32_t crc = ~0u;
  for (; size >= 8; size -= 8, data += 8) {
    const uint32_t low = crc ^ (uint32_t{data[0]} | uint32_t{data[1]} << 8 |
                                uint32_t{data[2]} << 16 | uint32_t{data[3]} << 24);
    crc = CRC[7][low & 255] ^ CRC[6][low >> 8 & 255] ^ CRC[5][low >> 16 & 255] ^ CRC[4][low >> 24] ^
          CRC[3][data[4]] ^ CRC[2][data[5]] ^ CRC[1][data[6]] ^ CRC[0][data[7]];
  }
  for (; size > 0; size--) crc = CRC[0][(crc ^ *data++) & 255] ^ (crc >> 8);
  return ~crc;
}

struct Png {
  int64_t width = 0, height = 0;
  int depth = 0, colour = 0;
  bool interlaced = false, has_data = false;
  std::array<uint8_t, 256 * 4> palette{};  // RGBA; black where the file has fewer
  bool has_palette = false, transparent = false;
  std::array<int, 3> key{};  // the samples that stand for transparent
  std::vector<uint8_t> data;

  int samples() const {
    return colour == RGB ? 3 : colour == RGB_ALPHA ? 4 : colour == GREY_ALPHA ? 2 : 1;
  }
  int channels() const {
    const bool colours = colour == RGB || colour == PALETTE || colour == RGB_ALPHA;
    const bool alpha = colour == GREY_ALPHA || colour == RGB_ALPHA || transparent;
    return (colours ? 3 : 1) + (alpha ? 1 : 0);
  }
  int64_t row_bytes(int64_t pixels) const { return (pixels * depth * samples() + 7) / 8; }
};

void read_header(Png& png, Bytes chunk) {
  if (chunk.size != 13)
    CDN_FAIL(CDN_BAD_ARGUMENT, "its header is of %lld bytes; it must be of 13",
             (long long)chunk.size);
  const uint8_t* at = chunk.data;
  png.width = big_endian(at), png.height = big_endian(at + 4);
  png.depth = at[8], png.colour = at[9], png.interlaced = at[12];
  check_size(png.width, png.height);
  static constexpr int DEPTHS[7] = {
      1 | 2 | 4 | 8 | 16, 0, 8 | 16, 1 | 2 | 4 | 8, 8 | 16, 0, 8 | 16};
  const bool power = png.depth > 0 && (png.depth & (png.depth - 1)) == 0;
  if (png.colour > 6 || !power || !(DEPTHS[png.colour] & png.depth) || at[10] || at[11] ||
      at[12] > 1)
    CDN_FAIL(CDN_UNSUPPORTED,
             "its header says %d bits a sample, colours of type %d, compression %d, filters %d, "
             "interlacing %d: there is no such PNG",
             png.depth, png.colour, at[10], at[11], at[12]);
}

void read_palette(Png& png, Bytes chunk) {
  if (png.colour != PALETTE) return;  // a suggestion
  if (chunk.size == 0 || chunk.size % 3 || chunk.size > 3 << png.depth)
    CDN_FAIL(CDN_BAD_ARGUMENT, "its palette has %lld bytes", (long long)chunk.size);
  for (size_t i = 0; i < 256; i++) png.palette[4 * i + 3] = 255;
  for (size_t i = 0; i < static_cast<size_t>(chunk.size); i++)
    png.palette[i / 3 * 4 + i % 3] = chunk.data[i];
  png.has_palette = true;
}

void read_transparency(Png& png, Bytes chunk) {
  if (png.colour == GREY_ALPHA || png.colour == RGB_ALPHA) return;
  const bool palette = png.colour == PALETTE;
  if (palette ? !png.has_palette || chunk.size > 256 : chunk.size != 2 * png.samples())
    CDN_FAIL(CDN_BAD_ARGUMENT, "its transparency (tRNS) has %lld bytes", (long long)chunk.size);
  for (size_t i = 0; i < static_cast<size_t>(chunk.size); i++) {
    if (palette)
      png.palette[4 * i + 3] = chunk.data[i];
    else if (i % 2)
      png.key[i / 2] = chunk.data[i - 1] << 8 | chunk.data[i];
  }
  png.transparent = true;
}

// What the chunks say; those up to the pixels' first one, or all.
Png read_chunks(Bytes file, bool all) {
  Png png;
  for (int64_t at = sizeof SIGNATURE;;) {
    if (file.size - at < 12) truncated(file);
    const int64_t size = big_endian(file.data + at);
    if (file.size - at - 12 < size) truncated(file);
    const char* type = reinterpret_cast<const char*>(file.data + at + 4);
    const Bytes chunk = {file.data + at + 8, size};
    const auto is = [&](const char* name) { return memcmp(type, name, 4) == 0; };
    if (is("IDAT") && !all) break;
    for (int i = 0; i < 4; i++)
      if (!isalpha(static_cast<unsigned char>(type[i])))
        CDN_FAIL(CDN_BAD_ARGUMENT, "it is damaged: what is at byte %lld is no chunk",
                 (long long)at);
    const uint32_t crc = crc32(chunk.data - 4, size + 4), wanted = big_endian(chunk.data + size);
    if (crc != wanted)
      CDN_FAIL(CDN_BAD_ARGUMENT, "it is damaged: the CRC-32 of %.4s at byte %lld is %08x, not %08x",
               type, (long long)at, crc, wanted);
    if ((at == sizeof SIGNATURE) != is("IHDR"))
      CDN_FAIL(CDN_BAD_ARGUMENT, "it is damaged: IHDR must be its first chunk, and there only");
    if (is("IHDR"))
      read_header(png, chunk);
    else if (is("PLTE"))
      read_palette(png, chunk);
    else if (is("tRNS"))
      read_transparency(png, chunk);
    else if (is("IDAT"))
      png.data.insert(png.data.end(), chunk.data, chunk.data + size);
    else if (is("IEND"))
      break;
    else if (isupper(static_cast<unsigned char>(type[0])))
      CDN_FAIL(CDN_UNSUPPORTED, "it has a chunk %.4s, which is not known and not to be left out",
               type);
    at += 12 + size;
  }
  if (png.colour == PALETTE && !png.has_palette)
    CDN_FAIL(CDN_BAD_ARGUMENT, "it has no palette, but colours that are numbers of one");
  return png;
}

// ---- Lines are differences from their neighbours: to the left, above, and above to the left.

uint8_t paeth(int left, int up, int corner) {  // the one nearest to left + up - corner
  const int to_left = std::abs(up - corner), to_up = std::abs(left - corner);
  const int to_corner = std::abs(left + up - 2 * corner);
  const int other = to_up <= to_corner ? up : corner;
  return static_cast<uint8_t>(to_left <= to_up && to_left <= to_corner ? left : other);
}

// Filters 1, 3 and 4, of pixels of B bytes, which stay in registers.
template <int B, class Guess>
void unfilter_pixels(uint8_t* line, const uint8_t* above, int64_t bytes, Guess guess) {
  uint8_t left[B] = {}, corner[B] = {};
  for (int64_t i = 0; i + B <= bytes; i += B)
    for (int k = 0; k < B; k++) {
      left[k] = line[i + k] =
          static_cast<uint8_t>(line[i + k] + guess(left[k], above[i + k], corner[k]));
      corner[k] = above[i + k];
    }
}

template <int B> void unfilter(int filter, uint8_t* line, const uint8_t* above, int64_t bytes) {
  if (filter == 1)
    unfilter_pixels<B>(line, above, bytes, [](int left, int, int) { return left; });
  else if (filter == 3)
    unfilter_pixels<B>(line, above, bytes, [](int left, int up, int) { return (left + up) >> 1; });
  else
    unfilter_pixels<B>(line, above, bytes, paeth);
}

void unfilter(int filter, uint8_t* line, const uint8_t* above, int64_t bytes, int pixel) {
  if (filter == 0) return;
  if (filter > 4) CDN_FAIL(CDN_BAD_ARGUMENT, "a line has the filter %d; there are 0 to 4", filter);
  if (filter == 2) {
    for (int64_t i = 0; i < bytes; i++) line[i] = static_cast<uint8_t>(line[i] + above[i]);
    return;
  }
  switch (pixel) {
    case 1: return unfilter<1>(filter, line, above, bytes);
    case 2: return unfilter<2>(filter, line, above, bytes);
    case 3: return unfilter<3>(filter, line, above, bytes);
    case 4: return unfilter<4>(filter, line, above, bytes);
    case 6: return unfilter<6>(filter, line, above, bytes);
    default: return unfilter<8>(filter, line, above, bytes);
  }
}

// ---- From samples of any depth to bytes.

int sample(const uint8_t* line, int64_t i, int depth) {
  if (depth == 8) return line[i];
  if (depth == 16) return line[2 * i] << 8 | line[2 * i + 1];
  const int64_t bit = i * depth;
  return line[bit >> 3] >> (8 - depth - (bit & 7)) & ((1 << depth) - 1);
}

// n pixels of channels() bytes each.
void expand(const Png& png, const uint8_t* line, int64_t n, uint8_t* to) {
  const int samples = png.samples(), channels = png.channels(), depth = png.depth;
  const int scale = depth < 8 ? 255 / ((1 << depth) - 1) : 1;
  for (int64_t x = 0; x < n; x++, to += channels) {
    if (png.colour == PALETTE) {
      memcpy(to, &png.palette[static_cast<size_t>(4 * sample(line, x, depth))],
             static_cast<size_t>(channels));
      continue;
    }
    bool opaque = !png.transparent;
    for (int c = 0; c < samples; c++) {
      const int value = sample(line, x * samples + c, depth);
      to[c] = static_cast<uint8_t>(depth == 16 ? (value * 255 + 32895) >> 16 : value * scale);
      if (png.transparent) opaque |= value != png.key[static_cast<size_t>(c)];
    }
    if (png.transparent) to[samples] = opaque ? 255 : 0;
  }
}

struct Pass {
  int64_t x, y, dx, dy;
};
constexpr Pass WHOLE[] = {{0, 0, 1, 1}};
constexpr Pass ADAM7[] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                          {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};

}  // namespace

bool is_png(Bytes file) {
  return file.size >= 8 && memcmp(file.data, SIGNATURE, sizeof SIGNATURE) == 0;
}

Info png_info(Bytes file) {
  const Png png = read_chunks(file, false);
  return {Info::PNG, png.channels(), png.height, png.width, png.depth};
}

void decode_png(Bytes file, const Planes& to) {
  const Png png = read_chunks(file, true);
  const Pass* passes = png.interlaced ? ADAM7 : WHOLE;
  const int count = png.interlaced ? 7 : 1;
  const auto across = [&](const Pass& p) { return (png.width - p.x + p.dx - 1) / p.dx; };
  const auto down = [&](const Pass& p) { return (png.height - p.y + p.dy - 1) / p.dy; };
  int64_t size = 0;
  for (int i = 0; i < count; i++)
    if (const int64_t n = across(passes[i])) size += down(passes[i]) * (1 + png.row_bytes(n));
  if (size / 1040 > static_cast<int64_t>(png.data.size()))  // deflate's best is 1032
    CDN_FAIL(CDN_BAD_ARGUMENT,
             "its header is of %lld bytes of lines, which %lld compressed ones "
             "cannot hold",
             (long long)size, (long long)png.data.size());
  const auto lines = room(size);
  inflate(lines.get(), size, {png.data.data(), static_cast<int64_t>(png.data.size())});

  const bool plain = png.depth == 8 && png.colour != PALETTE && !png.transparent;
  const auto expanded = room(plain ? 0 : png.width * png.channels());
  const std::vector<uint8_t> nothing(static_cast<size_t>(png.row_bytes(png.width)));
  const int pixel = std::max(1, png.depth * png.samples() / 8);
  uint8_t* line = lines.get();
  for (int i = 0; i < count; i++) {
    const Pass& p = passes[i];
    const int64_t n = across(p), bytes = png.row_bytes(n);
    const uint8_t* above = nothing.data();
    for (int64_t y = p.y; n > 0 && y < png.height; y += p.dy) {
      unfilter(*line, line + 1, above, bytes, pixel);
      above = line + 1;
      if (!plain) expand(png, above, n, expanded.get());
      put_row(to, plain ? above : expanded.get(), png.channels(), n, y, p.x, p.dx);
      line += 1 + bytes;
    }
  }
}

}  // namespace cdn::image
