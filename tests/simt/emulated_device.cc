// The tests of tests/gpu on the emulator: the CUDA backend's own host code over a runtime of its own
// (fake_runtime.cc) and kernels run by tests/simt.
#include <catch2/catch.hpp>

#include "kernels/cuda/cuda_backend.h"
#include "tests/gpu/device.h"
#include "tests/simt/device_limits.h"
#include "tests/simt/fake_runtime.h"
#include "tests/simt/session.h"

namespace coppice::tests {

namespace {

// One for the whole program: device memory outlives every test in it.
simt::Session& session() {
  static simt::Session the_session({.seed = 77, .resident_blocks = 8});
  return the_session;
}
std::size_t reported = 0;

}  // namespace

std::unique_ptr<kernels::Backend> open_device() {
  return open_device_with({});
}

std::unique_ptr<kernels::Backend> open_device_with(const kernels::cuda::CudaOptions& options) {
  session();
  auto backend = kernels::cuda::make_cuda_backend(options);
  INFO(backend.status().ToString());
  REQUIRE(backend.ok());
  return *std::move(backend);
}

bool device_is_emulated() {
  return true;
}

std::string device_report() {
  std::string report;
  for (; reported < session().violations().size(); ++reported) {
    report += session().violations()[reported] + "\n";
  }
  for (const std::string& name : simt::unprepared_launches()) {
    report += "never prepared: " + name + "\n";
  }
  return report;
}

std::int64_t device_allocations() {
  return simt::allocations_made();
}

bool refuse_recordings(bool refuse) {
  simt::refuse_captures(refuse);
  return true;
}

}  // namespace coppice::tests
