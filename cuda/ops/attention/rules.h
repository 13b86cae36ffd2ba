// What a row of attention may see of a column, and what dropout leaves of it: once for all kernels
// and both backends. Rows are queries, columns keys.
#pragma once
#include "kernel/philox.h"

namespace cdn {

// What is added to scores, by its dtype, or uint8, where 0 hides a column.
enum class MaskKind : int32_t {
  NONE = -1,
  FLOAT32 = CDN_FLOAT32,
  FLOAT64 = CDN_FLOAT64,
  BOOLEAN = CDN_UINT8,
  FLOAT16 = CDN_FLOAT16,
  BFLOAT16 = CDN_BFLOAT16
};

// Where the rows of a batch's heads lie, in elements.
struct HeadStrides {
  int64_t batch, head, row;
  CDN_FN int64_t operator()(int64_t b, int64_t h, int64_t r) const {
    return b * batch + h * head + r * row;
  }
};

// Columns or rows [begin, end), none where end <= begin.
struct Span {
  int64_t begin, end;
};

// Which weights dropout leaves: a function of head, row and column alone.
struct WeightDropout {
  int64_t queries, keys;
  RandomStream stream;
  uint32_t threshold;  // pieces of 16 bits below it drop their weight: 0 for no dropout
  double scale;        // of the others: 1 / (1 - p)

  // A block of Philox serves 8 weights of 16 rows and 16 columns: those that the lane of a warp has
  // of them in tensor cores' sums (m16n8, twice). Piece e of 16 bits is of
  //   row    lane / 4 + 8 * (e / 2 % 2)
  //   column lane % 4 * 2 + e % 2 + 8 * (e / 4)
  // head: batch * heads + head. Rows and columns in 16s.
  CDN_FN Words random(int64_t head, int64_t row16, int64_t column16, int lane) const {
    const int64_t rows16 = (queries + 15) / 16, columns16 = (keys + 15) / 16;
    return stream.block(((head * rows16 + row16) * columns16 + column16) * 32 + lane);
  }
  CDN_FN bool kept(const Words& words, int e) const {
    return (words.v[e / 2] >> (e % 2 * 16) & 0xffffu) >= threshold;
  }
  CDN_FN bool kept(int64_t head, int64_t row, int64_t column) const {
    const int r = static_cast<int>(row % 16), c = static_cast<int>(column % 16);
    return kept(random(head, row / 16, column / 16, r % 8 * 4 + c % 8 / 2),
                c / 8 * 4 + r / 8 * 2 + c % 2);
  }
};

inline WeightDropout weight_dropout(Call& call, int64_t queries, int64_t keys, uint32_t state,
                                    double p, int64_t seed, int64_t offset) {
  const uint32_t threshold = static_cast<uint32_t>(p * 0x1p16 + 0.5);
  const double scale = threshold < 0x10000 ? 0x1p16 / (0x10000 - threshold) : 0;
  return {queries, keys, random_stream(call, state, seed, offset), threshold, scale};
}

struct AttentionRules {
  // ---- Limits
  int64_t queries, keys;
  int64_t offset;       // of the diagonal: row r stands at column r + offset
  int64_t left, right;  // columns that a row sees on either side of where it stands; -1: all
  bool from_end;        // the diagonal is counted from the end: its last row stands at the last key
  const int32_t* lengths;  // [batch]; null: all keys

  // ---- The mask
  MaskKind kind;
  const void* mask;
  HeadStrides mask_at;
  int64_t mask_column;  // elements from one column to the next

  WeightDropout dropout;

  CDN_FN int64_t keys_of(int64_t b) const {
    if (!lengths) return keys;
    const int64_t length = lengths[b];
    return length < 0 ? 0 : length < keys ? length : keys;
  }
  CDN_FN int64_t diagonal(int64_t b) const {
    return offset + (from_end ? keys_of(b) - queries : 0);
  }
  // What the limits leave of batch b to a row; neither end comes earlier for a later row.
  CDN_FN Span columns(int64_t b, int64_t row) const {
    const int64_t at = row + diagonal(b), end = keys_of(b);
    return {left < 0 || at - left < 0 ? 0 : at - left,
            right < 0 || at + right + 1 > end ? end : at + right + 1};
  }
  // The first and the last column that any of rows [first, last] sees, and one past it.
  CDN_FN Span columns(int64_t b, int64_t first, int64_t last) const {
    return {columns(b, first).begin, columns(b, last).end};
  }
  // The rows that may see any of columns [first, last].
  CDN_FN Span rows(int64_t b, int64_t first, int64_t last) const {
    const int64_t diag = diagonal(b), from = right < 0 ? 0 : first - right - diag,
                  to = left < 0 ? queries : last + left - diag + 1;
    if (first >= keys_of(b)) return {0, 0};
    return {from < 0 ? 0 : from, to > queries ? queries : to};
  }

  // Whether the mask is of what is added to scores.
  CDN_FN bool adds() const { return kind != MaskKind::NONE && kind != MaskKind::BOOLEAN; }
  // What it adds, times log2(e). Only -infinity hides a column: the lowest of finite masks stay
  // finite.
  template <class C, class M> static CDN_FN C scaled(M mask) {
    const C least = std::numeric_limits<C>::lowest(), x = static_cast<C>(wide(mask)),
            y = x * C(1.4426950408889634);
    return y < least && x >= least ? least : y;
  }
  // What the mask adds to a score times log2(e), -infinity where it hides the column; `row`:
  // mask_at(b, h, r).
  template <class C> CDN_FN C added(int64_t row, int64_t column) const {
    const int64_t i = row + column * mask_column;
    switch (kind) {
      case MaskKind::NONE: return 0;
      case MaskKind::BOOLEAN:
        return static_cast<const uint8_t*>(mask)[i] ? C(0) : -std::numeric_limits<C>::infinity();
      case MaskKind::FLOAT32: return scaled<C>(static_cast<const float*>(mask)[i]);
      case MaskKind::FLOAT64: return scaled<C>(static_cast<const double*>(mask)[i]);
      case MaskKind::FLOAT16: return scaled<C>(static_cast<const float16*>(mask)[i]);
      default: return scaled<C>(static_cast<const bfloat16*>(mask)[i]);
    }
  }
};

}  // namespace cdn
