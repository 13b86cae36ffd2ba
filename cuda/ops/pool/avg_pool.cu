// The average of each window, and its gradient. Sums are in the type that operations compute in,
// place after place.
#include "ops/pool/pool.h"

using namespace cdn;
using namespace cdn::pooling;

namespace {

// What a window's sum is divided by: `divisor`, or where that is 0 the number of its places.
struct Share {
  double divisor;
  bool with_padding;
  template <class C> CDN_FN C of(const Pool& pool, int32_t i, int32_t j) const {
    if (divisor != 0) return static_cast<C>(divisor);
    return static_cast<C>(pool.height.count(i, with_padding)) *
           static_cast<C>(pool.width.count(j, with_padding));
  }
};

template <class T, int W> struct AvgPool {
  using C = Compute<T>;
  Pool pool;
  Share share;
  Channels<T, W>* y;
  const Channels<T, W>* x;
  CDN_FN void operator()(int64_t at) const {
    C sum[W] = {};
    Place p = pool.y.place(at);
    pool.each_place(p, [&](int64_t offset, int32_t) {
      Channels<T, W> found = x[offset];
      for (int c = 0; c < W; c++) sum[c] += wide(found.v[c]);
    });
    Channels<T, W> average;
    C count = share.of<C>(pool, p.i, p.j);
    for (int c = 0; c < W; c++) average.v[c] = static_cast<T>(sum[c] / count);
    y[at] = average;
  }
};

// Where windows are apart: each result's gradient to its own part of dx.
template <class T, int W> struct AvgPoolPush {
  using C = Compute<T>;
  Pool pool;
  Share share;
  Channels<T, W>* dx;
  const Channels<T, W>* dy;
  CDN_FN void operator()(int64_t at) const {
    Place p = pool.y.place(at);
    Channels<T, W> part = dy[at], none;
    C count = share.of<C>(pool, p.i, p.j);
    for (int c = 0; c < W; c++) {
      part.v[c] = static_cast<T>(wide(part.v[c]) / count);
      none.v[c] = static_cast<T>(0.0f);
    }
    pool.each_own(p, [&](int64_t offset, int32_t k) { dx[offset] = k < 0 ? none : part; });
  }
};

// Else each element of dx gathers from the windows that see it.
template <class T, int W> struct AvgPoolGather {
  using C = Compute<T>;
  Pool pool;
  Share share;
  Channels<T, W>* dx;
  const Channels<T, W>* dy;
  CDN_FN void operator()(int64_t at) const {
    C sum[W] = {};
    pool.each_window(pool.x.place(at), [&](int64_t offset, int32_t, int32_t i, int32_t j) {
      Channels<T, W> part = dy[offset];
      C count = share.of<C>(pool, i, j);
      for (int c = 0; c < W; c++) sum[c] += wide(part.v[c]) / count;
    });
    Channels<T, W> to;
    for (int c = 0; c < W; c++) to.v[c] = static_cast<T>(sum[c]);
    dx[at] = to;
  }
};

}  // namespace

CDN_API int32_t cdn_avg_pool(uint32_t y, uint32_t x, const int64_t* sizes, double divisor,
                             int32_t with_padding, int32_t dtype) {
  return run("cdn_avg_pool", Floats{}, dtype, [&]<class T>(Call& call, T) {
    Pool all = Pool::read(sizes);
    T* to = call.out<T>(y, "y", all.y_size());
    const T* from = call.in<T>(x, "x", all.x_size());
    Share share{divisor, with_padding != 0};
    in_packs<T>(all, {to, from}, [&]<int W>(Pool pool, std::integral_constant<int, W>) {
      each(call, pool.y_size(), AvgPool<T, W>{pool, share, packed<W>(to), packed<W>(from)});
    });
  });
}

CDN_API int32_t cdn_avg_pool_grad(uint32_t dx, uint32_t dy, const int64_t* sizes, double divisor,
                                  int32_t with_padding, int32_t dtype) {
  return run("cdn_avg_pool_grad", Floats{}, dtype, [&]<class T>(Call& call, T) {
    Pool all = Pool::read(sizes);
    T* to = call.out<T>(dx, "dx", all.x_size());
    const T* upstream = call.in<T>(dy, "dy", all.y_size());
    Share share{divisor, with_padding != 0};
    in_packs<T>(all, {to, upstream}, [&]<int W>(Pool pool, std::integral_constant<int, W>) {
      auto write = packed<W>(to);
      auto read = packed<W>(upstream);
      if (pool.pushes())
        each(call, pool.y_size(), AvgPoolPush<T, W>{pool, share, write, read});
      else
        each(call, pool.x_size(), AvgPoolGather<T, W>{pool, share, write, read});
    });
  });
}
