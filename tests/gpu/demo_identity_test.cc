// Same request, same answer, to the bit: the demo model on a real GPU. (On the emulator it would take hours;
// identity_test.cc is what both run.)
#include <array>
#include <catch2/catch.hpp>
#include <cstdlib>

#include "tests/gpu/device.h"
#include "tests/support/identity.h"

namespace coppice::tests {
namespace {

// COPPICE_DEMO: where scripts/gpu-check unpacked the model.
testing::HarnessModel demo_model() {
  const char* folder = std::getenv("COPPICE_DEMO");
  INFO("COPPICE_DEMO names the demo model's folder");
  REQUIRE(folder != nullptr);
  return testing::folder_model(folder, kernels::ComputeType::kBF16, open_device());
}

TEST_CASE("answers of the demo model are the same to the bit", "[identity]") {
  testing::HarnessModel model = demo_model();
  const std::vector<engine::Request> requests = testing::mixed_requests(model.transformer->config().vocab, 32);
  const testing::HarnessRun quiet = testing::run_requests(model, requests, testing::alone());
  testing::check_batches(model, requests, quiet, std::array{2, 7, 32});
  testing::check_chunks(model, requests, quiet, std::array{1, 16, 37, 512});
  testing::check_tiny_pool(model, requests, quiet, 25);
  testing::check_drafts(model, requests, quiet, 100);
}

TEST_CASE("200 random requests to the demo model say the same with suffix drafts on and off", "[identity]") {
  testing::HarnessModel model = demo_model();
  testing::check_suffix_drafts(model, testing::random_requests(model.transformer->config().vocab, 200), 500);
}

}  // namespace
}  // namespace coppice::tests
