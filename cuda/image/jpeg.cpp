// A JPEG's markers: what they say of the picture, and the tables that scans need.
#include "image/jpeg.h"

namespace cdn::image {

namespace {

constexpr int MAX_SCANS = 64;  // many times as many as encoders make

enum Marker {
  SOF0 = 0xc0,
  SOF1 = 0xc1,
  SOF2 = 0xc2,
  DHT = 0xc4,
  JPG = 0xc8,
  DAC = 0xcc,
  SOF15 = 0xcf,
  RST0 = 0xd0,
  RST7 = 0xd7,
  SOI = 0xd8,
  EOI = 0xd9,
  SOS = 0xda,
  DQT = 0xdb,
  DRI = 0xdd,
  APP0 = 0xe0,
  APP1 = 0xe1,
  APP14 = 0xee,
  TEM = 0x01
};

[[noreturn]] void damaged(const char* segment) {
  CDN_FAIL(CDN_BAD_ARGUMENT, "it is damaged: the segment %s is not as it must be", segment);
}

int big_endian(const uint8_t* at) { return at[0] << 8 | at[1]; }

bool begins(Bytes segment, const char* text, int64_t size) {
  return segment.size >= size && memcmp(segment.data, text, static_cast<size_t>(size)) == 0;
}

// The tag Orientation (274, a short) of a TIFF's first directory; 1 where it is not there.
int exif_orientation(Bytes tiff) {
  if (!begins(tiff, "II*\0", 4) && !begins(tiff, "MM\0*", 4)) return 1;
  const bool little = tiff.data[0] == 'I';
  const auto number = [&](int64_t at, int bytes) {  // 0 beyond the end
    uint32_t value = 0;
    if (at + bytes > tiff.size) return value;
    for (int i = 0; i < bytes; i++)
      value |= uint32_t{tiff.data[at + i]} << 8 * (little ? i : bytes - 1 - i);
    return value;
  };
  const int64_t directory = number(4, 4);
  const int64_t count = number(directory, 2);
  for (int64_t i = 0; i < count; i++) {
    const int64_t entry = directory + 2 + 12 * i;
    if (entry + 12 > tiff.size) break;
    if (number(entry, 2) != 274 || number(entry + 2, 2) != 3) continue;
    const int value = static_cast<int>(number(entry + 8, 2));
    return value >= 1 && value <= 8 ? value : 1;
  }
  return 1;
}

void read_application(Jpeg& jpeg, int marker, Bytes segment) {
  if (marker == APP0 && begins(segment, "JFIF\0", 5)) jpeg.has_jfif = true;
  if (marker == APP14 && begins(segment, "Adobe", 5) && segment.size >= 12)
    jpeg.adobe = segment.data[11];
  if (marker == APP1 && begins(segment, "Exif\0\0", 6) && jpeg.components.empty())
    jpeg.orientation = exif_orientation({segment.data + 6, segment.size - 6});
}

void read_quantization(Jpeg& jpeg, Bytes segment) {
  while (segment.size > 0) {
    const size_t table = segment.data[0] & 15;
    const int bytes = segment.data[0] >> 4 ? 2 : 1, size = 1 + 64 * bytes;
    if (table > 3 || segment.data[0] >> 4 > 1 || segment.size < size) damaged("DQT");
    for (size_t k = 0; k < 64; k++) {
      const uint8_t* at = segment.data + 1 + k * static_cast<size_t>(bytes);
      jpeg.quantization[table][ZIGZAG[k]] =
          static_cast<uint16_t>(bytes == 2 ? big_endian(at) : *at);
    }
    jpeg.has_quantization[table] = true;
    segment = {segment.data + size, segment.size - size};
  }
}

void read_huffman(Jpeg& jpeg, Bytes segment) {
  while (segment.size > 0) {
    if (segment.size < 17) damaged("DHT");
    const int kind = segment.data[0] >> 4;
    const size_t table = segment.data[0] & 15;
    int count = 0;
    for (int i = 1; i <= 16; i++) count += segment.data[i];
    if (kind > 1 || table > 3 || count > 256 || segment.size < 17 + count) damaged("DHT");
    (kind ? jpeg.ac : jpeg.dc)[table].build(segment.data + 1, segment.data + 17);
    segment = {segment.data + 17 + count, segment.size - 17 - count};
  }
}

void read_frame(Jpeg& jpeg, int marker, Bytes segment) {
  if (!jpeg.components.empty()) CDN_FAIL(CDN_BAD_ARGUMENT, "it is damaged: it has two frames");
  if (segment.size < 6) damaged("SOF");
  const uint8_t* at = segment.data;
  const int bits = at[0], count = at[5];
  if (bits != 8)
    CDN_FAIL(CDN_UNSUPPORTED, "it has %d bits a sample; files with 8 are decoded", bits);
  jpeg.progressive = marker == SOF2;
  jpeg.height = big_endian(at + 1), jpeg.width = big_endian(at + 3);
  if (jpeg.height == 0 && jpeg.width > 0)
    CDN_FAIL(CDN_UNSUPPORTED, "its height comes after its pixels (DNL), which is not supported");
  check_size(jpeg.width, jpeg.height);
  if (count != 1 && count != 3 && count != 4)
    CDN_FAIL(CDN_UNSUPPORTED, "it has %d components; files with 1, 3 or 4 are decoded", count);
  if (segment.size != 6 + 3 * count) damaged("SOF");
  for (int i = 0; i < count; i++) {
    Component c{};
    c.id = at[6 + 3 * i], c.quantization = at[8 + 3 * i];
    c.h = at[7 + 3 * i] >> 4, c.v = at[7 + 3 * i] & 15;
    if (c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 || c.quantization > 3) damaged("SOF");
    jpeg.max_h = std::max(jpeg.max_h, c.h), jpeg.max_v = std::max(jpeg.max_v, c.v);
    c.low_bit.fill(-1);
    jpeg.components.push_back(std::move(c));
  }
  for (Component& c : jpeg.components) {
    if (jpeg.max_h % c.h || jpeg.max_v % c.v)
      CDN_FAIL(CDN_UNSUPPORTED,
               "it has components of %d x %d samples to %d x %d pixels; whole "
               "ratios are decoded",
               c.h, c.v, jpeg.max_h, jpeg.max_v);
    c.width = (jpeg.width * c.h + jpeg.max_h - 1) / jpeg.max_h;
    c.height = (jpeg.height * c.v + jpeg.max_v - 1) / jpeg.max_v;
    c.blocks_x = jpeg.units_x() * c.h, c.blocks_y = jpeg.units_y() * c.v;
  }
}

// A block takes two bits at least, or one where it is progressive.
void make_room(Jpeg& jpeg) {
  int64_t blocks = 0;
  for (const Component& c : jpeg.components) blocks += (c.width + 7) / 8 * ((c.height + 7) / 8);
  if (blocks * (jpeg.progressive ? 1 : 2) > 8 * jpeg.file.size)
    CDN_FAIL(CDN_BAD_ARGUMENT, "its header says %lld x %lld pixels, which %lld bytes cannot hold",
             (long long)jpeg.width, (long long)jpeg.height, (long long)jpeg.file.size);
  for (Component& c : jpeg.components) {
    const int64_t size = 64 * c.blocks_x * c.blocks_y;
    c.samples = room(size);
    if (jpeg.progressive) c.coefficients.resize(static_cast<size_t>(size));
  }
}

// Reads markers up to the frame's header, or all.
void read(Jpeg& jpeg, bool all) {
  const uint8_t *at = jpeg.file.data + 2, *end = jpeg.file.data + jpeg.file.size;
  int scans = 0;
  const auto complete = [&] {
    return std::all_of(jpeg.components.begin(), jpeg.components.end(),
                       [](const Component& c) { return c.seen; });
  };
  for (;;) {
    while (at < end && *at != 255) at++;  // what is between segments does not count
    while (at < end && *at == 255) at++;
    if (at == end) {  // some lack the last marker
      if (scans && !jpeg.progressive && complete()) return;
      truncated(jpeg.file);
    }
    const int marker = *at++;
    if (marker == 0 || marker == TEM || (marker >= RST0 && marker <= RST7)) continue;
    if (marker == EOI) {
      if (jpeg.components.empty() || !complete())
        CDN_FAIL(CDN_BAD_ARGUMENT, "it is damaged: it ends before all of its components");
      return;
    }
    if (marker == SOI) damaged("SOI");
    if (end - at < 2) truncated(jpeg.file);
    const int length = big_endian(at);
    if (length < 2) damaged("of a length below 2");
    if (end - at < length) truncated(jpeg.file);
    const Bytes segment = {at + 2, length - 2};
    at += length;
    if (marker == DQT)
      read_quantization(jpeg, segment);
    else if (marker == DHT)
      read_huffman(jpeg, segment);
    else if (marker == DRI) {
      if (segment.size != 2) damaged("DRI");
      jpeg.restart = big_endian(segment.data);
    } else if (marker == SOF0 || marker == SOF1 || marker == SOF2) {
      read_frame(jpeg, marker, segment);
      if (!all) return;
      make_room(jpeg);
    } else if (marker >= SOF0 && marker <= SOF15 && marker != JPG && marker != DAC) {
      CDN_FAIL(CDN_UNSUPPORTED,
               "it is a JPEG of the kind SOF%d, lossless, hierarchical or with "
               "arithmetic codes; baseline and progressive ones are decoded",
               marker - SOF0);
    } else if (marker == SOS) {
      if (jpeg.components.empty()) damaged("SOS, which is there before SOF,");
      if (++scans > MAX_SCANS) CDN_FAIL(CDN_UNSUPPORTED, "it has more than %d scans", MAX_SCANS);
      at = read_scan(jpeg, segment);
      if (!jpeg.progressive && complete()) return;
    } else {
      read_application(jpeg, marker, segment);
    }
  }
}

}  // namespace

Jpeg::Colour Jpeg::colour() const {
  if (components.size() == 1) return GREY;
  if (components.size() == 4) return adobe >= 1 ? YCCK : CMYK;
  if (has_jfif) return YCC;
  if (adobe >= 0) return adobe == 0 ? RGB : YCC;
  const bool named = components[0].id == 'R' && components[1].id == 'G' && components[2].id == 'B';
  return named ? RGB : YCC;
}

bool is_jpeg(Bytes file) {
  return file.size >= 3 && file.data[0] == 255 && file.data[1] == SOI && file.data[2] == 255;
}

Info jpeg_info(Bytes file) {
  Jpeg jpeg;
  jpeg.file = file;
  read(jpeg, false);
  const int64_t channels = jpeg.components.size() == 1 ? 1 : 3;
  if (jpeg.turned()) return {Info::JPEG, channels, jpeg.width, jpeg.height, 8};
  return {Info::JPEG, channels, jpeg.height, jpeg.width, 8};
}

void decode_jpeg(Bytes file, const Planes& to) {
  Jpeg jpeg;
  jpeg.file = file;
  read(jpeg, true);
  for (Component& c : jpeg.components)
    for (int64_t y = 0; jpeg.progressive && y < c.blocks_y; y++)
      for (int64_t x = 0; x < c.blocks_x; x++)
        inverse_dct(&c.coefficients[static_cast<size_t>(64 * (y * c.blocks_x + x))], c.steps.data(),
                    c.block(x, y), c.stride());
  put_jpeg(jpeg, to);
}

}  // namespace cdn::image
