// How a perceptron lies in a cluster, and where in a block's shared memory: computed on the host,
// and by each block again.
#pragma once
#include "ops/persistent/mlp.h"

namespace cdn {

constexpr int MLP_THREADS = 256, MLP_WARPS = MLP_THREADS / 32;
constexpr int MLP_MAX_BATCH = 128, MLP_MAX_CLASSES = 64;

// Block (group, slice) has the first weights of a group of hidden units and a slice of the
// features. Samples are owned by slices: what depends on whole hidden units of a sample is computed
// by the blocks of that slice.
struct MlpShape {
  int groups, slices;    // the cluster's blocks
  int hidden, features;  // of a block, in all blocks but the last ones
  int columns;           // features, to whole tiles of 8
  int rows, own;         // of a batch, to whole tiles of 16; of these each slice owns so many
  int classes, class_row;
  int x_row, w_row, h_row;  // elements from one row to the next
  int letter;               // floats of a slice's part of the second layer's gradients
  int buffers;              // batches of samples there is room for
  bool words;               // samples come in pieces of 16 bytes, not one by one

  CDN_FN int blocks() const { return groups * slices; }
  // Bytes of what the mailboxes get in a round.
  CDN_FN int part_bytes() const {
    return rows * hidden * 4;
  }  // of hidden units, of their gradients
  CDN_FN int score_bytes() const { return groups * own * classes * 4; }
  CDN_FN int letter_bytes() const { return slices * (classes * (hidden + 1) + 2) * 4; }
};

// T: float or uint8_t, the samples'.
template <class T> struct MlpMemory {
  static constexpr int BARRIERS = 5, INDICES = 4;
  T* x;                        // [buffers][rows][x_row]
  float* w1;                   // [hidden][w_row]
  float* parts;                // [slices][own][h_row]: parts of the sums of hidden units
  float* h;                    // [own][h_row]
  float* dh;                   // [rows][h_row], of all slices' samples
  float* scores;               // [2][groups][own][classes]: parts of the sums of scores
  float* ds;                   // [own][class_row]
  float* letters;              // [slices][letter]
  float *w2, *v2;              // [classes][h_row]
  float *b1, *vb1, *b2, *vb2;  // [hidden], [classes]
  float *scale, *shift;        // [columns]
  float* loss;                 // [own]
  int32_t* right;              // [own]
  int32_t* index;              // [INDICES][rows]: the samples of this step and the next ones
  int32_t* label;              // [2][rows]
  uint64_t* barrier;
  int64_t bytes;

  CDN_FN MlpMemory(const MlpShape& s, unsigned char* memory) {
    unsigned char* at = memory;
    auto take = [&at](auto*& p, int64_t count) {
      p = reinterpret_cast<std::remove_reference_t<decltype(p)>>(at);
      at += (count * static_cast<int64_t>(sizeof *p) + 15) / 16 * 16;
    };
    take(x, int64_t{1} * s.buffers * s.rows * s.x_row);
    take(w1, s.hidden * s.w_row);
    take(parts, s.rows * s.h_row);
    take(h, s.own * s.h_row);
    take(dh, s.rows * s.h_row);
    take(scores, 2 * s.groups * s.own * s.classes);
    take(ds, s.own * s.class_row);
    take(letters, s.slices * s.letter);
    take(w2, s.classes * s.h_row), take(v2, s.classes * s.h_row);
    take(b1, s.hidden), take(vb1, s.hidden), take(b2, s.classes), take(vb2, s.classes);
    take(scale, s.columns), take(shift, s.columns);
    take(loss, s.own), take(right, s.own);
    take(index, INDICES * s.rows), take(label, 2 * s.rows);
    take(barrier, BARRIERS);
    bytes = at - memory;
  }
};

}  // namespace cdn
