#include "ops/persistent/mlp.h"

using namespace cdn;

CDN_API int32_t cdn_mlp_train(uint32_t losses, uint32_t correct, const uint32_t* params,
                              const uint32_t* velocities, uint32_t x, uint32_t target,
                              uint32_t order, uint32_t rates, uint32_t scale, uint32_t shift,
                              const int64_t* sizes, double momentum, double weight_decay,
                              int32_t nesterov, int32_t ignore_index, int32_t dtype) {
  return run("cdn_mlp_train", [&](Call& call) {
    if (!params || !sizes) CDN_FAIL(CDN_BAD_ARGUMENT, "%s is null", params ? "sizes" : "params");
    if (dtype != CDN_FLOAT32 && dtype != CDN_UINT8) unsupported(dtype, "float32 or uint8");
    if (momentum != 0 && !velocities)
      CDN_FAIL(CDN_BAD_ARGUMENT, "velocities is null; there is a momentum");
    MlpTraining y{};
    constexpr const char* NAMES[] = {"samples", "inputs", "hidden", "classes", "batch", "steps"};
    int64_t* const size[] = {&y.samples, &y.inputs, &y.hidden, &y.classes, &y.batch, &y.steps};
    for (int i = 0; i < 6; i++) {
      *size[i] = checked_size(NAMES[i], sizes[i]);
      if (sizes[i] == 0 && size[i] != &y.steps && size[i] != &y.samples)
        CDN_FAIL(CDN_BAD_ARGUMENT, "%s is 0", NAMES[i]);
    }
    y.norms = sizes[6];
    if (y.norms != 1 && y.norms != y.inputs)
      CDN_FAIL(CDN_BAD_ARGUMENT,
               "the count of scale and shift is %lld; it must be 1 or inputs, %lld",
               (long long)y.norms, (long long)y.inputs);
    y.losses = call.out<float>(losses, "losses", y.steps);
    y.correct = call.optional_out<int32_t>(correct, "correct", y.steps);
    const int64_t counts[] = {checked_product("hidden, inputs", y.hidden, y.inputs), y.hidden,
                              checked_product("classes, hidden", y.classes, y.hidden), y.classes};
    for (int i = 0; i < y.PARAMS; i++) {
      y.param[i] = call.out<float>(params[i], "params", counts[i]);
      if (momentum != 0) y.velocity[i] = call.out<float>(velocities[i], "velocities", counts[i]);
    }
    const int64_t n = checked_product("samples, inputs", y.samples, y.inputs);
    y.bytes = dtype == CDN_UINT8;
    y.x = y.bytes ? static_cast<const void*>(call.in<uint8_t>(x, "x", n))
                  : static_cast<const void*>(call.in<float>(x, "x", n));
    y.target = call.in<int32_t>(target, "target", y.samples);
    y.order = call.in<int32_t>(order, "order", checked_product("steps, batch", y.steps, y.batch));
    y.rates = call.in<float>(rates, "rates", y.steps);
    y.scale = call.optional<float>(scale, "scale", y.norms);
    y.shift = call.optional<float>(shift, "shift", y.norms);
    y.momentum = static_cast<float>(momentum);
    y.weight_decay = static_cast<float>(weight_decay);
    y.nesterov = nesterov != 0;
    y.ignore = ignore_index;
    y.fault = call.fault();
    backend::train_mlp(call, y);
  });
}
