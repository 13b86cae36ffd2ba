// What becomes of a product, or a convolution, before it is stored, written once for all kernels.
#pragma once
#include "kernel/activations.h"

namespace cdn {

enum Activation : int32_t {
  ACTIVATION_NONE = CDN_ACTIVATION_NONE,
  ACTIVATION_RELU = CDN_ACTIVATION_RELU,
  ACTIVATION_GELU = CDN_ACTIVATION_GELU,
  ACTIVATION_GELU_TANH = CDN_ACTIVATION_GELU_TANH,
  ACTIVATION_SILU = CDN_ACTIVATION_SILU
};

// What becomes of a product before it is stored, as cdn_matmul_fused says. bias has the operands'
// type; the others have that of the output, out_dtype, and lie as c does. nullptr where one is not
// wanted.
struct Epilogue {
  void *c = nullptr, *z = nullptr;
  const void *bias = nullptr, *residual = nullptr, *mask = nullptr;
  double alpha = 1, beta = 0;
  int32_t activation = ACTIVATION_NONE;
  int32_t out_dtype = CDN_FLOAT32;

  // Nothing but, perhaps, another type.
  CDN_FN bool plain() const {
    return !z && !bias && !residual && alpha == 1 && beta == 0 && activation == ACTIVATION_NONE;
  }

