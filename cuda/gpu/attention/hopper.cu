// hopper_attention and its gradient: what attention_pass takes, its work, and the launches.
#include <algorithm>

#include "gpu/attention/attention.h"
#include "gpu/attention/cut.h"
#include "gpu/attention/kernels.h"
#include "gpu/gemm/wgmma/tensor_map.h"

namespace cdn {
namespace {

constexpr int64_t MOST = int64_t{1} << 28;  // of what the kernel counts
constexpr int32_t FAR = 1 << 29;            // no limit
constexpr float LOG2_E = 1.4426950408889634f;

template <class T>
HeadLines lines_of(const T* x, const HeadStrides& at, int64_t features, int64_t rows, int64_t heads,
                   int64_t batch) {
  return {x, features, rows, heads, batch, at.row, at.head, at.batch};
}
template <class T> HeadLines q_lines(const Attention<T>& x, const T* q, const HeadStrides& at) {
  return lines_of(q, at, x.features, x.queries, x.heads, x.batch);
}
template <class T> HeadLines y_lines(const Attention<T>& x, const T* y, const HeadStrides& at) {
  return lines_of(y, at, x.out_features, x.queries, x.heads, x.batch);
}
template <class T> HeadLines k_lines(const Attention<T>& x, const T* k, const HeadStrides& at) {
  return lines_of(k, at, x.features, x.keys, x.kv_heads, x.batch);
}
template <class T> HeadLines v_lines(const Attention<T>& x, const T* v, const HeadStrides& at) {
  return lines_of(v, at, x.out_features, x.keys, x.kv_heads, x.batch);
}
HeadPlace place_of(const HeadLines& x) {
  return {const_cast<void*>(x.data), x.step, x.head_step, x.ld, static_cast<int32_t>(x.cols)};
}

// What no kernel here can do without.
template <class T> bool takes_rules(const Call& call, const Attention<T>& x) {
  const AttentionRules& rules = x.rules;
  auto countable = [](int64_t n) { return n > 0 && n <= MOST; };
  auto limit = [](int64_t n) { return n >= -MOST && n <= MOST; };
  return hopper_device(call) && rules.kind == MaskKind::NONE && x.scale > 0 &&
         x.scale * LOG2_E < INFINITY && x.features % 8 == 0 && x.out_features % 8 == 0 &&
         countable(x.features) && countable(x.out_features) &&
         std::max(x.features, x.out_features) <= 256 && countable(x.queries) && countable(x.keys) &&
         countable(x.batch * x.heads) && limit(rules.offset) && limit(rules.left) &&
         limit(rules.right);
}
template <class T> bool takes(const Call& call, const Attention<T>& x) {
  return takes_rules(call, x) && fits(q_lines(x, x.q, x.q_at)) && fits(k_lines(x, x.k, x.k_at)) &&
         fits(v_lines(x, x.v, x.v_at)) && fits(y_lines(x, x.y, x.y_at));
}

// What the passes have in common.
template <class T> AttentionWork work_of(const Attention<T>& x) {
  const AttentionRules& rules = x.rules;
  const auto offset = static_cast<int32_t>(rules.offset);
  AttentionWork w{};
  w.queries = static_cast<int32_t>(x.queries);
  w.keys = static_cast<int32_t>(x.keys);
  w.group = static_cast<int32_t>(x.heads / x.kv_heads);
  w.low = rules.left < 0 ? -FAR : offset - static_cast<int32_t>(rules.left);
  w.high = rules.right < 0 ? FAR : offset + static_cast<int32_t>(rules.right) + 1;
  w.from_end = rules.from_end;
  w.lengths = rules.lengths;
  w.scale = x.scale;
  w.scale_log2 = x.scale * LOG2_E;
  w.lse = x.lse;
  w.dropout = rules.dropout;
  return w;
}

struct AttentionTensors {
  HeadLines rows[3], columns[2];
};

// A launch of a pass. Blocks stay, and take units in turn: where masks make rows see more or less,
// a unit is two tiles that see as much together as two others.
void launch_pass(Call& call, const AttentionKernel& kernel, AttentionWork w,
                 const AttentionTensors& x) {
  // The planes of cut tensors are further batches.
  const int64_t heads = x.rows[0].heads * (w.batches ? w.batches : x.rows[0].count);
  const int processors = call.model().processors;
  w.rows = static_cast<int32_t>(x.rows[0].lines);
  w.heads = static_cast<int32_t>(x.rows[0].heads);
  w.row_tiles = static_cast<int32_t>(ceil_div(w.rows, kernel.rows));
  w.units = static_cast<int32_t>(w.row_tiles * heads * std::max(w.pieces, 1));
  w.folded = (w.low != -FAR || w.high != FAR) && w.units > processors;
  if (w.folded) w.units = static_cast<int32_t>(ceil_div(w.row_tiles, 2) * heads);
  CUtensorMap maps[5];
  for (int i = 0; i < 3; i++) maps[i] = tensor_map(x.rows[i], kernel.rows);
  for (int i = 0; i < 2; i++) maps[3 + i] = tensor_map(x.columns[i], kernel.columns);
  void* arguments[] = {&maps[0], &maps[1], &maps[2], &maps[3], &maps[4], &w};
  launch(call, kernel.function,
         {static_cast<unsigned>(std::min(w.units, processors)),
          static_cast<unsigned>(kernel.threads), kernel.shared_bytes, 1, true},
         arguments);
}

template <class T> int widest(const Attention<T>& x) {
  return static_cast<int>(std::max(x.features, x.out_features));
}

template <class T> bool drops(const Attention<T>& x) { return x.rules.dropout.threshold > 0; }

// Rows of y from those of pieces of the keys, by their parts in the sum of weights.
template <class T>
__global__ void __launch_bounds__(BLOCK)
    join_pieces(Attention<T> x, const float* y, const float* lse, int pieces) {
  follow_previous_kernel();
  const int64_t rows = x.rows(), features = x.out_features;
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const int64_t z = quotient(row, x.queries), r = row - z * x.queries, b = quotient(z, x.heads),
                  h = z - b * x.heads;
    float most = -INFINITY, total = 0;
    for (int p = 0; p < pieces; p++) {
      const float own = lse[p * rows + row];
      if (own != INFINITY) most = fmaxf(most, own);
    }
    auto part = [&](int p) {
      const float own = lse[p * rows + row];
      return own == INFINITY ? 0.0f : exp2f(own - most);
    };
    for (int p = 0; p < pieces; p++) total += part(p);
    for (int64_t f = threadIdx.x; f < features; f += BLOCK) {
      float sum = 0;
      for (int p = 0; p < pieces; p++) sum += part(p) * y[(p * rows + row) * features + f];
      x.y[x.y_at(b, h, r) + f] = static_cast<T>(total == 0 ? 0.0f : sum / total);
    }
    if (x.lse && threadIdx.x == 0)
      x.lse[x.lse_at(b, h, r)] = total == 0 ? INFINITY : most + log2f(total);
  }
}

// Where there are few queries, as when a text goes on word by word, the keys are shared out, too.
// kernel_of(kind): the kernel.
template <class T, class KernelOf>
void launch_forward(Call& call, const Attention<T>& x, KernelOf&& kernel_of, AttentionWork w,
                    const AttentionTensors& tensors) {
  constexpr int64_t LEAST = 4;  // tiles of a piece
  const AttentionKernel kernel = kernel_of(drops(x) ? ForwardKind::DROPS : ForwardKind::WHOLE);
  const int64_t units = ceil_div(x.queries, kernel.rows) * x.heads * x.batch,
                tiles = ceil_div(x.keys, kernel.columns),
                wanted = std::min<int64_t>(call.model().processors / units, tiles / LEAST);
  if (wanted < 2 || drops(x)) return launch_pass(call, kernel, w, tensors);
  w.piece_tiles = static_cast<int32_t>(ceil_div(tiles, wanted));
  w.pieces = static_cast<int32_t>(ceil_div(tiles, w.piece_tiles));
  w.all_batches = static_cast<int32_t>(x.batch);
  const int64_t rows = x.rows(), f = x.out_features;
  float *const y = call.scratch<float>(w.pieces * rows * f), *const lse = call.scratch<float>(
                                                                 w.pieces * rows);
  w.out[0] = {y, x.heads * x.queries * f, x.queries * f, f, static_cast<int32_t>(f)};
  w.lse = lse;
  launch_pass(call, kernel_of(ForwardKind::PIECES), w, tensors);
  launch(call, join_pieces<T>, following(call, {grid_for(rows)}), x, y, lse, w.pieces);
}

template <class T> bool forward(Call& call, const Attention<T>& x) {
  if (!takes(call, x)) return false;
  AttentionWork w = work_of(x);
  const HeadLines q = q_lines(x, x.q, x.q_at), y = y_lines(x, x.y, x.y_at);
  w.out[0] = place_of(y);
  launch_forward(call, x, [&](ForwardKind kind) { return forward_kernel<T>(widest(x), kind); }, w,
                 {{q, q, q}, {k_lines(x, x.k, x.k_at), v_lines(x, x.v, x.v_at)}});
  return true;
}

template <class T> bool backward(Call& call, const AttentionGrad<T>& x) {
  const HeadLines q = q_lines(x, x.q, x.q_at), k = k_lines(x, x.k, x.k_at),
                  v = v_lines(x, x.v, x.v_at), dy = y_lines(x, x.dy, x.dy_at),
                  dq = q_lines(x, x.dq, x.dq_at), dk = k_lines(x, x.dk, x.dk_at),
                  dv = v_lines(x, x.dv, x.dv_at);
  if (!takes(call, x) || widest(x) > 128 || x.dscores || !fits(dy) || !fits(dq) || !fits(dk) ||
      !fits(dv))
    return false;
  AttentionWork w = work_of(x);
  w.delta = call.scratch<float>(x.batch * x.heads * x.queries);
  w.out[0] = place_of(dq);
  launch_pass(call, query_grad_kernel<T>(widest(x), drops(x)), w,
              {{q, dy, y_lines(x, x.y, x.y_at)}, {k, v}});
  w.out[0] = place_of(dk);
  w.out[1] = place_of(dv);
  launch_pass(call, key_grad_kernel<T>(widest(x), drops(x)), w, {{k, v, v}, {q, dy}});
  return true;
}

// ---- float32, cut

// Queries, keys, values, and gradients of y, as they are cut for a kernel.
class CutTensors {
 public:
  CutTensors(Call& call, int planes, int each, const Attention<float>& x) : call_(call) {
    cuts_.rules = x.rules;
    cuts_.batch = x.batch, cuts_.planes = planes, cuts_.each = each;
  }
  // Returns the planes, as tensors of so many batches.
  HeadLines add(const float* x, const HeadStrides& at, int64_t features, int64_t lines,
                int64_t heads, int32_t most, bool of_keys) {
    const int64_t size = cuts_.batch * heads * lines * features;
    CutHeads& own = cuts_.of[cuts_.count];
    own = {x,
           at,
           lines,
           heads,
           call_.scratch<float16>(size * cuts_.planes),
           call_.scratch<float>(cuts_.batch * heads * ceil_div(lines, cuts_.each)),
           most,
           of_keys};
    cuts_.features[cuts_.count++] = features;
    return {own.planes,
            features,
            lines,
            heads,
            cuts_.planes * cuts_.batch,
            features,
            lines * features,
            heads * lines * features};
  }
  const float* scales(int i) const { return cuts_.of[i].scales; }
  void cut() { cut_heads(call_, cuts_); }

