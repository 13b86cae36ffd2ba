// hopper_attention and its gradient: what attention_pass takes, its work, and the launches.
#include <algorithm>

#include "gpu/attention/attention.h"
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

template <class T> bool takes(const Call& call, const Attention<T>& x) {
  const AttentionRules& rules = x.rules;
  auto countable = [](int64_t n) { return n > 0 && n <= MOST; };
  auto limit = [](int64_t n) { return n >= -MOST && n <= MOST; };
  return hopper_device(call) && rules.kind == MaskKind::NONE && rules.dropout.threshold == 0 &&
         x.scale > 0 && x.scale * LOG2_E < INFINITY && x.features % 8 == 0 &&
         x.out_features % 8 == 0 && countable(x.features) && countable(x.out_features) &&
         std::max(x.features, x.out_features) <= 256 && countable(x.queries) && countable(x.keys) &&
         countable(x.batch * x.heads) && limit(rules.offset) && limit(rules.left) &&
         limit(rules.right) && fits(q_lines(x, x.q, x.q_at)) && fits(k_lines(x, x.k, x.k_at)) &&
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
  return w;
}

struct AttentionTensors {
  HeadLines rows[3], columns[2];
};

// A launch of a pass. Blocks stay, and take units in turn: where masks make rows see more or less,
// a unit is two tiles that see as much together as two others.
void launch_pass(Call& call, const AttentionKernel& kernel, AttentionWork w,
                 const AttentionTensors& x) {
  const int64_t heads = x.rows[0].heads * x.rows[0].count;
  const int processors = call.model().processors;
  w.rows = static_cast<int32_t>(x.rows[0].lines);
  w.heads = static_cast<int32_t>(x.rows[0].heads);
  w.row_tiles = static_cast<int32_t>(ceil_div(w.rows, kernel.rows));
  w.units = static_cast<int32_t>(w.row_tiles * heads);
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

template <class T> bool forward(Call& call, const Attention<T>& x) {
  if (!takes(call, x)) return false;
  AttentionWork w = work_of(x);
  const HeadLines q = q_lines(x, x.q, x.q_at), y = y_lines(x, x.y, x.y_at);
  w.out[0] = place_of(y);
  launch_pass(call, forward_kernel<T>(widest(x)), w,
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
  launch_pass(call, query_grad_kernel<T>(widest(x)), w, {{q, dy, y_lines(x, x.y, x.y_at)}, {k, v}});
  w.out[0] = place_of(dk);
  w.out[1] = place_of(dv);
  launch_pass(call, key_grad_kernel<T>(widest(x)), w, {{k, v, v}, {q, dy}});
  return true;
}

}  // namespace

bool hopper_attention(Call&, const Attention<float>&) { return false; }
bool hopper_attention(Call& call, const Attention<float16>& x) { return forward(call, x); }
bool hopper_attention(Call& call, const Attention<bfloat16>& x) { return forward(call, x); }
bool hopper_attention_grad(Call&, const AttentionGrad<float>&) { return false; }
bool hopper_attention_grad(Call& call, const AttentionGrad<float16>& x) {
  return backward(call, x);
}
bool hopper_attention_grad(Call& call, const AttentionGrad<bfloat16>& x) {
  return backward(call, x);
}

}  // namespace cdn
