// Hopper's own instructions, a function each: barriers in shared memory, copies of tiles by the
// tensor memory accelerator (TMA), and products by warpgroups of 128 threads (wgmma). They exist
// for sm_90a only; every other target compiles to nothing, and the host never launches what uses
// them there.
#pragma once
#include <cuda.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

#include "kernel/half.h"
#include "gpu/device/launch.h"
#include "gpu/tile/async_copy.h"

namespace cdn {
namespace hopper {

#if defined(CDN_HOPPER)

// ---- mbarriers: a phase ends when `count` threads have arrived and all expected bytes have landed

__device__ __forceinline__ void barrier_init(uint64_t* bar, int count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(bar)), "r"(count));
}
__device__ __forceinline__ void barriers_visible() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ __forceinline__ void barrier_expect(uint64_t* bar, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(bar)),
               "r"(bytes)
               : "memory");
}
__device__ __forceinline__ void barrier_arrive(uint64_t* bar) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(bar)) : "memory");
}
// At the same barrier of another block of the cluster. Without .release, which would wait for
// writes to the device's memory: what it guards was only read.
__device__ __forceinline__ void barrier_arrive_at(uint64_t* bar, uint32_t block) {
  asm volatile(
      "{\n.reg .b32 remote;\nmapa.shared::cluster.u32 remote, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [remote];\n}" ::"r"(shared_address(bar)),
      "r"(block)
      : "memory");
}
__device__ __forceinline__ void barrier_wait(uint64_t* bar, uint32_t parity) {
  asm volatile(
      "{\n.reg .pred done;\nWAIT:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@done bra DONE;\nbra WAIT;\nDONE:\n}" ::"r"(shared_address(bar)),
      "r"(parity)
      : "memory");
}

// Once all cp.async that the thread has begun are done, without waiting for them.
__device__ __forceinline__ void barrier_arrive_after_copies(uint64_t* bar) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(shared_address(bar))
               : "memory");
}

// The stages of a pipeline as either side walks them.
template <int STAGES> struct PipelineState {
  int stage = 0;
  uint32_t phase = 0;
  __device__ __forceinline__ void next() {
    if (++stage == STAGES) stage = 0, phase ^= 1;
  }
};

// ---- clusters

__device__ __forceinline__ uint32_t cluster_rank() {
  uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
// Which cluster of the grid this is, and of how many; a block without a cluster counts as one.
__device__ __forceinline__ uint32_t cluster_index() {
  uint32_t index;
  asm volatile("mov.u32 %0, %%clusterid.x;" : "=r"(index));
  return index;
}
__device__ __forceinline__ uint32_t cluster_count() {
  uint32_t count;
  asm volatile("mov.u32 %0, %%nclusterid.x;" : "=r"(count));
  return count;
}
// All blocks of the cluster wait for one another; what they wrote need not be seen by the others.
// Both are for whole warps.
__device__ __forceinline__ void cluster_arrive() {
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
}
__device__ __forceinline__ void cluster_wait() {
  asm volatile("barrier.cluster.wait.aligned;" ::: "memory");
}
__device__ __forceinline__ void cluster_sync() {
  cluster_arrive();
  cluster_wait();
}

// The same, and what was written to shared memory before it is seen by all after it. It waits for
// writes to the device's memory too, which takes long: messages do not.
__device__ __forceinline__ void cluster_sync_all() {
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::
                   : "memory");
}
// The same place in another block's shared memory.
__device__ __forceinline__ uint32_t address_in_block(const void* here, int block) {
  uint32_t there;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(shared_address(here)), "r"(block));
  return there;
}
// 16 bytes from there, which a cluster_sync_all() has made safe to read.
template <class Part> __device__ __forceinline__ Part read_block(const Part& here, int block) {
  static_assert(sizeof(Part) == 16, "one access");
  float4 v;
  asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "r"(address_in_block(&here, block)));
  Part part;
  memcpy(&part, &v, sizeof(Part));
  return part;
}
// A message: x, of 4, 8 or 16 bytes, written to a place in another block's shared memory, and
// counted in bytes by a barrier there.
template <class X>
__device__ __forceinline__ void send(uint32_t there, uint32_t barrier_there, const X& x) {
  constexpr int WORDS = sizeof(X) / 4;
  uint32_t w[WORDS];
  memcpy(w, &x, sizeof(X));
#define CDN_SEND(TYPE, VALUES, ...)                                                           \
  asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes." TYPE " [%0], " VALUES \
               ", [%1];" ::"r"(there),                                                        \
               "r"(barrier_there), __VA_ARGS__                                                \
               : "memory")
  if constexpr (WORDS == 1)
    CDN_SEND("b32", "%2", "r"(w[0]));
  else if constexpr (WORDS == 2)
    CDN_SEND("v2.b32", "{%2, %3}", "r"(w[0]), "r"(w[1]));
  else
    CDN_SEND("v4.b32", "{%2, %3, %4, %5}", "r"(w[0]), "r"(w[1]), "r"(w[2]), "r"(w[3]));
#undef CDN_SEND
}

