/* cudeno.h: the whole contract between the native library and everything above it. Two libraries
 * implement it, libcudeno_cuda (nvcc) and libcudeno_cpu (g++ or clang++); both export exactly this.
 *
 * - Every function that can fail returns a status: 0, or a CDN_* code below, with the reason in
 * cdn_last_error() of the calling thread. No argument makes it crash, print or exit; a call that
 * fails before it queues work changes nothing.
 * - Memory is named by a 32-bit handle (slot and generation), never by an address. A handle that is
 * stale, too short for the sizes given, or on another device than its companions is CDN_BAD_HANDLE
 * or CDN_BAD_ARGUMENT.
 * - Each thread is a context: handles, streams, events, faults, memory statistics and limit are its
 * own, freed when it ends. Threads neither see nor wait for one another, but for cdn_read_wait and
 * cdn_write_wait.
 * - Outputs come first, then inputs, int64_t sizes, scalars, dtypes. Tensors are contiguous and
 * row-major. An output of an elementwise function may be one of its inputs; otherwise outputs and
 * inputs must not overlap.
 * - Work is queued on the device's current stream; only reads and cdn_sync wait. A bad index is a
 * fault, which the next read or cdn_sync reports.
 * - Host pointers (host, layout, name, …) must be valid for the length stated, unchecked. */
#ifndef CUDENO_H
#define CUDENO_H

#include <stdint.h>

