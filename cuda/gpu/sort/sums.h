// What the GPU adds up by place in ways of its own; kernel/sum.h has what the sums are.
#pragma once
#include "kernel/row_walk.h"
#include "kernel/sort.h"
#include "kernel/sum.h"

namespace cdn {

// The places that elements go to, worked out where an index lies in order; from `limit` up there is
// none.
struct NamedKeys {
  const uint32_t* key;
  const int32_t* index;  // nullptr: they are there
  IndexedAxis axis;
  int64_t step, limit;
  __device__ uint32_t operator[](int64_t i) const {
    if (!index) return key[i];
    int64_t at = axis.place(index[i]);
    return static_cast<uint32_t>(at < 0 ? limit : i * step + at * axis.stride);
  }
};

// y[] = x[] (0 without x), y[key[i]] += src[i] for elements of up to 32 bits. False: there is too
// little to add up, or too few or many places, for this to be the way.
template <class T>
bool sum_by_bins(Call& call, T* y, const T* x, const T* src, NamedKeys keys, int64_t n);

// y[o, key[k], i] += the sum of src[o, place[k], i] over runs of equal keys, where there are
// neighbours i enough: a thread adds a pack of them from row to row of a chunk of the sorted keys.
// A run that goes on past its chunk leaves a partial sum in each, and the thread of the chunk where
// it begins adds those up once all are there: `joins`.
template <class T, int W> struct Runs {
  T* y;
  const T* src;
  Sorted<uint32_t> sorted;
  Sum<T>*
      partial;  // [outer, chunk, 2, inner]: of the run from the chunk before; of that to the next
  int64_t n, inner, limit, chunk, chunks;
  bool joins = false;

  __device__ void operator()(int64_t at) const {
    constexpr int AHEAD = 4;  // loads under way at a time
    const int64_t row = quotient(at, inner / W), i = (at - row * (inner / W)) * W,
                  o = quotient(row, chunks), c = row - o * chunks, begin = c * chunk,
                  end = begin + chunk < n ? begin + chunk : n;
    const uint32_t* key = sorted.key;
    Sum<T> sum[W];
    auto kept = [&](int64_t of, bool to_next) {
      return partial + ((o * chunks + of) * 2 + to_next) * inner + i;
    };
    auto add = [&](int64_t to) {
      if (to >= limit) return;
      auto& target = reinterpret_cast<Pack<T, W>&>(y[(o * limit + to) * inner + i]);
      Pack<T, W> old = target;
      for (int w = 0; w < W; w++) old.v[w] = static_cast<T>(sum[w] + wide(old.v[w]));
      target = old;
    };
    if (joins) {
      const uint32_t run = key[end - 1];
      if (end == n || key[end] != run || (begin > 0 && key[begin - 1] == run)) return;
      for (int w = 0; w < W; w++) sum[w] = kept(c, true)[w];
      for (int64_t next = c + 1; next < chunks && key[next * chunk] == run; next++)
        for (int w = 0; w < W; w++) sum[w] = sum[w] + kept(next, false)[w];
      return add(run);
    }
    uint32_t run = key[begin];
    bool before = begin > 0 && key[begin - 1] == run;
    for (int64_t k = begin; k < end; k += AHEAD) {
      Pack<T, W> x[AHEAD];
      uint32_t of[AHEAD];
#pragma unroll
      for (int a = 0; a < AHEAD; a++) {
        int64_t there = k + a < end ? k + a : end - 1;
        of[a] = key[there];
        x[a] = reinterpret_cast<const Pack<T, W>&>(src[(o * n + sorted.place[there]) * inner + i]);
      }
#pragma unroll
      for (int a = 0; a < AHEAD; a++) {
        if (k + a >= end) break;
        bool first = k + a == begin || of[a] != run;
        for (int w = 0; w < W; w++)
          sum[w] = first ? Sum<T>(wide(x[a].v[w])) : sum[w] + wide(x[a].v[w]);
        run = of[a];
        bool last = k + a + 1 == end, after = k + a + 1 < n && key[k + a + 1] == run;
        if (after && !last) continue;
        if (before || after)
          for (int w = 0; w < W; w++) kept(c, !before)[w] = sum[w];
        else
          add(run);
        before = false;
      }
    }
  }
};

template <class T>
void sum_runs(Call& call, T* y, const T* src, const Sorted<uint32_t>& sorted, int64_t outer,
              int64_t n, int64_t inner, int64_t limit) {
  constexpr int64_t LEAST = 16, CHUNKS = 4096;
  constexpr int W = 16 / sizeof(T);
  int64_t chunk = n > LEAST * CHUNKS ? ceil_div(n, CHUNKS) : LEAST, chunks = ceil_div(n, chunk);
  auto* partial = chunks > 1 ? call.scratch<Sum<T>>(outer * chunks * 2 * inner) : nullptr;
  auto by = [&](auto runs, int64_t packs) {
    each(call, outer * chunks * packs, runs);
    runs.joins = true;
    if (chunks > 1) each(call, outer * chunks * packs, runs);
  };
  if (inner % W == 0 && aligned16(y) && aligned16(src))
    by(Runs<T, W>{y, src, sorted, partial, n, inner, limit, chunk, chunks}, inner / W);
  else
    by(Runs<T, 1>{y, src, sorted, partial, n, inner, limit, chunk, chunks}, inner);
}

}  // namespace cdn
