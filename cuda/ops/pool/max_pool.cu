// The largest element of each window, and its gradient. What is kept of the forward pass is which
// place of its window each result came from, in a byte where windows have few enough places.
#include "ops/pool/pool.h"

using namespace cdn;
using namespace cdn::pooling;

namespace {

// The first of the largest, as places follow row by row; the last NaN, if there is any.
template <class T, class A, int W> struct MaxPool {
  Pool pool;
  Channels<T, W>* y;
  Channels<A, W>* argument;  // may be null
  const Channels<T, W>* x;
  CDN_FN void operator()(int64_t at) const {
    Compute<T> best[W] = {};
    int32_t from[W];
    for (int c = 0; c < W; c++) from[c] = -1;
    pool.each_place(pool.y.place(at), [&](int64_t offset, int32_t k) {
      Channels<T, W> found = x[offset];
      for (int c = 0; c < W; c++) {
        Compute<T> value = wide(found.v[c]);
        bool better = (from[c] < 0) | (value > best[c]) | is_nan(value);
        best[c] = better ? value : best[c];
        from[c] = better ? k : from[c];
      }
    });
    Channels<T, W> largest;
    Channels<A, W> chosen;
    for (int c = 0; c < W; c++) {
      constexpr auto NOTHING = -std::numeric_limits<Compute<T>>::infinity();
      largest.v[c] = static_cast<T>(from[c] < 0 ? NOTHING : best[c]);
      chosen.v[c] = static_cast<A>(from[c] < 0 ? 0 : from[c]);
    }
    y[at] = largest;
    if (argument) argument[at] = chosen;
  }
};

// Where windows are apart: each result's gradient to its own part of dx.
template <class T, class A, int W> struct MaxPoolPush {
  Pool pool;
  Channels<T, W>* dx;
  const Channels<T, W>* dy;
  const Channels<A, W>* argument;
  CDN_FN void operator()(int64_t at) const {
    Channels<T, W> upstream = dy[at];
    Channels<A, W> chosen = argument[at];
    pool.each_own(pool.y.place(at), [&](int64_t offset, int32_t k) {
      Channels<T, W> to;
      for (int c = 0; c < W; c++)
        to.v[c] = static_cast<int32_t>(chosen.v[c]) == k ? upstream.v[c] : static_cast<T>(0.0f);
      dx[offset] = to;
    });
  }
};

// Else each element of dx gathers from the windows that see it.
template <class T, class A, int W> struct MaxPoolGather {
  Pool pool;
  Channels<T, W>* dx;
  const Channels<T, W>* dy;
  const Channels<A, W>* argument;
  CDN_FN void operator()(int64_t at) const {
    Compute<T> sum[W] = {};
    pool.each_window(pool.x.place(at), [&](int64_t offset, int32_t k, int32_t, int32_t) {
      Channels<T, W> upstream = dy[offset];
      Channels<A, W> chosen = argument[offset];
      for (int c = 0; c < W; c++)
        sum[c] += static_cast<int32_t>(chosen.v[c]) == k ? wide(upstream.v[c]) : Compute<T>(0);
    });
    Channels<T, W> to;
    for (int c = 0; c < W; c++) to.v[c] = static_cast<T>(sum[c]);
    dx[at] = to;
  }
};

// The place that a result came from: its element of x, or its number in the image.
template <class T, class A> struct Chosen {
  Pool pool;
  T* y;
  const T* x;  // null: y is to have the numbers
  const A* argument;
  CDN_FN void operator()(int64_t at) const {
    Place p = pool.y.place(at);
    int32_t k = static_cast<int32_t>(argument[at]), down = k / pool.width.width();
    int64_t i = pool.height.begin(p.i) + int64_t{down} * pool.height.dilation,
            j = pool.width.begin(p.j) +
                int64_t{k - down * pool.width.width()} * pool.width.dilation;
    bool there = i >= 0 && i < pool.height.extent && j >= 0 && j < pool.width.extent;
    if constexpr (std::is_same<T, int32_t>::value)
      y[at] = there ? static_cast<int32_t>(i * pool.width.extent + j) : -1;
    else
      y[at] = there ? x[pool.x.at(p, static_cast<int32_t>(i), static_cast<int32_t>(j))]
                    : static_cast<T>(0.0f);
  }
};

// f with a value of the type that says which place of its window a result came from.
template <class F> void with_argument(const Pool& pool, int32_t dtype, F&& f) {
  int64_t most = int64_t{pool.height.width()} * pool.width.width();
  if (dtype != CDN_UINT8 && dtype != CDN_INT32)
    CDN_FAIL(CDN_UNSUPPORTED, "argument_dtype is %s; it must be uint8 or int32", dtype_name(dtype));
  if (most > (dtype == CDN_UINT8 ? int64_t{256} : int64_t{INT32_MAX}))
    CDN_FAIL(CDN_BAD_ARGUMENT, "windows of up to %lld places do not count in %s", (long long)most,
             dtype_name(dtype));
  return dtype == CDN_UINT8 ? f(uint8_t{}) : f(int32_t{});
}

}  // namespace

