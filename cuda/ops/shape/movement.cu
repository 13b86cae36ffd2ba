// Copies by strides, in both directions, and bands of matrices. Elements are moved as integers of
// their size. Strides have neighbouring axes merged, so most slices come down to rows at equal
// distances.
#include "kernel/functions.h"
#include "kernel/row_walk.h"

using namespace cdn;

namespace {

// The part of a buffer that a layout names: elements from `offset` on by strides, all before `end`.
struct Window {
  Layout layout;
  int64_t offset, end;
};

Window read_window(const int64_t* numbers, int32_t rank, const char* buffer) {
  Reach reach;
  Window out;
  if (!numbers) CDN_FAIL(CDN_BAD_ARGUMENT, "layout is null");
  out.layout = read_layout(numbers, rank, 1, &reach);
  out.offset = numbers[rank * 2];
  if (out.offset < 0 || out.offset > MAX_BYTES)
    CDN_FAIL(CDN_BAD_ARGUMENT, "layout: offset is %lld; it must be a place in %s",
             (long long)out.offset, buffer);
  if (out.offset + reach.low < 0)
    CDN_FAIL(CDN_BAD_ARGUMENT, "layout reaches %lld elements before the start of %s",
             (long long)-(out.offset + reach.low), buffer);
  bool any = out.layout.n > 0;
  out.end = any ? out.offset + reach.high + 1 : 0;
  if (!any) out.offset = 0;
  return out;
}

// One row of the innermost extent to places `stride` apart; the outer extents say where it begins.
template <class T> struct WriteRows {
  T* y;
  const T* x;
  Layout layout;
  int64_t cols, stride;

  struct Row {
    T* to;
    const T* from;
    int64_t stride, count;
    CDN_FN void operator()(int64_t c) const { to[c * stride] = from[c]; }
  };
  CDN_FN Row row(int64_t r) const {
    bool narrow = r >> 31 == 0;  // 32-bit division where it serves
    return {y + (narrow ? start(static_cast<uint32_t>(r)) : start(static_cast<uint64_t>(r))),
            x + r * cols, stride, cols};
  }
  template <class Index> CDN_FN int64_t start(Index rest) const {
    int64_t at = 0;
    for (int d = MAX_RANK - 2; d >= 0;
         d--) {  // a fixed count, so that it is unrolled and the layout stays in registers
      if (d >= layout.rank - 1) continue;
      Index extent = static_cast<Index>(layout.extent[d]), next = d > 0 ? rest / extent : 0;
      at += static_cast<int64_t>(rest - next * extent) * layout.stride[0][d];
      rest = next;
    }
    return at;
  }
};

template <class T> struct WriteLine {
  T* y;
  const T* x;
  int64_t stride;
  CDN_FN void operator()(int64_t i) const { y[i * stride] = x[i]; }
};

// y[offset + k step] = x[k] for k < n and 0 elsewhere, W neighbours of y at a time.
template <class T, int W> struct Spread {
  Pack<T, W>* y;
  const T* x;
  Extent step;
  int64_t offset, n;
  CDN_FN void operator()(int64_t i) const {
    const int64_t behind = i * W - offset;
    int64_t k = behind > 0 ? step.quotient(behind + step.by - 1) : 0, next = k * step.by - behind;
    Pack<T, W> out;
    for (int w = 0; w < W; w++) {
      const bool here = next == w;
      out.v[w] = here && k < n ? x[k] : T(0);
      k += here;
      next += here ? step.by : 0;
    }
    y[i] = out;
  }
};

// Zeros and the window in one pass, if it is one line; otherwise the zeros alone, and false.
template <class T> bool spread(Call& call, const Window& to, int64_t y_n, T* y, const T* x) {
  const Layout& l = to.layout;
  constexpr int W = 16 / sizeof(T);
  if (l.n == 0 || l.rank != 1 || l.stride[0][0] < 2 || l.stride[0][0] >> 30) {
    map(call, y_n, Constant<T>{T(0)}, y);
    return l.n == 0;
  }
  auto by = [&]<int N>(std::integral_constant<int, N>) {
    each(call, y_n / N,
         Spread<T, N>{reinterpret_cast<Pack<T, N>*>(y), x, Extent(l.stride[0][0]), to.offset, l.n});
  };
  y_n % W == 0 && aligned16(y) ? by(std::integral_constant<int, W>{})
                               : by(std::integral_constant<int, 1>{});
  return true;
}

template <class T> struct Band {
  T* y;
  const T* x;
  int64_t rows, cols, low, high;

  struct Row {
    T* to;
    const T* from;
    int64_t first, last, count;
    CDN_FN void operator()(int64_t c) const { to[c] = c >= first && c <= last ? from[c] : T(0); }
  };
  CDN_FN Row row(int64_t r) const {
    int64_t k = r % rows;
    return {y + r * cols, x + r * cols, k + low, k + high, cols};
  }
};

template <class T> void write_rows(Call& call, const Layout& l, T* y, const T* x) {
  const int64_t cols = l.extent[l.rank - 1], stride = l.stride[0][l.rank - 1];
  each_row(call, l.n / cols, cols, WriteRows<T>{y, x, l, cols, stride});
}

int64_t clamped(int64_t value, int64_t low, int64_t high) {
  return value < low ? low : value > high ? high : value;
}

}  // namespace

