// im2col by a kernel that divides once a line of y, not once an element.
#pragma once
#include "ops/conv/geometry.h"

namespace cdn {

// From one row of the matrix to the next: whole pieces of 16 bytes, as TMA asks for, unless that
// would waste much. What is behind a row's numbers is 0.
template <class T> int64_t columns_ld(const ConvGeometry& g) {
  constexpr int64_t PIECE = 16 / sizeof(T);
  const int64_t depth = g.group_depth();
  return depth < 2 * PIECE ? depth : ceil_div(depth, PIECE) * PIECE;
}

// False, and nothing done, where sizes are beyond it. `bytes`: of an element.
bool gather_columns(Call& call, const ConvGeometry& g, void* col, const void* x, int64_t ld,
                    int64_t bytes);

}  // namespace cdn
