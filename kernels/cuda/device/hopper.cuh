// Primitives of Hopper (sm_90a) alone: barriers in shared memory that count arrivals and bytes, bulk copies by the copy
// engine, and asynchronous matrix products of a warpgroup (four warps, the first a multiple of four). Compiled for
// other chips they trap: the host starts such kernels on Hopper only.
//
// Two proxies. Products and bulk copies see shared memory through the async proxy, everything else (copy_async_16
// included) through the generic one: a thread whose ordinary writes a product is to read calls fence_async_proxy()
// after the writes (after copy_async_wait() for copies) and before the barrier that hands them over.
#pragma once

#include <cstdint>
#include <type_traits>

#include "kernels/cuda/element.h"
#include "memory.cuh"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define COPPICE_HOPPER_ONLY(...) __VA_ARGS__
#else
#define COPPICE_HOPPER_ONLY(...) __trap()
#endif

namespace coppice::kernels::cuda {

// --- barriers in shared memory (PTX ISA, mbarrier) ---
// A phase ends when `count` arrivals have come and all bytes that were announced for it. Phases are numbered from 0;
// a wait names the lowest bit of the phase whose end it waits for, and the phase before the first counts as over.

// One thread calls it once, then barrier_publish(). REQUIRES: a sync_block() before other threads use the barrier.
COPPICE_DEVICE void barrier_initialise(std::uint64_t* barrier, std::uint32_t count) {
  COPPICE_HOPPER_ONLY(asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count)
                                   : "memory"));
}
COPPICE_DEVICE void barrier_publish() {
  COPPICE_HOPPER_ONLY(asm volatile("fence.mbarrier_init.release.cluster;\n\tfence.proxy.async.shared::cta;" ::
                                       : "memory"));
}
// Releases what this thread wrote or knows of to threads that wait for this phase.
COPPICE_DEVICE void barrier_arrive(std::uint64_t* barrier) {
  COPPICE_HOPPER_ONLY(asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
                                   : "memory"));
}
// The same, and announces `bytes` of bulk copies for this phase.
COPPICE_DEVICE void barrier_arrive_expecting(std::uint64_t* barrier, std::uint32_t bytes) {
  COPPICE_HOPPER_ONLY(
      asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
                   : "memory"));
}
COPPICE_DEVICE void barrier_wait(std::uint64_t* barrier, std::uint32_t phase_bit) {
  std::uint32_t is_over = 0;
  while (is_over == 0) {
    COPPICE_HOPPER_ONLY(
        asm volatile("{\n\t.reg .pred over;\n\t"
                     "mbarrier.try_wait.parity.shared::cta.b64 over, [%1], %2;\n\t"
                     "selp.u32 %0, 1, 0, over;\n\t}"
                     : "=r"(is_over)
                     : "r"(shared_address(barrier)), "r"(phase_bit)
                     : "memory"));
  }
}

// --- bulk copies ---

// One thread: `bytes` (a multiple of 16; both sides aligned to 16), arriving at `barrier`, which expects them. Read by
// every thread that has waited for that phase.
template <typename T, typename U>
COPPICE_DEVICE void copy_bulk(T* to, const U* from, std::uint32_t bytes, std::uint64_t* barrier) {
  COPPICE_HOPPER_ONLY(
      asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                       shared_address(to)),
                   "l"(from), "r"(bytes), "r"(shared_address(barrier))
                   : "memory"));
}

COPPICE_DEVICE void fence_async_proxy() {
  COPPICE_HOPPER_ONLY(asm volatile("fence.proxy.async.shared::cta;" ::: "memory"));
}

// --- products of a warpgroup (PTX ISA, wgmma) ---

// How a matrix lies in shared memory, K contiguous: with kNone in blocks of 8 rows x 16 bytes, `leading_bytes` apart
// along K; else in rows of 128, 64 or 32 bytes whose 16-byte pieces are permuted by address bits 7 and up, eight rows a
// pattern (its start aligned to the pattern's size; leading_bytes is not looked at). `stride_bytes`: from eight rows to
// the next eight.
enum class SharedSwizzle : std::uint8_t { kNone = 0, k128 = 1, k64 = 2, k32 = 3 };

// The 64 bits that name a matrix whose element (0, 0) is at `start`. A later column of K within a pattern: start + it.
template <typename T>
COPPICE_DEVICE std::uint64_t matrix_descriptor(const T* start, std::uint32_t leading_bytes, std::uint32_t stride_bytes,
                                               SharedSwizzle swizzle) {
  const auto field = [](std::uint32_t bytes) { return static_cast<std::uint64_t>((bytes & 0x3FFFFU) >> 4); };
  return field(shared_address(start)) | field(leading_bytes) << 16 | field(stride_bytes) << 32 |
         static_cast<std::uint64_t>(swizzle) << 62;
}

