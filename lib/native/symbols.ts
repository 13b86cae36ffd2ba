/**
 * The functions of cuda/cudeno.h as Deno sees them, one a line and in the header's order. tests/abi_test.ts holds this
 * table against the header: names, order, types.
 *
 * Types by their meaning in the header. A size is an i64, to be given as a BigInt: a number takes Deno's slow path.
 */
const handle = "u32";
const size = "i64";
const int = "i32";
const scalar = "f64";
const pointer = "buffer";

const unary = { parameters: [handle, handle, size, int], result: int } as const;
const unaryGrad = { parameters: [handle, handle, handle, size, int], result: int } as const;
// With one parameter, or two.
const unary1 = { parameters: [handle, handle, size, scalar, int], result: int } as const;
const unary2 = { parameters: [handle, handle, size, scalar, scalar, int], result: int } as const;
const unaryGrad1 = {
  parameters: [handle, handle, handle, size, scalar, int],
  result: int,
} as const;
const unaryGrad2 = {
  parameters: [handle, handle, handle, size, scalar, scalar, int],
  result: int,
} as const;
const binary = {
  parameters: [handle, handle, handle, pointer, int, scalar, int],
  result: int,
} as const;
const reduction = { parameters: [handle, handle, size, size, size, int], result: int } as const;
const rows = { parameters: [handle, handle, size, size, int], result: int } as const;
const rowsGrad = { parameters: [handle, handle, handle, size, size, int], result: int } as const;
const loss = { parameters: [handle, handle, handle, size, scalar, int], result: int } as const;
const lossGrad = {
  parameters: [handle, handle, handle, handle, size, scalar, scalar, int],
  result: int,
} as const;
const nll = {
  parameters: [handle, handle, handle, handle, size, size, size, int, int, int],
  result: int,
} as const;
const batchNorm = {
  parameters: [handle, handle, handle, handle, handle, handle, size, size, size, scalar, int],
  result: int,
} as const;
const normGrad = {
  parameters: [handle, handle, handle, handle, handle, handle, size, size, int],
  result: int,
} as const;
const random = {
  parameters: [handle, size, scalar, scalar, size, size, int],
  result: int,
} as const;
// A time step of a recurrent layer or its gradient: outputs and inputs, n, hidden, dtype.
const cell = {
  parameters: [
    ...[handle, handle, handle, handle],
    ...[handle, handle, handle, handle],
    ...[size, size, int],
  ],
  result: int,
} as const;

const sizes3 = [size, size, size] as const;
const lists4 = [pointer, pointer, pointer, pointer] as const;
const lists5 = [...lists4, pointer] as const;
const lists6 = [...lists5, pointer] as const;
const scalars3 = [scalar, scalar, scalar] as const;
const scalars4 = [...scalars3, scalar] as const;

