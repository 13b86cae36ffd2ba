// Bits of a JPEG scan, and its Huffman codes.
#pragma once
#include "image/image.h"

namespace cdn::image {

// The highest bit of each byte first; a byte 255 is followed by a 0, as it would begin a marker.
// Behind the last byte come zeros, which must not be taken: see check().
class BitReader {
 public:
  explicit BitReader(Bytes from) : at_(from.data), end_(from.data + from.size) {}

  // At least 48 bits are there afterwards.
  void refill() {
    if (count_ >= 48) return;
    if (end_ - at_ >= 8) {
      uint64_t word = 0;
      for (int i = 0; i < 8; i++) word = word << 8 | at_[i];  // one load
      constexpr uint64_t ONES = 0x0101010101010101;
      if (!((~word - ONES) & word & (ONES << 7))) {  // no byte is 255
        buffer_ |= word >> count_;
        at_ += (63 - count_) >> 3;
        count_ |= 56;
        return;
      }
    }
    refill_bytes();
  }
  uint32_t peek(int n) const { return static_cast<uint32_t>(buffer_ >> 1 >> (63 - n)); }
  void skip(int n) {
    buffer_ <<= n;
    count_ -= n;
  }
  uint32_t take(int n) {
    const uint32_t bits = peek(n);
    skip(n);
    return bits;
  }
  // A number that is stored in n bits, of which those beginning with 0 are negative.
  int take_signed(int n) {
    const int bits = static_cast<int>(take(n));
    return n == 0 || bits >> (n - 1) ? bits : bits - (1 << n) + 1;
  }
  bool exhausted() const { return padding_ > count_; }

  // Goes on behind the restart marker of this number; false where that is not next.
  bool restart(int number) {
    buffer_ = 0;
    count_ = padding_ = 0;
    while (end_ - at_ >= 2 && at_[0] == 255 && at_[1] == 255) at_++;
    if (end_ - at_ < 2 || at_[0] != 255 || at_[1] != 0xd0 + number) return false;
    at_ += 2;
    return true;
  }
  const uint8_t* at() const { return at_; }

 private:
  void refill_bytes() {
    for (; count_ <= 56; count_ += 8) {
      const bool marker = at_ < end_ && *at_ == 255 && (end_ - at_ < 2 || at_[1] != 0);
      if (at_ == end_ || marker) {
        padding_ += 8;
        continue;
      }
      buffer_ |= uint64_t{*at_} << (56 - count_);
      at_ += *at_ == 255 ? 2 : 1;
    }
  }

  const uint8_t *at_, *end_;
  uint64_t buffer_ = 0;  // from the highest bit on
  int count_ = 0, padding_ = 0;
};

class HuffmanTable {
 public:
  static constexpr int FAST = 10;

  // counts: how many words there are of 1 to 16 bits; the symbols follow in that order.
  void build(const uint8_t* counts, const uint8_t* symbols) {
    memset(fast_, 0, sizeof fast_);
    memset(whole_, 0, sizeof whole_);
    int code = 0, index = 0;
    for (int length = 1; length <= 16; length++, code <<= 1) {
      first_[length] = code - index;
      for (int i = 0; i < counts[length - 1]; i++, code++, index++) {
        if (code >= 1 << length)
          CDN_FAIL(CDN_BAD_ARGUMENT,
                   "it is damaged: a Huffman table has more words than there are");
        symbols_[index] = symbols[index];
        if (length <= FAST) fill(code, length, symbols[index]);
      }
      limit_[length] = code << (16 - length);
    }
    limit_[17] = 1 << 16;
    present_ = true;
  }
  bool present() const { return present_; }

  // The next symbol, of at most 16 bits, which must be there.
  int decode(BitReader& bits) const {
    if (const int entry = fast_[bits.peek(FAST)]) {
      bits.skip(entry >> 8);
      return entry & 255;
    }
    const int word = static_cast<int>(bits.peek(16));
    int length = FAST + 1;
    while (word >= limit_[length]) length++;
    if (length > 16) CDN_FAIL(CDN_BAD_ARGUMENT, "it is damaged: a word is in no Huffman table");
    bits.skip(length);
    return symbols_[(word >> (16 - length)) - first_[length]];
  }
  // A coefficient with its symbol where both are short: value << 16 | run << 8 | bits, or 0.
  int whole(const BitReader& bits) const { return whole_[bits.peek(FAST)]; }

 private:
  void fill(int code, int length, int symbol) {
    const int spare = FAST - length, size = symbol & 15, run = symbol >> 4;
    for (int i = 0; i < 1 << spare; i++) {
      const int place = code << spare | i;
      fast_[place] = static_cast<uint16_t>(length << 8 | symbol);
      if (size == 0 || size > spare) continue;
      const int bits = i >> (spare - size);
      const int value = bits >> (size - 1) ? bits : bits - (1 << size) + 1;
      whole_[place] = value * 65536 + (run << 8 | (length + size));
    }
  }

  bool present_ = false;
  uint16_t fast_[1 << FAST];  // length << 8 | symbol
  int32_t whole_[1 << FAST];
  int first_[17], limit_[18];
  uint8_t symbols_[256];
};

}  // namespace cdn::image
