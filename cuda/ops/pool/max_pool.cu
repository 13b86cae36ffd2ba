// The largest element of each window, and its gradient. What is kept of the forward pass is which
// place of its window each result came from, in a byte where windows have few enough places.
#include "kernel/activations.h"
#include "ops/pool/windows.h"

using namespace cdn;
using namespace cdn::pooling;

namespace {

// The first of the largest, as places follow row by row; the last NaN, if there is any.
template <class T_, class A> struct Largest {
  using T = T_;
  using C = Compute<T>;
  static constexpr bool STRIPS = sizeof(A) == 1 && sizeof(T) < 8;
  static constexpr C OUTSIDE = -std::numeric_limits<C>::infinity();
  struct Acc {
    C best;
    int32_t from;
    CDN_FN void start(int32_t first) { best = OUTSIDE, from = first; }
    CDN_FN void take(C x, int32_t k) {
      const bool better = (x > best) | is_nan(x);
      best = better ? x : best;
      from = better ? k : from;
    }
    CDN_FN void join(const Acc& row, int32_t k) { take(row.best, k + row.from); }
  };
  T* y;
  A* argument;  // may be null
  template <int N, int CH>
  CDN_FN void store(const Pool&, const Acc (&acc)[N][CH], int64_t at, int32_t, int32_t) const {
    put<N * CH>(y + at, [&](int e) { return static_cast<T>(acc[e / CH][e % CH].best); });
    if (argument)
      put<N * CH>(argument + at, [&](int e) { return static_cast<A>(acc[e / CH][e % CH].from); });
  }
};

template <class T_, class A> struct LargestGrad {
  using T = T_;
  static constexpr bool STRIPS = sizeof(A) == 1 && sizeof(T) < 8;
  struct Part {
    Compute<T> grad;
    int32_t from;
    CDN_FN Compute<T> of(int32_t k) const { return from == k ? grad : Compute<T>(0); }
  };
  const T* dy;
  const A* argument;
  const T*
      y;  // not null: x is a ReLU's result, whose slope at a place is that of the largest there
  template <class Row, int N, int CH>
  CDN_FN void read(const Pool&, const Row& row, int32_t, Part (&parts)[N][CH]) const {
    T grad[N][CH], kept[N][CH] = {};
    A from[N][CH];
    row.read(dy, static_cast<T>(0.0f), grad);
    row.read(argument, A(0), from);
    if (y) row.read(y, static_cast<T>(0.0f), kept);
    CDN_UNROLLED
    for (int e = 0; e < N * CH; e++) {
      const Compute<T> all = wide(grad[e / CH][e % CH]);
      parts[e / CH][e % CH] = {y ? ReluGrad{}(all, wide(kept[e / CH][e % CH])) : all,
                               static_cast<int32_t>(from[e / CH][e % CH])};
    }
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

void cdn::max_pool_2x2(Call& call, void* y, uint8_t* argument, const void* x, int64_t n,
                       int64_t height, int64_t width, int64_t channels, int32_t dtype) {
  const int64_t sizes[] = {n, channels, height,    height / 2, 2, 2, 0,
                           1, width,    width / 2, 2,          2, 0, 1};
  with_float(dtype, [&]<class T>(T) {
    pooled<false>(call, Pool::read(sizes), Largest<T, uint8_t>{static_cast<T*>(y), argument},
                  static_cast<const T*>(x), {y, argument, x});
  });
}

CDN_API int32_t cdn_max_pool(uint32_t y, uint32_t argument, uint32_t x, const int64_t* sizes,
                             int32_t argument_dtype, int32_t dtype) {
  return run("cdn_max_pool", Floats{}, dtype, [&]<class T>(Call& call, T) {
    const Pool pool = Pool::read(sizes);
    T* to = call.out<T>(y, "y", pool.y_size());
    with_argument(pool, argument_dtype, [&]<class A>(A) {
      A* chosen = call.optional_out<A>(argument, "argument", pool.y_size());
      const T* from = call.in<T>(x, "x", pool.x_size());
      pooled<false>(call, pool, Largest<T, A>{to, chosen}, from, {to, chosen, from});
    });
  });
}

CDN_API int32_t cdn_max_pool_grad(uint32_t dx, uint32_t dy, uint32_t argument, uint32_t y,
                                  const int64_t* sizes, int32_t argument_dtype, int32_t dtype) {
  return run("cdn_max_pool_grad", Floats{}, dtype, [&]<class T>(Call& call, T) {
    const Pool pool = Pool::read(sizes);
    T* to = call.out<T>(dx, "dx", pool.x_size());
    const T* upstream = call.in<T>(dy, "dy", pool.y_size());
    const T* kept = call.optional<T>(y, "y", pool.y_size());
    with_argument(pool, argument_dtype, [&]<class A>(A) {
      const A* chosen = call.in<A>(argument, "argument", pool.y_size());
      pooled<true>(call, pool, LargestGrad<T, A>{upstream, chosen, kept}, to,
                   {to, upstream, chosen, kept});
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
