// Classes drawn by their weights, for rows of them.
#include "kernel/functions.h"

using namespace cdn;

namespace {

// Counts the weights above 0 of a row.
struct CheckWeights {
  struct Acc {
    int64_t positive, bad;
  };
  const double* weights;
  int64_t least;
  volatile Fault* fault;
  CDN_FN Acc start() const { return {0, 0}; }
  CDN_FN Acc load(int64_t at, int64_t) const {
    double w = weights[at];
    return {w > 0, !(w >= 0 && w - w == 0)};
  }
  CDN_FN Acc join(Acc a, Acc b) const { return {a.positive + b.positive, a.bad + b.bad}; }
  CDN_FN void store(int64_t row, Acc acc) const {
    if (acc.bad > 0 || acc.positive < least) report_fault(fault, FAULT_WEIGHTS, row, least);
  }
};

// The first class whose sum is above the point's share of the total. Sums that are joined in
// several ways may fall or rise by a rounding where a weight is 0: then a neighbour that has one is
// taken.
struct DrawClass {
  int32_t* y;
  const double *weights, *sums, *points;
  int64_t cols, k;
  CDN_FN void operator()(int64_t i) const {
    const int64_t begin = quotient(i, k) * cols;
    const double *weight = weights + begin, *sum = sums + begin;
    const double point = points[i] * sum[cols - 1];
    int64_t low = 0;
    for (int64_t n = cols; n > 1;) {  // no branch that would be guessed wrongly
      const int64_t half = n / 2;
      low += sum[low + half - 1] > point ? 0 : half;
      n -= half;
    }
    while (low > 0 && weight[low] == 0) low--;
    while (low < cols - 1 && weight[low] == 0) low++;
    y[i] = static_cast<int32_t>(low);
  }
};

}  // namespace

CDN_API int32_t cdn_check_weights(uint32_t weights, int64_t rows, int64_t cols, int64_t least) {
  return run("cdn_check_weights", [&](Call& call) {
    if (cols == 0 && rows > 0) CDN_FAIL(CDN_BAD_ARGUMENT, "cols is 0: there is no class to draw");
    const double* from =
        call.in<double>(weights, "weights", checked_product("rows, cols", rows, cols));
    reduce(call, rows, cols, 1, CheckWeights{from, least, call.fault()});
  });
}

CDN_API int32_t cdn_multinomial(uint32_t y, uint32_t weights, uint32_t sums, uint32_t points,
                                int64_t rows, int64_t cols, int64_t k) {
  return run("cdn_multinomial", [&](Call& call) {
    int64_t n = checked_product("rows, cols", rows, cols),
            drawn = checked_product("rows, k", rows, k);
    if (cols == 0 && drawn > 0) CDN_FAIL(CDN_BAD_ARGUMENT, "cols is 0: there is no class to draw");
    if (cols > INT32_MAX)
      CDN_FAIL(CDN_UNSUPPORTED, "cols is %lld; a class must fit int32", (long long)cols);
    int32_t* to = call.out<int32_t>(y, "y", drawn);
    const double *weight = call.in<double>(weights, "weights", n),
                 *sum = call.in<double>(sums, "sums", n);
    each(call, drawn,
         DrawClass{to, weight, sum, call.in<double>(points, "points", drawn), cols, k});
  });
}
