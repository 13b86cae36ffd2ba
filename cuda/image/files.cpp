// Image files and resizing: the exports.
#include "image/image.h"
#include "image/resize.h"

using namespace cdn;
using namespace cdn::image;

namespace {

Bytes file_at(const void* file, int64_t bytes) {
  if (bytes < 0 || (bytes > 0 && !file))
    CDN_FAIL(CDN_BAD_ARGUMENT, "file: it is null or has %lld bytes", (long long)bytes);
  return {static_cast<const uint8_t*>(file), bytes};
}

Info info_of(Bytes file) {
  if (is_png(file)) return png_info(file);
  if (is_jpeg(file)) return jpeg_info(file);
  CDN_FAIL(CDN_BAD_ARGUMENT, "it is neither a PNG nor a JPEG file, by its first bytes");
}

// Throws unless the axes are sizes that pictures can have, so that sums of pixels fit.
void check_planes(const void* data, const char* name, int64_t channels, int64_t height,
                  int64_t width) {
  constexpr int64_t MOST = 1 << 20;
  const bool sizes = channels >= 1 && channels <= MOST && height >= 1 && height <= MOST &&
                     width >= 1 && width <= MOST;
  if (!sizes || channels * height > (int64_t{4} << 30) / width)
    CDN_FAIL(CDN_BAD_ARGUMENT,
             "%s is of %lld x %lld x %lld; each must be 1 to %lld, and all at most 2^32", name,
             (long long)channels, (long long)height, (long long)width, (long long)MOST);
  if (!data) CDN_FAIL(CDN_BAD_ARGUMENT, "%s is null", name);
}

}  // namespace

CDN_API int32_t cdn_image_info(int64_t* info, const void* file, int64_t bytes) {
  return guard("cdn_image_info", [&] {
    if (!info) CDN_FAIL(CDN_BAD_ARGUMENT, "info is null");
    const Info found = info_of(file_at(file, bytes));
    const int64_t all[5] = {found.kind, found.channels, found.height, found.width, found.bits};
    memcpy(info, all, sizeof all);
  });
}

CDN_API int32_t cdn_image_decode(void* y, const void* file, int64_t bytes, int64_t channels,
                                 int64_t height, int64_t width) {
  return guard("cdn_image_decode", [&] {
    const Bytes from = file_at(file, bytes);
    const Info found = info_of(from);
    if (!y) CDN_FAIL(CDN_BAD_ARGUMENT, "y is null");
    if (channels < 1 || channels > 4)
      CDN_FAIL(CDN_BAD_ARGUMENT, "channels is %lld; it must be 1 to 4", (long long)channels);
    if (height != found.height || width != found.width)
      CDN_FAIL(CDN_BAD_ARGUMENT, "it has %lld x %lld pixels; room was made for %lld x %lld",
               (long long)found.width, (long long)found.height, (long long)width,
               (long long)height);
    const Planes to = {static_cast<uint8_t*>(y), channels, height, width};
    found.kind == Info::PNG ? decode_png(from, to) : decode_jpeg(from, to);
  });
}

CDN_API int32_t cdn_image_resize(void* y, const void* x, int64_t channels, int64_t height,
                                 int64_t width, int64_t x_height, int64_t x_width) {
  return guard("cdn_image_resize", [&] {
    check_planes(y, "y", channels, height, width);
    check_planes(x, "x", channels, x_height, x_width);
    uint8_t* from = static_cast<uint8_t*>(const_cast<void*>(x));  // which is only read
    resize({static_cast<uint8_t*>(y), channels, height, width},
           {from, channels, x_height, x_width});
  });
}
