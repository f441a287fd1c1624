// Constrained answers are the same to the bit, however they come: alone, in batches, in chunks, preempted, from the
// cache, with drafts and forced tokens, mixed with every sampling feature. And they are what the constraint allows.
#include <catch2/catch.hpp>

#include "tests/support/identity.h"
#include "tests/support/source_folder.h"

namespace coppice::testing {
namespace {

models::ModelConfig tiny_config() {
  models::ModelConfig config;
  config.vocab = 310;  // no whole number of mask words
  config.hidden = 64;
  config.intermediate = 160;
  config.layers = 2;
  config.query_heads = 4;
  config.key_heads = 2;
  config.head_dim = 16;
  config.max_positions = 2048;
  config.rope.rotary_dim = 16;
  config.rope.attention_factor = 1.0;
  config.eos = {7};
  return config;
}

void check_constrained(HarnessModel& model) {
  const models::ModelConfig& config = model.transformer->config();
  const std::vector<engine::Request> requests = constrained_requests(config.vocab, config.eos, 32);
  const HarnessRun quiet = check_everything(model, requests, 100);
  CHECK(quiet.stats.constraints.masks > 300);
  require_allowed(quiet, requests);
  check_suffix_drafts(model, requests, 100);
}

}  // namespace

TEST_CASE("constrained answers of random models are the same to the bit", "[identity][constraint]") {
  for (const kernels::ComputeType dtype : {kernels::ComputeType::kF32, kernels::ComputeType::kBF16}) {
    HarnessModel model = random_model(tiny_config(), dtype, 8);
    check_constrained(model);
  }
}

TEST_CASE("constrained answers of the demo model are the same to the bit", "[identity][constraint]") {
  HarnessModel model = folder_model(coppice::test::source_path("models/demo"), kernels::ComputeType::kBF16);
  check_constrained(model);
}

TEST_CASE("steps with masks run again on another runner, when their engine is gone", "[identity][constraint]") {
  HarnessModel model = random_model(tiny_config(), kernels::ComputeType::kF32, 5);
  std::vector<RecordedStep> steps;
  HarnessOptions options;
  options.drafts = true;
  options.step_logits_max = 128;
  options.recording = &steps;
  const HarnessRun run = run_requests(model, constrained_requests(310, {7}, 32), options);
  CHECK(run.stats.constraints.forced_accepted > 100);
  REQUIRE(steps.size() == run.stats.steps);
  CHECK(run_recorded(model, options, steps) == steps.size());
}

}  // namespace coppice::testing
