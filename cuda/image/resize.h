// Resizing on the host, as Pillow does it.
#pragma once
#include "image/image.h"

namespace cdn::image {

// Each channel of `from` resized to the size of `to`, which has as many: bilinear, and where an
// axis shrinks, weighed over all that a pixel covers.
void resize(const Planes& to, const Planes& from);

}  // namespace cdn::image
