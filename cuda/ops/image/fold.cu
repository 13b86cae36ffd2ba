// Windows of images as columns, and columns added up where their windows lie. Adding gathers: each
// pixel takes, in a fixed order, what the windows over it have for it.
#include "kernel/sum.h"

using namespace cdn;

namespace {

// Along one axis: window o begins at o * stride - padding and has an element every `dilation`.
struct WindowAxis {
  int64_t in, kernel, stride, padding, dilation, out;
  CDN_FN int64_t place(int64_t o, int64_t k) const { return o * stride - padding + k * dilation; }
  // The window that has pixel i as its element k; -1 for none.
  CDN_FN int64_t window(int64_t i, int64_t k) const {
    int64_t at = i + padding - k * dilation;
    if (at < 0) return -1;
    int64_t o = stride == 1 ? at : quotient(at, stride);
    return o < out && o * stride == at ? o : -1;
  }
};

WindowAxis axis_of(int64_t in, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation) {
  for (int64_t size : {in, kernel, stride, dilation})
    if (size < 1 || size > INT32_MAX || padding < 0 || padding > INT32_MAX)
      CDN_FAIL(
          CDN_BAD_ARGUMENT,
          "extent %lld, kernel %lld, stride %lld, padding %lld, dilation %lld: padding must be "
          "0 to 2^31 - 1, the others 1 to 2^31 - 1",
          (long long)in, (long long)kernel, (long long)stride, (long long)padding,
          (long long)dilation);
  int64_t room = in + 2 * padding - dilation * (kernel - 1) - 1;
  if (room < 0)
    CDN_FAIL(CDN_BAD_ARGUMENT, "a window is larger than the extent of %lld with its padding",
             (long long)in);
  return {in, kernel, stride, padding, dilation, room / stride + 1};
}

// A row of columns is one element of the windows of an image; here it is cut into the rows of
// windows.
template <class T> struct Unfold {
  WindowAxis ys, xs;
  T* y;
  const T* x;
  struct Row {
    WindowAxis xs;
    T* y;
    const T* line;  // null in the padding
    int64_t kx, count;
    CDN_FN void operator()(int64_t ox) const {
      int64_t ix = xs.place(ox, kx);
      y[ox] = line && ix >= 0 && ix < xs.in ? line[ix] : T(0);
    }
  };
  CDN_FN Row row(int64_t r) const {
    int64_t element = quotient(r, ys.out), rest = quotient(element, xs.kernel),
            image = quotient(rest, ys.kernel);
    int64_t iy = ys.place(r - element * ys.out, rest - image * ys.kernel);
    const T* line = iy >= 0 && iy < ys.in ? x + (image * ys.in + iy) * xs.in : nullptr;
    return {xs, y + r * xs.out, line, element - rest * xs.kernel, xs.out};
  }
};

template <class T> struct Fold {
  WindowAxis ys, xs;
  T* y;
  const T* x;
  struct Row {
    WindowAxis ys, xs;
    T* y;
    const T* columns;
    int64_t iy, count;
    CDN_FN void operator()(int64_t ix) const {
      Sum<T> sum(0);
      for (int64_t ky = 0; ky < ys.kernel; ky++) {
        int64_t oy = ys.window(iy, ky);
        if (oy < 0) continue;
        for (int64_t kx = 0; kx < xs.kernel; kx++) {
          int64_t ox = xs.window(ix, kx);
          if (ox < 0) continue;
          int64_t at = ((ky * xs.kernel + kx) * ys.out + oy) * xs.out + ox;
          sum = sum + wide(columns[at]);
        }
      }
      y[ix] = static_cast<T>(sum);
    }
  };
  CDN_FN Row row(int64_t r) const {
    int64_t image = quotient(r, ys.in);
    return {ys,
            xs,
            y + r * xs.in,
            x + image * ys.kernel * xs.kernel * ys.out * xs.out,
            r - image * ys.in,
            xs.in};
  }
};

struct Counts {
  int64_t pixels, rows, columns;
};
Counts counts_of(int64_t images, const WindowAxis& ys, const WindowAxis& xs) {
  int64_t rows = checked_product("images, kernel", images, ys.kernel, xs.kernel);
  int64_t windows = checked_product("windows", ys.out, xs.out);
  return {checked_product("images, height, width", images, ys.in, xs.in), rows,
          checked_product("images, kernel, windows", rows, windows)};
}

}  // namespace

CDN_API int32_t cdn_unfold(uint32_t y, uint32_t x, int64_t images, int64_t height, int64_t width,
                           int64_t kernel_h, int64_t kernel_w, int64_t stride_h, int64_t stride_w,
                           int64_t padding_h, int64_t padding_w, int64_t dilation_h,
                           int64_t dilation_w, int32_t dtype) {
  return run("cdn_unfold", AnyWord{}, dtype, [&]<class T>(Call& call, T) {
    WindowAxis ys = axis_of(height, kernel_h, stride_h, padding_h, dilation_h);
    WindowAxis xs = axis_of(width, kernel_w, stride_w, padding_w, dilation_w);
    Counts n = counts_of(images, ys, xs);
    T* to = call.out<T>(y, "y", n.columns);
    const T* from = call.in<T>(x, "x", n.pixels);
    if (n.columns) each_row(call, n.rows * ys.out, xs.out, Unfold<T>{ys, xs, to, from});
  });
}
CDN_API int32_t cdn_fold(uint32_t y, uint32_t x, int64_t images, int64_t height, int64_t width,
                         int64_t kernel_h, int64_t kernel_w, int64_t stride_h, int64_t stride_w,
                         int64_t padding_h, int64_t padding_w, int64_t dilation_h,
                         int64_t dilation_w, int32_t dtype) {
  return run("cdn_fold", Floats{}, dtype, [&]<class T>(Call& call, T) {
    WindowAxis ys = axis_of(height, kernel_h, stride_h, padding_h, dilation_h);
    WindowAxis xs = axis_of(width, kernel_w, stride_w, padding_w, dilation_w);
    Counts n = counts_of(images, ys, xs);
    T* to = call.out<T>(y, "y", n.pixels);
    const T* from = call.in<T>(x, "x", n.columns);
    if (n.pixels) each_row(call, images * height, width, Fold<T>{ys, xs, to, from});
  });
}
