// `coppice bench host`: what the engine's thread does between two steps of a device, measured without one: steps
// compute nothing and draw random tokens, so that all that is left is taking in results, choosing, planning. A device
// stands idle that long, unless its own part of the work (copies, launches) makes it longer.
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
};

// Over the steps that only decode, microseconds.
struct HostBenchResult {
  std::int64_t steps = 0;
  double between_p50 = 0;  // from the results of one step to the next one's start
  double between_p99 = 0;
  double between_mean = 0;
  double attention_plan_mean = 0;  // of that: the plan of attention
  double speculation_mean = 0;     // learning and proposing, before and beside steps
  double draft_tokens_mean = 0;    // that a step carried
};

// ERRORS: InvalidArgument when the requests do not fit the engine's limits.
absl::StatusOr<HostBenchResult> run_host_bench(const HostBenchOptions& options, const models::ModelConfig& config,
                                               engine::EngineOptions engine);

}  // namespace coppice::server
