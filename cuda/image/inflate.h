// zlib's format (RFC 1950 and 1951).
#pragma once
#include "image/image.h"

namespace cdn::image {

// Fills [to, to + size) with what `from` holds, which must be as many bytes, and compares its
// checksum.
void inflate(uint8_t* to, int64_t size, Bytes from);

}  // namespace cdn::image