// Keeps the compiler from moving uses of the sums across this place.
template <int count>
COPPICE_DEVICE void pin_registers(float (&d)[count]) {
#pragma unroll
  for (int i = 0; i < count; ++i) {
    asm volatile("" : "+f"(d[i])::"memory");
  }
}

// Before the first product after the sums were written or read.
template <int count>
COPPICE_DEVICE void multiply_begin(float (&d)[count]) {
  pin_registers(d);
  COPPICE_HOPPER_ONLY(asm volatile("wgmma.fence.sync.aligned;" ::: "memory"));
}
// Ends a group: the products since the last one.
COPPICE_DEVICE void multiply_commit() {
  COPPICE_HOPPER_ONLY(asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"));
}
// Until at most `groups_left` groups are under way. Sums may be touched, and shared memory written, only behind the
// wait for the last product that uses them; then they are given here.
template <int groups_left, int count>
COPPICE_DEVICE void multiply_wait(float (&d)[count]) {
  COPPICE_HOPPER_ONLY(asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(groups_left) : "memory"));
  pin_registers(d);
}

// The sums as operands 0 to N / 2 - 1, then both matrices, then the predicate that says sums are added to.
// clang-format off
#define COPPICE_WGMMA_N128(TYPES) \
  asm volatile("{\n\t.reg .pred adds;\n\tsetp.ne.b32 adds, %66, 0;\n\t" \
  "wgmma.mma_async.sync.aligned.m64n128k16.f32." TYPES " {" \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63" \
  "}, %64, %65, adds, 1, 1, 0, 0;\n\t}" \
  : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), \
   "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]), \
   "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), \
   "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), \
   "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), \
   "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), \
   "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), \
   "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63]) \
  : "l"(a), "l"(b), "r"(1) : "memory")

#define COPPICE_WGMMA_N256(TYPES) \
  asm volatile("{\n\t.reg .pred adds;\n\tsetp.ne.b32 adds, %130, 0;\n\t" \
  "wgmma.mma_async.sync.aligned.m64n256k16.f32." TYPES " {" \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, " \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
  "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, " \
  "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
  "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127" \
  "}, %128, %129, adds, 1, 1, 0, 0;\n\t}" \
  : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), \
   "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]), \
   "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), \
   "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), \
   "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), \
   "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), \
   "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), \
   "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63]), \
   "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]), "+f"(d[70]), "+f"(d[71]), \
   "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75]), "+f"(d[76]), "+f"(d[77]), "+f"(d[78]), "+f"(d[79]), \
   "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83]), "+f"(d[84]), "+f"(d[85]), "+f"(d[86]), "+f"(d[87]), \
   "+f"(d[88]), "+f"(d[89]), "+f"(d[90]), "+f"(d[91]), "+f"(d[92]), "+f"(d[93]), "+f"(d[94]), "+f"(d[95]), \
   "+f"(d[96]), "+f"(d[97]), "+f"(d[98]), "+f"(d[99]), "+f"(d[100]), "+f"(d[101]), "+f"(d[102]), "+f"(d[103]), \
   "+f"(d[104]), "+f"(d[105]), "+f"(d[106]), "+f"(d[107]), "+f"(d[108]), "+f"(d[109]), "+f"(d[110]), "+f"(d[111]), \
   "+f"(d[112]), "+f"(d[113]), "+f"(d[114]), "+f"(d[115]), "+f"(d[116]), "+f"(d[117]), "+f"(d[118]), "+f"(d[119]), \
   "+f"(d[120]), "+f"(d[121]), "+f"(d[122]), "+f"(d[123]), "+f"(d[124]), "+f"(d[125]), "+f"(d[126]), "+f"(d[127]) \
  : "l"(a), "l"(b), "r"(1) : "memory")
// clang-format on

// d += A B^T, 64 x N products over 16 columns of K, N = 2 count: A has 64 rows, B has N. All 128 threads, the same
// descriptors. Thread t of the warpgroup has in d[i] row 16 (t / 32) + t % 32 / 4 + i / 2 % 2 * 8, column i / 4 * 8 +
// t % 4 * 2 + i % 2 (PTX ISA, "WGMMA.mma_async D fragment layout").
template <typename Element, int count>
COPPICE_DEVICE void multiply_async(float (&d)[count], std::uint64_t a, std::uint64_t b) {
  static_assert(kIsHalf<Element> && (count == 64 || count == 128));
  if constexpr (count == 64 && std::is_same_v<Element, Bf16>) {
    COPPICE_HOPPER_ONLY(COPPICE_WGMMA_N128("bf16.bf16"));
  } else if constexpr (count == 64) {
    COPPICE_HOPPER_ONLY(COPPICE_WGMMA_N128("f16.f16"));
  } else if constexpr (std::is_same_v<Element, Bf16>) {
    COPPICE_HOPPER_ONLY(COPPICE_WGMMA_N256("bf16.bf16"));
  } else {
    COPPICE_HOPPER_ONLY(COPPICE_WGMMA_N256("f16.f16"));
  }
}

}  // namespace coppice::kernels::cuda
