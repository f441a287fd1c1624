// Sums and maxima over warps and blocks, built from primitives. The order of a sum depends on the number of threads
// alone, and every thread gets the same bits.
#pragma once

#include <device/primitives.cuh>

namespace coppice::kernels::cuda {

COPPICE_DEVICE float warp_sum(float value) {
  for (std::int32_t mask = kWarpLanes / 2; mask > 0; mask /= 2) {
    value += shuffle_xor(value, mask);
  }
  return value;
}

COPPICE_DEVICE float warp_max(float value) {
  for (std::int32_t mask = kWarpLanes / 2; mask > 0; mask /= 2) {
    value = fmaxf(value, shuffle_xor(value, mask));
  }
  return value;
}

// `scratch`: a float a warp of the block, shared memory that nothing else uses until the next barrier behind this call.
// At most 1,024 threads.
COPPICE_DEVICE float block_sum(float value, Shared<float> scratch) {
  value = warp_sum(value);
  if (lane_index() == 0) {
    scratch[warp_index()] = value;
  }
  sync_block();
  const float part = lane_index() < thread_count() / kWarpLanes ? static_cast<float>(scratch[lane_index()]) : 0.0F;
  return warp_sum(part);
}

COPPICE_DEVICE float block_max(float value, Shared<float> scratch) {
  value = warp_max(value);
  if (lane_index() == 0) {
    scratch[warp_index()] = value;
  }
  sync_block();
  const float part = lane_index() < thread_count() / kWarpLanes ? static_cast<float>(scratch[lane_index()]) : value;
  return warp_max(part);
}

}  // namespace coppice::kernels::cuda
