#include "matmul_convert.h"

#include "matmul_hopper.h"

namespace cdn {

bool matmul_convert(Call& call, const Product<float>& p, const Layout& batch, int64_t pieces) {
  using Tile = ConvertTile;
  if (!hopper_device(call)) return false;
  ConvertWork w;
  w.p = p;
  w.grid = tile_grid(p.m(), p.n(), Tile::BM, Tile::BN);
  int64_t steps = (p.k() + Tile::BK - 1) / Tile::BK, tiles = w.grid.rows * (int64_t)w.grid.cols * batch.n;
  if (tiles * 8 > INT32_MAX || steps > INT32_MAX) return false;
  if (pieces == 0)  // as many blocks as fill the device, but no piece without a step
    for (pieces = 1; pieces < 8 && tiles * pieces * 2 <= 132 && pieces * 2 <= steps;) pieces *= 2;
  w.pieces = static_cast<int32_t>(pieces);
  w.steps_per_piece = static_cast<int32_t>((steps + pieces - 1) / pieces);
  w.wide_a = wide_lines(p.a, batch, 0);
  w.wide_b = wide_lines(p.b, batch, 1);
  auto kernel = p.a.k_contiguous ? (p.b.k_contiguous ? matmul_convert<false, false> : matmul_convert<false, true>)
                                 : (p.b.k_contiguous ? matmul_convert<true, false> : matmul_convert<true, true>);
  in_launches(batch, [&](const Batch& part, unsigned z) {
    w.batch = part;
    dim3 grid(w.grid.rows * w.grid.cols * static_cast<unsigned>(pieces), 1, z);
    launch_chained(kernel, grid, Tile::THREADS, Tile::SHARED_BYTES, static_cast<int>(pieces), stream_of(call), w);
  });
  return true;
}

}  // namespace cdn