/** Every exported function. */
export const symbols = {
  cdn_abi_version: { parameters: [], result: int },
  cdn_last_error: { parameters: [], result: "pointer" },
  cdn_build_info: { parameters: [], result: "pointer" },

  cdn_device_count: { parameters: [pointer], result: int },
  cdn_device_info: { parameters: [pointer, pointer, int], result: int },
  cdn_sync: { parameters: [int], result: int },
  cdn_wait: { parameters: [int], result: int },

  cdn_stream_create: { parameters: [pointer, int], result: int },
  cdn_stream_destroy: { parameters: [handle], result: int },
  cdn_stream_use: { parameters: [int, handle], result: int },
  cdn_stream_sync: { parameters: [int, handle], result: int },

  cdn_event_create: { parameters: [pointer, int], result: int },
  cdn_event_record: { parameters: [handle], result: int },
  cdn_event_elapsed: { parameters: [pointer, handle, handle], result: int },
  cdn_event_destroy: { parameters: [handle], result: int },

  cdn_alloc: { parameters: [pointer, int, size], result: int },
  cdn_view: { parameters: [pointer, handle, size, size], result: int },
  cdn_free: { parameters: [handle], result: int },
  cdn_write: { parameters: [handle, pointer, size, size], result: int },
  cdn_read: { parameters: [pointer, handle, size, size], result: int },
  cdn_copy: { parameters: [handle, handle, size, size, size], result: int },

  cdn_read_begin: { parameters: [pointer, handle, size, size], result: int },
  cdn_read_wait: { parameters: [handle], result: int },
  cdn_read_end: { parameters: [pointer, handle, size], result: int },

  cdn_memory_stats: { parameters: [pointer, int], result: int },
  cdn_memory_limit: { parameters: [int, size], result: int },
  cdn_memory_trim: { parameters: [int], result: int },
  cdn_memory_reset_peak: { parameters: [int], result: int },

  cdn_neg: unary,
  cdn_abs: unary,
  cdn_sign: unary,
  cdn_exp: unary,
  cdn_expm1: unary,
  cdn_log: unary,
  cdn_log1p: unary,
  cdn_sqrt: unary,
  cdn_rsqrt: unary,
  cdn_sin: unary,
  cdn_cos: unary,
  cdn_erf: unary,
  cdn_clip: unary2,

  cdn_relu: unary,
  cdn_sigmoid: unary,
  cdn_tanh: unary,
  cdn_gelu: unary,
  cdn_gelu_tanh: unary,
  cdn_silu: unary,
  cdn_leaky_relu: unary1,
  cdn_elu: unary1,
  cdn_softplus: unary2,

  cdn_abs_grad: unaryGrad,
  cdn_sqrt_grad: unaryGrad,
  cdn_rsqrt_grad: unaryGrad,
  cdn_erf_grad: unaryGrad,
  cdn_clip_grad: unaryGrad2,
  cdn_relu_grad: unaryGrad,
  cdn_sigmoid_grad: unaryGrad,
  cdn_tanh_grad: unaryGrad,
  cdn_gelu_grad: unaryGrad,
  cdn_gelu_tanh_grad: unaryGrad,
  cdn_silu_grad: unaryGrad,
  cdn_leaky_relu_grad: unaryGrad1,
  cdn_elu_grad: unaryGrad1,
  cdn_softplus_grad: unaryGrad2,

  cdn_fill: { parameters: [handle, size, scalar, int], result: int },
  cdn_cast: { parameters: [handle, handle, size, int, int], result: int },

  cdn_add: binary,
  cdn_sub: binary,
  cdn_mul: binary,
  cdn_weigh: binary,
  cdn_div: binary,
  cdn_floor_divide: binary,
  cdn_pow: binary,
  cdn_maximum: binary,
  cdn_minimum: binary,

  cdn_pow_grad_base: binary,
  cdn_pow_grad_exponent: binary,
  cdn_maximum_grad: binary,

  cdn_eq: binary,
  cdn_ne: binary,
  cdn_lt: binary,
  cdn_le: binary,
  cdn_gt: binary,
  cdn_ge: binary,

  cdn_where: {
    parameters: [handle, handle, handle, handle, pointer, int, scalar, scalar, int],
    result: int,
  },

  cdn_strided_copy: { parameters: [handle, handle, pointer, int, int], result: int },
  cdn_strided_write: { parameters: [handle, handle, pointer, int, int], result: int },
  cdn_band: { parameters: [handle, handle, size, size, size, size, size, int], result: int },
  cdn_transpose: { parameters: [handle, handle, size, size, size, int], result: int },

  cdn_sum: reduction,
  cdn_mean: reduction,
  cdn_max: reduction,
  cdn_min: reduction,
  cdn_argmax: reduction,
  cdn_argmin: reduction,
  cdn_max_grad: {
    parameters: [handle, handle, handle, handle, size, size, size, int],
    result: int,
  },

  cdn_variance: {
    parameters: [handle, handle, handle, size, size, size, scalar, int, int],
    result: int,
  },
  cdn_variance_grad: {
    parameters: [handle, handle, handle, handle, handle, size, size, size, scalar, int],
    result: int,
  },
  cdn_vector_norm: { parameters: [handle, handle, size, size, size, scalar, int], result: int },
  cdn_vector_norm_grad: {
    parameters: [handle, handle, handle, handle, size, size, size, scalar, int],
    result: int,
  },
  cdn_log_sum_exp: reduction,
  cdn_log_sum_exp_grad: {
    parameters: [handle, handle, handle, handle, size, size, size, int],
    result: int,
  },
  cdn_cumsum: { parameters: [handle, handle, size, size, size, int, int], result: int },
  cdn_topk: {
    parameters: [handle, handle, handle, size, size, size, int, int],
    result: int,
  },
  cdn_gather: {
    parameters: [handle, handle, handle, pointer, int, size, size, int],
    result: int,
  },
  cdn_scatter_add: {
    parameters: [handle, handle, handle, handle, pointer, int, size, size, size, int, int],
    result: int,
  },
  cdn_index_add: {
    parameters: [handle, handle, handle, handle, size, size, size, size, size, int],
    result: int,
  },
  cdn_one_hot: { parameters: [handle, handle, size, size, int], result: int },

  cdn_softmax: rows,
  cdn_softmax_grad: rowsGrad,
  cdn_masked_softmax: rows,
  cdn_log_softmax: rows,
  cdn_log_softmax_grad: rowsGrad,
  cdn_cross_entropy: {
    parameters: [handle, handle, handle, handle, size, size, int, int, int],
    result: int,
  },
  cdn_gather_rows: {
    parameters: [handle, handle, handle, size, size, size, scalar, scalar, int, int],
    result: int,
  },

  cdn_lstm_cell: cell,
  cdn_gru_cell: cell,
  cdn_rnn_cell: {
    parameters: [handle, handle, handle, handle, handle, size, size, int, int],
    result: int,
  },
  cdn_lstm_cell_grad: cell,
  cdn_gru_cell_grad: { parameters: [handle, ...cell.parameters], result: int },
  cdn_rnn_cell_grad: {
    parameters: [handle, handle, handle, handle, size, size, int, int],
    result: int,
  },

  cdn_uniform: random,
  cdn_normal: random,
  cdn_randint: { parameters: [handle, size, int, int, size, size], result: int },

  cdn_layer_norm: {
    parameters: [handle, handle, handle, handle, handle, handle, size, size, scalar, int],
    result: int,
  },
  cdn_rms_norm: {
    parameters: [handle, handle, handle, handle, size, size, scalar, int],
    result: int,
  },
  cdn_norm_grad: normGrad,
  cdn_norm_param_grad: normGrad,
  cdn_batch_norm_stats: {
    parameters: [handle, handle, handle, size, size, size, int],
    result: int,
  },
  cdn_batch_norm_track: {
    parameters: [handle, handle, handle, handle, handle, size, size, scalar, int, int],
    result: int,
  },
  cdn_batch_norm: batchNorm,
  cdn_batch_norm_sums: batchNorm,
  cdn_batch_norm_grad: {
    parameters: [
      handle, // dx
      handle, // dy
      handle, // x
      handle, // mean
      handle, // var
      handle, // weight
      handle, // dweight
      handle, // dbias
      size, // batch
      size, // channels
      size, // inner
      scalar, // eps
      int, // dtype
    ],
    result: int,
  },
  cdn_dropout: { parameters: [handle, handle, size, scalar, size, size, int], result: int },

  cdn_mse_loss: loss,
  cdn_l1_loss: loss,
  cdn_smooth_l1_loss: loss,
  cdn_huber_loss: loss,
  cdn_bce_loss: loss,
  cdn_bce_with_logits_loss: loss,
  cdn_hinge_loss: loss,
  cdn_kl_div_loss: loss,
  cdn_kl_div_log_loss: loss,
  cdn_mse_loss_grad: lossGrad,
  cdn_l1_loss_grad: lossGrad,
  cdn_smooth_l1_loss_grad: lossGrad,
  cdn_huber_loss_grad: lossGrad,
  cdn_bce_loss_grad: lossGrad,
  cdn_bce_with_logits_loss_grad: lossGrad,
  cdn_hinge_loss_grad: lossGrad,
  cdn_kl_div_loss_grad: lossGrad,
  cdn_kl_div_log_loss_grad: lossGrad,
  cdn_scale_grad: { parameters: [handle, handle, handle, handle, size, int], result: int },
  cdn_nll_loss: nll,
  cdn_nll_loss_grad: nll,
  cdn_nll_mean: {
    parameters: [handle, handle, handle, handle, handle, size, size, int, int, int],
    result: int,
  },

  cdn_matmul: {
    parameters: [handle, handle, handle, pointer, int, ...sizes3, int, int, int, int, int],
    result: int,
  },
  cdn_matmul_variant: { parameters: [int], result: "pointer" },
  cdn_matmul_fused: {
    parameters: [
      ...[handle, handle, handle], // c, z, a_sums
      ...[handle, handle, handle, handle, handle], // a, b, bias, residual, mask
      ...[pointer, int, ...sizes3, int, int], // what to multiply
      ...[scalar, scalar, int], // alpha, beta, activation
      ...[int, int, int, int], // dtype, out_dtype, precision, variant
    ],
    result: int,
  },

  // Lists of handles (one pointer each), sizes, their count; then hyper-parameters, flags and the dtype.
  cdn_sgd_step: { parameters: [...lists4, int, ...scalars4, int, int, int, int], result: int },
  cdn_adam_step: { parameters: [...lists6, int, ...scalars4, ...scalars3, int, int], result: int },
  cdn_nadam_step: { parameters: [...lists5, int, ...scalars4, ...scalars4, int, int], result: int },
  cdn_rmsprop_step: { parameters: [...lists6, int, ...scalars4, scalar, int, int], result: int },
  cdn_adagrad_step: { parameters: [...lists4, int, ...scalars3, int, int], result: int },
  cdn_muon_step: {
    parameters: [pointer, pointer, pointer, int, scalar, scalar, int],
    result: int,
  },

  cdn_list_norm: {
    parameters: [handle, pointer, pointer, int, scalar, int],
    result: int,
  },
  cdn_list_clip_norm: {
    parameters: [pointer, handle, pointer, int, scalar, int],
    result: int,
  },
  cdn_list_clip: {
    parameters: [pointer, pointer, int, scalar, scalar, int],
    result: int,
  },
  cdn_list_lerp: {
    parameters: [pointer, pointer, pointer, int, scalar, int],
    result: int,
  },
  cdn_list_unscale: {
    parameters: [pointer, handle, pointer, int, scalar, int],
    result: int,
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** The same functions called on another thread, for waiting without holding up the event loop. */
export const waiting = {
  wait_for_device: { name: "cdn_wait", parameters: [int], result: int, nonblocking: true },
  wait_for_read: { name: "cdn_read_wait", parameters: [handle], result: int, nonblocking: true },
  write_elsewhere: {
    name: "cdn_write",
    parameters: [handle, pointer, size, size],
    result: int,
    nonblocking: true,
  },
} as const satisfies Deno.ForeignLibraryInterface;

/** The version of the ABI that this table describes. */
export const abiVersion = 5;
