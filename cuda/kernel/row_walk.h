// The elements of a layout as rows along its innermost extent, cut into pieces so that a single
// long row is work for many threads: what functors of each_row that index by strides start from.
// The divisions come once a row on the CPU.
#pragma once
#include "kernel/spread.h"

namespace cdn {

struct RowWalk {
  static constexpr int64_t WIDTH = 4096;
  Layout l;
  int64_t width, pieces;

  explicit RowWalk(const Layout& layout)
      : l(layout),
        width(layout.rank ? layout.extent[layout.rank - 1] : 1),
        pieces((width + WIDTH - 1) / WIDTH) {}
  int64_t rows() const { return l.n / width * pieces; }
  int64_t cols() const { return width < WIDTH ? width : WIDTH; }

  // The first element of row r and how many there are; of input j, where it is read and how far the
  // next one is.
  template <int INPUTS> struct Start {
    int64_t i, count, at[INPUTS], step[INPUTS];
  };
  template <int INPUTS> CDN_FN Start<INPUTS> start(int64_t r) const {
    Start<INPUTS> out;
    int64_t rest = quotient(r, pieces), begin = (r - rest * pieces) * WIDTH, left = width - begin;
    out.i = rest * width + begin;
    out.count = left < WIDTH ? left : WIDTH;
    for (int j = 0; j < INPUTS; j++) {
      out.step[j] = l.rank ? l.stride[j][l.rank - 1] : 0;
      out.at[j] = begin * out.step[j];
    }
    for (int32_t d = l.rank - 2; d >= 0; d--) {
      int64_t next = quotient(rest, l.extent[d]), k = rest - next * l.extent[d];
      for (int j = 0; j < INPUTS; j++) out.at[j] += k * l.stride[j][d];
      rest = next;
    }
    return out;
  }
};

// An axis that is indexed: a bad index is reported, and false.
struct IndexedAxis {
  int64_t extent, stride;
  FaultOp op;
  volatile Fault* fault;
  CDN_FN bool has(int64_t i) const {
    if (i >= 0 && i < extent) return true;
    report_fault(fault, op, i, extent);
    return false;
  }
  // The elements from the first to the last of the axis.
  int64_t reach() const {
    checked_size("extent", extent);
    checked_size("stride", stride);
    return extent > 0 ? checked_product("extent, stride", extent - 1, stride) + 1 : 0;
  }
};

}  // namespace cdn
