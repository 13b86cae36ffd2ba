// The average of each window, and its gradient. Sums are in the type that operations compute in,
// place after place.
#include "ops/pool/windows.h"

using namespace cdn;
using namespace cdn::pooling;

namespace {

// What a window's sum is divided by: `divisor`, or where that is 0 the number of its places.
template <class C> struct Share {
  double divisor;
  bool with_padding;
  CDN_FN C along(const PoolAxis& axis, int32_t o) const {
    return static_cast<C>(axis.count(o, with_padding));
  }
  CDN_FN C of(C rows, const Pool& pool, int32_t j) const {
    return divisor != 0 ? static_cast<C>(divisor) : rows * along(pool.width, j);
  }
};

template <class T_> struct Average {
  using T = T_;
  using C = Compute<T>;
  static constexpr bool STRIPS = sizeof(T) < 8;
  static constexpr C OUTSIDE = 0;
  struct Acc {
    C sum;
    CDN_FN void start(int32_t) { sum = OUTSIDE; }
    CDN_FN void take(C x, int32_t) { sum += x; }
    CDN_FN void join(const Acc& row, int32_t) { sum += row.sum; }
  };
  T* y;
  Share<C> share;
  template <int N, int CH>
  CDN_FN void store(const Pool& pool, const Acc (&acc)[N][CH], int64_t at, int32_t i,
                    int32_t j) const {
    const C rows = share.along(pool.height, i);
    put<N * CH>(y + at, [&](int e) {
      return static_cast<T>(acc[e / CH][e % CH].sum / share.of(rows, pool, j + e / CH));
    });
  }
};

template <class T_> struct AverageGrad {
  using T = T_;
  using C = Compute<T>;
  static constexpr bool STRIPS = sizeof(T) < 8;
  struct Part {
    C grad;
    CDN_FN C of(int32_t) const { return grad; }
  };
  const T* dy;
  Share<C> share;
  template <class Row, int N, int CH>
  CDN_FN void read(const Pool& pool, const Row& row, int32_t i, Part (&parts)[N][CH]) const {
    T grad[N][CH];
    row.read(dy, static_cast<T>(0.0f), grad);
    const C rows = share.along(pool.height, i);
    CDN_UNROLLED
    for (int e = 0; e < N * CH; e++) {
      const int j = e / CH;
      parts[j][e % CH] = {row.has(j) ? wide(grad[j][e % CH]) / share.of(rows, pool, row.first + j)
                                     : C(0)};
    }
  }
};

}  // namespace

CDN_API int32_t cdn_avg_pool(uint32_t y, uint32_t x, const int64_t* sizes, double divisor,
                             int32_t with_padding, int32_t dtype) {
  return run("cdn_avg_pool", Floats{}, dtype, [&]<class T>(Call& call, T) {
    const Pool pool = Pool::read(sizes);
    T* to = call.out<T>(y, "y", pool.y_size());
    const T* from = call.in<T>(x, "x", pool.x_size());
    pooled<false>(call, pool, Average<T>{to, {divisor, with_padding != 0}}, from, {to, from});
  });
}

CDN_API int32_t cdn_avg_pool_grad(uint32_t dx, uint32_t dy, const int64_t* sizes, double divisor,
                                  int32_t with_padding, int32_t dtype) {
  return run("cdn_avg_pool_grad", Floats{}, dtype, [&]<class T>(Call& call, T) {
    const Pool pool = Pool::read(sizes);
    T* to = call.out<T>(dx, "dx", pool.x_size());
    const T* upstream = call.in<T>(dy, "dy", pool.y_size());
    pooled<true>(call, pool, AverageGrad<T>{upstream, {divisor, with_padding != 0}}, to,
                 {to, upstream});
  });
}