CDN_API int32_t cdn_strided_copy(uint32_t y, uint32_t x, const int64_t* layout, int32_t rank,
                                 int32_t dtype) {
  return run("cdn_strided_copy", AnyWord{}, dtype, [&]<class T>(Call& call, T) {
    Window from = read_window(layout, rank, "x");
    Layout& l = from.layout;
    T* to = call.out<T>(y, "y", l.n);
    const T* data = call.in<T>(x, "x", from.end) + from.offset;
    broadcast(call, l, Same{}, to, data);
  });
}

CDN_API int32_t cdn_strided_write(uint32_t y, uint32_t x, const int64_t* layout, int32_t rank,
                                  int64_t zeros, int32_t dtype) {
  return run("cdn_strided_write", AnyWord{}, dtype, [&]<class T>(Call& call, T) {
    Window to = read_window(layout, rank, "y");
    Layout& l = to.layout;
    check_apart(l);
    if (zeros && zeros < to.end)
      CDN_FAIL(CDN_BAD_ARGUMENT,
               "zeros is %lld; it must be 0 or at least what layout reaches, %lld",
               (long long)zeros, (long long)to.end);
    T* all = call.out<T>(y, "y", zeros ? zeros : to.end);
    T* data = all + to.offset;
    const T* from = call.in<T>(x, "x", l.n);
    if (zeros && spread(call, to, zeros, all, from)) return;
    if (l.n == 0) return;
    if (in_words(&l, from, data))
      return write_rows(call, l, reinterpret_cast<Words*>(data),
                        reinterpret_cast<const Words*>(from));
    if (l.rank > 1) return write_rows(call, l, data, from);
    const int64_t stride = l.rank ? l.stride[0][0] : 1;
    if (stride != 1) return each(call, l.n, WriteLine<T>{data, from, stride});
    map(call, l.n, Same{}, data, from);
  });
}

CDN_API int32_t cdn_band(uint32_t y, uint32_t x, int64_t batch, int64_t rows, int64_t cols,
                         int64_t low, int64_t high, int32_t dtype) {
  return run("cdn_band", Call::IN_PLACE, AnyWord{}, dtype, [&]<class T>(Call& call, T) {
    int64_t n = checked_product("batch, rows, cols", batch, rows, cols);
    T* to = call.out<T>(y, "y", n);
    const T* from = call.in<T>(x, "x", n);
    // Beyond the matrix a bound excludes all or nothing, wherever it is.
    Band<T> op{to, from, rows, cols, clamped(low, -rows, cols), clamped(high, -rows, cols)};
    if (n) each_row(call, batch * rows, cols, op);
  });
}
