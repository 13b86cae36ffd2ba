// The functions of cudeno.h behind one table, from the library linked in or from one opened by
// name.
#pragma once
#include <dlfcn.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include "cudeno.h"

// A name a line.
// clang-format off
// Functions that take handles, sizes and scalars, the output first: their arguments are made up by type.
#define COMPUTING(X) \
  X(neg) \
  X(abs) \
  X(sign) \
  X(exp) \
  X(expm1) \
  X(log) \
  X(log1p) \
  X(sqrt) \
  X(rsqrt) \
  X(sin) \
  X(cos) \
  X(erf) \
  X(clip) \
  X(relu) \
  X(sigmoid) \
  X(tanh) \
  X(gelu) \
  X(gelu_tanh) \
  X(silu) \
  X(leaky_relu) \
  X(elu) \
  X(softplus) \
  X(abs_grad) \
  X(sqrt_grad) \
  X(rsqrt_grad) \
  X(erf_grad) \
  X(clip_grad) \
  X(relu_grad) \
  X(sigmoid_grad) \
  X(tanh_grad) \
  X(gelu_grad) \
  X(gelu_tanh_grad) \
  X(silu_grad) \
  X(leaky_relu_grad) \
  X(elu_grad) \
  X(softplus_grad) \
  X(fill) \
  X(cast) \
  X(add) \
  X(sub) \
  X(mul) \
  X(weigh) \
  X(div) \
  X(floor_divide) \
  X(pow) \
  X(maximum) \
  X(minimum) \
  X(pow_grad_base) \
  X(pow_grad_exponent) \
  X(maximum_grad) \
  X(eq) \
  X(ne) \
  X(lt) \
  X(le) \
  X(gt) \
  X(ge) \
  X(where) \
  X(strided_copy) \
  X(strided_write) \
  X(band) \
  X(transpose) \
  X(sum) \
  X(mean) \
  X(max) \
  X(min) \
  X(argmax) \
  X(argmin) \
  X(max_grad) \
  X(variance) \
  X(variance_grad) \
  X(vector_norm) \
  X(vector_norm_grad) \
  X(log_sum_exp) \
  X(log_sum_exp_grad) \
  X(cumsum) \
  X(topk) \
  X(gather) \
  X(scatter_add) \
  X(index_add) \
  X(one_hot) \
  X(softmax) \
  X(softmax_grad) \
  X(masked_softmax) \
  X(log_softmax) \
  X(log_softmax_grad) \
  X(cross_entropy) \
  X(gather_rows) \
  X(lstm_cell) \
  X(gru_cell) \
  X(rnn_cell) \
  X(lstm_cell_grad) \
  X(gru_cell_grad) \
  X(rnn_cell_grad) \
  X(uniform) \
  X(normal) \
  X(randint) \
  X(layer_norm) \
  X(rms_norm) \
  X(norm_grad) \
  X(norm_param_grad) \
  X(batch_norm_stats) \
  X(batch_norm_track) \
  X(batch_norm) \
  X(batch_norm_sums) \
  X(batch_norm_grad) \
  X(dropout) \
  X(mse_loss) \
  X(l1_loss) \
  X(smooth_l1_loss) \
  X(huber_loss) \
  X(bce_loss) \
  X(bce_with_logits_loss) \
  X(hinge_loss) \
  X(kl_div_loss) \
  X(kl_div_log_loss) \
  X(mse_loss_grad) \
  X(l1_loss_grad) \
  X(smooth_l1_loss_grad) \
  X(huber_loss_grad) \
  X(bce_loss_grad) \
  X(bce_with_logits_loss_grad) \
  X(hinge_loss_grad) \
  X(kl_div_loss_grad) \
  X(kl_div_log_loss_grad) \
  X(scale_grad) \
  X(nll_loss) \
  X(nll_loss_grad) \
  X(nll_mean) \
  X(matmul)
// The others, each with its own place in Fuzzer::manage() or computing_entries().
#define MANAGING(X) \
  X(abi_version) \
  X(last_error) \
  X(build_info) \
  X(device_count) \
  X(device_info) \
  X(sync) \
  X(attach) \
  X(stream_create) \
  X(stream_destroy) \
  X(stream_use) \
  X(stream_sync) \
  X(event_create) \
  X(event_record) \
  X(event_elapsed) \
  X(event_destroy) \
  X(alloc) \
  X(view) \
  X(freeze) \
  X(free) \
  X(write) \
  X(read) \
  X(copy) \
  X(wait_begin) \
  X(read_begin) \
  X(read_wait) \
  X(read_end) \
  X(write_begin) \
  X(write_wait) \
  X(write_end) \
  X(memory_stats) \
  X(memory_limit) \
  X(memory_trim) \
  X(memory_reset_peak) \
  X(matmul_variant) \
  X(matmul_fused) \
  X(sgd_step) \
  X(adam_step) \
  X(nadam_step) \
  X(rmsprop_step) \
  X(adagrad_step) \
  X(muon_step) \
  X(list_norm) \
  X(list_clip_norm) \
  X(list_clip) \
  X(list_lerp) \
  X(list_unscale)
// clang-format on

// Weak, so that the program also links without a library, to be given one by name.
#define DECLARE(f) extern "C" __attribute__((weak)) decltype(cdn_##f) cdn_##f;
COMPUTING(DECLARE)
MANAGING(DECLARE)

// While a thread is refusing, each call of the library is denied host memory at a random one of its
// first allocations, by the operator new of fuzz.cpp.
inline thread_local bool refusing = false;
inline thread_local int allocations_left = 0;  // until the one that is refused; 0: none is
inline thread_local int64_t refusals = 0;

template <class F> struct Function;
template <class R, class... A> struct Function<R(A...)> {
  R (*function)(A...);
  R operator()(A... args) const {
    static thread_local uint32_t random = 1;
    random = random * 1664525 + 1013904223;
    allocations_left = refusing ? static_cast<int>(random >> 29) : 0;
    R result = function(args...);
    allocations_left = 0;
    return result;
  }
};

inline struct Api {
#define MEMBER(f) Function<decltype(cdn_##f)> f{&cdn_##f};
  COMPUTING(MEMBER)
  MANAGING(MEMBER)
} api;

[[noreturn]] inline __attribute__((format(printf, 1, 2))) void die(const char* format, ...) {
  va_list args;
  va_start(args, format);
  fputs("fuzz: ", stderr);
  vfprintf(stderr, format, args);
  fputs("\n", stderr);
  fflush(stderr);
  _Exit(1);
}

inline void load(const char* path) {
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) die("%s", dlerror());
#define RESOLVE(f)                                                                               \
  if (!(api.f.function = reinterpret_cast<decltype(api.f.function)>(dlsym(library, "cdn_" #f)))) \
    die("%s lacks cdn_%s", path, #f);
  COMPUTING(RESOLVE)
  MANAGING(RESOLVE)
}
