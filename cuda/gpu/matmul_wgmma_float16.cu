// matmul_wgmma for float16. With each width as many stages as fit.
#include "matmul_wgmma.h"

namespace cdn {

WgmmaKernel wgmma_float16(int bn, bool a_mn, bool b_mn) {
  switch (bn) {
    case 256: return wgmma_kernel<float16, 256, 4, 1, false>(a_mn, b_mn);
    case 128: return wgmma_kernel<float16, 128, 6, 1, false>(a_mn, b_mn);
    default: return wgmma_kernel<float16, 64, 8, 1, false>(a_mn, b_mn);
  }
}

}  // namespace cdn
