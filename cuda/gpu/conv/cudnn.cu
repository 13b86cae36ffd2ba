#include "gpu/conv/methods.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <mutex>
#include <type_traits>

#include "gpu/device/vendor.h"

namespace cdn {
namespace {

constexpr int NHWC = 1, CROSS_CORRELATION = 1, TENSOR_OP_MATH = 1, FMA_MATH = 3;
constexpr int MOST_ALGORITHMS = 16;           // that it tells of
constexpr size_t MOST_WORKSPACE = 1ll << 30;  // bytes
constexpr size_t MOST_CHOICES = 4096;

// cudnnDataType_t
constexpr int type_code(float) { return 0; }
constexpr int type_code(double) { return 1; }
constexpr int type_code(float16) { return 2; }
constexpr int type_code(bfloat16) { return 9; }

using Handle = void*;
using Descriptor = void*;

// cudnnConvolutionFwdAlgoPerf_t and those of the gradients, which are alike.
struct Tried {
  int algorithm, status;
  float milliseconds;
  size_t workspace;
  int determinism, math, reserved[3];
};

// Of a direction: all have the same parameters.
struct Functions {
  int (*compute)(Handle, const void* alpha, Descriptor, const void*, Descriptor, const void*,
                 Descriptor convolution, int algorithm, void* workspace, size_t bytes,
                 const void* beta, Descriptor, void*);
  int (*list)(Handle, Descriptor, Descriptor, Descriptor convolution, Descriptor, int wanted,
              int* found, Tried*);
  int (*try_all)(Handle, Descriptor, const void*, Descriptor, const void*, Descriptor convolution,
                 Descriptor, void*, int wanted, int* found, Tried*, void* workspace, size_t bytes);
};

// The part of cuDNN's C interface that is used.
struct Cudnn : VendorLibrary {
  const char* (*text)(int status);
  int (*create)(Handle*);
  int (*set_stream)(Handle, void*);
  int (*create_tensor)(Descriptor*);
  int (*create_filter)(Descriptor*);
  int (*create_convolution)(Descriptor*);
  int (*set_tensor)(Descriptor, int format, int type, int n, int c, int h, int w);
  int (*set_filter)(Descriptor, int type, int format, int k, int c, int h, int w);
  int (*set_convolution)(Descriptor, int pad_h, int pad_w, int stride_h, int stride_w,
                         int dilation_h, int dilation_w, int mode, int type);
  int (*set_groups)(Descriptor, int);
  int (*set_math)(Descriptor, int);
  Functions functions[3];
  // Kept until the process ends: handles of devices, and descriptors, which are set anew at each
  // call.
  std::map<int32_t, Handle> handles;
  Descriptor x = nullptr, y = nullptr, w = nullptr, convolution = nullptr;
  std::map<std::array<int64_t, 20>, Tried> choices;  // by shape, way, type, arithmetic and device
  std::mutex mutex;  // a handle is for one stream, and one thread, at a time

  Cudnn() : VendorLibrary("CUDENO_CUDNN", {"libcudnn.so.9"}) {
    // It loads its parts by itself, and ends the process where it does not find them.
    const std::string folder = path.substr(0, path.find_last_of('/') + 1);
    for (const char* part : {"graph", "ops", "cnn"})
      if (why_not.empty()) open(folder + "libcudnn_" + part + ".so.9");
    find(text, "cudnnGetErrorString");
    find(create, "cudnnCreate");
    find(set_stream, "cudnnSetStream");
    find(create_tensor, "cudnnCreateTensorDescriptor");
    find(create_filter, "cudnnCreateFilterDescriptor");
    find(create_convolution, "cudnnCreateConvolutionDescriptor");
    find(set_tensor, "cudnnSetTensor4dDescriptor");
    find(set_filter, "cudnnSetFilter4dDescriptor");
    find(set_convolution, "cudnnSetConvolution2dDescriptor");
    find(set_groups, "cudnnSetConvolutionGroupCount");
    find(set_math, "cudnnSetConvolutionMathType");
    const char* const names[] = {"Forward", "BackwardData", "BackwardFilter"};
    for (int way = 0; way < 3; way++) {
      const std::string name = std::string("Convolution") + names[way];
      find(functions[way].compute, ("cudnn" + name).c_str());
      find(functions[way].list, ("cudnnGet" + name + "Algorithm_v7").c_str());
      find(functions[way].try_all, ("cudnnFind" + name + "AlgorithmEx").c_str());
    }
  }

  void check(int status, const char* what) const {
    const int code = status / 1000 == 3 ? CDN_UNSUPPORTED : CDN_CUDA_FAILURE;
    if (status != 0) CDN_FAIL(code, "variant cudnn: %s: %s", what, text(status));
  }

  Handle handle_of(int32_t device) {
    auto make = [&](void*& one, int (*create)(void**), const char* what) {
      if (!one) check(create(&one), what);
    };
    make(x, create_tensor, "cudnnCreateTensorDescriptor");
    make(y, create_tensor, "cudnnCreateTensorDescriptor");
    make(w, create_filter, "cudnnCreateFilterDescriptor");
    make(convolution, create_convolution, "cudnnCreateConvolutionDescriptor");
    make(handles[device], create, "cudnnCreate");
    return handles[device];
  }

