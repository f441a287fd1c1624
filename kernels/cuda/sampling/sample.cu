// Launch of the sampling kernel.
#include "kernels/cuda/sampling/sample.cuh"

#include <device/launch.cuh>

#include "kernels/cuda/launch.h"

namespace coppice::kernels::cuda {

void prepare_sample(LoadedKernels& loaded) {
  prepare_kernel<SampleKernel>(loaded);
}

int launch_sample(const SampleCall& call, LaunchStream stream) {
  const SampleKernel::Params params{.logits = static_cast<float*>(call.logits.data),
                                    .stride = call.logits.stride,
                                    .vocab = static_cast<std::int32_t>(call.logits.columns),
                                    .rows = call.rows,
                                    .edits = call.edits,
                                    .saved = call.saved,
                                    .allowed = call.allowed,
                                    .answers = call.answers,
                                    .tops = call.tops,
                                    .top_capacity = call.top_capacity,
                                    .labels = call.labels,
                                    .label_logits = call.label_logits};
  const LaunchShape shape{.blocks = static_cast<std::int32_t>(call.logits.rows),
                          .threads = SampleKernel::kThreadsMax,
                          .shared_bytes = SampleKernel::kSharedBytesMax,
                          .blocks_y = 1};
  return launch<SampleKernel>(shape, params, stream);
}

}  // namespace coppice::kernels::cuda
