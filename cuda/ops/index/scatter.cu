// Sums of src by target place, and src written there. The indices are sorted by the place they
// name, stably, and each run of equal ones is added up by a segmented scan, in the order of their
// positions, so that results repeat bit by bit and a place that thousands of elements go to is
// still work for many threads; scatter writes the last element of a run. index_add sorts its n
// indices alone and sums whole slices of src; scatter_add sorts every element, but for the CPU,
// which adds them as they come. On GPUs many single elements are brought to bins only and
// added there as whole numbers, whose sums no order changes, and slices are added by packs.
#include "kernel/row_walk.h"
#include "kernel/sort.h"
#include "kernel/sum.h"
#if defined(__CUDACC__)
#include "gpu/sort/sums.h"
#endif

using namespace cdn;

namespace {

template <class A> struct Segment {
  A sum;
  int32_t head;  // a segment begins here or before
};
template <class A> struct SegmentJoin {
  using Acc = Segment<A>;
  CDN_FN Acc start() const { return {A{}, 0}; }
  CDN_FN Acc join(Acc a, Acc b) const { return {b.head ? b.sum : a.sum + b.sum, a.head | b.head}; }
};
// y[o, key[k], i] += the sum of src[o, place[k], i] over equal keys. Those from `limit` up are of
// no place.
template <class T, class Key> struct SegmentSum : SegmentJoin<Sum<T>> {
  using Base = SegmentJoin<Sum<T>>;
  using Acc = typename Base::Acc;
  T* y;
  const T* src;
  const Key* key;
  const Place* place;
  int64_t n, inner, limit;
  CDN_FN Acc load(int64_t at, int64_t k) const {
    int32_t head = k == 0 || key[k] != key[k - 1];
    return {Sum<T>(wide(src[at + (static_cast<int64_t>(place[k]) - k) * inner])), head};
  }
  CDN_FN void store(int64_t at, int64_t k, Acc acc) const {
    int64_t to = static_cast<int64_t>(key[k]);
    if (to >= limit || (k + 1 < n && key[k + 1] == key[k])) return;
    int64_t o = quotient(at, n * inner);
    to = (o * limit + to) * inner + (at - (o * n + k) * inner);
    y[to] = static_cast<T>(acc.sum + wide(y[to]));
  }
};

template <class T, class Key>
void sum_segments(Call& call, T* y, const T* src, Key* keys, int64_t outer, int64_t n,
                  int64_t inner, int64_t limit) {
#if defined(__CUDACC__)
  if constexpr (sizeof(Key) == 4 && sizeof(T) <= 4)
    if (outer * inner == 1 && sum_by_bins(call, y, y, src, {keys, nullptr, {}, 0, limit}, n))
      return;
#endif
  Sorted<Key> sorted = sort_keys(call, n, keys, bits_of(static_cast<uint64_t>(limit)));
#if defined(__CUDACC__)
  if constexpr (sizeof(Key) == 4)
    if (inner >= 32) return sum_runs(call, y, src, sorted, outer, n, inner, limit);
#endif
  SegmentSum<T, Key> op;
  op.y = y;
  op.src = src;
  op.key = sorted.key;
  op.place = sorted.place;
  op.n = n;
  op.inner = inner;
  op.limit = limit;
  scan(call, outer, n, inner, false, op);
}

// Elements in groups of n / count neighbours, each of which goes to `places` places of its own.
struct Groups {
  int64_t count, places;
};
Groups groups_of(const Layout& l, const Reach& reach, int64_t along, int64_t y_n) {
  if (l.rank == 0) return {1, y_n};
  int64_t count = l.extent[0], places = l.stride[0][0];
  bool apart = places > 0 && reach.high - (count - 1) * places + along <= places;
  if (apart && count * places <= y_n) return {count, places};
  return {1, y_n};
}

// y[key[i]] += src[i]
#if defined(__CUDACC__)
template <class T, class Key>
void sum_elements(Call& call, T* y, const T* src, Key* keys, Groups, int64_t n, int64_t limit) {
  sum_segments(call, y, src, keys, 1, n, 1, limit);
}
#else
// A thread that has a group to itself adds one element after the other, which takes a CPU a
// fraction of the time of sorting them.
template <class T, class Key>
void sum_elements(Call& call, T* y, const T* src, Key* keys, Groups groups, int64_t n,
                  int64_t limit) {
  Sum<T>* sums = call.scratch<Sum<T>>(groups.count * groups.places);
  const int64_t size = n / groups.count, places = groups.places;
  parallel_for(groups.count, GRAIN / (size + places + 1) + 1, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin * places; i < end * places; i++)
      sums[i] = static_cast<Sum<T>>(-0.0);  // so that -0 stays
    for (int64_t i = begin * size; i < end * size; i++)
      if (static_cast<int64_t>(keys[i]) < limit) sums[keys[i]] += wide(src[i]);
    for (int64_t i = begin * places; i < end * places; i++)
      y[i] = static_cast<T>(sums[i] + wide(y[i]));
  });
}
#endif

