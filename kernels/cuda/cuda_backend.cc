// The three interfaces of a GPU side by side.
#include "kernels/cuda/cuda_backend.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"
#include "kernels/cuda/attention/step.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/cuda_operations.h"
#include "kernels/cuda/step/step_runner.h"

namespace coppice::kernels::cuda {

namespace {

class CudaBackend final : public Backend {
 public:
  static absl::StatusOr<std::unique_ptr<Backend>> create(const CudaOptions& options);

  Device& device() override { return *device_; }
  StepRunner& steps() override { return *steps_; }
  Operations& operations() override { return *operations_; }

 private:
  std::unique_ptr<CudaContext> context_;
  AttentionStep attention_;  // prepared by steps_, read by operations_
  std::unique_ptr<CudaDevice> device_;
  std::unique_ptr<CudaStepRunner> steps_;
  std::unique_ptr<CudaOperations> operations_;
};

absl::StatusOr<std::unique_ptr<Backend>> CudaBackend::create(const CudaOptions& options) {
  auto backend = std::make_unique<CudaBackend>();
  COPPICE_ASSIGN_OR_RETURN(backend->context_, CudaContext::open(options));
  CudaContext& context = *backend->context_;
  const auto recordings = static_cast<std::size_t>(std::max(0, options.graphs));
  COPPICE_ASSIGN_OR_RETURN(backend->device_, CudaDevice::create(context));
  COPPICE_ASSIGN_OR_RETURN(backend->steps_, CudaStepRunner::create(context, backend->attention_, recordings));
  COPPICE_ASSIGN_OR_RETURN(backend->operations_, CudaOperations::create(context, backend->attention_));
  return backend;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> make_cuda_backend(const CudaOptions& options) {
  return CudaBackend::create(options);
}

}  // namespace coppice::kernels::cuda
