// The scans of a JPEG: sequential ones hold blocks as a whole, progressive ones some coefficients
// of them, or the next bit of those.
#include <cstdlib>
#include <tuple>

#include "image/jpeg.h"

namespace cdn::image {

namespace {

[[noreturn]] void damaged(const char* what) {
  CDN_FAIL(CDN_BAD_ARGUMENT, "it is damaged: %s", what);
}

struct Part {
  Component* component;
  const HuffmanTable *dc, *ac;
  int last_dc = 0;
};

struct Scan {
  Jpeg& jpeg;
  BitReader bits;
  std::vector<Part> parts;
  int begin = 0, end = 63;  // its coefficients
  int high = 0, low = 0;    // their bits: those before this one came down to high
  int64_t end_of_band = 0;  // blocks that have no more of them

  int next_dc(Part& part) {
    const int size = part.dc->decode(bits);
    if (size > 15) damaged("a coefficient has too many bits");
    // wraps, as sums of damaged files may
    return part.last_dc = static_cast<int16_t>(part.last_dc + bits.take_signed(size));
  }

  void sequential(Part& part, int64_t x, int64_t y) {
    alignas(32) int16_t block[64] = {};
    Component& c = *part.component;
    bits.refill();
    block[0] = static_cast<int16_t>(next_dc(part));
    int k = 1;
    const HuffmanTable& ac = *part.ac;
    for (; k < 64; k++) {
      bits.refill();
      if (const int whole = ac.whole(bits)) {
        k += whole >> 8 & 255;
        if (k > 63) damaged("a block has more than 64 coefficients");
        bits.skip(whole & 255);
        block[ZIGZAG[k]] = static_cast<int16_t>(whole >> 16);
        continue;
      }
      const int symbol = ac.decode(bits), run = symbol >> 4, size = symbol & 15;
      if (size == 0) {
        if (run < 15) break;
        k += 15;
        continue;
      }
      k += run;
      if (k > 63) damaged("a block has more than 64 coefficients");
      block[ZIGZAG[k]] = static_cast<int16_t>(bits.take_signed(size));
    }
    if (k == 1)
      inverse_dct_flat(block[0], c.steps[0], c.block(x, y), c.stride());
    else
      inverse_dct(block, c.steps.data(), c.block(x, y), c.stride());
  }

  void first_ac(int16_t* block, const HuffmanTable& ac) {
    if (end_of_band > 0) {
      end_of_band--;
      return;
    }
    for (int k = begin; k <= end; k++) {
      bits.refill();
      const int symbol = ac.decode(bits), run = symbol >> 4, size = symbol & 15;
      if (size == 0 && run < 15) {
        end_of_band = (1 << run) + static_cast<int>(bits.take(run)) - 1;
        return;
      }
      k += run;
      if (size == 0) continue;
      if (k > end) damaged("a block has more coefficients than its scan");
      block[ZIGZAG[k]] = static_cast<int16_t>(bits.take_signed(size) * (1 << low));
    }
  }

  // One more bit of a coefficient that is not 0.
  void refine(int16_t& x) {
    bits.refill();
    const int bit = 1 << low;
    if (bits.take(1) && !(std::abs(x) & bit)) x = static_cast<int16_t>(x + (x < 0 ? -bit : bit));
  }

  // Between new coefficients, which are 1 or -1 here, stand bits of those that are there already;
  // runs count only the others.
  void refine_ac(int16_t* block, const HuffmanTable& ac) {
    int k = begin;
    if (end_of_band == 0) {
      for (; k <= end; k++) {
        bits.refill();
        const int symbol = ac.decode(bits), size = symbol & 15;
        int run = symbol >> 4;
        if (size > 1) damaged("a coefficient appears with more than one bit");
        int value = 0;
        if (size)
          value = bits.take(1) ? 1 << low : -(1 << low);
        else if (run < 15) {
          end_of_band = (1 << run) + static_cast<int>(bits.take(run));
          break;
        }
        for (; k <= end; k++) {
          int16_t& x = block[ZIGZAG[k]];
          if (x)
            refine(x);
          else if (run-- == 0)
            break;
        }
        if (value) {
          if (k > end) damaged("a block has more coefficients than its scan");
          block[ZIGZAG[k]] = static_cast<int16_t>(value);
        }
      }
    }
    if (end_of_band > 0) {
      for (; k <= end; k++)
        if (int16_t& x = block[ZIGZAG[k]]) refine(x);
      end_of_band--;
    }
  }