// What is added to: x, or zeros where it has no handle.
template <class T> void begin(Call& call, T* y, const T* x, int64_t n) {
  if (x)
    map(call, n, Same{}, y, x);
  else
    map(call, n, Constant<T>{static_cast<T>(0.0f)}, y);
}

struct IndexKeys {
  uint32_t* key;
  const int32_t* index;
  IndexedAxis axis;
  int64_t skip;
  CDN_FN void operator()(int64_t i) const {
    int64_t at = skip >= 0 && index[i] == skip ? -1 : axis.place(index[i]);
    key[i] = static_cast<uint32_t>(at < 0 ? axis.extent : at);
  }
};

// The place in y that each element of the index names.
template <class Key> struct TargetKeys {
  Key* key;
  int64_t none;
  CDN_FN Key load(int64_t, int64_t at, int64_t along) const {
    return static_cast<Key>(along < 0 ? none : at + along);
  }
  CDN_FN void store(int64_t i, int64_t, int64_t, Key value) const { key[i] = value; }
};

// For indices that name each place once at most.
template <class T> struct AssignOnce {
  T* y;
  const T* src;
  CDN_FN T load(int64_t i, int64_t, int64_t) const { return src[i]; }
  CDN_FN void store(int64_t, int64_t at, int64_t along, T value) const {
    if (along >= 0) y[at + along] = value;
  }
};

// y[key[i]] = src[i], the last of equal keys.
#if defined(__CUDACC__)
template <class T, class Key> struct AssignLast {
  T* y;
  const T* src;
  const Key* key;
  const Place* place;
  int64_t n, limit;
  CDN_FN void operator()(int64_t k) const {
    if (static_cast<int64_t>(key[k]) < limit && (k + 1 == n || key[k + 1] != key[k]))
      y[key[k]] = src[place[k]];
  }
};
template <class T, class Key>
void assign_elements(Call& call, T* y, const T* src, Key* keys, Groups, int64_t n, int64_t limit) {
  Sorted<Key> sorted = sort_keys(call, n, keys, bits_of(static_cast<uint64_t>(limit)));
  each(call, n, AssignLast<T, Key>{y, src, sorted.key, sorted.place, n, limit});
}
#else
template <class T, class Key>
void assign_elements(Call&, T* y, const T* src, Key* keys, Groups groups, int64_t n,
                     int64_t limit) {
  const int64_t size = n / groups.count;
  parallel_for(groups.count, GRAIN / (size + 1) + 1, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin * size; i < end * size; i++)
      if (static_cast<int64_t>(keys[i]) < limit) y[keys[i]] = src[i];
  });
}
#endif

// The arguments of scatters along an axis, checked.
template <class T> struct Target {
  Reach reach;  // before the layout, which fills it in
  Layout l;
  IndexedAxis axis;
  int64_t along, n;
  T* y;
  const int32_t* index;
  const T* src;
  const T* x;  // what y begins as; nullptr: zeros

  Target(Call& call, FaultOp op, uint32_t y_handle, uint32_t x_handle, uint32_t index_handle,
         uint32_t src_handle, const int64_t* layout, int32_t rank, int64_t extent, int64_t stride,
         int64_t y_n)
      : l(read_layout(layout, rank, 1, &reach)),
        axis{extent, stride, op, nullptr, true},
        along(axis.reach()),
        n(checked_size("y_n", y_n)) {
    if (reach.low < 0) CDN_FAIL(CDN_BAD_ARGUMENT, "layout: strides must not be negative here");
    if (l.n > 0 && along > 0 && reach.high + along > n)
      CDN_FAIL(CDN_BAD_ARGUMENT, "layout reaches element %lld of y, which has %lld",
               (long long)(reach.high + along - 1), (long long)n);
    check_sortable("layout extents", l.n);
    y = call.out<T>(y_handle, "y", n);
    x = call.optional<T>(x_handle, "x", n);
    index = call.in<int32_t>(index_handle, "index", l.n);
    src = call.in<T>(src_handle, "src", l.n);
    if (l.n > 0) axis.fault = call.fault();
  }

  // unique: of the ABI, not 0.
  void assign_once(Call& call, int32_t unique) const {
    if (unique != 2) begin(call, y, x, n);
    if (l.n > 0) each_indexed<1>(call, l, index, axis, AssignOnce<T>{y, src});
  }

  Groups groups() const { return groups_of(l, reach, along, n); }

  // f(keys), which name the places in y, of 32 bits where those do.
  template <class F> void with_keys(Call& call, F f) const {
    auto by = [&]<class Key>(Key) {
      Key* keys = call.scratch<Key>(l.n);
      each_indexed<1>(call, l, index, axis, TargetKeys<Key>{keys, n});
      f(keys);
    };
    n < UINT32_MAX ? by(uint32_t{}) : by(uint64_t{});
  }
};

}  // namespace

