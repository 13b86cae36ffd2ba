// The inverse cosine transform of 8 x 8 blocks by Loeffler, Ligtenberg and Moschytz: whole numbers
// with 13 bits of fraction, in the steps of libjpeg's accurate method, so that results are the
// same. Loops over eight columns at once are for the compiler to vectorize; sums wrap, as those of
// damaged files may.
#include "image/jpeg.h"

namespace cdn::image {

namespace {

constexpr int FRACTION = 13, KEPT = 2;  // bits; those kept between the passes

// One pass of each of 8 columns. SHIFT: how many bits of fraction to round off.
template <int SHIFT> inline void transform(const int32_t (&x)[8][8], int32_t (&y)[8][8]) {
  using U = uint32_t;
  const auto rounded = [](U v) { return static_cast<int32_t>(v + (1u << (SHIFT - 1))) >> SHIFT; };
  for (int i = 0; i < 8; i++) {
    const auto in = [&](int k) { return static_cast<U>(x[k][i]); };
    // the even part
    U z = (in(2) + in(6)) * U{4433};
    const U even2 = z - in(6) * U{15137}, even3 = z + in(2) * U{6270};
    const U even0 = (in(0) + in(4)) << FRACTION, even1 = (in(0) - in(4)) << FRACTION;
    const U a0 = even0 + even3, a3 = even0 - even3, a1 = even1 + even2, a2 = even1 - even2;
    // the odd part
    U t0 = in(7), t1 = in(5), t2 = in(3), t3 = in(1);
    U z1 = t0 + t3, z2 = t1 + t2, z3 = t0 + t2, z4 = t1 + t3;
    const U z5 = (z3 + z4) * U{9633};
    t0 *= U{2446}, t1 *= U{16819}, t2 *= U{25172}, t3 *= U{12299};
    z1 = U{0} - z1 * U{7373}, z2 = U{0} - z2 * U{20995};
    z3 = z5 - z3 * U{16069}, z4 = z5 - z4 * U{3196};
    t0 += z1 + z3, t1 += z2 + z4, t2 += z2 + z3, t3 += z1 + z4;
    y[0][i] = rounded(a0 + t3), y[7][i] = rounded(a0 - t3);
    y[1][i] = rounded(a1 + t2), y[6][i] = rounded(a1 - t2);
    y[2][i] = rounded(a2 + t1), y[5][i] = rounded(a2 - t1);
    y[3][i] = rounded(a3 + t0), y[4][i] = rounded(a3 - t0);
  }
}

inline void transpose(const int32_t (&x)[8][8], int32_t (&y)[8][8]) {
  for (int i = 0; i < 8; i++)
    for (int j = 0; j < 8; j++) y[i][j] = x[j][i];
}

}  // namespace

void inverse_dct(const int16_t* block, const uint16_t* steps, uint8_t* to, int64_t stride) {
  alignas(32) int32_t x[8][8], y[8][8];
  for (int k = 0; k < 8; k++)
    for (int i = 0; i < 8; i++) x[k][i] = block[8 * k + i] * static_cast<int32_t>(steps[8 * k + i]);
  transform<FRACTION - KEPT>(x, y);
  transpose(y, x);
  transform<FRACTION + KEPT + 3>(x, y);
  transpose(y, x);
  for (int k = 0; k < 8; k++, to += stride)
    for (int i = 0; i < 8; i++) to[i] = to_byte(x[k][i] + 128);
}

void inverse_dct_flat(int dc, int step, uint8_t* to, int64_t stride) {
  const uint32_t value = (static_cast<uint32_t>(dc * step) << KEPT) + (1 << (KEPT + 2));
  const uint8_t sample = to_byte((static_cast<int32_t>(value) >> (KEPT + 3)) + 128);
  for (int k = 0; k < 8; k++, to += stride) memset(to, sample, 8);
}

}  // namespace cdn::image