  void block(Part& part, int64_t x, int64_t y) {
    if (!jpeg.progressive) return sequential(part, x, y);
    Component& c = *part.component;
    int16_t* block = &c.coefficients[static_cast<size_t>(64 * (y * c.blocks_x + x))];
    if (begin > 0) return high == 0 ? first_ac(block, *part.ac) : refine_ac(block, *part.ac);
    bits.refill();
    if (high == 0)
      block[0] = static_cast<int16_t>(next_dc(part) * (1 << low));
    else if (bits.take(1))
      block[0] = static_cast<int16_t>(block[0] | 1 << low);
  }

  // Units are of all blocks that share their pixels, or, with a single component, of one block.
  void run() {
    const bool alone = parts.size() == 1;
    const Component& only = *parts[0].component;
    const int64_t width = alone ? (only.width + 7) / 8 : jpeg.units_x();
    const int64_t height = alone ? (only.height + 7) / 8 : jpeg.units_y();
    int64_t until_restart = jpeg.restart;
    int number = 0;
    for (int64_t y = 0; y < height; y++)
      for (int64_t x = 0; x < width; x++) {
        if (jpeg.restart && until_restart-- == 0) {
          if (!bits.restart(number)) damaged("a restart marker is missing");
          number = (number + 1) & 7;
          until_restart = jpeg.restart - 1;
          end_of_band = 0;
          for (Part& part : parts) part.last_dc = 0;
        }
        if (alone) {
          block(parts[0], x, y);
        } else {
          for (Part& part : parts) {
            const int h = part.component->h, v = part.component->v;
            for (int j = 0; j < v; j++)
              for (int i = 0; i < h; i++) block(part, x * h + i, y * v + j);
          }
        }
        if (bits.exhausted()) {
          if (bits.at() == jpeg.file.data + jpeg.file.size) truncated(jpeg.file);
          damaged("a scan ends too early");
        }
      }
  }
};

// Scans must bring coefficients once and then bit by bit, so that there are not any number of them.
void check_progress(Scan& scan) {
  const auto [begin, end, high, low] = std::tuple(scan.begin, scan.end, scan.high, scan.low);
  const bool dc = begin == 0;
  if (begin > end || end > 63 || low > 13 || (dc && end > 0) || (!dc && scan.parts.size() > 1) ||
      (high && high != low + 1))
    damaged("a scan is of no such coefficients as there are");
  for (const Part& part : scan.parts)
    for (int k = begin; k <= end; k++) {
      int8_t& before = part.component->low_bit[static_cast<size_t>(k)];
      if (before != (high ? high : -1)) damaged("a scan does not go on where the one before ended");
      before = static_cast<int8_t>(low);
    }
}

void begin_component(Jpeg& jpeg, Component& c) {
  if (c.seen) return;
  c.seen = true;
  if (!jpeg.has_quantization[static_cast<size_t>(c.quantization)])
    damaged("a quantization table is missing");
  c.steps = jpeg.quantization[static_cast<size_t>(c.quantization)];
}

}  // namespace

const uint8_t* read_scan(Jpeg& jpeg, Bytes header) {
  const uint8_t* at = header.data;
  const int count = header.size ? at[0] : 0;
  if (count < 1 || count > 4 || header.size != 4 + 2 * count)
    damaged("the header of a scan has another length than it should");
  const uint8_t* data = header.data + header.size;
  Scan scan{jpeg, BitReader({data, jpeg.file.data + jpeg.file.size - data}), {}};
  const uint8_t* last = at + 1 + 2 * count;
  if (jpeg.progressive)
    scan.begin = last[0], scan.end = last[1], scan.high = last[2] >> 4, scan.low = last[2] & 15;
  int blocks = 0;
  for (int i = 0; i < count; i++) {
    const int id = at[1 + 2 * i], tables = at[2 + 2 * i];
    Component* found = nullptr;
    for (Component& c : jpeg.components)
      if (c.id == id) found = &c;
    for (const Part& part : scan.parts)
      if (part.component == found) found = nullptr;
    if (!found) damaged("a scan is of a component that there is not, or not twice");
    if (!jpeg.progressive && found->seen) damaged("a component has two scans");
    if ((tables >> 4) > 3 || (tables & 15) > 3) damaged("a scan has a table that there is not");
    begin_component(jpeg, *found);
    const size_t dc = static_cast<size_t>(tables >> 4), ac = static_cast<size_t>(tables & 15);
    scan.parts.push_back({found, &jpeg.dc[dc], &jpeg.ac[ac]});
    const bool needs_dc = scan.begin == 0 && scan.high == 0, needs_ac = scan.end > 0;
    if ((needs_dc && !jpeg.dc[dc].present()) || (needs_ac && !jpeg.ac[ac].present()))
      damaged("a Huffman table is missing");
    blocks += found->h * found->v;
  }
  if (count > 1 && blocks > 10) damaged("a unit has more than 10 blocks");
  if (jpeg.progressive) check_progress(scan);
  scan.run();
  return scan.bits.at();
}

}  // namespace cdn::image