// ---- TMA: boxes of a tensor of three axes, x the innermost; what lies outside is read as 0 and
// not written

__device__ __forceinline__ void load_box(void* to, const CUtensorMap* map, uint64_t* bar, int x,
                                         int y, int z) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, "
      "%4, %5}], [%2];" ::"r"(shared_address(to)),
      "l"(map), "r"(shared_address(bar)), "r"(x), "r"(y), "r"(z)
      : "memory");
}
// The same of four axes.
__device__ __forceinline__ void load_box(void* to, const CUtensorMap* map, uint64_t* bar, int x,
                                         int y, int z, int w) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, "
      "%4, %5, %6}], [%2];" ::"r"(shared_address(to)),
      "l"(map), "r"(shared_address(bar)), "r"(x), "r"(y), "r"(z), "r"(w)
      : "memory");
}
// To the same place in every block of the cluster whose bit is set, each of which counts the bytes
// at its own barrier.
__device__ __forceinline__ void load_box_to_all(void* to, const CUtensorMap* map, uint64_t* bar,
                                                int x, int y, int z, uint16_t blocks) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::"
      "cluster [%0], [%1, {%3, "
      "%4, "
      "%5}], [%2], %6;" ::"r"(shared_address(to)),
      "l"(map), "r"(shared_address(bar)), "r"(x), "r"(y), "r"(z), "h"(blocks)
      : "memory");
}
// A column of pixels of a tensor [image, row, column, channel], those that a tap of a filter meets
// as it goes from place to place; the first is that of the filter's first tap, u columns and v rows
// before.
__device__ __forceinline__ void load_im2col(void* to, const CUtensorMap* map, uint64_t* bar,
                                            int channel, int column, int row, int image, int u,
                                            int v) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%0], "
      "[%1, {%3, %4, %5, %6}], [%2], {%7, %8};" ::"r"(shared_address(to)),
      "l"(map), "r"(shared_address(bar)), "r"(channel), "r"(column), "r"(row), "r"(image),
      "h"(static_cast<uint16_t>(u)), "h"(static_cast<uint16_t>(v))
      : "memory");
}
__device__ __forceinline__ void store_box(const CUtensorMap* map, const void* from, int x, int y,
                                          int z) {
  asm volatile(
      "cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(map),
      "r"(shared_address(from)), "r"(x), "r"(y), "r"(z)
      : "memory");
}
__device__ __forceinline__ void stores_commit() {
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}
// All but the thread's latest LEFT groups of stores have read their shared memory.
template <int LEFT> __device__ __forceinline__ void stores_have_read() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(LEFT) : "memory");
}
__device__ __forceinline__ void prefetch_map(const CUtensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}
// Between ordinary writes to shared memory and TMA's or wgmma's reads of them.
__device__ __forceinline__ void fence_async() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// Four 8 x 8 blocks of 16-bit values from a warp's registers to shared memory; each thread gives a
// row's address.
__device__ __forceinline__ void store_matrices(void* to, const uint32_t (&r)[4]) {
  asm volatile(
      "stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(to)),
      "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
      : "memory");
}

// ---- Registers between warpgroups; threads of one warpgroup wait for one another

template <int N> __device__ __forceinline__ void raise_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}
template <int N> __device__ __forceinline__ void lower_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}
// Some threads of a block wait for one another.
template <int ID, int THREADS> struct NamedBarrier {
  __device__ __forceinline__ void operator()() const {
    asm volatile("bar.sync %0, %1;" ::"n"(ID), "n"(THREADS) : "memory");
  }
  // The same, and whether x holds for any of them.
  __device__ __forceinline__ bool any(bool x) const {
    int any;
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %1, 0;\nbar.red.or.pred p, %2, %3, p;\n"
        "selp.b32 %0, 1, 0, p;\n}"
        : "=r"(any)
        : "r"(static_cast<int>(x)), "n"(ID), "n"(THREADS)
        : "memory");
    return any != 0;
  }
};
__device__ __forceinline__ void warpgroup_sync(int group) {
  asm volatile("bar.sync %0, 128;" ::"r"(group + 1) : "memory");
}

// The two halves of such a barrier: those who wait, and those who only let them go on.
template <int THREADS> __device__ __forceinline__ void named_wait(int id) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "n"(THREADS) : "memory");
}
template <int THREADS> __device__ __forceinline__ void named_arrive(int id) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "n"(THREADS) : "memory");
}

// ---- wgmma: d[64, N] += a[64, 16] b[16, N], both from shared memory, queued; d is ready after
// wgmma_wait. Or a from registers, which are not written before: a thread's sums of s[64, 16] of
// another product, as 16 bits in pairs, are just what it gives of a.

__device__ __forceinline__ void wgmma_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int N> __device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

