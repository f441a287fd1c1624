// The tests of tests/gpu on the machine's GPU, through the shared object beside the test program.
#include <catch2/catch.hpp>

#include "kernels/cuda/load.h"
#include "server/app/device_options.h"
#include "tests/gpu/device.h"

namespace coppice::tests {

std::unique_ptr<kernels::Backend> open_device() {
  return open_device_with(server::cuda_options_from_environment());
}

std::unique_ptr<kernels::Backend> open_device_with(const kernels::cuda::CudaOptions& options) {
  auto backend = kernels::cuda::load_cuda_backend(options);
  INFO(backend.status().ToString());
  REQUIRE(backend.ok());
  return *std::move(backend);
}

bool device_is_emulated() {
  return false;
}

std::string device_report() {
  return "";
}

std::int64_t device_allocations() {
  return 0;
}

bool refuse_recordings(bool) {
  return false;
}

}  // namespace coppice::tests
