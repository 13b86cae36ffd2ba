// How a perceptron lies in a cluster, and where in a block's shared memory: computed on the host.
#pragma once
#include "ops/persistent/mlp.h"

namespace cdn {

constexpr int MLP_MAX_BATCH = 128, MLP_MAX_CLASSES = 30;
constexpr int MLP_MIN_WARPS = 8, MLP_MAX_WARPS = 16;
constexpr int MLP_GROUP = 32;  // features that a warp takes at once
constexpr int MLP_CHUNK = 32;  // rows that are fetched together
constexpr int MLP_MAX_WORKERS = MLP_MAX_WARPS - 3;

// Bytes from a sample to the next, where a warp has so many groups: 16 times an odd number, so that
// eight rows' words, or four pairs of rows', lie in different banks.
CDN_FN constexpr int mlp_row(int groups) { return MLP_MAX_WORKERS * groups * MLP_GROUP + 16; }

// Where things begin in a block's shared memory, in bytes.
struct MlpPlaces {
  int x = 0;             // [ring][MLP_CHUNK][mlp_row] samples
  int parts;             // [workers][rows][units]: parts of the sums of hidden units
  int h;                 // [rows][units]
  int dh;                // [units][dh_row]
  int scores;            // [blocks][own][classes]: parts of the sums of scores
  int ds;                // [rows][message]
  int messages;          // [warps][32]: a row's, before it is sent
  int w2, v2;            // [32][units]
  int b1, vb1, b2, vb2;  // [units], [32]
  int scale, shift;      // [features]
  int largest;           // [2][units]: of the hidden units' gradients
  int label;             // [rows]
  int index;             // [4][rows]: the samples of this step and the next ones
  int barrier;           // [2], of 64 bits
  int bytes;
};

// Each block has the weights of some hidden units, each of its warps those of some features. The
// losses of a batch's row are computed by block row % blocks.
struct MlpShape {
  int log_blocks;       // the cluster's
  int units;            // hidden units of a block, in all blocks but the last ones
  int warps;            // of a block; of them so many
  int workers, groups;  // have so many groups of features
  int rows;             // of a batch, to whole chunks
  int ring;             // chunks there is room for
  int classes;          // to whole quads
  int message;          // floats that are said of a row: its scores' gradients, its loss, whether
                        // the answer was right
  int dh_row;           // floats from one unit to the next
  bool words;           // samples come in pieces of 16 bytes, not one by one
  MlpPlaces of;

  CDN_FN int blocks() const { return 1 << log_blocks; }
  CDN_FN int chunks() const { return rows / MLP_CHUNK; }
  CDN_FN int own() const { return rows >> log_blocks; }
  CDN_FN int features() const { return workers * groups * MLP_GROUP; }
  CDN_FN int score_bytes() const { return rows * classes * 4; }
  CDN_FN int message_bytes() const { return rows * message * 4; }

  void share_out_memory() {
    int64_t end = int64_t{1} * ring * MLP_CHUNK * mlp_row(groups);
    auto take = [&end](int& at, int64_t count) {
      at = static_cast<int>(end);
      end += (count * 4 + 15) / 16 * 16;
    };
    take(of.parts, workers * rows * units);
    take(of.h, rows * units), take(of.dh, units * dh_row);
    take(of.scores, rows * classes), take(of.ds, rows * message), take(of.messages, warps * 32);
    take(of.w2, 32 * units), take(of.v2, 32 * units);
    take(of.b1, units), take(of.vb1, units), take(of.b2, 32), take(of.vb2, 32);
    take(of.scale, features()), take(of.shift, features());
    take(of.largest, 2 * units), take(of.label, rows), take(of.index, 4 * rows),
        take(of.barrier, 4);
    of.bytes = static_cast<int>(end);
  }
};

}  // namespace cdn