// Where a matrix lies: lines of 128 bytes, 8 of them a group of 1024 bytes in which TMA's 128-byte
// swizzle has exchanged 16-byte pieces. A line holds 64 values of k of one row (K_MAJOR), or 64
// rows of one k (MN_MAJOR): then `next` is the distance in bytes to the following 64 rows.
__device__ __forceinline__ uint64_t matrix_at(const void* p, bool mn_major, int next) {
  uint64_t d = (shared_address(p) & 0x3ffff) >> 4;
  return d | static_cast<uint64_t>(mn_major ? next >> 4 : 1) << 16 |
         static_cast<uint64_t>(1024 >> 4) << 32 | static_cast<uint64_t>(1) << 62;
}

// The accumulators as asm operands: their numbers, and their places.
// clang-format off
#define CDN_D16 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define CDN_D32 CDN_D16 \
  ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define CDN_D64 CDN_D32 \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47" \
  ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define CDN_D96 CDN_D64 \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79" \
  ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define CDN_D128 CDN_D96 \
  ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111" \
  ", %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define CDN_AT8(i) \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), \
  "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define CDN_AT32(i) CDN_AT8(i), CDN_AT8(i + 8), CDN_AT8(i + 16), CDN_AT8(i + 24)
#define CDN_WGMMA(T, TYPE, N, COUNT, D, AT, A, B, P, A_MAJOR, B_MAJOR) \
  template <bool A_MN, bool B_MN> \
  __device__ __forceinline__ void wgmma(T, float (&d)[COUNT], uint64_t a, uint64_t b, \
                                        bool accumulate) { \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " P ", 0;\n" \
                 "wgmma.mma_async.sync.aligned.m64n" N "k16.f32." TYPE "." TYPE \
                 " {" D "}, " A ", " B ", p, 1, 1, " \
                 A_MAJOR ", " B_MAJOR ";\n}" \
                 : AT \
                 : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)), "n"(static_cast<int>(A_MN)), \
                   "n"(static_cast<int>(B_MN))); \
  }
#define CDN_WGMMA_REGISTERS(T, TYPE, N, COUNT, D, AT, A, B, P, B_MAJOR) \
  template <bool B_MN> \
  __device__ __forceinline__ void wgmma(T, float (&d)[COUNT], const uint32_t* a, uint64_t b) { \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " P ", 0;\n" \
                 "wgmma.mma_async.sync.aligned.m64n" N "k16.f32." TYPE "." TYPE \
                 " {" D "}, {" A "}, " B ", p, 1, 1, " B_MAJOR ";\n}" \
                 : AT \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(1), \
                   "n"(static_cast<int>(B_MN))); \
  }
#define CDN_WGMMA_ALL(T, TYPE) \
  CDN_WGMMA(T, TYPE, "64", 32, CDN_D32, CDN_AT32(0), "%32", "%33", "%34", "%35", "%36") \
  CDN_WGMMA(T, TYPE, "128", 64, CDN_D64, CDN_AT32(0) COMMA CDN_AT32(32), \
            "%64", "%65", "%66", "%67", "%68") \
  CDN_WGMMA(T, TYPE, "192", 96, CDN_D96, CDN_AT32(0) COMMA CDN_AT32(32) COMMA CDN_AT32(64), \
            "%96", "%97", "%98", "%99", "%100") \
  CDN_WGMMA(T, TYPE, "256", 128, CDN_D128, \
            CDN_AT32(0) COMMA CDN_AT32(32) COMMA CDN_AT32(64) COMMA CDN_AT32(96), \
            "%128", "%129", "%130", "%131", "%132") \
  CDN_WGMMA_REGISTERS(T, TYPE, "32", 16, CDN_D16, CDN_AT8(0) COMMA CDN_AT8(8), \
            "%16, %17, %18, %19", "%20", "%21", "%22") \
  CDN_WGMMA_REGISTERS(T, TYPE, "64", 32, CDN_D32, CDN_AT32(0), \
            "%32, %33, %34, %35", "%36", "%37", "%38") \
  CDN_WGMMA_REGISTERS(T, TYPE, "128", 64, CDN_D64, CDN_AT32(0) COMMA CDN_AT32(32), \
            "%64, %65, %66, %67", "%68", "%69", "%70") \
  CDN_WGMMA_REGISTERS(T, TYPE, "256", 128, CDN_D128, \
            CDN_AT32(0) COMMA CDN_AT32(32) COMMA CDN_AT32(64) COMMA CDN_AT32(96), \
            "%128, %129, %130, %131", "%132", "%133", "%134")
#define COMMA ,
CDN_WGMMA_ALL(bfloat16, "bf16")
CDN_WGMMA_ALL(float16, "f16")
#undef COMMA
// clang-format on

#endif

}  // namespace hopper

#if defined(CDN_HOPPER)
// Two numbers as 16 bits each.
template <class T> __device__ __forceinline__ uint32_t pack(float low, float high) {
  uint32_t both;
  if constexpr (std::is_same<T, bfloat16>::value)
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  else
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
}
#endif

}  // namespace cdn
