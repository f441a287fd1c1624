// Speculation changes nothing but speed: 200 random requests with every sampling feature, alone and mixed, give the
// same tokens and logprobs, to the bit, with suffix drafts on and off.
#include <catch2/catch.hpp>

#include "tests/support/identity.h"
#include "tests/support/source_folder.h"

namespace coppice::testing {
namespace {

TEST_CASE("200 random requests say the same with suffix drafts on and off", "[identity][speculation]") {
  HarnessModel model = folder_model(coppice::test::source_path("models/demo"), kernels::ComputeType::kBF16);
  check_suffix_drafts(model, random_requests(model.transformer->config().vocab, 200), 500);
}

}  // namespace
}  // namespace coppice::testing
