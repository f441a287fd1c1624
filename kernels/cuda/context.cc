// Opening a GPU.
#include "kernels/cuda/context.h"

#include <algorithm>

#include "base/cpu_info.h"
#include "base/status_macros.h"
#include "kernels/cuda/launch.h"

namespace coppice::kernels::cuda {

namespace {

constexpr int kReadersMax = 16;        // threads that read weights for the GPU; chosen, not measured
constexpr int kHopperCapability = 90;  // wgmma is in no other

}  // namespace

absl::StatusOr<std::unique_ptr<CudaContext>> CudaContext::open(const CudaOptions& options) {
  auto context = std::make_unique<CudaContext>();
  COPPICE_ASSIGN_OR_RETURN(context->gpu, open_gpu(options.device));
  context->overlap = options.overlap;
  context->threads = std::min(kReadersMax, base::available_cores());
  COPPICE_ASSIGN_OR_RETURN(context->stream, CudaStream::create());
  COPPICE_ASSIGN_OR_RETURN(context->staging, Staging::create(context->on(), context->threads));
  prepare_elementwise(context->kernels);
  prepare_cache(context->kernels);
  prepare_sample(context->kernels);
  context->rings = prepare_linear(context->kernels);
  COPPICE_RETURN_IF_ERROR(prepared_status(context->kernels, "kernels", context->gpu));
  if (options.wgmma && context->gpu.capability == kHopperCapability) {
    COPPICE_ASSIGN_OR_RETURN(context->hopper, probe_hopper_products(context->staging, context->on()));
  }
  return context;
}

}  // namespace coppice::kernels::cuda
