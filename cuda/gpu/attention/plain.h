// Attention of any type, size, mask and device, by plain multiply-adds: what no kernel for tensor
// cores takes. A block of 16 x 16 threads has 64 rows of a result and walks over the other side in
// steps of 64; a thread has 4 x 4 of the scores of each step, and of each 64 columns of the result.
#pragma once
#include "gpu/attention/attention.h"

namespace cdn {
namespace plain {

constexpr int SIDE = 64, EACH = 4, OUT = 2;
template <class C> constexpr int STEP = 64 / sizeof(C);  // of the products' sums

template <class C> struct alignas(16) Line {
  C v[SIDE + 16 / sizeof(C)];
};
template <class C> struct Shared {
  Line<C> a[STEP<C>], b[STEP<C>], weights[SIDE];  // weights: [the other side][row]
};
template <class C> using Sums = C[EACH][EACH];

// 64 rows of a head, and the first of OUT * 64 columns of their results: what a block makes.
struct Unit {
  int64_t head, row, column;
};
struct Units {
  int64_t tiles, groups, count;
  Units(int64_t heads, int64_t rows, int64_t columns)
      : tiles(ceil_div(rows, SIDE)),
        groups(columns > OUT * SIDE ? ceil_div(columns, OUT * SIDE) : 1),
        count(heads * tiles * groups) {}
  __device__ Unit operator[](int64_t i) const {
    const int64_t tile = quotient(i, groups), head = quotient(tile, tiles);
    return {head, (tile - head * tiles) * SIDE, (i - tile * groups) * (OUT * SIDE)};
  }
};

// Rows of a head from one on; those from `count` on are 0.
template <class T> struct Rows {
  const T* data;
  int64_t step, count, features;
  __device__ Compute<T> at(int64_t r, int64_t f) const {
    return r < count && f < features ? wide(data[r * step + f]) : Compute<T>(0);
  }
};

__device__ inline int tx() { return threadIdx.x % 16; }
__device__ inline int ty() { return threadIdx.x / 16; }
__device__ inline float power_of_2(float x) { return ::exp2f(x); }
__device__ inline double power_of_2(double x) { return ::exp2(x); }

// sums[i][j] += a[k][4 ty + i] * b[k][4 tx + j]. HIDDEN: weights of 0 in a take b for 0, too.
template <bool HIDDEN, class C>
__device__ void add_products(Sums<C>& sums, const Line<C>* a, const Line<C>* b) {
#pragma unroll
  for (int k = 0; k < STEP<C>; k++) {
    C x[EACH], y[EACH];
#pragma unroll
    for (int i = 0; i < EACH; i++) x[i] = a[k].v[EACH * ty() + i], y[i] = b[k].v[EACH * tx() + i];
#pragma unroll
    for (int i = 0; i < EACH; i++)
#pragma unroll
      for (int j = 0; j < EACH; j++)
        if (!HIDDEN || x[i] != 0) sums[i][j] += x[i] * y[j];
  }
}

// sums[i][j] = the product of row 4 ty + i of a and row 4 tx + j of b.
template <class T, class C>
__device__ void dots(Sums<C>& sums, const Rows<T>& a, const Rows<T>& b, Shared<C>& s) {
  for (int i = 0; i < EACH * EACH; i++) sums[i / EACH][i % EACH] = 0;
  __syncthreads();  // for weights, too, where there are no features
  for (int64_t f = 0; f < a.features; f += STEP<C>) {
    __syncthreads();
    for (int e = threadIdx.x; e < SIDE * STEP<C>; e += BLOCK) {
      const int k = e % STEP<C>, r = e / STEP<C>;
      s.a[k].v[r] = a.at(r, f + k), s.b[k].v[r] = b.at(r, f + k);
    }
    __syncthreads();
    add_products<false>(sums, s.a, s.b);
  }
}

// sums += the weights in s times the rows of b, columns from `column` on.
template <class T, class C>
__device__ void add_weighted(Sums<C>& sums, const Rows<T>& b, int64_t column, bool hidden,
                             Shared<C>& s) {
  for (int k = 0; k < b.count && k < SIDE; k += STEP<C>) {
    __syncthreads();
    for (int e = threadIdx.x; e < SIDE * STEP<C>; e += BLOCK)
      s.b[e / SIDE].v[e % SIDE] = b.at(k + e / SIDE, column + e % SIDE);
    __syncthreads();
    hidden ? add_products<true>(sums, s.weights + k, s.b)
           : add_products<false>(sums, s.weights + k, s.b);
  }
}

template <class C> __device__ C sum_of_row(C x) {
  for (int lane = 8; lane; lane /= 2) x += __shfl_xor_sync(~0u, x, lane);
  return x;
}

// A block's columns of results, from the sums of its threads.
template <class C> struct Result {
  int64_t first;
  Sums<C> sums[OUT] = {};
  __device__ explicit Result(int64_t first) : first(first) {}
  template <class T> __device__ void add(const Rows<T>& b, bool hidden, Shared<C>& s) {
#pragma unroll
    for (int o = 0; o < OUT; o++)
      if (column(o) < b.features) add_weighted(sums[o], b, column(o), hidden, s);
  }
  // factor: of row i
  template <class T, class F>
  __device__ void put(T* y, int64_t step, int64_t rows, int64_t features, F factor) const {
#pragma unroll
    for (int o = 0; o < OUT; o++)
#pragma unroll
      for (int i = 0; i < EACH; i++)
#pragma unroll
        for (int j = 0; j < EACH; j++) {
          const int64_t r = EACH * ty() + i, f = column(o) + EACH * tx() + j;
          if (r < rows && f < features) y[r * step + f] = static_cast<T>(sums[o][i][j] * factor(i));
        }
  }
  __device__ int64_t column(int o) const { return first + o * SIDE; }
};

// A head of a batch, and what its scores become.
template <class T> struct Head {
  using C = Compute<T>;
  const Attention<T>& x;
  int64_t b, h, kv;
  __device__ Head(const Attention<T>& x, int64_t b, int64_t h)
      : x(x), b(b), h(h), kv(x.kv_head(h)) {}

  __device__ Rows<T> q(int64_t r) const {
    return {x.q + x.q_at(b, h, r), x.q_at.row, x.queries - r, x.features};
  }
  __device__ Rows<T> k(int64_t c) const {
    return {x.k + x.k_at(b, kv, c), x.k_at.row, x.keys - c, x.features};
  }
  __device__ Rows<T> v(int64_t c) const {
    return {x.v + x.v_at(b, kv, c), x.v_at.row, x.keys - c, x.out_features};
  }
  // A score times log2(e), -infinity where the column is hidden.
  __device__ C score(C dot, int64_t row, int64_t column) const {
    const C hide = -std::numeric_limits<C>::infinity();
    if (row >= x.queries) return hide;
    const Span seen = x.rules.columns(b, row);
    if (column < seen.begin || column >= seen.end) return hide;
    const C s = dot * x.scale * C(1.4426950408889634);
    if (x.rules.kind == MaskKind::NONE) return s;
    const C added = x.rules.template added<C>(x.rules.mask_at(b, h, row), column);
    return added == hide ? hide : s + added;
  }
  // Which of a thread's weights dropout leaves, from a row and a column on: bit EACH * r + c.
  __device__ uint32_t kept(int64_t row, int64_t column) const {
    if (x.rules.dropout.threshold == 0) return ~0u;
    uint32_t bits = 0;
#pragma unroll 1
    for (int e = 0; e < EACH * EACH; e++)
      bits |= uint32_t{x.rules.dropout.kept(b * x.heads + h, row + e / EACH, column + e % EACH)}
              << e;
    return bits;
  }
  __device__ C dropped(C value, bool kept) const {
    return kept ? value * C(x.rules.dropout.scale) : C(0);
  }
};

template <class T> struct GradHead : Head<T> {
  using C = Compute<T>;
  const AttentionGrad<T>& g;
  const C* inner;  // [batch, heads, queries]: products of the rows of dy and y
  __device__ GradHead(const AttentionGrad<T>& g, const C* inner, int64_t b, int64_t h)
      : Head<T>(g, b, h), g(g), inner(inner) {}
  __device__ Rows<T> dy(int64_t r) const {
    return {g.dy + g.dy_at(this->b, this->h, r), g.dy_at.row, g.queries - r, g.out_features};
  }
  // From a product of q and k and one of dy and v: a weight, and the gradient of its score.
  __device__ void weigh(C& dot, C& slope, int64_t row, int64_t column, bool kept,
                        bool& hidden) const {
    const C s = this->score(dot, row, column);
    const bool hide = s == -std::numeric_limits<C>::infinity();
    hidden = hidden || hide;
    const int64_t at = g.lse_at(this->b, this->h, row);
    const C weight = hide ? C(0) : power_of_2((g.base() ? s - g.base()[at] : s) - g.lse[at]);
    slope = weight == 0 ? C(0) : weight * (this->dropped(slope, kept) - inner[at]);
    dot = weight;
  }
};

// ---- Kernels: blocks by head and 64 rows (or keys)

template <class T> __global__ void __launch_bounds__(BLOCK) forward(Attention<T> x, Units units) {
  using C = Compute<T>;
  __shared__ Shared<C> s;
  const C none = -std::numeric_limits<C>::infinity();
  for (int64_t block = blockIdx.x; block < units.count; block += gridDim.x) {
    const Unit unit = units[block];
    const int64_t z = unit.head, r = unit.row;
    const Head<T> head(x, z / x.heads, z % x.heads);
    Result<C> result(unit.column);
    C largest[EACH], sum[EACH] = {};
    for (int i = 0; i < EACH; i++) largest[i] = none;
    const int64_t last = r + SIDE < x.queries ? r + SIDE - 1 : x.queries - 1;
    const Span columns = x.rules.columns(head.b, r, last);
    for (int64_t c = columns.begin / SIDE * SIDE; c < columns.end; c += SIDE) {
      Sums<C> w;
      dots(w, head.q(r), head.k(c), s);
      bool hidden = false;
      const uint32_t kept = head.kept(r + EACH * ty(), c + EACH * tx());
#pragma unroll
      for (int i = 0; i < EACH; i++) {
        const int64_t row = r + EACH * ty() + i;
        C most = largest[i];
        for (int j = 0; j < EACH; j++) {
          w[i][j] = head.score(w[i][j], row, c + EACH * tx() + j);
          hidden = hidden || w[i][j] == none;
          most = w[i][j] > most ? w[i][j] : most;
        }
        for (int lane = 8; lane; lane /= 2) {
          const C other = __shfl_xor_sync(~0u, most, lane);
          most = other > most ? other : most;
        }
        const C base = most == none ? C(0) : most;  // a row that has seen nothing yet
        const C shrink = power_of_2(largest[i] - base);
        largest[i] = most;
        sum[i] *= shrink;
        for (int o = 0; o < OUT; o++)
          for (int j = 0; j < EACH; j++) result.sums[o][i][j] *= shrink;
        for (int j = 0; j < EACH; j++) {
          const C weight = power_of_2(w[i][j] - base);
          sum[i] += weight;
          s.weights[EACH * tx() + j].v[EACH * ty() + i] =
              head.dropped(weight, kept >> (EACH * i + j) & 1);
        }
      }
      hidden = __syncthreads_or(hidden);
      result.add(head.v(c), hidden, s);
    }
#pragma unroll
    for (int i = 0; i < EACH; i++) {
      const int64_t row = r + EACH * ty() + i;
      sum[i] = sum_of_row(sum[i]);
      if (x.lse && unit.column == 0 && tx() == 0 && row < x.queries) {
        const int64_t at = x.lse_at(head.b, head.h, row);
        const C base = sum[i] == 0 ? C(0) : largest[i],
                log = sum[i] == 0 ? -none : static_cast<C>(::log2(sum[i]));
        x.lse[at] = x.base() ? log : base + log;
        if (x.base()) x.base()[at] = base;
      }
    }
    result.put(x.y + x.y_at(head.b, head.h, r), x.y_at.row, x.queries - r, x.out_features,
               [&](int i) { return sum[i] == 0 ? C(0) : 1 / sum[i]; });
    __syncthreads();
  }
}

// Of dy and y, a warp a row.
template <class T>
__global__ void __launch_bounds__(BLOCK) inner_products(AttentionGrad<T> x, Compute<T>* inner) {
  const int64_t rows = x.batch * x.heads * x.queries;
  for (int64_t row = blockIdx.x * int64_t{BLOCK / 32} + threadIdx.x / 32; row < rows;
       row += gridDim.x * int64_t{BLOCK / 32}) {
    const int64_t z = row / x.queries, b = z / x.heads, h = z % x.heads, r = row % x.queries;
    const T *dy = x.dy + x.dy_at(b, h, r), *y = x.y + x.y_at(b, h, r);
    Compute<T> sum = 0;
    for (int64_t f = threadIdx.x % 32; f < x.out_features; f += 32) sum += wide(dy[f]) * wide(y[f]);
    sum += __shfl_xor_sync(~0u, sum, 16);
    sum = sum_of_row(sum);
    if (threadIdx.x % 32 == 0) inner[row] = sum;
  }
}

template <class T>
__global__ void __launch_bounds__(BLOCK)
    grad_rows(AttentionGrad<T> x, const Compute<T>* inner, Units units) {
  using C = Compute<T>;
  __shared__ Shared<C> s;
  for (int64_t block = blockIdx.x; block < units.count; block += gridDim.x) {
    const Unit unit = units[block];
    const int64_t z = unit.head, r = unit.row;
    const GradHead<T> head(x, inner, z / x.heads, z % x.heads);
    Result<C> dq(unit.column);
    const int64_t last = r + SIDE < x.queries ? r + SIDE - 1 : x.queries - 1;
    const Span columns = x.rules.columns(head.b, r, last);
    for (int64_t c = columns.begin / SIDE * SIDE; c < columns.end; c += SIDE) {
      Sums<C> w, slope;
      dots(w, head.q(r), head.k(c), s);
      dots(slope, head.dy(r), head.v(c), s);
      bool hidden = false;
      const uint32_t kept = head.kept(r + EACH * ty(), c + EACH * tx());
#pragma unroll
      for (int i = 0; i < EACH; i++)
#pragma unroll
        for (int j = 0; j < EACH; j++) {
          const int64_t row = r + EACH * ty() + i, column = c + EACH * tx() + j;
          head.weigh(w[i][j], slope[i][j], row, column, kept >> (EACH * i + j) & 1, hidden);
          s.weights[EACH * tx() + j].v[EACH * ty() + i] = slope[i][j];
          if (x.dscores && unit.column == 0 && row < x.queries && column < x.keys)
            x.dscores[x.lse_at(head.b, head.h, row) * x.keys + column] = slope[i][j];
        }
      hidden = __syncthreads_or(hidden);
      dq.add(head.k(c), hidden, s);
    }
    dq.put(x.dq + x.dq_at(head.b, head.h, r), x.dq_at.row, x.queries - r, x.features,
           [&](int) { return x.scale; });
    __syncthreads();
  }
}

template <class T>
__global__ void __launch_bounds__(BLOCK)
    grad_columns(AttentionGrad<T> x, const Compute<T>* inner, Units units) {
  using C = Compute<T>;
  __shared__ Shared<C> s;
  const int64_t shared = x.heads / x.kv_heads;
  for (int64_t block = blockIdx.x; block < units.count; block += gridDim.x) {
    const Unit unit = units[block];
    const int64_t z = unit.head, b = z / x.kv_heads, kv = z % x.kv_heads, c = unit.row;
    Result<C> dk(unit.column), dv(unit.column);
    const Span rows = x.rules.rows(b, c, c + SIDE < x.keys ? c + SIDE - 1 : x.keys - 1);
    for (int64_t h = kv * shared; h < (kv + 1) * shared; h++) {
      const GradHead<T> head(x, inner, b, h);
      for (int64_t r = rows.begin / SIDE * SIDE; r < rows.end; r += SIDE) {
        Sums<C> w, slope;
        dots(w, head.k(c), head.q(r), s);
        dots(slope, head.v(c), head.dy(r), s);
        bool hidden = false;
        const uint32_t kept = head.kept(r + EACH * tx(), c + EACH * ty());
#pragma unroll
        for (int i = 0; i < EACH; i++)
#pragma unroll
          for (int j = 0; j < EACH; j++) {
            const int64_t row = r + EACH * tx() + j, column = c + EACH * ty() + i;
            const bool keep = kept >> (EACH * j + i) & 1;
            head.weigh(w[i][j], slope[i][j], row, column, keep, hidden);
            s.weights[EACH * tx() + j].v[EACH * ty() + i] = head.dropped(w[i][j], keep);
          }
        hidden = __syncthreads_or(hidden);
        dv.add(head.dy(r), hidden, s);
        __syncthreads();
        for (int i = 0; i < EACH; i++)
          for (int j = 0; j < EACH; j++)
            s.weights[EACH * tx() + j].v[EACH * ty() + i] = slope[i][j];
        dk.add(head.q(r), hidden, s);
      }
    }
    dk.put(x.dk + x.dk_at(b, kv, c), x.dk_at.row, x.keys - c, x.features,
           [&](int) { return x.scale; });
    dv.put(x.dv + x.dv_at(b, kv, c), x.dv_at.row, x.keys - c, x.out_features,
           [](int) { return C(1); });
    __syncthreads();
  }
}

}  // namespace plain
}  // namespace cdn