CDN_API int32_t cdn_scatter_add(uint32_t y, uint32_t x, uint32_t index, uint32_t src,
                                const int64_t* layout, int32_t rank, int64_t extent, int64_t stride,
                                int64_t y_n, int32_t unique, int32_t dtype) {
  return run("cdn_scatter_add", Numbers{}, dtype, [&]<class T>(Call& call, T) {
    Target<T> to(call, FAULT_SCATTER_ADD, y, x, index, src, layout, rank, extent, stride, y_n);
    if (unique && !to.x) return to.assign_once(call, unique);
#if defined(__CUDACC__)
    const int64_t step = to.l.rank ? to.l.stride[0][0] : 0;
    if constexpr (sizeof(T) <= 4)
      if (to.l.rank <= 1 &&
          sum_by_bins(call, to.y, to.x, to.src, {nullptr, to.index, to.axis, step, y_n}, to.l.n))
        return;
#endif
    begin(call, to.y, to.x, y_n);
    if (to.l.n == 0) return;
    to.with_keys(call, [&](auto* keys) {
      sum_elements(call, to.y, to.src, keys, to.groups(), to.l.n, y_n);
    });
  });
}

CDN_API int32_t cdn_scatter(uint32_t y, uint32_t x, uint32_t index, uint32_t src,
                            const int64_t* layout, int32_t rank, int64_t extent, int64_t stride,
                            int64_t y_n, int32_t unique, int32_t dtype) {
  return run("cdn_scatter", AnyWord{}, dtype, [&]<class T>(Call& call, T) {
    Target<T> to(call, FAULT_SCATTER, y, x, index, src, layout, rank, extent, stride, y_n);
    if (unique) return to.assign_once(call, unique);
    begin(call, to.y, to.x, y_n);
    if (to.l.n == 0) return;
    to.with_keys(call, [&](auto* keys) {
      assign_elements(call, to.y, to.src, keys, to.groups(), to.l.n, y_n);
    });
  });
}

CDN_API int32_t cdn_index_add(uint32_t y, uint32_t x, uint32_t index, uint32_t src, int64_t outer,
                              int64_t extent, int64_t inner, int64_t n, int64_t skip,
                              int32_t dtype) {
  return run("cdn_index_add", Numbers{}, dtype, [&]<class T>(Call& call, T) {
    int64_t y_n = checked_product("outer, extent, inner", outer, extent, inner);
    int64_t src_n = checked_product("outer, n, inner", outer, n, inner);
    if (extent > INT32_MAX)
      CDN_FAIL(CDN_UNSUPPORTED, "extent is %lld; an index must fit int32", (long long)extent);
    check_sortable("n", n);
    T* to = call.out<T>(y, "y", y_n);
    const T* base = call.optional<T>(x, "x", y_n);
    const int32_t* chosen = call.in<int32_t>(index, "index", n);
    const T* from = call.in<T>(src, "src", src_n);
    begin(call, to, base, y_n);
    if (n == 0) return;
    uint32_t* keys = call.scratch<uint32_t>(n);
    each(call, n, IndexKeys{keys, chosen, {extent, 0, FAULT_INDEX_ADD, call.fault(), true}, skip});
    if (src_n) sum_segments(call, to, from, keys, outer, n, inner, extent);
  });
}
