// Optimizer steps over many parameters in one launch. The tensors' addresses travel as a kernel argument, and a chunk
// finds its tensor from their running count.
#include "functions.h"

using namespace cdn;

namespace {

constexpr int TENSORS = 64;           // a launch; further ones follow in further launches
constexpr int64_t CHUNK_SIZE = 4096;  // elements of one tensor that are handled together

template <class T> struct SgdTable {
  T* param[TENSORS];
  const T* grad[TENSORS];
  T* velocity[TENSORS];
  int64_t size[TENSORS];
  int64_t first_chunk[TENSORS + 1];
  int32_t count;
};

template <class T> struct SgdRule {
  Compute<T> lr, momentum, dampening, weight_decay;
  bool nesterov, first;
};

template <class T> struct SgdStep {
  SgdTable<T> table;
  SgdRule<T> rule;

  struct Row {
    T* param;
    const T* grad;
    T* velocity;
    int64_t count;
    SgdRule<T> rule;
    CDN_FN void operator()(int64_t i) const {
      using C = Compute<T>;
      C p = wide(param[i]), g = wide(grad[i]) + rule.weight_decay * p;
      if (rule.momentum != C(0)) {
        C v = rule.first ? g : rule.momentum * wide(velocity[i]) + (C(1) - rule.dampening) * g;
        velocity[i] = static_cast<T>(v);
        g = rule.nesterov ? g + rule.momentum * v : v;
      }
      param[i] = static_cast<T>(p - rule.lr * g);
    }
  };
  CDN_FN Row row(int64_t chunk) const {
    int t = 0;
    while (chunk >= table.first_chunk[t + 1]) t++;
    int64_t i = (chunk - table.first_chunk[t]) * CHUNK_SIZE, left = table.size[t] - i;
    return {table.param[t] + i, table.grad[t] + i, table.velocity[t] ? table.velocity[t] + i : nullptr,
            left < CHUNK_SIZE ? left : CHUNK_SIZE, rule};
  }
};

}  // namespace

CDN_API int32_t cdn_sgd_step(const uint32_t* params, const uint32_t* grads, const uint32_t* velocities,
                             const int64_t* sizes, int32_t count, double lr, double momentum, double dampening,
                             double weight_decay, int32_t nesterov, int32_t first, int32_t dtype) {
  return run("cdn_sgd_step", Call::UNCHECKED, [&](Call& call) {
    if (count < 0) CDN_FAIL(CDN_BAD_ARGUMENT, "count is %d; it must be 0 or more", count);
    if (count && (!params || !grads || !sizes)) CDN_FAIL(CDN_BAD_ARGUMENT, "params, grads or sizes is null");
    if (count && momentum != 0 && !velocities) CDN_FAIL(CDN_BAD_ARGUMENT, "momentum needs velocities");
    with_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      // All arguments are checked before the first launch.
      std::vector<SgdTable<T>> tables((static_cast<size_t>(count) + TENSORS - 1) / TENSORS);
      for (int32_t i = 0; i < count; i++) {
        SgdTable<T>& table = tables[i / TENSORS];
        int t = table.count++;
        table.param[t] = call.out<T>(params[i], "param", sizes[i]);
        table.grad[t] = call.in<T>(grads[i], "grad", sizes[i]);
        table.velocity[t] = momentum != 0 ? call.out<T>(velocities[i], "velocity", sizes[i]) : nullptr;
        table.size[t] = sizes[i];
        table.first_chunk[t + 1] = table.first_chunk[t] + (sizes[i] + CHUNK_SIZE - 1) / CHUNK_SIZE;
      }
      using C = Compute<T>;
      SgdRule<T> rule{static_cast<C>(lr),
                      static_cast<C>(momentum),
                      static_cast<C>(dampening),
                      static_cast<C>(weight_decay),
                      nesterov != 0,
                      first != 0};
      for (const SgdTable<T>& table : tables)
        each_row(call, table.first_chunk[table.count], CHUNK_SIZE, SgdStep<T>{table, rule});
    });
  });
}