#if defined(__cplusplus)
extern "C" {
#endif

#define CDN_ABI_VERSION 10

/* Status codes. */
enum {
  CDN_OK = 0,
  CDN_BAD_ARGUMENT = 1,
  CDN_BAD_HANDLE = 2,
  CDN_OUT_OF_MEMORY = 3,
  CDN_NO_DEVICE = 4,
  CDN_UNSUPPORTED = 5,
  CDN_CUDA_FAILURE = 6,
  CDN_INTERNAL = 7
};

/* Element types: the int32_t dtype arguments. A comparison's result is uint8, 0 or 1. What is said
 * of floats holds for all four; the 16-bit ones are stored so, and computed with in float32. */
enum {
  CDN_FLOAT32 = 0,
  CDN_FLOAT64 = 1,
  CDN_INT32 = 2,
  CDN_UINT8 = 3,
  CDN_FLOAT16 = 4,
  CDN_BFLOAT16 = 5
};

/* The library: CDN_ABI_VERSION of the build; "function: argument: cause (file:line)", or "" when
 * the thread has had no error; compiler, architectures, options. */
int32_t cdn_abi_version(void);
const char* cdn_last_error(void);
const char* cdn_build_info(void);

/* For a thread that serves one isolate after another: says which one it is by a number of its own.
 * Another number than before ends the context, and a fresh one begins. */
int32_t cdn_attach(double isolate);

/* Devices. info: total bytes, free bytes, compute major, minor, multiprocessors (or threads),
 * driver version, runtime version, 1 for a GPU; 8 numbers. name: 256 bytes, NUL-terminated. A count
 * of 0 leaves the reason in cdn_last_error(). limits: what the device should give by its own clocks
 * and widths, bytes a second of its memory, Hz of its processors, bytes of its L2 cache; 3 numbers,
 * 0 where it does not say, as on the CPU. sync waits for all streams and reports faults. */
int32_t cdn_device_count(int32_t* count);
int32_t cdn_device_info(char* name, int64_t* info, int32_t device);
int32_t cdn_device_limits(double* limits, int32_t device);
int32_t cdn_sync(int32_t device);

/* Streams. A device has a default stream, 0. Work on one buffer from several streams is ordered as
 * it was queued. */
int32_t cdn_stream_create(uint32_t* stream, int32_t device);
int32_t cdn_stream_destroy(uint32_t stream);             /* waits for its work first */
int32_t cdn_stream_use(int32_t device, uint32_t stream); /* later calls on the device queue there */
int32_t cdn_stream_sync(int32_t device, uint32_t stream);

/* Events, for measuring. record marks the point that the device's current stream has come to;
 * elapsed waits for both marks and gives the device's time between them, an error where one was
 * never recorded. On the CPU, whose work is done when a call returns, the time is that of the
 * calls. */
int32_t cdn_event_create(uint32_t* event, int32_t device);
int32_t cdn_event_record(uint32_t event); /* again: the newer mark counts */
int32_t cdn_event_elapsed(double* microseconds, uint32_t first, uint32_t second);
int32_t cdn_event_destroy(uint32_t event);

/* Profiles: after begin the device's clock is read before and after each kernel that the thread
 * starts on the device, on the CPU each call that computes; beyond `limit` and within a captured
 * graph they are only counted. note: what the next ones are for, any number. stop waits for them;
 * counts: those that were timed, those left out. read gives the timed ones, 256 bytes each for the
 * kernel's name ("" on the CPU), two times (begin, from cdn_profile_begin on, and duration, in
 * microseconds) and three facts (the note, blocks, threads of a block), and forgets them; with a
 * count of 0 it only forgets. */
int32_t cdn_profile_begin(int32_t device, int64_t limit);
int32_t cdn_profile_note(int32_t note);
int32_t cdn_profile_stop(int64_t* counts);
int32_t cdn_profile_read(char* names, double* times, int64_t* facts, int64_t count);

/* Memory. alloc: uninitialised; 0 bytes is a valid buffer. A view is a handle to bytes [offset,
 * offset + bytes) of x and keeps them alive after x is freed. freeze: from now on x may be read,
 * but not written to. write: host may be reused on return. stage: the same beside what was queued
 * before, by way of pinned memory, for data that is needed later; not while a stream is captured.
 * read waits. */
int32_t cdn_alloc(uint32_t* y, int32_t device, int64_t bytes);
int32_t cdn_view(uint32_t* y, uint32_t x, int64_t offset, int64_t bytes);
int32_t cdn_freeze(uint32_t x);
int32_t cdn_free(uint32_t x);
int32_t cdn_write(uint32_t y, const void* host, int64_t offset, int64_t bytes);
int32_t cdn_stage(uint32_t y, const void* host, int64_t offset, int64_t bytes);
int32_t cdn_read(void* host, uint32_t x, int64_t offset, int64_t bytes);
int32_t cdn_copy(uint32_t y, uint32_t x, int64_t y_offset, int64_t x_offset, int64_t bytes);

/* Reads and writes in three steps, so that an event loop can go on: begin gives a ticket, wait may
 * be called on any thread, end frees the ticket. A read's begin captures the bytes as they are at
 * this point of the stream, its wait returns when they have arrived, its end hands them over and
 * reports faults. cdn_wait_begin gives a ticket for a read of no bytes once all that was queued on
 * the device is done. A write's wait copies, after what was queued before its begin; what is queued
 * between begin and end may see old bytes or new ones. */
int32_t cdn_wait_begin(uint32_t* ticket, int32_t device);
int32_t cdn_read_begin(uint32_t* ticket, uint32_t x, int64_t offset, int64_t bytes);
int32_t cdn_read_wait(uint32_t ticket);
int32_t cdn_read_end(void* host, uint32_t ticket, int64_t bytes);
int32_t cdn_write_begin(uint32_t* ticket, uint32_t y, int64_t offset, int64_t bytes);
int32_t cdn_write_wait(uint32_t ticket, const void* host, int64_t bytes);
int32_t cdn_write_end(uint32_t ticket, int64_t bytes);

/* Programs: calls that are made again and again by one, on a GPU as a graph. words: for each call
 * its function's number in cuda/runtime/functions.inc and its arguments in their order, int64_t
 * each: a double by its bits, a pointer as a place in data, whose bytes are copied, or -1 for null;
 * places are multiples of 8.
 * uses: handles among those that the calls name, which must stay live. run makes them so many
 * times one after another; once it has taken so many milliseconds it leaves the rest; done: how
 * often they were made. Under a profile, a note stands for the last of the calls, and those before
 * it for the others. It fails where a handle is no longer live, or as a call of its. */
int32_t cdn_program_create(uint32_t* program, int32_t device, const int64_t* words, int64_t count,
                           const void* data, int64_t bytes, const uint32_t* uses, int64_t used);
int32_t cdn_program_run(int64_t* done, uint32_t program, int64_t times, double milliseconds);
int32_t cdn_program_destroy(uint32_t program); /* waits for what runs */

/* The thread's caching allocator. stats: live, cached, reserved, peak live bytes, largest free
 * bytes, limit, live buffers, allocations so far, segments held, device allocations so far; 10
 * numbers. A limit of 0 restores the default. */
int32_t cdn_memory_stats(int64_t* stats, int32_t device);
int32_t cdn_memory_limit(int32_t device, int64_t bytes);
int32_t cdn_memory_trim(int32_t device);       /* gives cached memory back to the system */
int32_t cdn_memory_reset_peak(int32_t device); /* peak = live */

/* Latency of loads, for diagnosis. y: one float64, the nanoseconds of a load among `steps` (1 to
 * 2^20) of one thread, each of which reads where the next one goes: around `lines` of 128 bytes, a
 * power of two to 2^22, without a pattern. shared: through a GPU's shared memory, at most 1024
 * places; on the CPU the same as without. */
int32_t cdn_probe_latency(uint32_t y, int64_t lines, int64_t steps, int32_t shared);

/* Elementwise, n elements: y = f(x). Floats; neg, abs, sign and clip also int32 and uint8. clip
 * keeps NaN; round takes halves to the even neighbour; isfinite and isinf give uint8, 0 or 1. */
int32_t cdn_neg(uint32_t y, uint32_t x, int64_t n, int32_t dtype);
int32_t cdn_abs(uint32_t y, uint32_t x, int64_t n, int32_t dtype);
int32_t cdn_sign(uint32_t y, uint32_t x, int64_t n, int32_t dtype);
int32_t cdn_exp(uint32_t y, uint32_t x, int64_t n, int32_t dtype);
int32_t cdn_expm1(uint32_t y, uint32_t x, int64_t n, int32_t dtype);
int32_t cdn_log(uint32_t y, uint32_t x, int64_t n, int32_t dtype);
int32_t cdn_log1p(uint32_t y, uint32_t x, int64_t n, int32_t dtype);
int32_t cdn_sqrt(uint32_t y, uint32_t x, int64_t n, int32_t dtype);
int32_t cdn_rsqrt(uint32_t y, uint32_t x, int64_t n, int32_t dtype);
int32_t cdn_sin(uint32_t y, uint32_t x, int64_t n, int32_t dtype);
int32_t cdn_cos(uint32_t y, uint32_t x, int64_t n, int32_t dtype);
int32_t cdn_erf(uint32_t y, uint32_t x, int64_t n, int32_t dtype);
int32_t cdn_floor(uint32_t y, uint32_t x, int64_t n, int32_t dtype);
int32_t cdn_ceil(uint32_t y, uint32_t x, int64_t n, int32_t dtype);
int32_t cdn_trunc(uint32_t y, uint32_t x, int64_t n, int32_t dtype);
int32_t cdn_round(uint32_t y, uint32_t x, int64_t n, int32_t dtype);
int32_t cdn_isfinite(uint32_t y, uint32_t x, int64_t n, int32_t dtype);
int32_t cdn_isinf(uint32_t y, uint32_t x, int64_t n, int32_t dtype);
int32_t cdn_clip(uint32_t y, uint32_t x, int64_t n, double low, double high, int32_t dtype);

/* Activations. gelu: x times the normal distribution's share below x; gelu_tanh approximates it by
 * tanh. leaky_relu: slope is that below 0. elu: alpha (e^x - 1) below 0. softplus: log(1 + e^(beta
 * x)) / beta, and x itself where beta x > threshold. */
int32_t cdn_relu(uint32_t y, uint32_t x, int64_t n, int32_t dtype);
int32_t cdn_sigmoid(uint32_t y, uint32_t x, int64_t n, int32_t dtype);
int32_t cdn_tanh(uint32_t y, uint32_t x, int64_t n, int32_t dtype);
int32_t cdn_gelu(uint32_t y, uint32_t x, int64_t n, int32_t dtype);
int32_t cdn_gelu_tanh(uint32_t y, uint32_t x, int64_t n, int32_t dtype);
int32_t cdn_silu(uint32_t y, uint32_t x, int64_t n, int32_t dtype);
int32_t cdn_leaky_relu(uint32_t y, uint32_t x, int64_t n, double slope, int32_t dtype);
int32_t cdn_elu(uint32_t y, uint32_t x, int64_t n, double alpha, int32_t dtype);
int32_t cdn_softplus(uint32_t y, uint32_t x, int64_t n, double beta, double threshold,
                     int32_t dtype);

/* Their gradients: dx = dy * f'(x), from x or from y = f(x). clip's is 1 from low to high, both
 * included. */
int32_t cdn_abs_grad(uint32_t dx, uint32_t dy, uint32_t x, int64_t n, int32_t dtype);
int32_t cdn_sqrt_grad(uint32_t dx, uint32_t dy, uint32_t y, int64_t n, int32_t dtype);
int32_t cdn_rsqrt_grad(uint32_t dx, uint32_t dy, uint32_t y, int64_t n, int32_t dtype);
int32_t cdn_erf_grad(uint32_t dx, uint32_t dy, uint32_t x, int64_t n, int32_t dtype);
int32_t cdn_clip_grad(uint32_t dx, uint32_t dy, uint32_t x, int64_t n, double low, double high,
                      int32_t dtype);
int32_t cdn_relu_grad(uint32_t dx, uint32_t dy, uint32_t y, int64_t n, int32_t dtype);
int32_t cdn_sigmoid_grad(uint32_t dx, uint32_t dy, uint32_t x, int64_t n, int32_t dtype);
int32_t cdn_tanh_grad(uint32_t dx, uint32_t dy, uint32_t x, int64_t n, int32_t dtype);
int32_t cdn_gelu_grad(uint32_t dx, uint32_t dy, uint32_t x, int64_t n, int32_t dtype);
int32_t cdn_gelu_tanh_grad(uint32_t dx, uint32_t dy, uint32_t x, int64_t n, int32_t dtype);
int32_t cdn_silu_grad(uint32_t dx, uint32_t dy, uint32_t x, int64_t n, int32_t dtype);

/* y[i] = silu(gate[i]) * up[i]. Its gradients: dgate[i] = dy[i] * up[i] * silu'(gate[i]), dup[i] =
 * dy[i] * silu(gate[i]). */
int32_t cdn_swiglu(uint32_t y, uint32_t gate, uint32_t up, int64_t n, int32_t dtype);
int32_t cdn_swiglu_grad(uint32_t dgate, uint32_t dup, uint32_t dy, uint32_t gate, uint32_t up,
                        int64_t n, int32_t dtype);
int32_t cdn_leaky_relu_grad(uint32_t dx, uint32_t dy, uint32_t x, int64_t n, double slope,
                            int32_t dtype);
int32_t cdn_elu_grad(uint32_t dx, uint32_t dy, uint32_t x, int64_t n, double alpha, int32_t dtype);
int32_t cdn_softplus_grad(uint32_t dx, uint32_t dy, uint32_t x, int64_t n, double beta,
                          double threshold, int32_t dtype);

/* Fill and cast, any dtype. A float that does not fit an integer type saturates; NaN becomes 0. */
int32_t cdn_fill(uint32_t y, int64_t n, double value, int32_t dtype);
int32_t cdn_cast(uint32_t y, uint32_t x, int64_t n, int32_t y_dtype, int32_t x_dtype);

/* y = f(a, b) with broadcasting. layout: rank triples (extent, stride of a, stride of b), outermost
 * first, strides in elements and 0 where an input is repeated; rank 0..8. a or b may be 0: then
 * `scalar` stands for it, and the other one is contiguous. Floats, and but for weigh, div and pow
 * int32 and uint8, which wrap. weigh: a * b, but 0 where b is 0, whatever a is: for weights and
 * masks. floor_divide: the floor of a / b, and remainder: what that leaves, with the sign of b; 0
 * for a whole number divided by 0. */
int32_t cdn_add(uint32_t y, uint32_t a, uint32_t b, const int64_t* layout, int32_t rank,
                double scalar, int32_t dtype);
int32_t cdn_sub(uint32_t y, uint32_t a, uint32_t b, const int64_t* layout, int32_t rank,
                double scalar, int32_t dtype);
int32_t cdn_mul(uint32_t y, uint32_t a, uint32_t b, const int64_t* layout, int32_t rank,
                double scalar, int32_t dtype);
int32_t cdn_weigh(uint32_t y, uint32_t a, uint32_t b, const int64_t* layout, int32_t rank,
                  double scalar, int32_t dtype);
int32_t cdn_div(uint32_t y, uint32_t a, uint32_t b, const int64_t* layout, int32_t rank,
                double scalar, int32_t dtype);
int32_t cdn_floor_divide(uint32_t y, uint32_t a, uint32_t b, const int64_t* layout, int32_t rank,
                         double scalar, int32_t dtype);
int32_t cdn_remainder(uint32_t y, uint32_t a, uint32_t b, const int64_t* layout, int32_t rank,
                      double scalar, int32_t dtype);
int32_t cdn_pow(uint32_t y, uint32_t a, uint32_t b, const int64_t* layout, int32_t rank,
                double scalar, int32_t dtype);
int32_t cdn_maximum(uint32_t y, uint32_t a, uint32_t b, const int64_t* layout, int32_t rank,
                    double scalar, int32_t dtype);
int32_t cdn_minimum(uint32_t y, uint32_t a, uint32_t b, const int64_t* layout, int32_t rank,
                    double scalar, int32_t dtype);
/* Local derivatives, of floats: d pow / d a, d pow / d b, and d maximum / d a (1, 0, 1/2 where a =
 * b, 1 where either is NaN). */
int32_t cdn_pow_grad_base(uint32_t y, uint32_t a, uint32_t b, const int64_t* layout, int32_t rank,
                          double scalar, int32_t dtype);
int32_t cdn_pow_grad_exponent(uint32_t y, uint32_t a, uint32_t b, const int64_t* layout,
                              int32_t rank, double scalar, int32_t dtype);
int32_t cdn_maximum_grad(uint32_t y, uint32_t a, uint32_t b, const int64_t* layout, int32_t rank,
                         double scalar, int32_t dtype);
/* Comparisons: y is uint8; any dtype. Those with NaN are 0, but for ne. */
int32_t cdn_eq(uint32_t y, uint32_t a, uint32_t b, const int64_t* layout, int32_t rank,
               double scalar, int32_t dtype);
int32_t cdn_ne(uint32_t y, uint32_t a, uint32_t b, const int64_t* layout, int32_t rank,
               double scalar, int32_t dtype);
int32_t cdn_lt(uint32_t y, uint32_t a, uint32_t b, const int64_t* layout, int32_t rank,
               double scalar, int32_t dtype);
int32_t cdn_le(uint32_t y, uint32_t a, uint32_t b, const int64_t* layout, int32_t rank,
               double scalar, int32_t dtype);
int32_t cdn_gt(uint32_t y, uint32_t a, uint32_t b, const int64_t* layout, int32_t rank,
               double scalar, int32_t dtype);
int32_t cdn_ge(uint32_t y, uint32_t a, uint32_t b, const int64_t* layout, int32_t rank,
               double scalar, int32_t dtype);

/* y = condition ? a : b with broadcasting, any dtype; condition is uint8. layout: rank quadruples
 * (extent, stride of condition, of a, of b). a or b may be 0: then a_scalar or b_scalar stands for
 * it, whatever its strides. */
int32_t cdn_where(uint32_t y, uint32_t condition, uint32_t a, uint32_t b, const int64_t* layout,
                  int32_t rank, double a_scalar, double b_scalar, int32_t dtype);

/* Movement, any dtype. strided_copy: y (contiguous) from x read by strides; layout: rank pairs
 * (extent, stride of x) and then, as the last number, the offset of the first element; strides may
 * be 0 or negative. Covers expand, permute, slice. strided_write is its inverse: y, where the
 * strides point, from x (contiguous); the rest of the first `zeros` elements of y becomes 0, and
 * with 0 for `zeros` all of the rest stays. Strides by which two elements could go
 * to one place are refused. band: the elements of x[batch, rows, cols] with low <= column - row <=
 * high, and 0 elsewhere. */
int32_t cdn_strided_copy(uint32_t y, uint32_t x, const int64_t* layout, int32_t rank,
                         int32_t dtype);
int32_t cdn_strided_write(uint32_t y, uint32_t x, const int64_t* layout, int32_t rank,
                          int64_t zeros, int32_t dtype);
int32_t cdn_band(uint32_t y, uint32_t x, int64_t batch, int64_t rows, int64_t cols, int64_t low,
                 int64_t high, int32_t dtype);
int32_t cdn_transpose(uint32_t y, uint32_t x, int64_t batch, int64_t rows, int64_t cols,
                      int32_t dtype);

/* Reductions of x[outer, axis, inner] over axis to y[outer, inner]. sum and mean add, and prod
 * multiplies, in float64. Floats; but for mean and max_grad also int32 and uint8. The result of
 * sum, mean and prod has x's dtype, or int32 for uint8, or may be float64 for sums of floats. max
 * and min keep NaN; an empty axis is an error for them. argmax and argmin give the first index, as
 * int32. max_grad serves max and min: dy shared evenly by the elements equal to y. */
int32_t cdn_sum(uint32_t y, uint32_t x, int64_t outer, int64_t axis, int64_t inner, int32_t y_dtype,
                int32_t x_dtype);
int32_t cdn_mean(uint32_t y, uint32_t x, int64_t outer, int64_t axis, int64_t inner,
                 int32_t y_dtype, int32_t x_dtype);
int32_t cdn_prod(uint32_t y, uint32_t x, int64_t outer, int64_t axis, int64_t inner, int32_t dtype);
int32_t cdn_max(uint32_t y, uint32_t x, int64_t outer, int64_t axis, int64_t inner, int32_t dtype);
int32_t cdn_min(uint32_t y, uint32_t x, int64_t outer, int64_t axis, int64_t inner, int32_t dtype);
int32_t cdn_argmax(uint32_t y, uint32_t x, int64_t outer, int64_t axis, int64_t inner,
                   int32_t dtype);
int32_t cdn_argmin(uint32_t y, uint32_t x, int64_t outer, int64_t axis, int64_t inner,
                   int32_t dtype);
int32_t cdn_max_grad(uint32_t dx, uint32_t dy, uint32_t x, uint32_t y, int64_t outer, int64_t axis,
                     int64_t inner, int32_t dtype);

/* Statistics of x[outer, axis, inner] over axis to y[outer, inner]; floats. variance: divided by
 * max(0, axis - correction), and with `root` the square root of that; unless mean is 0 the mean
 * too, as float64; y and dy are float64 where x is, else float32. variance_grad: y is 0 for the
 * variance, and for the root what it gave.
 * vector_norm: (sum |x|^p)^(1/p), for p = 0 the count of what is not 0, for infinities the largest
 * or smallest |x|; p < 0 and infinity need elements. log_sum_exp gives, and its gradient takes,
 * float64. */
int32_t cdn_variance(uint32_t y, uint32_t mean, uint32_t x, int64_t outer, int64_t axis,
                     int64_t inner, double correction, int32_t root, int32_t dtype);
int32_t cdn_variance_grad(uint32_t dx, uint32_t dy, uint32_t x, uint32_t mean, uint32_t y,
                          int64_t outer, int64_t axis, int64_t inner, double correction,
                          int32_t dtype);
int32_t cdn_vector_norm(uint32_t y, uint32_t x, int64_t outer, int64_t axis, int64_t inner,
                        double p, int32_t dtype);
int32_t cdn_vector_norm_grad(uint32_t dx, uint32_t dy, uint32_t x, uint32_t y, int64_t outer,
                             int64_t axis, int64_t inner, double p, int32_t dtype);
int32_t cdn_log_sum_exp(uint32_t y, uint32_t x, int64_t outer, int64_t axis, int64_t inner,
                        int32_t dtype);
int32_t cdn_log_sum_exp_grad(uint32_t dx, uint32_t dy, uint32_t x, uint32_t y, int64_t outer,
                             int64_t axis, int64_t inner, int32_t dtype);

/* Scans of x[outer, axis, inner] along axis, with `reverse` from its end; exclusive ones give what
 * there was before each element, first 0, or for products 1. cumsum: sums. linear_scan: y[k] = a[k]
 * y[k - 1] + b[k], from 0 on; with 0 for b the products of a. Floats, and but for b int32. */
int32_t cdn_cumsum(uint32_t y, uint32_t x, int64_t outer, int64_t axis, int64_t inner,
                   int32_t reverse, int32_t exclusive, int32_t dtype);
int32_t cdn_linear_scan(uint32_t y, uint32_t a, uint32_t b, int64_t outer, int64_t axis,
                        int64_t inner, int32_t reverse, int32_t exclusive, int32_t dtype);

/* The first k of each row of x[rows, cols] in ascending or descending order, and their columns as
 * int32, [rows, k] both; values may be 0. Any dtype. Equal elements stay in order; NaN counts as
 * the largest. */
int32_t cdn_topk(uint32_t values, uint32_t indices, uint32_t x, int64_t rows, int64_t cols,
                 int64_t k, int32_t descending, int32_t dtype);

/* Indexing along an axis of x that has `extent` places, `stride` elements apart; index int32, but
 * for gather's also from the end, below 0. A bad index gives 0, or is left out. gather and take:
 * layout as of two inputs, x (with stride 0 along the axis) and index; any dtype. scatter_add: y =
 * x (0: zeros) of y_n elements, plus those of src, which like index is contiguous; layout: rank
 * pairs (extent, stride of y, 0 along the axis); `unique`: 1 promises that no two name one place,
 * 2 that each place is named by one; then without x they are put there. scatter, of any dtype, puts
 * those of src in their places: of several the last. index_add: y[o, index[k], i] = x[o, index[k],
 * i] + the sum of src[o, k, i], x (0: zeros) being [outer, extent, inner] and src [outer, n,
 * inner]; an index of `skip`, if that is 0 or more, is left out. Floats, int32; sums in float64 or
 * to as many digits, the same each time. */
int32_t cdn_gather(uint32_t y, uint32_t x, uint32_t index, const int64_t* layout, int32_t rank,
                   int64_t extent, int64_t stride, int32_t dtype);
int32_t cdn_take(uint32_t y, uint32_t x, uint32_t index, const int64_t* layout, int32_t rank,
                 int64_t extent, int64_t stride, int32_t dtype);
int32_t cdn_scatter(uint32_t y, uint32_t x, uint32_t index, uint32_t src, const int64_t* layout,
                    int32_t rank, int64_t extent, int64_t stride, int64_t y_n, int32_t unique,
                    int32_t dtype);
int32_t cdn_scatter_add(uint32_t y, uint32_t x, uint32_t index, uint32_t src, const int64_t* layout,
                        int32_t rank, int64_t extent, int64_t stride, int64_t y_n, int32_t unique,
                        int32_t dtype);
int32_t cdn_index_add(uint32_t y, uint32_t x, uint32_t index, uint32_t src, int64_t outer,
                      int64_t extent, int64_t inner, int64_t n, int64_t skip, int32_t dtype);

/* y[i, index[i]] = 1, else 0; y [n, classes] of any dtype, index int32. */
int32_t cdn_one_hot(uint32_t y, uint32_t index, int64_t n, int64_t classes, int32_t dtype);

/* By a place counted on the device. cursor: two float64, steps taken and the step from which
 * take_at counts. take_at: y[i] = x[(cursor[0] - cursor[1]) * stride + offset + i], int32; a place
 * outside of x[size] is a fault. ring_put: ring[cursor[0] % size] = x[0], and cursor[0] goes up
 * by 1. */
int32_t cdn_take_at(uint32_t y, uint32_t x, uint32_t cursor, int64_t n, int64_t size,
                    int64_t stride, int64_t offset);
int32_t cdn_ring_put(uint32_t ring, uint32_t cursor, uint32_t x, int64_t size, int32_t dtype);

/* Along the rows of x[rows, cols]; floats. masked: but 0 along rows of -Infinity alone. The
 * gradients take y, or of 16-bit floats x. */
int32_t cdn_softmax(uint32_t y, uint32_t x, int64_t rows, int64_t cols, int32_t dtype);
int32_t cdn_softmax_grad(uint32_t dx, uint32_t dy, uint32_t y, int64_t rows, int64_t cols,
                         int32_t dtype);
int32_t cdn_masked_softmax(uint32_t y, uint32_t x, int64_t rows, int64_t cols, int32_t dtype);
int32_t cdn_log_softmax(uint32_t y, uint32_t x, int64_t rows, int64_t cols, int32_t dtype);
int32_t cdn_log_softmax_grad(uint32_t dx, uint32_t dy, uint32_t y, int64_t rows, int64_t cols,
                             int32_t dtype);

/* loss[r] = logsumexp(x[r]) - x[r, target[r]], 0 where the target is ignore_index. target: int32 or
 * uint8. Another one outside 0..cols-1 gives NaN and a fault. Its gradient, dx = (softmax(x) -
 * onehot) * dy / total[0], takes a dy for each row, or one for all; dx may be x. A handle of 0 for
 * total stands for 1. loss, dy and total are float64 when dtype is that, else float32. */
int32_t cdn_cross_entropy(uint32_t loss, uint32_t x, uint32_t target, int64_t rows, int64_t cols,
                          int32_t ignore_index, int32_t dtype, int32_t target_dtype);
int32_t cdn_cross_entropy_grad(uint32_t dx, uint32_t dy, uint32_t total, uint32_t x,
                               uint32_t target, int64_t dy_count, int64_t rows, int64_t cols,
                               int32_t ignore_index, int32_t dtype, int32_t target_dtype);

/* y[i] = x[index[i]] * scale + shift for rows of x[x_rows, cols]; index int32; integers are not
 * scaled. uint8 images become normalised floats in one pass. A bad index fills its row with 0. */
int32_t cdn_gather_rows(uint32_t y, uint32_t x, uint32_t index, int64_t rows, int64_t cols,
                        int64_t x_rows, double scale, double shift, int32_t y_dtype,
                        int32_t x_dtype);

/* Recurrent layers, one time step of n rows and `hidden` units; floats. gates_x = x W_ih^T and
 * gates_h = h_prev W_hh^T, [n, gates, hidden], to which bias_ih and bias_hh [gates, hidden] are
 * added; both may be 0. lstm, gates i, f, g, o, which are left activated in `gates`: c = f c_prev +
 * i g, h = o tanh(c). gru, gates r, z, n, with inner = gates_h + bias_hh of n: n = tanh(gates_x +
 * bias_ih + r inner), h = (1 - z) n + z h_prev. rnn: h = tanh or relu of the sum. With lengths,
 * int32 [n], which may be 0 for none, the states of rows with t >= length stay as they are. */
int32_t cdn_lstm_cell(uint32_t gates, uint32_t c, uint32_t h, uint32_t gates_x, uint32_t gates_h,
                      uint32_t c_prev, uint32_t h_prev, uint32_t bias_ih, uint32_t bias_hh,
                      uint32_t lengths, int32_t t, int64_t n, int64_t hidden, int32_t dtype);
int32_t cdn_gru_cell(uint32_t gates, uint32_t inner, uint32_t h, uint32_t gates_x, uint32_t gates_h,
                     uint32_t h_prev, uint32_t bias_ih, uint32_t bias_hh, uint32_t lengths,
                     int32_t t, int64_t n, int64_t hidden, int32_t dtype);
int32_t cdn_rnn_cell(uint32_t h, uint32_t gates_x, uint32_t gates_h, uint32_t h_prev,
                     uint32_t bias_ih, uint32_t bias_hh, uint32_t lengths, int32_t t, int64_t n,
                     int64_t hidden, int32_t relu, int32_t dtype);

/* Their gradients. dh of the state is dy, of the output, and dh, what the later step's product with
 * W_hh gave back; for gru also dh_past, what the later step gave back past its products, as dh_prev
 * does here. dgates: of the sums. With lengths, rows with t >= length have a dgates of 0; what
 * their states have passes on, for lstm and rnn in dh_past, which is read and written then. */
int32_t cdn_lstm_cell_grad(uint32_t dgates, uint32_t dc_prev, uint32_t dh_past, uint32_t dy,
                           uint32_t dh, uint32_t dc, uint32_t gates, uint32_t c, uint32_t c_prev,
                           uint32_t lengths, int32_t t, int64_t n, int64_t hidden, int32_t dtype);
int32_t cdn_gru_cell_grad(uint32_t dgates_x, uint32_t dgates_h, uint32_t dh_prev, uint32_t dy,
                          uint32_t dh, uint32_t dh_past, uint32_t gates, uint32_t inner,
                          uint32_t h_prev, uint32_t lengths, int32_t t, int64_t n, int64_t hidden,
                          int32_t dtype);
int32_t cdn_rnn_cell_grad(uint32_t dgates, uint32_t dh_past, uint32_t dy, uint32_t dh, uint32_t h,
                          uint32_t lengths, int32_t t, int64_t n, int64_t hidden, int32_t relu,
                          int32_t dtype);

/* Random numbers: Philox4x32-10 with key seed and counter offset, offset + 1, …; the same words,
 * uniforms and integers on every device (normal: but for the last bits). One counter yields 4
 * float32 or int32, or 2 float64. uniform: [low, high). normal: Box-Muller. randint: low..high-1,
 * int32. state: 0, or two int64 on the device, a seed that stands for the one given and what is
 * added to the offset; random_advance adds to the latter. */
int32_t cdn_uniform(uint32_t y, uint32_t state, int64_t n, double low, double high, int64_t seed,
                    int64_t offset, int32_t dtype);
int32_t cdn_normal(uint32_t y, uint32_t state, int64_t n, double mean, double std, int64_t seed,
                   int64_t offset, int32_t dtype);
int32_t cdn_randint(uint32_t y, uint32_t state, int64_t n, int32_t low, int32_t high, int64_t seed,
                    int64_t offset);
int32_t cdn_random_advance(uint32_t state, int64_t blocks);

/* k classes drawn for each row of float64 weights[rows, cols], as int32 y[rows, k], with their
 * cumulative sums and points[rows, k] in [0, 1); a weight of 0 is never drawn. check_weights: a
 * fault where one is negative or not finite, or a row has fewer than `least` above 0. */
int32_t cdn_check_weights(uint32_t weights, int64_t rows, int64_t cols, int64_t least);
int32_t cdn_multinomial(uint32_t y, uint32_t weights, uint32_t sums, uint32_t points, int64_t rows,
                        int64_t cols, int64_t k);

/* Normalisation of the rows of x[rows, cols]; floats. y = (x - mean) * rstd * weight + bias with
 * rstd = 1 / sqrt(the mean of (x - mean)^2, + eps); RMS norm has no mean and no bias. weight and
 * bias may be 0: 1 and 0. mean[rows] and rstd[rows], float64, are written for the gradients unless
 * they are 0. In the gradients a mean of 0 stands for RMS norm; dbias may be 0. */
int32_t cdn_layer_norm(uint32_t y, uint32_t mean, uint32_t rstd, uint32_t x, uint32_t weight,
                       uint32_t bias, int64_t rows, int64_t cols, double eps, int32_t dtype);
int32_t cdn_rms_norm(uint32_t y, uint32_t rstd, uint32_t x, uint32_t weight, int64_t rows,
                     int64_t cols, double eps, int32_t dtype);
int32_t cdn_norm_grad(uint32_t dx, uint32_t dy, uint32_t x, uint32_t weight, uint32_t mean,
                      uint32_t rstd, int64_t rows, int64_t cols, int32_t dtype);
int32_t cdn_norm_param_grad(uint32_t dweight, uint32_t dbias, uint32_t dy, uint32_t x,
                            uint32_t mean, uint32_t rstd, int64_t rows, int64_t cols,
                            int32_t dtype);

/* Batch normalisation of x[batch, channels, inner]; floats. mean, variance, dweight and dbias are
 * float64, and of channels; weight and bias are of dtype parameters: x's, or float32 beside a
 * 16-bit x; either may be 0: 1 and 0. stats: the mean and the biased variance of each channel.
 * track: running = (1 - momentum) * running + momentum * statistic, with the variance of a sample
 * of count; cumulative: with 1 / (tracked + 1) for momentum; then tracked, one int32, goes up by 1,
 * unless it is 0; dtype is that of the running statistics. batch_norm: y = (x - mean) /
 * sqrt(variance + eps) * weight + bias + residual, and with relu the larger of that and 0; residual
 * may be 0: none. sums: the gradients of weight and bias, from dy or what relu lets through of it,
 * g: with y, which must come with g, by y, and g gets it; else with relu by x, to which no residual
 * was added. grad: that of x from g, or with relu from dy and x as before, by way of mean and
 * variance too unless dweight and dbias are 0. */
int32_t cdn_batch_norm_stats(uint32_t mean, uint32_t variance, uint32_t x, int64_t batch,
                             int64_t channels, int64_t inner, int32_t dtype);
int32_t cdn_batch_norm_track(uint32_t running_mean, uint32_t running_var, uint32_t tracked,
                             uint32_t mean, uint32_t variance, int64_t channels, int64_t count,
                             double momentum, int32_t cumulative, int32_t dtype);
int32_t cdn_batch_norm(uint32_t y, uint32_t x, uint32_t residual, uint32_t mean, uint32_t variance,
                       uint32_t weight, uint32_t bias, int64_t batch, int64_t channels,
                       int64_t inner, double eps, int32_t relu, int32_t parameters, int32_t dtype);
int32_t cdn_batch_norm_sums(uint32_t dweight, uint32_t dbias, uint32_t g, uint32_t dy, uint32_t x,
                            uint32_t y, uint32_t mean, uint32_t variance, uint32_t weight,
                            uint32_t bias, int64_t batch, int64_t channels, int64_t inner,
                            double eps, int32_t relu, int32_t parameters, int32_t dtype);
int32_t cdn_batch_norm_grad(uint32_t dx, uint32_t g, uint32_t x, uint32_t mean, uint32_t variance,
                            uint32_t weight, uint32_t bias, uint32_t dweight, uint32_t dbias,
                            int64_t batch, int64_t channels, int64_t inner, double eps,
                            int32_t relu, int32_t parameters, int32_t dtype);

/* Pooling of images [outer, height, width, inner] (row-major ones have their channels in outer,
 * those whose channels lie side by side in inner); floats. sizes: outer, inner, then for height and
 * for width: the extent in x, that in y, kernel, stride, padding before, dilation; 14 numbers. A
 * kernel of 0, with stride and dilation 1 and without padding, stands for adaptive windows: places
 * floor(o extent / out) to ceil((o + 1) extent / out). max_pool: the first of the largest, or the
 * last NaN; argument, which may be 0, says which place of its window, row by row, as
 * argument_dtype: uint8 where windows have at most 256 places, else int32. max_pool_grad: with y,
 * which may be 0, x is what a ReLU gave, and dx the gradient of what that was given. max_pool_pick:
 * those places' elements of another x; with int32 for dtype their numbers, row * width + column,
 * and x is 0. avg_pool: the sum over a window divided by divisor, or where that is 0 by the number
 * of places, with_padding or without. The gradients write all of dx. */
int32_t cdn_max_pool(uint32_t y, uint32_t argument, uint32_t x, const int64_t* sizes,
                     int32_t argument_dtype, int32_t dtype);
int32_t cdn_max_pool_grad(uint32_t dx, uint32_t dy, uint32_t argument, uint32_t y,
                          const int64_t* sizes, int32_t argument_dtype, int32_t dtype);
int32_t cdn_max_pool_pick(uint32_t y, uint32_t x, uint32_t argument, const int64_t* sizes,
                          int32_t argument_dtype, int32_t dtype);
int32_t cdn_avg_pool(uint32_t y, uint32_t x, const int64_t* sizes, double divisor,
                     int32_t with_padding, int32_t dtype);
int32_t cdn_avg_pool_grad(uint32_t dx, uint32_t dy, const int64_t* sizes, double divisor,
                          int32_t with_padding, int32_t dtype);
/* Group normalisation of x[batch, channels, pixels], or with channels_last of x[batch, pixels,
 * channels]; floats. Each group of channels / groups neighbours of an image is normalised; mean
 * and rstd are float64[batch, groups]. weight and bias, of channels, may be 0: 1 and 0. grad: any
 * of dx, dweight and dbias may be 0. */
int32_t cdn_group_norm(uint32_t y, uint32_t mean, uint32_t rstd, uint32_t x, uint32_t weight,
                       uint32_t bias, int64_t batch, int64_t channels, int64_t groups,
                       int64_t pixels, int32_t channels_last, double eps, int32_t dtype);
int32_t cdn_group_norm_grad(uint32_t dx, uint32_t dweight, uint32_t dbias, uint32_t dy, uint32_t x,
                            uint32_t weight, uint32_t mean, uint32_t rstd, int64_t batch,
                            int64_t channels, int64_t groups, int64_t pixels, int32_t channels_last,
                            int32_t dtype);

/* Images x[outer, height, width, inner] of another size, as PyTorch has it; floats. upsample: a
 * scale, of the outputs to the inputs, is 0 where it follows from the sizes; cubic: Keys' with a =
 * -0.75. pad_image: top to right are elements added, of those that are there; reflect: fewer than
 * the extent, circular: at most as many. Gradients gather, in an order that the sizes fix; sizes
 * are those of the forward call. */
enum { CDN_RESIZE_NEAREST = 0, CDN_RESIZE_LINEAR = 1, CDN_RESIZE_CUBIC = 2 };
enum { CDN_BORDER_REFLECT = 0, CDN_BORDER_REPLICATE = 1, CDN_BORDER_CIRCULAR = 2 };
int32_t cdn_upsample(uint32_t y, uint32_t x, int64_t outer, int64_t height, int64_t width,
                     int64_t out_height, int64_t out_width, int64_t inner, int32_t mode,
                     int32_t align_corners, double scale_height, double scale_width, int32_t dtype);
int32_t cdn_upsample_grad(uint32_t dx, uint32_t dy, int64_t outer, int64_t height, int64_t width,
                          int64_t out_height, int64_t out_width, int64_t inner, int32_t mode,
                          int32_t align_corners, double scale_height, double scale_width,
                          int32_t dtype);
int32_t cdn_pad_image(uint32_t y, uint32_t x, int64_t outer, int64_t height, int64_t width,
                      int64_t inner, int64_t top, int64_t bottom, int64_t left, int64_t right,
                      int32_t mode, int32_t dtype);
int32_t cdn_pad_image_grad(uint32_t dx, uint32_t dy, int64_t outer, int64_t height, int64_t width,
                           int64_t inner, int64_t top, int64_t bottom, int64_t left, int64_t right,
                           int32_t mode, int32_t dtype);

/* unfold: y[images, kernel_h * kernel_w, windows] are the elements of the windows of x[images,
 * height, width], 0 in the padding; any dtype. fold: y[images, height, width] is the sum of
 * x[images, kernel_h * kernel_w, windows] where the windows lie; floats. Each is the other's
 * gradient. */
int32_t cdn_unfold(uint32_t y, uint32_t x, int64_t images, int64_t height, int64_t width,
                   int64_t kernel_h, int64_t kernel_w, int64_t stride_h, int64_t stride_w,
                   int64_t padding_h, int64_t padding_w, int64_t dilation_h, int64_t dilation_w,
                   int32_t dtype);
int32_t cdn_fold(uint32_t y, uint32_t x, int64_t images, int64_t height, int64_t width,
                 int64_t kernel_h, int64_t kernel_w, int64_t stride_h, int64_t stride_w,
                 int64_t padding_h, int64_t padding_w, int64_t dilation_h, int64_t dilation_w,
                 int32_t dtype);

/* y[i] = x[i] / (1 - p), or 0 with probability p: where word i of Philox (seed, offset, offset + 1,
 * …; four a counter) is below p * 2^32; state as of cdn_uniform. The same elements for every dtype.
 * To that residual[i] is added, unless the handle is 0. Without it its own gradient, with the same
 * seed, offset and state. bernoulli: y[i] = 1 where that word is below x[i] * 2^32, which may be
 * any number, or where x is 0 below p * 2^32, else 0. */
int32_t cdn_dropout(uint32_t y, uint32_t x, uint32_t residual, uint32_t state, int64_t n, double p,
                    int64_t seed, int64_t offset, int32_t dtype);
int32_t cdn_bernoulli(uint32_t y, uint32_t x, uint32_t state, int64_t n, double p, int64_t seed,
                      int64_t offset, int32_t dtype);

/* Losses of n elements by kind; floats. parameter is beta of smooth_l1, delta of huber, margin of
 * hinge; the others have none. bce takes probabilities, bce_with_logits logits; kl_div logarithms
 * for x and probabilities for target, kl_div_log logarithms for both. The gradient by x: dx = dy[0]
 * * scale * the slope; a dy of 0 stands for 1. */
enum {
  CDN_LOSS_MSE = 0,
  CDN_LOSS_L1 = 1,
  CDN_LOSS_SMOOTH_L1 = 2,
  CDN_LOSS_HUBER = 3,
  CDN_LOSS_BCE = 4,
  CDN_LOSS_BCE_WITH_LOGITS = 5,
  CDN_LOSS_HINGE = 6,
  CDN_LOSS_KL_DIV = 7,
  CDN_LOSS_KL_DIV_LOG = 8
};
int32_t cdn_loss(uint32_t y, uint32_t x, uint32_t target, int64_t n, double parameter, int32_t kind,
                 int32_t dtype);
int32_t cdn_loss_grad(uint32_t dx, uint32_t dy, uint32_t x, uint32_t target, int64_t n,
                      double parameter, double scale, int32_t kind, int32_t dtype);

/* y[0] = the sum of the losses / divisor, and dx[i] = the slope / divisor, unless dx is 0, as it
 * should be for float16, which cannot hold such small slopes. */
int32_t cdn_loss_reduced(uint32_t y, uint32_t dx, uint32_t x, uint32_t target, int64_t n,
                         double parameter, double divisor, int32_t kind, int32_t dtype);

/* dx[i] *= dy[0], which costs nothing where that is 1. */
int32_t cdn_scale_grad(uint32_t dx, uint32_t dy, int64_t n, int32_t dtype);

/* loss[o, i] = -x[o, t, i] * weight[t] for t = target[o, i], x[outer, classes, inner]; 0 where t is
 * ignore_index or weight[t] is 0. A handle of 0 for weight stands for ones. target: int32 or uint8.
 * Another t outside 0..classes-1 gives NaN and a fault.
 * nll_loss_grad: dx, whole, from dy[outer, inner]. nll_mean: y[0] = the sum of n losses over
 * total[0], the sum of weight[t] for targets not ignored, infinite where that is 0, so that
 * gradients are 0; total as of cdn_cross_entropy_grad. */
int32_t cdn_nll_loss(uint32_t loss, uint32_t x, uint32_t target, uint32_t weight, int64_t outer,
                     int64_t classes, int64_t inner, int32_t ignore_index, int32_t dtype,
                     int32_t target_dtype);
int32_t cdn_nll_loss_grad(uint32_t dx, uint32_t dy, uint32_t target, uint32_t weight, int64_t outer,
                          int64_t classes, int64_t inner, int32_t ignore_index, int32_t dtype,
                          int32_t target_dtype);
int32_t cdn_nll_mean(uint32_t y, uint32_t total, uint32_t losses, uint32_t target, uint32_t weight,
                     int64_t n, int64_t classes, int32_t ignore_index, int32_t dtype,
                     int32_t target_dtype);

/* c[batch…, m, n] = op(a) op(b), op(a)[m, k], op(b)[k, n]; trans_a: a is stored [k, m]; trans_b: b
 * is stored [n, k]. layout: rank triples (extent, stride of a, stride of b) of the batch's axes,
 * strides in elements from one matrix to the next and 0 where one is repeated; rank 0 (and layout
 * NULL) for single matrices. lda, ldb, ldc: elements from one stored row to the next, at least its
 * length; 0 for dense matrices. Those of c follow one another, but with an ldc the layout has a
 * stride of c too, fourth of each axis. Floats; 16-bit ones are multiplied and added in float32.
 * variant: 0 for the best, else a number whose name cdn_matmul_variant gives (NULL past the last).
 *
 * precision is that of float32 operands, and ignored for others. FLOAT32: by any method as exact as
 * plain sums in float32; IEEE: plain multiply-adds in float32; TF32 and BFLOAT16: the operands may
 * be rounded to 10 or 7 bits of fraction first, and the products are added in float32. */
enum {
  CDN_PRECISION_FLOAT32 = 0,
  CDN_PRECISION_IEEE = 1,
  CDN_PRECISION_TF32 = 2,
  CDN_PRECISION_BFLOAT16 = 3
};
int32_t cdn_matmul(uint32_t c, uint32_t a, uint32_t b, const int64_t* layout, int32_t rank,
                   int64_t m, int64_t n, int64_t k, int64_t lda, int64_t ldb, int64_t ldc,
                   int32_t trans_a, int32_t trans_b, int32_t dtype, int32_t precision,
                   int32_t variant);
const char* cdn_matmul_variant(int32_t variant);

/* The same product, and what follows it, in one pass where the backend can. For each element of c,
 * in column j:
 *
 *   v = alpha * (op(a) op(b)) + beta * c + bias[j]      c is not read where beta is 0
 *   z = v
 *   v = activation(v), or with a mask v * activation'(mask)
 *   c = v + residual
 *
 * and a_sums[batch…, i] = the sum over k of op(a)[i, k], added in float64. A handle of 0: not
 * wanted; then z and a_sums are not stored. bias[n] and a_sums have dtype. c, z, residual and mask
 * have out_dtype and c's shape; none of them may overlap an output. mask: what activation' is taken
 * at, but for relu what relu gave will do as well. out_dtype is dtype, or float32 for 16-bit
 * operands, or a 16-bit float for those of float32; each result is rounded once. */
enum {
  CDN_ACTIVATION_NONE = 0,
  CDN_ACTIVATION_RELU = 1,
  CDN_ACTIVATION_GELU = 2,
  CDN_ACTIVATION_GELU_TANH = 3,
  CDN_ACTIVATION_SILU = 4
};
int32_t cdn_matmul_fused(uint32_t c, uint32_t z, uint32_t a_sums, uint32_t a, uint32_t b,
                         uint32_t bias, uint32_t residual, uint32_t mask, const int64_t* layout,
                         int32_t rank, int64_t m, int64_t n, int64_t k, int64_t lda, int64_t ldb,
                         int64_t ldc, int32_t trans_a, int32_t trans_b, double alpha, double beta,
                         int32_t activation, int32_t dtype, int32_t out_dtype, int32_t precision,
                         int32_t variant);

/* Attention: y = softmax(scale * q kT + mask) v, of each head, without its matrix of scores.
 *
 * numbers: batch, heads, kv_heads (each serves heads / kv_heads heads that follow one another),
 * queries, keys, features (of q and k), out_features (of v and y); then which keys a query sees:
 * offset, from_end, left, right: with at = query + offset, to which from_end 1 adds the batch's
 * number of keys - queries, those in [at - left, at + right], where -1 is no limit; causal is right
 * 0. Then strides in elements, not negative: of the mask for batch, head, query, key, 0 where it is
 * repeated; and for batch, head, row of q, k, v, y: the features of a row lie side by side. Places
 * of y must lie apart. 27 numbers.
 *
 * lse: 0 where no gradients are wanted, or [batch, heads, queries], float64 for that dtype, else
 * float32: log2 of the sum of 2^(log2(e) * score) over the keys that a row sees. With a mask of
 * floats, whose scores may be so large that the sum would be lost in rounding, [2, batch, heads,
 * queries]: log2 of the sum of 2^(log2(e) * score - base), then each row's base. Where a row sees
 * none, y is 0 and lse infinite. mask: 0, or uint8, 0 hiding a key, or what is added to scores, of
 * dtype or float32 for 16-bit dtypes; -inf hides a key, too, and what k and v have at hidden places
 * is not looked at. lengths: 0, or int32 [batch]: a batch's keys from there on are hidden.
 *
 * p: each weight becomes 0 with this probability, in steps of 2^-16, and is divided by 1 - p
 * otherwise. Random words are those of (seed, offset, state), as of cdn_uniform, by query, key and
 * head alone: 32 blocks of Philox for each 16 queries and 16 keys of each head, in that order.
 * precision: as cdn_matmul. */
int32_t cdn_attention(uint32_t y, uint32_t lse, uint32_t q, uint32_t k, uint32_t v, uint32_t mask,
                      uint32_t lengths, uint32_t state, const int64_t* numbers, double scale,
                      double p, int64_t seed, int64_t offset, int32_t dtype, int32_t mask_dtype,
                      int32_t precision);
/* The gradients from dy, with y and lse of cdn_attention and the same arguments; numbers go on with
 * the strides of dq, dk, dv, dy, 39 in all. dq, dk and dv may be parts of one tensor in turns.
 * dscores: 0, or [batch, heads, queries, keys], of lse's dtype: the gradients of the scores, of
 * which the mask's are sums. */
int32_t cdn_attention_grad(uint32_t dq, uint32_t dk, uint32_t dv, uint32_t dscores, uint32_t dy,
                           uint32_t y, uint32_t lse, uint32_t q, uint32_t k, uint32_t v,
                           uint32_t mask, uint32_t lengths, uint32_t state, const int64_t* numbers,
                           double scale, double p, int64_t seed, int64_t offset, int32_t dtype,
                           int32_t mask_dtype, int32_t precision);
/* y[heads, queries, keys]: what that dropout multiplies weights by; heads: batch * heads. */
int32_t cdn_attention_dropout(uint32_t y, uint32_t state, int64_t heads, int64_t queries,
                              int64_t keys, double p, int64_t seed, int64_t offset, int32_t dtype);

/* Convolution: y[n, p, q, k] = activation(sum over r, s, c of x[n, h, w, c] w[k, r, s, c] +
 * bias[k]), with h = p stride_h - pad_h + r dilation_h and w likewise, x being 0 outside. All lie
 * in memory in that order of axes. Each of `groups` groups of k sees its c / groups channels of x,
 * so that w is [k, r, s, c / groups]. geometry: n, h, w, c, k, r, s, p, q, stride_h, stride_w,
 * pad_h, pad_w (above and on the left), dilation_h, dilation_w, groups. z, bias: 0 where not
 * wanted; z gets what the activation is given. Floats; 16-bit ones are added in float32.
 * precision: as cdn_matmul. variant: 0 for the best, else a number whose name cdn_conv2d_variant
 * gives (NULL past the last).
 *
 * The gradients are of the sums, without bias and activation; dbias[k], if wanted, is the sum of
 * dy over n, p and q. */
int32_t cdn_conv2d(uint32_t y, uint32_t z, uint32_t x, uint32_t w, uint32_t bias,
                   const int64_t* geometry, int32_t activation, int32_t dtype, int32_t precision,
                   int32_t variant);
/* The largest of each 2 x 2 of ReLU(the sums and bias), y[n, p / 2, q / 2, k], and, if argument,
 * uint8, is wanted, which it is: as max_pool's, for max_pool_grad. */
int32_t cdn_conv2d_pooled(uint32_t y, uint32_t argument, uint32_t x, uint32_t w, uint32_t bias,
                          const int64_t* geometry, int32_t dtype, int32_t precision,
                          int32_t variant);
int32_t cdn_conv2d_grad_input(uint32_t dx, uint32_t dy, uint32_t w, const int64_t* geometry,
                              int32_t dtype, int32_t precision, int32_t variant);
int32_t cdn_conv2d_grad_weight(uint32_t dw, uint32_t dbias, uint32_t dy, uint32_t x,
                               const int64_t* geometry, int32_t dtype, int32_t precision,
                               int32_t variant);
const char* cdn_conv2d_variant(int32_t variant);

/* Optimizer steps, for count parameters in one launch (a further one for each 64): lists of count
 * handles, and sizes, their element counts. Floats; states are float32 where the parameters are of
 * 16 bits, else of their dtype.
 *
 * clock: 11 float64 on the device: the steps taken, a number that nadam (the product of its
 * momenta; 1 at first) and sgd (1 once there is a velocity; 0 at first) carry on, lr, and momentum
 * or beta1; the others are the library's. A call counts the step, t. skip: 0, or one float64 on the
 * device; where that is not 0 the step is left out and does not count.
 *
 * First of all g = maximize ? -grad : grad, then p *= 1 - lr * weight_decay where it is decoupled,
 * or else g += weight_decay * p.
 * - sgd: v = momentum * v + (1 - dampening) * g, but v = g where there was none; p -= lr * v, or
 * with nesterov lr * (g + momentum * v). velocities may be NULL where there is no momentum; then p
 * -= lr * g.
 * - adam: m = beta1 * m + (1 - beta1) * g; s = beta2 * s + (1 - beta2) * g^2; l = max(l, s), unless
 * largest is NULL; p -= lr / (1 - beta1^t) * m / (sqrt(l or s) / sqrt(1 - beta2^t) + eps).
 * - nadam: m, s as of adam; p -= lr * ((1 - mu(t)) / (1 - M(t)) * g + mu(t+1) / (1 - M(t+1)) * m) /
 * (sqrt(s / (1 - beta2^t)) + eps), mu(t) = beta1 * (1 - 0.96^(t * momentum_decay) / 2), M(t) the
 * product of mu(1)…mu(t).
 * - rmsprop: s = alpha * s + (1 - alpha) * g^2; unless means is NULL, m = alpha * m + (1 - alpha) *
 * g, and s - m^2 for s in what follows; d = g / (sqrt(s) + eps); unless velocities is NULL, d = v =
 * momentum * v + d; p -= lr * d.
 * - adagrad: s += g^2; p -= lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps). */
int32_t cdn_sgd_step(const uint32_t* params, const uint32_t* grads, const uint32_t* velocities,
                     const int64_t* sizes, int32_t count, uint32_t clock, uint32_t skip,
                     double dampening, double weight_decay, int32_t nesterov, int32_t maximize,
                     int32_t dtype);
int32_t cdn_adam_step(const uint32_t* params, const uint32_t* grads, const uint32_t* means,
                      const uint32_t* squares, const uint32_t* largest, const int64_t* sizes,
                      int32_t count, uint32_t clock, uint32_t skip, double beta2, double eps,
                      double weight_decay, int32_t decoupled, int32_t maximize, int32_t dtype);
int32_t cdn_nadam_step(const uint32_t* params, const uint32_t* grads, const uint32_t* means,
                       const uint32_t* squares, const int64_t* sizes, int32_t count, uint32_t clock,
                       uint32_t skip, double beta2, double eps, double weight_decay,
                       double momentum_decay, int32_t decoupled, int32_t maximize, int32_t dtype);
int32_t cdn_rmsprop_step(const uint32_t* params, const uint32_t* grads, const uint32_t* squares,
                         const uint32_t* means, const uint32_t* velocities, const int64_t* sizes,
                         int32_t count, uint32_t clock, uint32_t skip, double alpha, double eps,
                         double weight_decay, int32_t maximize, int32_t dtype);
int32_t cdn_adagrad_step(const uint32_t* params, const uint32_t* grads, const uint32_t* sums,
                         const int64_t* sizes, int32_t count, uint32_t clock, uint32_t skip,
                         double lr_decay, double eps, double weight_decay, int32_t maximize,
                         int32_t dtype);

/* Steps of SGD, one after another in one call, for Linear(inputs, hidden), ReLU, Linear(hidden,
 * classes) and mean cross-entropy. sizes: samples, inputs, hidden, classes, batch, steps, and the
 * count of elements in scale and shift, 1 or inputs; 7 numbers. Step t takes the rows order[t *
 * batch] to order[(t + 1) * batch - 1] of x[samples, inputs], float32 or uint8 as dtype says,
 * times scale plus shift; both float32, a handle of 0 stands for 1 and 0. target[samples] and
 * order: int32. params and velocities: 4 handles each, of weight [hidden, inputs], bias [hidden],
 * weight [classes, hidden] and bias [classes]; velocities may be NULL where momentum is 0, and are
 * 0 before the first step. rates[steps]: learning rates, float32. The rule is cdn_sgd_step's with
 * no dampening. losses[steps]: each step's mean, float32; correct[steps], int32, or 0: how many of
 * its samples had their highest score at the target. A target is taken as cdn_cross_entropy does, a
 * bad number in order as cdn_gather_rows does, and counts as a target that is bad. What a device
 * cannot hold is CDN_UNSUPPORTED; steps may be 0, to ask. */
int32_t cdn_mlp_train(uint32_t losses, uint32_t correct, const uint32_t* params,
                      const uint32_t* velocities, uint32_t x, uint32_t target, uint32_t order,
                      uint32_t rates, uint32_t scale, uint32_t shift, const int64_t* sizes,
                      double momentum, double weight_decay, int32_t nesterov, int32_t ignore_index,
                      int32_t dtype);

/* On lists as above, all floats. norm: y, one float64, is (sum of |x|^p over all)^(1/p), the
 * largest |x| for infinite p; p > 0; added in float64. clip_norm: x *= min(1, limit / (norm +
 * 1e-6)) for a norm on the device, one float64. clip: x to low..high. zero: x = 0. unscale: x /=
 * scale, one float64 on the device, and found, one float64, becomes 1 if any x was NaN or infinite.
 * lerp: y += weight * (x - y), y float32 where x is of 16 bits, unless skip; clock: 0, or one that
 * counts the call: then `first` stands for the weight at the first one. */
int32_t cdn_list_norm(uint32_t y, const uint32_t* xs, const int64_t* sizes, int32_t count, double p,
                      int32_t dtype);
int32_t cdn_list_clip_norm(const uint32_t* xs, uint32_t norm, const int64_t* sizes, int32_t count,
                           double limit, int32_t dtype);
int32_t cdn_list_clip(const uint32_t* xs, const int64_t* sizes, int32_t count, double low,
                      double high, int32_t dtype);
int32_t cdn_list_zero(const uint32_t* xs, const int64_t* sizes, int32_t count, int32_t dtype);
int32_t cdn_list_lerp(const uint32_t* ys, const uint32_t* xs, const int64_t* sizes, int32_t count,
                      uint32_t clock, uint32_t skip, double weight, double first, int32_t dtype);
int32_t cdn_list_unscale(const uint32_t* xs, uint32_t found, uint32_t scale, const int64_t* sizes,
                         int32_t count, int32_t dtype);

/* The end of a step with a scaled loss. state: 3 float64, the scale, the good steps since it
 * changed, and 1 if a flag was set at this call. found: count handles of such flags, of
 * cdn_list_unscale, which become 0. A step with a flag set multiplies the scale by backoff, and
 * `interval` good ones by growth, unless that makes more than float32 holds. */
int32_t cdn_scale_update(uint32_t state, const uint32_t* found, int32_t count, double growth,
                         double backoff, double interval);

/* Image files, PNG and JPEG (8 bits, baseline and progressive), on the host: no device is needed,
 * and any thread may call. info: 1 for PNG or 2 for JPEG, channels (1 grey, 2 with alpha, 3 RGB, 4
 * with alpha), height, width, bits a sample in the file; 5 numbers. decode: y is channels x height
 * x width bytes, planes one behind the other, for the file's height and width and for 1 to 4
 * channels, whatever the file has: colours become brightness, grey the same three times, missing
 * alpha 255, and alpha that is not wanted is dropped. 16 bits are rounded to 8, EXIF's orientation
 * of a JPEG is applied. resize: planes of another size, bilinear, weighing all that a pixel of y
 * covers; each axis 1 to 2^20. */
int32_t cdn_image_info(int64_t* info, const void* file, int64_t bytes);
int32_t cdn_image_decode(void* y, const void* file, int64_t bytes, int64_t channels, int64_t height,
                         int64_t width);
int32_t cdn_image_resize(void* y, const void* x, int64_t channels, int64_t height, int64_t width,
                         int64_t x_height, int64_t x_width);

#if defined(__cplusplus)
}
#endif
#endif
