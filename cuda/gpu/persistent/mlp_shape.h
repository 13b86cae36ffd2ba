// How a perceptron lies in a cluster, and where in a block's shared memory: computed on the host,
// and by each block again.
#pragma once
#include "ops/persistent/mlp.h"

namespace cdn {

constexpr int MLP_MAX_BATCH = 128, MLP_MAX_CLASSES = 62;
constexpr int MLP_MIN_WARPS = 8, MLP_MAX_WARPS = 16;
constexpr int MLP_GROUP = 32;  // features that a warp takes at once
constexpr int MLP_CHUNK = 32;  // rows that are fetched together

// Each block has the weights of some hidden units, each of its warps those of some features. The
// losses of a batch's row are computed by block row % blocks.
struct MlpShape {
  int log_blocks;     // the cluster's
  int units;          // hidden units of a block, in all blocks but the last ones
  int warps, groups;  // groups of features of a warp
  int rows;           // of a batch, to whole chunks
  int ring;           // chunks there is room for
  int classes;        // to whole quads
  int message;        // floats that are said of a row: its scores' gradients, its loss, whether
                      // the answer was right
  int x_row, dh_row;  // elements from one row to the next
  bool words;         // samples come in pieces of 16 bytes, not one by one

  CDN_FN int blocks() const { return 1 << log_blocks; }
  CDN_FN int chunks() const { return rows / MLP_CHUNK; }
  CDN_FN int own() const { return rows >> log_blocks; }
  CDN_FN int features() const { return warps * groups * MLP_GROUP; }
  CDN_FN int score_bytes() const { return rows * classes * 4; }
  CDN_FN int message_bytes() const { return rows * message * 4; }
};

// T: float or uint8_t, the samples'.
template <class T> struct MlpMemory {
  T* x;             // [ring][MLP_CHUNK][x_row]
  float* parts;     // [warps][rows][units]: parts of the sums of hidden units
  float* h;         // [rows][units]
  float* dh;        // [units][dh_row]
  float* scores;    // [blocks][own][classes]: parts of the sums of scores
  float* ds;        // [rows][message]
  float* messages;  // [warps][64]: a row's, before it is sent
  float *w2, *v2;   // [classes to 64][units]
  float *b1, *vb1, *b2, *vb2;  // [units], [64]
  float *scale, *shift;        // [features]
  int32_t* label;              // [rows]
  uint64_t* barrier;           // [2]
  int64_t bytes;

  CDN_FN MlpMemory(const MlpShape& s, unsigned char* memory) {
    unsigned char* at = memory;
    auto take = [&at](auto*& p, int64_t count) {
      p = reinterpret_cast<std::remove_reference_t<decltype(p)>>(at);
      at += (count * static_cast<int64_t>(sizeof *p) + 15) / 16 * 16;
    };
    take(x, int64_t{1} * s.ring * MLP_CHUNK * s.x_row);
    take(parts, s.warps * s.rows * s.units);
    take(h, s.rows * s.units);
    take(dh, s.units * s.dh_row);
    take(scores, s.rows * s.classes);
    take(ds, s.rows * s.message);
    take(messages, s.warps * 64);
    take(w2, 64 * s.units), take(v2, 64 * s.units);
    take(b1, s.units), take(vb1, s.units), take(b2, 64), take(vb2, 64);
    take(scale, s.features()), take(shift, s.features());
    take(label, s.rows);
    take(barrier, 2);
    bytes = at - memory;
  }
};

}  // namespace cdn
