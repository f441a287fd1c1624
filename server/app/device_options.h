// What the environment says about devices: switches that scripts/gpu-check and docs/gpu.md use to try what is off until
// a GPU has proven it. The only place that reads them; below, options arrive by argument.
#pragma once

#include <cstdlib>
#include <string_view>

#include "kernels/cuda/options.h"

namespace coppice::server {

// COPPICE_CUDA_WGMMA=1, COPPICE_CUDA_OVERLAP=1.
inline kernels::cuda::CudaOptions cuda_options_from_environment() {
  const auto is_on = [](const char* variable) {
    const char* text = std::getenv(variable);
    return text != nullptr && std::string_view(text) == "1";
  };
  kernels::cuda::CudaOptions options;
  options.wgmma = is_on("COPPICE_CUDA_WGMMA");
  options.overlap = is_on("COPPICE_CUDA_OVERLAP");
  return options;
}

}  // namespace coppice::server
