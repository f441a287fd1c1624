// Limits: every bound of the engine, derived once from flags, model and device, printed at start, never changed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/kept_prefixes.h"
#include "engine/speculation/suffix_speculator.h"
#include "kernels/formats.h"
#include "models/model_config.h"

namespace coppice::engine {

class CacheChangeQueue;  // cache_changes.h

// What a user may set; 0 = choose.
struct EngineOptions {
  std::int32_t model_tokens_max = 0;  // --max-model-len: prompt + output of one sequence
  std::int32_t step_tokens_max = 0;   // --max-batch-tokens: rows of one step
  std::int32_t running_max = 0;       // --max-running: sequences in a step
  std::int32_t queued_max = 0;        // --max-queued: requests of an account waiting; beyond: refused (429)
  std::size_t kv_bytes = 0;           // --kv-memory
  std::int32_t page_size = 16;
  bool prefix_cache = true;
  bool sharing = true;
  bool speculation = true;
  SuffixSpeculatorOptions suffix;  // when speculation is on
  std::uint64_t seed = 0;          // base of seeds for unseeded requests
  bool seed_given = false;
  std::int32_t chunk_tokens_max = 0;     // most prompt rows one sequence gets in a step; 0 = the step's budget
  bool priority_across_tenants = false;  // --priority-across-tenants: else a priority orders its tenant's requests only
  // --keep-share: of the KV pages, what one account's kept prefixes may have. A quarter: two tenants have room for all
  // that they may keep, and half of the pages is always left to prefixes that nothing protects.
  double keep_share = 0.25;
  std::shared_ptr<CacheChangeQueue> cache_changes;  // where the prefix cache's changes go; null: nowhere
};

struct Limits {
  std::int32_t model_tokens_max = 0;
  std::int32_t step_tokens_max = 0;
  std::int32_t step_logits_max = 0;
  std::int32_t running_max = 0;
  std::int32_t queued_max = 0;
  std::int32_t page_size = 0;
  std::int32_t pages = 0;
  std::int32_t chunk_tokens_max = 0;
  bool priority_across_tenants = false;
  KeepLimits kept;  // pages of kept prefixes
  // Bounds of one request, so that it cannot take all of the engine's memory or time.
  std::int32_t choices_max = 128;      // n, as in OpenAI's API
  std::int32_t branches_max = 2048;    // of a reading request: OpenAI's number of inputs of one embeddings request
  std::int32_t labels_max = 256;       // of a branch: OpenAI's API allows 255 choices
  std::int32_t top_logprobs_max = 20;  // as in OpenAI's API
  std::int32_t logit_bias_max = 1024;
  std::int32_t stop_tokens_max = 64;
  std::int32_t keeps_max = 4;  // kept prefixes of one request, as in OpenAI's and Anthropic's APIs

  std::string to_string() const;  // one line a field, for the log
};

// memory_bytes: what is left on the device beside the weights; without kv_bytes, half of it becomes KV pages.
// ERRORS: InvalidArgument naming the flag whose value cannot work, with the value that would; ResourceExhausted when
// not even one sequence of one page fits `memory_bytes`.
absl::StatusOr<Limits> derive_limits(const EngineOptions& options, const models::ModelConfig& model,
                                     kernels::KvFormat kv, std::size_t memory_bytes);

}  // namespace coppice::engine