  void describe(const ConvGeometry& g, int type, int sums) const {
    auto i = [](int64_t extent) { return static_cast<int>(extent); };
    check(set_tensor(x, NHWC, type, i(g.n), i(g.c), i(g.h), i(g.w)), "x");
    check(set_tensor(y, NHWC, type, i(g.n), i(g.k), i(g.p), i(g.q)), "y");
    check(set_filter(w, type, NHWC, i(g.k), i(g.group_c()), i(g.r), i(g.s)), "w");
    check(set_convolution(convolution, i(g.pad_h), i(g.pad_w), i(g.stride_h), i(g.stride_w),
                          i(g.dilation_h), i(g.dilation_w), CROSS_CORRELATION, sums),
          "cudnnSetConvolution2dDescriptor");
    check(set_groups(convolution, i(g.groups)), "cudnnSetConvolutionGroupCount");
  }
};

Cudnn& cudnn() {
  static auto* opened = new Cudnn;  // never destroyed: at exit another thread may be inside
  if (!opened->why_not.empty())
    CDN_FAIL(CDN_UNSUPPORTED,
             "variant cudnn: cuDNN 9 could not be opened (CUDENO_CUDNN can name it): %s",
             opened->why_not.c_str());
  return *opened;
}

// What it takes: the same padding behind as in front, and data in whole pieces of 16 bytes.
void check(const ConvGeometry& g, std::initializer_list<const void*> tensors) {
  auto places = [](int64_t extent, int64_t taps, int64_t dilation, int64_t pad, int64_t stride) {
    return (extent + 2 * pad - (taps - 1) * dilation - 1) / stride + 1;
  };
  if (g.pad_h < 0 || g.pad_w < 0 || places(g.h, g.r, g.dilation_h, g.pad_h, g.stride_h) != g.p ||
      places(g.w, g.s, g.dilation_w, g.pad_w, g.stride_w) != g.q)
    CDN_FAIL(CDN_UNSUPPORTED, "variant cudnn: padding must be the same on both sides, 0 or more");
  for (const void* data : tensors)
    if (reinterpret_cast<uintptr_t>(data) % 16 ||
        std::max({g.x_count(), g.y_count(), g.w_count()}) > INT32_MAX)
      CDN_FAIL(CDN_UNSUPPORTED,
               "variant cudnn: tensors must begin at multiples of 16 bytes and have at most %d "
               "elements",
               INT32_MAX);
}

}  // namespace

template <class T> bool convolve_by_cudnn(Call& call, const Convolution<T>& c) {
  const ConvGeometry& g = c.g;
  const int way = static_cast<int>(c.direction);
  T* const to = c.to();
  const T *a = c.forward() || c.grad_weight() ? c.x : c.w, *b = c.forward() ? c.w : c.y;
  Cudnn& library = cudnn();
  check(g, {a, b, to});
  std::lock_guard<std::mutex> lock(library.mutex);
  const Handle handle = library.handle_of(call.device());
  library.check(library.set_stream(handle, call.stream()), "cudnnSetStream");
  library.describe(g, type_code(T{}), type_code(Compute<T>{}));
  const Descriptor operands[3][3] = {{library.x, library.w, library.y},
                                     {library.w, library.y, library.x},
                                     {library.x, library.y, library.w}};
  const auto [of_a, of_b, of_result] = operands[way];
  const Functions& functions = library.functions[way];
  auto set_math = [&](int math) {
    library.check(library.set_math(library.convolution, math), "cudnnSetConvolutionMathType");
  };

  const bool fast = c.precision == PRECISION_TF32 || c.precision == PRECISION_BFLOAT16;
  const int math = is_half<T> || (std::is_same_v<T, float> && fast) ? TENSOR_OP_MATH : FMA_MATH;
  std::array<int64_t, 20> key = {way, type_code(T{}), math, call.device()};
  static_assert(sizeof(g) == 16 * sizeof(int64_t));
  memcpy(&key[4], &g, sizeof(g));
  auto known = library.choices.find(key);
  void* workspace = nullptr;  // of the call: so no two streams ever share one
  if (known != library.choices.end()) {
    workspace = call.scratch<char>(known->second.workspace);
  } else {
    Tried tried[MOST_ALGORITHMS];
    int count = 0;
    set_math(math);
    library.check(functions.list(handle, of_a, of_b, library.convolution, of_result,
                                 MOST_ALGORITHMS, &count, tried),
                  "asking for its algorithms");
    size_t room = 0;
    for (const Tried* x = tried; x < tried + count; x++)
      if (x->status == 0 && x->workspace <= MOST_WORKSPACE) room = std::max(room, x->workspace);
    workspace = call.scratch<char>(room);
    library.check(functions.try_all(handle, of_a, a, of_b, b, library.convolution, of_result, to,
                                    MOST_ALGORITHMS, &count, tried, workspace, room),
                  "trying its algorithms");
    const Tried* best = tried;  // the fastest comes first
    while (best < tried + count && (best->status != 0 || best->workspace > room)) best++;
    if (best == tried + count)
      CDN_FAIL(CDN_UNSUPPORTED, "variant cudnn: it has no algorithm for this shape and dtype");
    if (library.choices.size() >= MOST_CHOICES) library.choices.clear();
    known = library.choices.emplace(key, *best).first;
  }
  const Tried& choice = known->second;
  set_math(choice.math);
  const Compute<T> one = 1, zero = 0;
  library.check(
      functions.compute(handle, &one, of_a, a, of_b, b, library.convolution, choice.algorithm,
                        workspace, choice.workspace, &zero, of_result, to),
      "cudnnConvolution");
  if (!c.epilogue.plain()) {
    Epilogue rest = c.epilogue;  // in place
    rest.beta = 1;
    each_run(call, g.y_count(), FinishRuns<Compute<T>, T, T>{{rest, g.k}, nullptr});
  }
  return true;
}

template bool convolve_by_cudnn(Call&, const Convolution<float>&);
template bool convolve_by_cudnn(Call&, const Convolution<double>&);
template bool convolve_by_cudnn(Call&, const Convolution<float16>&);
template bool convolve_by_cudnn(Call&, const Convolution<bfloat16>&);

}  // namespace cdn