CDN_API int32_t cdn_max_pool(uint32_t y, uint32_t argument, uint32_t x, const int64_t* sizes,
                             int32_t argument_dtype, int32_t dtype) {
  return run("cdn_max_pool", Floats{}, dtype, [&]<class T>(Call& call, T) {
    Pool all = Pool::read(sizes);
    T* to = call.out<T>(y, "y", all.y_size());
    with_argument(all, argument_dtype, [&]<class A>(A) {
      A* chosen = call.optional_out<A>(argument, "argument", all.y_size());
      const T* from = call.in<T>(x, "x", all.x_size());
      in_packs<T>(all, {to, chosen, from}, [&]<int W>(Pool pool, std::integral_constant<int, W>) {
        each(call, pool.y_size(),
             MaxPool<T, A, W>{pool, packed<W>(to), packed<W>(chosen), packed<W>(from)});
      });
    });
  });
}

CDN_API int32_t cdn_max_pool_grad(uint32_t dx, uint32_t dy, uint32_t argument, const int64_t* sizes,
                                  int32_t argument_dtype, int32_t dtype) {
  return run("cdn_max_pool_grad", Floats{}, dtype, [&]<class T>(Call& call, T) {
    Pool all = Pool::read(sizes);
    T* to = call.out<T>(dx, "dx", all.x_size());
    const T* upstream = call.in<T>(dy, "dy", all.y_size());
    with_argument(all, argument_dtype, [&]<class A>(A) {
      const A* chosen = call.in<A>(argument, "argument", all.y_size());
      in_packs<T>(all, {to, upstream, chosen},
                  [&]<int W>(Pool pool, std::integral_constant<int, W>) {
                    auto write = packed<W>(to);
                    auto read = packed<W>(upstream);
                    auto which = packed<W>(chosen);
                    if (pool.pushes())
                      each(call, pool.y_size(), MaxPoolPush<T, A, W>{pool, write, read, which});
                    else
                      each(call, pool.x_size(), MaxPoolGather<T, A, W>{pool, write, read, which});
                  });
    });
  });
}

CDN_API int32_t cdn_max_pool_pick(uint32_t y, uint32_t x, uint32_t argument, const int64_t* sizes,
                                  int32_t argument_dtype, int32_t dtype) {
  return run("cdn_max_pool_pick", Numbers{}, dtype, [&]<class T>(Call& call, T) {
    Pool pool = Pool::read(sizes);
    T* to = call.out<T>(y, "y", pool.y_size());
    constexpr bool NUMBERS = std::is_same<T, int32_t>::value;
    if (NUMBERS && int64_t{pool.height.extent} * pool.width.extent > INT32_MAX)
      CDN_FAIL(CDN_BAD_ARGUMENT, "images have more places than int32 counts");
    const T* from = NUMBERS ? nullptr : call.in<T>(x, "x", pool.x_size());
    with_argument(pool, argument_dtype, [&]<class A>(A) {
      const A* chosen = call.in<A>(argument, "argument", pool.y_size());
      each(call, pool.y_size(), Chosen<T, A>{pool, to, from, chosen});
    });
  });
}
