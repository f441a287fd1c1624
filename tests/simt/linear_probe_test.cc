// The question whether wgmma sums as mma does: answered yes by an emulator whose two sum alike, no by one whose wgmma
// adds its sixteen products up before they join the sum.
#include <catch2/catch.hpp>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/linear/probe.h"
#include "tests/simt/device_limits.h"
#include "tests/simt/session.h"

namespace coppice::kernels::cuda {
namespace {

HopperVerdict ask(bool adds_products_first) {
  simt::Session session({.seed = 4, .adds_products_first = adds_products_first});
  const CudaStream stream = CudaStream::create().value();
  LoadedKernels loaded;
  prepare_linear(loaded);
  Staging staging = Staging::create(stream.get(), 1).value();
  HopperVerdict verdict = probe_hopper_products(staging, stream.get()).value();
  CHECK(session.report() == "");
  return verdict;
}

TEST_CASE("products by wgmma are used where they change no bit, and nowhere else") {
  const HopperVerdict same = ask(false);
  CHECK(same.agrees());
  CHECK(same.products == 20);
  CHECK(same.words() == "wgmma gives the bits of mma in 20 of 20 products: used");
  const HopperVerdict other = ask(true);
  CHECK_FALSE(other.agrees());
  CHECK(other.products == 20);
  CHECK(other.different > 5);
  CHECK(other.difference > 0.0);
  CHECK(other.difference < 1e-3);
  CHECK(other.words().find(": not used") != std::string::npos);
  CHECK_FALSE(HopperVerdict().agrees());
  CHECK(HopperVerdict().words().empty());
}

TEST_CASE("wgmma is refused where the loaded code was translated from older PTX") {
  simt::device_limits() = {.capability = 90, .code_version = 80};
  simt::Session session({.seed = 4});
  const CudaStream stream = CudaStream::create().value();
  LoadedKernels loaded;
  prepare_linear(loaded);
  Staging staging = Staging::create(stream.get(), 1).value();
  const absl::Status refused = probe_hopper_products(staging, stream.get()).status();
  simt::device_limits() = {};
  CHECK(refused.code() == absl::StatusCode::kFailedPrecondition);
  CHECK(refused.message().find("9.0a") != std::string::npos);
}

}  // namespace
}  // namespace coppice::kernels::cuda
