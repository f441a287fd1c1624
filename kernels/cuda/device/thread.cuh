// Thread indices, barriers and shuffles. Blocks have one dimension and a multiple of 32 threads; grids have two. Every
// primitive of a warp is for all 32 lanes: no lane may be missing. Every thread of a block meets at each sync_block(),
// in the same place of the source.
#pragma once

#include <cstdint>

#define COPPICE_DEVICE __device__ __forceinline__

namespace coppice::kernels::cuda {

inline constexpr std::int32_t kWarpLanes = 32;           // threads of a warp
inline constexpr std::uint32_t kAllLanes = 0xFFFFFFFFU;  // mask of a warp's 32 lanes

COPPICE_DEVICE std::int32_t thread_index() {
  return static_cast<std::int32_t>(threadIdx.x);
}
COPPICE_DEVICE std::int32_t thread_count() {
  return static_cast<std::int32_t>(blockDim.x);
}
COPPICE_DEVICE std::int32_t lane_index() {
  return static_cast<std::int32_t>(threadIdx.x % 32U);
}
COPPICE_DEVICE std::int32_t warp_index() {
  return static_cast<std::int32_t>(threadIdx.x / 32U);
}
COPPICE_DEVICE std::int32_t block_index() {
  return static_cast<std::int32_t>(blockIdx.x);
}
COPPICE_DEVICE std::int32_t block_index_y() {
  return static_cast<std::int32_t>(blockIdx.y);
}
COPPICE_DEVICE std::int32_t block_count() {
  return static_cast<std::int32_t>(gridDim.x);
}

// Waits for all threads of the block; orders their accesses to memory.
COPPICE_DEVICE void sync_block() {
  __syncthreads();
}
// Waits for all lanes of the warp; orders their accesses to memory. (Shuffles and matrix primitives do not.)
COPPICE_DEVICE void sync_warp() {
  __syncwarp();
}

// T: 32-bit or 64-bit numbers.
template <typename T>
COPPICE_DEVICE T shuffle(T value, std::int32_t source_lane) {
  return __shfl_sync(kAllLanes, value, source_lane);
}
template <typename T>
COPPICE_DEVICE T shuffle_xor(T value, std::int32_t mask) {
  return __shfl_xor_sync(kAllLanes, value, mask);
}
// From lane - distance; lanes below `distance` keep their own.
template <typename T>
COPPICE_DEVICE T shuffle_up(T value, std::int32_t distance) {
  return __shfl_up_sync(kAllLanes, value, static_cast<unsigned>(distance));
}
// From lane + distance; the last `distance` lanes keep their own.
template <typename T>
COPPICE_DEVICE T shuffle_down(T value, std::int32_t distance) {
  return __shfl_down_sync(kAllLanes, value, static_cast<unsigned>(distance));
}
// Bit i: lane i's predicate.
COPPICE_DEVICE std::uint32_t ballot(bool predicate) {
  return __ballot_sync(kAllLanes, predicate);
}
COPPICE_DEVICE bool warp_any(bool predicate) {
  return __any_sync(kAllLanes, predicate) != 0;
}
COPPICE_DEVICE bool warp_all(bool predicate) {
  return __all_sync(kAllLanes, predicate) != 0;
}

}  // namespace coppice::kernels::cuda
