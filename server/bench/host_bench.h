// `coppice bench host`: what the engine's thread does between two steps of a device, measured without one: steps
// compute nothing and draw random tokens, so that all that is left is taking in results, choosing, planning. What of it
// is not done while a step pretends to run leaves a device idle, and its own part (copies, launches) comes on top.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "engine/limits.h"
#include "models/model_config.h"

namespace coppice::server {

struct HostBenchOptions {
  std::int32_t requests = 256;
  std::int32_t shared_prefix = 1024;
  std::int32_t unique_prefix = 16;
  std::int32_t output = 256;
  std::int32_t workers = 264;  // what attention is cut for: two blocks on each of an H200's multiprocessors
  double step_us = 0;          // how long a step pretends to take; the engine works beside it
  // More than 1: `turns` times `requests` in all. An output ends at a random token, after a quarter of `output` on
  // average; another request follows it.
  std::int32_t turns = 1;
  std::int32_t period = 0;  // tokens after which an output repeats itself, so that drafts are accepted; 0: never
};

// Over the steps that only decode, or with turns over all steps while no place is empty, microseconds.
struct HostBenchResult {
  std::int64_t steps = 0;
  double idle_p50 = 0;  // of the device: from the end of one step to the next one's start
  double idle_p99 = 0;
  double idle_mean = 0;
  double planned_ahead = 0;        // share of the steps that were planned while the one before ran
  double attention_plan_mean = 0;  // the plan of attention, where it was not made ahead
  double speculation_mean = 0;     // of all steps: learning and proposing, before and beside them
  double draft_tokens_mean = 0;    // of all steps: that one carried
};

// ERRORS: InvalidArgument when the requests do not fit the engine's limits.
absl::StatusOr<HostBenchResult> run_host_bench(const HostBenchOptions& options, const models::ModelConfig& config,
                                               engine::EngineOptions engine);

}  // namespace coppice::server