 private:
  Call& call_;
  Cuts cuts_{};
};

// Scores are scaled by two powers of 2 and must stay finite where tiles are tiny; others by one.
constexpr int32_t OF_SCORES = 60, OF_VALUES = 100;

int planes_of(const Attention<float>& x) { return x.precision == PRECISION_FLOAT32 ? 2 : 1; }
bool takes_cut(const Call& call, const Attention<float>& x) {
  return x.precision != PRECISION_IEEE && takes_rules(call, x) && widest(x) <= 128 &&
         cuttable(x.q, x.q_at) && cuttable(x.k, x.k_at) && cuttable(x.v, x.v_at) &&
         cuttable(x.y, x.y_at);
}

bool cut_forward(Call& call, const Attention<float>& x) {
  if (!takes_cut(call, x)) return false;
  const int planes = planes_of(x);
  auto kernel_of = [&](ForwardKind kind) {
    return planes == 2 ? cut_forward_kernel<2>(widest(x), kind)
                       : cut_forward_kernel<1>(widest(x), kind);
  };
  CutTensors cut(call, planes, kernel_of(ForwardKind::WHOLE).columns, x);
  const HeadLines q = cut.add(x.q, x.q_at, x.features, x.queries, x.heads, OF_SCORES, false),
                  k = cut.add(x.k, x.k_at, x.features, x.keys, x.kv_heads, OF_SCORES, true),
                  v = cut.add(x.v, x.v_at, x.out_features, x.keys, x.kv_heads, OF_VALUES, true);
  cut.cut();
  AttentionWork w = work_of(x);
  w.batches = static_cast<int32_t>(x.batch);
  w.row_scales[0] = cut.scales(0), w.column_scales[0] = cut.scales(1),
  w.column_scales[1] = cut.scales(2);
  w.out[0] = place_of(y_lines(x, x.y, x.y_at));
  launch_forward(call, x, kernel_of, w, {{q, q, q}, {k, v}});
  return true;
}

// delta: the inner products of dy and y.
void cut_backward(Call& call, const AttentionGrad<float>& x, float* delta) {
  const int planes = planes_of(x);
  const AttentionKernel of_queries = planes == 2 ? cut_query_grad_kernel<2>(widest(x), drops(x))
                                                 : cut_query_grad_kernel<1>(widest(x), drops(x));
  CutTensors cut(call, planes, of_queries.columns, x);
  const HeadLines q = cut.add(x.q, x.q_at, x.features, x.queries, x.heads, OF_SCORES, false),
                  k = cut.add(x.k, x.k_at, x.features, x.keys, x.kv_heads, OF_SCORES, true),
                  v = cut.add(x.v, x.v_at, x.out_features, x.keys, x.kv_heads, OF_VALUES, true),
                  dy = cut.add(x.dy, x.dy_at, x.out_features, x.queries, x.heads, OF_VALUES, false);
  cut.cut();
  AttentionWork w = work_of(x);
  w.batches = static_cast<int32_t>(x.batch);
  w.delta = delta;
  w.row_scales[0] = cut.scales(0), w.row_scales[1] = cut.scales(3);
  w.column_scales[0] = cut.scales(1), w.column_scales[1] = cut.scales(2);
  w.out[0] = place_of(q_lines(x, x.dq, x.dq_at));
  launch_pass(call, of_queries, w, {{q, dy, dy}, {k, v}});
  std::swap(w.row_scales, w.column_scales);
  w.out[0] = place_of(k_lines(x, x.dk, x.dk_at));
  w.out[1] = place_of(v_lines(x, x.dv, x.dv_at));
  for (const AttentionKernel& kernel : planes == 2 ? cut_key_grad_kernels<2>(widest(x), drops(x))
                                                   : cut_key_grad_kernels<1>(widest(x), drops(x)))
    launch_pass(call, kernel, w, {{k, v, v}, {q, dy}});
}

}  // namespace

bool hopper_attention(Call& call, const Attention<float>& x) { return cut_forward(call, x); }
bool hopper_attention(Call& call, const Attention<float16>& x) { return forward(call, x); }
bool hopper_attention(Call& call, const Attention<bfloat16>& x) { return forward(call, x); }
bool hopper_takes_grad(const Call& call, const AttentionGrad<float>& x) {
  return takes_cut(call, x) && !x.dscores && cuttable(x.dy, x.dy_at) && cuttable(x.dq, x.dq_at) &&
         cuttable(x.dk, x.dk_at) && cuttable(x.dv, x.dv_at);
}
void hopper_attention_grad(Call& call, const AttentionGrad<float>& x, float* delta) {
  cut_backward(call, x, delta);
}
bool hopper_attention_grad(Call& call, const AttentionGrad<float16>& x) {
  return backward(call, x);
}
bool hopper_attention_grad(Call& call, const AttentionGrad<bfloat16>& x) {
  return backward(call, x);
}

}  // namespace cdn
