// Runner: the executor that runs a step on a model: the transformer for the forward pass, a backend for sampling and
// page copies, the attention planner in between. It owns the KV memory, and has the backend take memory for the largest
// step at start.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "engine/limits.h"
#include "engine/step_plan.h"
#include "kernels/attention_plan.h"
#include "kernels/backend.h"
#include "models/transformer.h"

namespace coppice::engine {

// Owner: the engine. Thread: the engine's. `model`, `backend` and `clock` outlive it. REQUIRES: the model was loaded
// for at least limits.step_tokens_max rows and limits.step_logits_max logits. ERRORS: ResourceExhausted when the KV
// memory or the step's arrays cannot be had.
absl::StatusOr<std::unique_ptr<StepExecutor>> make_runner(models::Transformer& model, kernels::Backend& backend,
                                                          const Limits& limits, const EngineOptions& options,
                                                          const base::Clock& clock = base::real_clock());

}  // namespace coppice::engine
