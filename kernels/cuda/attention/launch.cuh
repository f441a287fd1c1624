// Launches of all attention kernels. A source that includes this defines AttentionKernels<Element> and instantiates
// AttentionLaunch<Element>.
#pragma once

#include <bit>

#include <device/launch.cuh>

#include "kernels/cuda/attention/launch.h"
#include "kernels/cuda/attention/params.cuh"

namespace coppice::kernels::cuda {

// choose(head_dim, visit) calls visit.operator()<Kernel>() with the kernel that serves a head dimension.
template <typename Element>
struct AttentionKernels;

template <typename Kernel>
RingFit prepare_ring(LoadedKernels& loaded) {
  const RingFit fit =
      fit_ring(Kernel::kStagesMin, Kernel::kStagesMax, Kernel::kBlocksPerMultiprocessor, [](std::int32_t stages) {
        LoadedKernels trial;
        prepare_kernel<Kernel>(trial, Kernel::shared_bytes(stages));
        return trial.error() == 0 ? resident_blocks<Kernel>(Kernel::kThreadsMax, Kernel::shared_bytes(stages)) : 0;
      });
  // If not even the smallest ring fits, `loaded` gets the error.
  prepare_kernel<Kernel>(loaded, Kernel::shared_bytes(fit.fits() ? fit.stages : Kernel::kStagesMin));
  return fit;
}

template <typename Element>
RingFit AttentionLaunch<Element>::prepare(std::int32_t head_dim, LoadedKernels& loaded) {
  return AttentionKernels<Element>::choose(head_dim, [&]<typename Kernel>() { return prepare_ring<Kernel>(loaded); });
}

template <typename Element>
int AttentionLaunch<Element>::launch(const AttentionCall& call, std::int32_t blocks, LaunchStream stream) {
  constexpr float kLog2E = 1.44269504088896340736F;  // log2(e): scores are kept for exponentials of base 2
  return AttentionKernels<Element>::choose(call.layout.head_dim, [&]<typename Kernel>() {
    if (call.stages < Kernel::kStagesMin || call.stages > Kernel::kStagesMax) {
      return 1;  // cudaErrorInvalidValue. With fewer stages it would read a stage that is being refilled
    }
    typename Kernel::Params params;
    params.plan = static_cast<const std::int32_t*>(call.plan);
    params.partial_o = call.partials;
    params.partial_sums = call.partials + std::int64_t{call.partial_capacity} * call.query_heads * call.layout.head_dim;
    params.progress = call.progress;
    params.query = static_cast<const Element*>(call.query);
    params.out = call.out_is_f32 ? nullptr : static_cast<Element*>(call.out);
    params.out_f32 = call.out_is_f32 ? static_cast<float*>(call.out) : nullptr;
    params.cache = static_cast<const Element*>(call.cache) + call.layer * call.layout.layer_elements();
    params.page_elements = call.layout.page_elements();
    params.head_elements = call.layout.head_elements();
    params.page_shift = std::countr_zero(static_cast<std::uint32_t>(call.layout.page_size));
    params.query_stride = call.query_stride;
    params.out_stride = call.out_stride;
    params.layout = call.layout;
    params.query_heads = call.query_heads;
    params.group = call.query_heads / call.layout.key_heads;
    params.stages = call.stages;
    params.scale = call.scale * kLog2E;
    return cuda::launch<Kernel>(
        {.blocks = blocks, .threads = Kernel::kThreadsMax, .shared_bytes = Kernel::shared_bytes(call.stages)}, params,
        stream);
  });
}

}  // namespace coppice::kernels::cuda
