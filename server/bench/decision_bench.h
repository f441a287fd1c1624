// `coppice bench decisions`: many questions about one state as one request, against as many requests of one question
// each, in-process. The readings of all ways are compared to the bit.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "server/model/model_loader.h"

namespace coppice::server {

struct DecisionBenchOptions {
  std::int32_t questions = 64;
  std::int32_t state_tokens = 2000;
  std::int32_t question_tokens = 40;
  std::int32_t labels = 4;  // of a question
  std::uint64_t seed = 1;
};

// What one way of asking took, on an engine that had seen nothing.
struct DecisionBenchWay {
  double wall_s = 0;
  std::uint64_t prompt_tokens_computed = 0;
  std::uint64_t kv_tokens_read = 0;
};

struct DecisionBenchResult {
  DecisionBenchWay together;  // one request with all questions
  DecisionBenchWay separate;  // requests of one question, all at once; the engine shares what they have in common
  DecisionBenchWay unshared;  // the same without prefix cache and shared attention: each computes the state itself
  bool has_same_bits = false;
};

// Leaves the model with an engine that shares. ERRORS: InvalidArgument when a question does not fit the context;
// Internal when a request fails.
absl::StatusOr<DecisionBenchResult> run_decision_bench(const DecisionBenchOptions& options,
                                                       engine::EngineOptions engine, LoadedModel& model);

}  // namespace coppice::server
