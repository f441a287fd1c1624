// EngineHarness: runs a list of requests through an engine on a real model and returns every choice's tokens and
// logprobs, so that two ways of running them can be compared bit by bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine_core.h"
#include "kernels/backend.h"
#include "models/transformer.h"
#include "tests/support/recording_executor.h"

namespace coppice::testing {

struct HarnessOptions {
  std::int32_t running_max = 8;
  std::int32_t step_tokens_max = 512;
  std::int32_t step_logits_max = 64;
  std::int32_t chunk_tokens_max = 512;
  std::int32_t page_size = 16;
  std::int32_t pages = 256;
  bool prefix_cache = false;
  bool sharing = false;
  bool drafts = false;         // along each request's prediction (scripted_speculator.h)
  bool suffix = false;         // from suffix trees, as the server does
  std::int32_t together = 64;  // requests submitted at once; the next when all of these are done
  std::function<void()> after_step = {};
  std::vector<RecordedStep>* recording = nullptr;  // of all steps; null: none is kept
};

struct ChoiceText {
  std::vector<engine::TokenInfo> tokens;
  std::vector<engine::TokenInfo> prompt;
  std::vector<float> reading;
  engine::FinishReason finish = engine::FinishReason::kNone;
  std::string error;
  engine::Usage usage;
};

// A model with random weights or those of a folder, on `backend` (null: the CPU).
struct HarnessModel {
  std::unique_ptr<kernels::Backend> backend;
  std::unique_ptr<models::Transformer> transformer;
  bool steps_ahead = false;  // the engine is told that submit() only starts a step, so it plans the next one meanwhile
};
// kv: of the KV cache; none: as dtype.
HarnessModel random_model(const models::ModelConfig& config, kernels::ComputeType dtype, std::uint64_t seed,
                          std::unique_ptr<kernels::Backend> backend = nullptr,
                          std::optional<kernels::KvFormat> kv = {});
HarnessModel folder_model(const std::string& folder, kernels::ComputeType dtype,
                          std::unique_ptr<kernels::Backend> backend = nullptr,
                          std::optional<kernels::KvFormat> kv = {});

struct HarnessRun {
  std::vector<std::vector<ChoiceText>> texts;  // by request, by choice
  engine::EngineStats stats;
};
HarnessRun run_requests(HarnessModel& model, const std::vector<engine::Request>& requests,
                        const HarnessOptions& options);

// Runs recorded steps on a new runner, whose KV memory is empty. Returns how many bring the same results.
std::size_t run_recorded(HarnessModel& model, const HarnessOptions& options, const std::vector<RecordedStep>& steps);

// Bitwise: tokens, logprobs, top lists, prompt logprobs, readings, finish reasons.
bool same_bits(const ChoiceText& a, const ChoiceText& b);

}  // namespace coppice::testing
