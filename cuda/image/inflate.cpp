#include "image/inflate.h"

namespace cdn::image {

namespace {

[[noreturn]] void damaged(const char* what) {
  CDN_FAIL(CDN_BAD_ARGUMENT, "its compressed data is damaged: %s", what);
}

// Bits from the lowest of each byte on. Behind the end come zeros, which must not be taken.
class Bits {
 public:
  explicit Bits(Bytes from) : at_(from.data), end_(from.data + from.size) {}

  // At least 56 bits are there afterwards.
  void refill() {
    if (end_ - at_ >= 8) {
      uint64_t word = 0;
      for (int i = 0; i < 8; i++) word |= uint64_t{at_[i]} << (8 * i);  // one load
      buffer_ |= word << count_;
      at_ += (63 - count_) >> 3;
      count_ |= 56;
      return;
    }
    for (; count_ <= 56; count_ += 8) {
      if (at_ < end_)
        buffer_ |= uint64_t{*at_++} << count_;
      else
        padding_ += 8;
    }
    if (padding_ > count_) damaged("it ends too early");
  }
  int count() const { return count_; }
  uint32_t peek(int n) const { return static_cast<uint32_t>(buffer_ & ((uint64_t{1} << n) - 1)); }
  void skip(int n) {
    buffer_ >>= n;
    count_ -= n;
  }
  uint32_t take(int n) {
    uint32_t bits = peek(n);
    skip(n);
    return bits;
  }
  // The bytes that are not yet taken, from the next whole one on.
  Bytes rest() {
    const int64_t unread = (count_ - padding_) >> 3;
    if (padding_ > count_) damaged("it ends too early");
    return {at_ - unread, end_ - at_ + unread};
  }
  void restart(const uint8_t* at) {
    at_ = at;
    buffer_ = 0;
    count_ = padding_ = 0;
  }