  // That of the rows from one on: `before` elements of c, of Out, lie in front of it.
  template <class Out> Epilogue moved(int64_t before) const {
    Epilogue part = *this;
    auto move = [&](const void* p) { return p ? static_cast<const Out*>(p) + before : nullptr; };
    part.c = static_cast<Out*>(c) + before;
    part.z = const_cast<Out*>(move(z));
    part.residual = move(residual);
    part.mask = move(mask);
    return part;
  }
};

// The epilogue for one value of the product, or for a run of neighbours. C is what it computes in,
// In and Out are the types of the operands and of the output. It goes step by step over the whole
// run, so that a long one is vector code, and one of a single value costs a thread nothing.
template <class C, class In, class Out> struct Finish {
  static_assert(std::is_same<C, Compute<In>>::value && std::is_same<C, Compute<Out>>::value,
                "one computing type");
  Out *c, *z;
  const In* bias;
  const Out *residual, *mask;
  int64_t cols;
  C alpha, beta;
  int32_t activation;
  bool packs;  // lines of c and of all that lies as it does are whole pieces of 16 bytes

  CDN_FN Finish(const Epilogue& e, int64_t cols)
      : c(static_cast<Out*>(e.c)),
        z(static_cast<Out*>(e.z)),
        bias(static_cast<const In*>(e.bias)),
        residual(static_cast<const Out*>(e.residual)),
        mask(static_cast<const Out*>(e.mask)),
        cols(cols),
        alpha(Converted<C>{}(e.alpha)),
        beta(Converted<C>{}(e.beta)),
        activation(e.activation),
        packs(cols * static_cast<int64_t>(sizeof(Out)) % 16 == 0) {
    for (const void* p : {e.c, e.z, const_cast<void*>(e.bias), const_cast<void*>(e.residual),
                          const_cast<void*>(e.mask)})
      packs = packs && reinterpret_cast<uintptr_t>(p) % 16 == 0;
  }

  // v belongs at place i of c, which is in column j.
  CDN_FN void operator()(C v, int64_t i, int64_t j) const {
    C run[1] = {v};
    (*this)(run, i, j, 1);
  }

  // What a pack of 16 bytes at place i takes of others that lie as c does, to be asked for ahead.
  static constexpr int PACK = 16 / sizeof(Out);
  struct Others {
    Pack<Out, PACK> residual, mask;
  };
  CDN_FN Others others(int64_t i) const {
    Others x;
    if (residual) x.residual = *reinterpret_cast<const Pack<Out, PACK>*>(residual + i);
    if (mask) x.mask = *reinterpret_cast<const Pack<Out, PACK>*>(mask + i);
    return x;
  }
  // A whole pack, where `packs` allows it.
  CDN_FN void operator()(C (&v)[PACK], int64_t i, int64_t j, const Others& x) const {
    for (int t = 0; t < PACK; t++) v[t] *= alpha;
    if (beta != C(0)) {
      const auto old = *reinterpret_cast<const Pack<Out, PACK>*>(c + i);
      for (int t = 0; t < PACK; t++) v[t] += beta * wide(old.v[t]);
    }
    if (bias) {
      const auto more = *reinterpret_cast<const Pack<In, PACK>*>(bias + j);
      for (int t = 0; t < PACK; t++) v[t] += wide(more.v[t]);
    }
    if (z) put(z + i, v);
    activate(v, x.mask.v, PACK);
    if (residual)
      for (int t = 0; t < PACK; t++) v[t] += wide(x.residual.v[t]);
    put(c + i, v);
  }

  // The first n of v belong at places i, i + 1, … of c, from column j on; the run may go over into
  // further rows.
  template <int N> CDN_FN void operator()(C (&v)[N], int64_t i, int64_t j, int n) const {
    for (int t = 0; t < n; t++) v[t] *= alpha;
    if (beta != C(0))
      for (int t = 0; t < n; t++) v[t] += beta * wide(c[i + t]);
    if (bias) add_bias(v, j, n);
    if (z)
      for (int t = 0; t < n; t++) z[i + t] = static_cast<Out>(v[t]);
    activate(v, mask + i, n);
    if (residual)
      for (int t = 0; t < n; t++) v[t] += wide(residual[i + t]);
    for (int t = 0; t < n; t++) c[i + t] = static_cast<Out>(v[t]);
  }

 private:
  template <int N> CDN_FN void add_bias(C (&v)[N], int64_t j, int n) const {
    for (int t = 0; t < n; j = 0) {
      int last = cols - j < n - t ? t + static_cast<int>(cols - j) : n;
      for (; t < last; t++, j++) v[t] += wide(bias[j]);
    }
  }
  // of_mask: the mask's elements, where there is a mask.
  template <int N> CDN_FN void activate(C (&v)[N], const Out* of_mask, int n) const {
    switch (activation) {
      case ACTIVATION_RELU: return activate(Relu{}, ReluGrad{}, v, of_mask, n);
      case ACTIVATION_GELU: return activate(Gelu{}, GeluGrad{}, v, of_mask, n);
      case ACTIVATION_GELU_TANH: return activate(GeluTanh{}, GeluTanhGrad{}, v, of_mask, n);
      case ACTIVATION_SILU: return activate(Silu{}, SiluGrad{}, v, of_mask, n);
      default: return;
    }
  }
  template <class F, class G, int N>
  CDN_FN void activate(F f, G gradient, C (&v)[N], const Out* of_mask, int n) const {
    if (mask)
      for (int t = 0; t < n; t++) v[t] = gradient(v[t], wide(of_mask[t]));
    else
      for (int t = 0; t < n; t++) v[t] = f(v[t]);
  }
  static CDN_FN void put(Out* to, const C (&v)[PACK]) {
    Pack<Out, PACK> pack;
    for (int t = 0; t < PACK; t++) pack.v[t] = static_cast<Out>(v[t]);
    *reinterpret_cast<Pack<Out, PACK>*>(to) = pack;
  }
};

// For each_run: the epilogue of a product that is there.
template <class C, class In, class Out> struct FinishRuns {
  Finish<C, In, Out> finish;
  const C* product;  // nullptr: a sum of nothing
  template <int N> CDN_FN void run(int64_t i, int count) const {
    C v[N];
    for (int t = 0; t < count; t++) v[t] = product ? product[i + t] : C(0);
    finish(v, i, i - quotient(i, finish.cols) * finish.cols, count);
  }
};

}  // namespace cdn
