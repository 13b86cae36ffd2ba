// y[…] = x[…] with one axis indexed: gather, indexSelect and embedding by one kernel, since they
// differ only in the strides of the index. Also one-hot rows. A bad index reads nothing, gives 0
// and is reported.
#include "kernel/row_walk.h"

using namespace cdn;

namespace {

template <class T> struct Gather {
  T* y;
  const T* x;
  CDN_FN T load(int64_t, int64_t at, int64_t along) const {
    return along < 0 ? T(0) : x[at + along];
  }
  CDN_FN void store(int64_t i, int64_t, int64_t, T value) const { y[i] = value; }
};

// One index serves a row whose elements are neighbours. A step takes `STRIPS` of them, as far from
// one another as a row has steps, so that they are under way together.
template <class T, int STRIPS> struct GatherRows {
  T* y;
  const T* x;
  const int32_t* index;
  RowWalk walk;
  IndexedAxis axis;

  struct Row {
    T* to;
    const T* from;  // nullptr: the index was bad
    int64_t cols, count;
    CDN_FN void operator()(int64_t c) const {
      T held[STRIPS];
      auto there = [&](int s) { return s == 0 || c + s * count < cols; };
      for (int s = 0; s < STRIPS; s++) held[s] = from && there(s) ? from[c + s * count] : T{};
      for (int s = 0; s < STRIPS; s++)
        if (there(s)) to[c + s * count] = held[s];
    }
  };
  CDN_FN Row row(int64_t r) const {
    auto s = walk.start<2>(r);
    int64_t i = axis.place(index[s.at[1]]);
    return {y + s.i, i < 0 ? nullptr : x + s.at[0] + i * axis.stride, s.count,
            ceil_div(s.count, STRIPS)};
  }
  static void run(Call& call, const Layout& l, T* y, const T* x, const int32_t* index,
                  const IndexedAxis& axis) {
    RowWalk walk(l);
    each_row(call, walk.rows(), ceil_div(walk.cols(), STRIPS), GatherRows{y, x, index, walk, axis});
  }
};
#if defined(__CUDACC__)
constexpr int STRIPS = 4;
#else
constexpr int STRIPS = 1;
#endif

template <class T> struct OneHot {
  T* y;
  const int32_t* index;
  IndexedAxis classes;
  struct Row {
    T* to;
    int64_t hot, count;
    CDN_FN void operator()(int64_t c) const { to[c] = static_cast<T>(c == hot ? 1.0f : 0.0f); }
  };
  CDN_FN Row row(int64_t r) const {
    return {y + r * classes.extent, classes.place(index[r]), classes.extent};
  }
};

int32_t gather(const char* op, FaultOp fault, bool from_end, uint32_t y, uint32_t x, uint32_t index,
               const int64_t* layout, int32_t rank, int64_t extent, int64_t stride, int32_t dtype) {
  return run(op, AnyWord{}, dtype, [&]<class T>(Call& call, T) {
    Reach reach[2];
    Layout l = read_layout(layout, rank, 2, reach);
    if (reach[0].low < 0 || reach[1].low < 0)
      CDN_FAIL(CDN_BAD_ARGUMENT, "layout: strides must not be negative here");
    IndexedAxis axis{extent, stride, fault, nullptr, from_end};
    int64_t along = axis.reach();
    T* to = call.out<T>(y, "y", l.n);
    const T* from = call.in<T>(x, "x", l.n > 0 && along > 0 ? reach[0].high + along : 0);
    const int32_t* chosen = call.in<int32_t>(index, "index", l.n > 0 ? reach[1].high + 1 : 0);
    if (l.n == 0) return;
    axis.fault = call.fault();
    auto by_rows = [&]<class W>(W* to, const W* from) {
      constexpr int64_t LEAST = 16 * STRIPS;  // so that each strip is lines of memory
      if (l.extent[l.rank - 1] >= LEAST)
        GatherRows<W, STRIPS>::run(call, l, to, from, chosen, axis);
      else
        GatherRows<W, 1>::run(call, l, to, from, chosen, axis);
    };
    if (l.rank > 0 && l.stride[0][l.rank - 1] == 1 && l.stride[1][l.rank - 1] == 0)
      in_words(&l, to, from, &axis.stride)
          ? by_rows(reinterpret_cast<Words*>(to), reinterpret_cast<const Words*>(from))
          : by_rows(to, from);
    else
      each_indexed<2>(call, l, chosen, axis, Gather<T>{to, from});
  });
}

}  // namespace

CDN_API int32_t cdn_gather(uint32_t y, uint32_t x, uint32_t index, const int64_t* layout,
                           int32_t rank, int64_t extent, int64_t stride, int32_t dtype) {
  return gather("cdn_gather", FAULT_GATHER, false, y, x, index, layout, rank, extent, stride,
                dtype);
}
CDN_API int32_t cdn_take(uint32_t y, uint32_t x, uint32_t index, const int64_t* layout,
                         int32_t rank, int64_t extent, int64_t stride, int32_t dtype) {
  return gather("cdn_take", FAULT_TAKE, true, y, x, index, layout, rank, extent, stride, dtype);
}

CDN_API int32_t cdn_one_hot(uint32_t y, uint32_t index, int64_t n, int64_t classes, int32_t dtype) {
  return run("cdn_one_hot", Any{}, dtype, [&]<class T>(Call& call, T) {
    int64_t size = checked_product("n, classes", n, classes);
    T* to = call.out<T>(y, "y", size);
    const int32_t* hot = call.in<int32_t>(index, "index", n);
    IndexedAxis axis{classes, 1, FAULT_ONE_HOT, call.fault()};
    if (size) each_row(call, n, classes, OneHot<T>{to, hot, axis});
  });
}