 private:
  const uint8_t *at_, *end_;
  uint64_t buffer_ = 0;
  int count_ = 0, padding_ = 0;
};

// A Huffman code: short ones by a table, the others by their lengths.
template <int FAST, int SYMBOLS> class Code {
 public:
  void build(const uint8_t* lengths, int n) {
    int counts[17] = {}, at[17];
    memset(fast_, 0, sizeof fast_);
    for (int i = 0; i < n; i++) counts[lengths[i]]++;
    counts[0] = 0;
    int code = 0, index = 0;
    for (int length = 1; length <= 15; length++) {
      first_[length] = code;
      index_[length] = at[length] = index;
      code += counts[length];
      index += counts[length];
      if (code > 1 << length) damaged("a code has more words than there are");
      limit_[length] = code << (16 - length);  // of 16 bits that begin with a word so long
      code <<= 1;
    }
    limit_[16] = 1 << 16;
    for (int i = 0; i < n; i++) {
      const int length = lengths[i];
      if (!length) continue;
      const int place = at[length]++;
      symbols_[place] = static_cast<uint16_t>(i);
      if (length > FAST) continue;
      const uint32_t word = static_cast<uint32_t>(first_[length] + place - index_[length]);
      for (uint32_t j = reversed(word) >> (16 - length); j < 1u << FAST; j += 1u << length)
        fast_[j] = static_cast<uint16_t>(length << 9 | i);
    }
  }
  // Takes at most 15 of the bits that must be there.
  int decode(Bits& bits) const {
    if (const int entry = fast_[bits.peek(FAST)]) {
      bits.skip(entry >> 9);
      return entry & 511;
    }
    const int word = static_cast<int>(reversed(bits.peek(16)));
    int length = FAST + 1;
    while (word >= limit_[length]) length++;
    if (length > 15) damaged("a word is in none of its codes");
    bits.skip(length);
    return symbols_[(word >> (16 - length)) - first_[length] + index_[length]];
  }

 private:
  static uint32_t reversed(uint32_t x) {  // the lower 16 bits
    x = (x & 0xaaaa) >> 1 | (x & 0x5555) << 1;
    x = (x & 0xcccc) >> 2 | (x & 0x3333) << 2;
    x = (x & 0xf0f0) >> 4 | (x & 0x0f0f) << 4;
    return (x & 0xff00) >> 8 | (x & 0x00ff) << 8;
  }

  uint16_t fast_[1 << FAST];  // length << 9 | symbol, 0 for longer words
  int first_[17], index_[17], limit_[17];
  uint16_t symbols_[SYMBOLS];
};

constexpr uint16_t LENGTHS[29] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                  31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
constexpr uint8_t LENGTH_BITS[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                     2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
constexpr uint16_t DISTANCES[30] = {1,    2,    3,    4,    5,    7,    9,    13,    17,    25,
                                    33,   49,   65,   97,   129,  193,  257,  385,   513,   769,
                                    1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
constexpr uint8_t ORDER[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};

class Inflater {
 public:
  Inflater(uint8_t* to, int64_t size, Bytes from)
      : bits_(from), begin_(to), at_(to), end_(to + size) {}

  // The bytes after the last block.
  Bytes run() {
    for (bool last = false; !last;) {
      bits_.refill();
      last = bits_.take(1);
      switch (bits_.take(2)) {
        case 0: stored(); break;
        case 1: fixed_codes(), block(); break;
        case 2: own_codes(), block(); break;
        default: damaged("there is no such kind of block");
      }
    }
    if (at_ != end_) damaged("it holds fewer bytes than the picture has");
    return bits_.rest();
  }

 private:
  [[noreturn]] static void too_much() { damaged("it holds more bytes than the picture has"); }

  void stored() {
    Bytes rest = bits_.rest();
    if (rest.size < 4) damaged("it ends too early");
    const int length = rest.data[0] | rest.data[1] << 8;
    if (length != (~(rest.data[2] | rest.data[3] << 8) & 0xffff))
      damaged("a stored block is of no certain length");
    if (rest.size < 4 + length) damaged("it ends too early");
    if (length > end_ - at_) too_much();
    if (length) memcpy(at_, rest.data + 4, static_cast<size_t>(length));
    at_ += length;
    bits_.restart(rest.data + 4 + length);
  }

  void fixed_codes() {
    uint8_t lengths[288 + 30];
    for (int i = 0; i < 288; i++) lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    memset(lengths + 288, 5, 30);
    literals_.build(lengths, 288);
    distances_.build(lengths + 288, 30);
  }

  void own_codes() {
    const int literals = static_cast<int>(bits_.take(5)) + 257;
    const int all = literals + static_cast<int>(bits_.take(5)) + 1;
    const int count = static_cast<int>(bits_.take(4)) + 4;
    uint8_t lengths[286 + 32 + 138] = {};
    for (int i = 0; i < count; i++) {
      bits_.refill();
      lengths[ORDER[i]] = static_cast<uint8_t>(bits_.take(3));
    }
    lengths_.build(lengths, 19);
    if (literals > 286) damaged("it has too many symbols");
    memset(lengths, 0, sizeof lengths);
    for (int i = 0; i < all;) {
      bits_.refill();
      const int symbol = lengths_.decode(bits_);
      if (symbol < 16) {
        lengths[i++] = static_cast<uint8_t>(symbol);
        continue;
      }
      if (symbol == 16 && i == 0) damaged("a length is repeated before the first");
      const uint8_t repeated = symbol == 16 ? lengths[i - 1] : 0;
      int times = symbol == 16   ? 3 + static_cast<int>(bits_.take(2))
                  : symbol == 17 ? 3 + static_cast<int>(bits_.take(3))
                                 : 11 + static_cast<int>(bits_.take(7));
      while (times--) lengths[i++] = repeated;
      if (i > all) damaged("it has too many lengths");
    }
    literals_.build(lengths, literals);
    distances_.build(lengths + literals, all - literals);
  }

  void block() {
    Bits bits = bits_;  // in registers
    uint8_t* at = at_;
    for (;;) {
      if (bits.count() < 48) bits.refill();
      int symbol = literals_.decode(bits);
      if (symbol < 256) {
        if (at == end_) too_much();
        *at++ = static_cast<uint8_t>(symbol);
        continue;
      }
      if (symbol == 256) break;
      symbol -= 257;
      if (symbol >= 29) damaged("there is no such length");
      const int64_t length = LENGTHS[symbol] + static_cast<int>(bits.take(LENGTH_BITS[symbol]));
      bits.refill();
      symbol = distances_.decode(bits);
      if (symbol >= 30) damaged("there is no such distance");
      const int more = symbol < 4 ? 0 : (symbol >> 1) - 1;
      const int64_t distance = DISTANCES[symbol] + static_cast<int>(bits.take(more));
      if (distance > at - begin_) damaged("it repeats what is before the first byte");
      if (length > end_ - at) too_much();
      copy(at, distance, length);
      at += length;
    }
    bits_ = bits;
    at_ = at;
  }

  void copy(uint8_t* at, int64_t distance, int64_t length) const {
    const uint8_t* from = at - distance;
    if (distance == 1) {
      memset(at, *from, static_cast<size_t>(length));
    } else if (distance >= 8 && end_ - at >= length + 8) {
      for (int64_t i = 0; i < length; i += 8) memcpy(at + i, from + i, 8);
    } else {
      for (int64_t i = 0; i < length; i++) at[i] = from[i];
    }
  }

  Bits bits_;
  uint8_t *begin_, *at_, *end_;
  Code<11, 288> literals_;
  Code<8, 32> distances_;
  Code<7, 19> lengths_;
};

uint32_t adler32(const uint8_t* data, int64_t size) {
  constexpr int STEP = 32;
  uint32_t a = 1, b = 0;
  while (size > 0) {
    int64_t n = std::min<int64_t>(size, 5536);  // so many fit 32 bits; whole steps
    size -= n;
    for (; n >= STEP; n -= STEP, data += STEP) {
      uint32_t sum = 0, weighted = 0;
      for (uint32_t i = 0; i < STEP; i++) sum += data[i], weighted += (STEP - i) * data[i];
      b += STEP * a + weighted;
      a += sum;
    }
    for (; n > 0; n--) b += a += *data++;
    a %= 65521, b %= 65521;
  }
  return b << 16 | a;
}

}  // namespace

void inflate(uint8_t* to, int64_t size, Bytes from) {
  if (from.size < 2 || (from.data[0] & 15) != 8 || (from.data[0] << 8 | from.data[1]) % 31)
    damaged("it does not begin as zlib's does");
  if (from.data[1] & 32) damaged("it needs a dictionary");
  const auto inflater = std::make_unique<Inflater>(to, size, Bytes{from.data + 2, from.size - 2});
  const Bytes sum = inflater->run();
  if (sum.size < 4) damaged("its checksum is missing");
  const uint8_t* d = sum.data;
  const uint32_t wanted = uint32_t{d[0]} << 24 | uint32_t{d[1]} << 16 | uint32_t{d[2]} << 8 | d[3];
  if (adler32(to, size) != wanted) damaged("its checksum is another");
}

}  // namespace cdn::image
