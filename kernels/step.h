// What changes from one step to the next, as plain data: arrays with one entry per row, the attention plan, and their
// largest sizes. Everything else about a step (weights, shapes, addresses of activations) stays the same, so a device
// may record a step once and replay it over new data.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/types.h"
#include "kernels/attention_plan.h"
#include "kernels/sampling.h"

namespace coppice::kernels {

// Attention's shape, the same in all layers of a model.
struct AttentionParameters {
  std::int32_t query_heads = 0;
  std::int32_t key_heads = 0;
  std::int32_t head_dim = 0;
  float scale = 1.0F;  // usually 1 / sqrt(head_dim)
};

// A step's arrays in host memory. Tokens are missing, since they may become known later; positions are in the attention
// plan.
struct StepArrays {
  std::span<const KvSlot> slots;              // where each token row's K and V go
  std::span<const std::int32_t> logits_rows;  // rows whose logits are computed, ascending
  std::span<const std::int32_t> hidden_rows;  // rows whose final hidden states are brought back, ascending
};

// A step's arrays where operations can read them. One entry per token row except in output_rows. They may be longer
// than the caller's: padded rows follow the real ones, with token 0, position 0 and kNoSlot; padded hidden and logits
// rows name row 0.
struct StepInputs {
  std::span<const TokenId> tokens;
  std::span<const std::int32_t> positions;  // rotary position of each row; the same array that attention reads
  std::span<const KvSlot> slots;
  std::span<const std::int32_t> output_rows;  // the caller's hidden_rows, then its logits_rows
  std::int32_t hidden_count = 0;              // of output_rows

  std::int64_t logits_count() const { return static_cast<std::int64_t>(output_rows.size()) - hidden_count; }
};

// An attention plan where operations can read it. Made by a StepRunner.
struct LoadedAttention {
  const AttentionPlan* plan = nullptr;  // in host memory
  AttentionParameters parameters;
  const void* packed = nullptr;  // the device's copy; null where operations read the plan itself
};

// A step that is on the device: what a forward pass reads.
struct LoadedStep {
  StepInputs inputs;
  LoadedAttention attention;
};

// The largest step that a caller will run. Memory for it is allocated at once.
struct StepLimits {
  std::int32_t tokens = 0;           // token rows of a step
  std::int32_t logits = 0;           // logits and hidden rows of a step, together
  std::int32_t sequences = 0;        // of a step
  std::int32_t sequence_tokens = 0;  // positions of one sequence
  std::int32_t page_size = 16;
  std::int32_t query_heads = 1;
  std::int32_t key_heads = 1;
  std::int32_t head_dim = 1;
  std::int64_t vocab = 0;
  int workers = 1;  // KvCache::workers() of the steps' cache
};

// Names a caller of StepRunner: a recording for one is never played for another. kNone: nothing was reserved, so steps
// are neither padded nor recorded.
enum class StepProgram : std::uint32_t { kNone = 0 };

// The results of a step. `draws` is valid until the next finish().
struct StepResults {
  std::span<const SamplingResult> draws;  // one a row given to sample()
  // Nanoseconds from the arrival of the step's inputs on the device to the end of its last operation; 0 where the
  // caller's thread does the work.
  std::uint64_t device_ns = 0;
};

// Counts of steps since the start: for tests, benchmarks and the log.
struct StepCounts {
  std::uint64_t direct = 0;    // operations enqueued one by one
  std::uint64_t recorded = 0;  // recordings made
  std::uint64_t played = 0;    // steps that were one launch of a recording
  std::uint64_t dropped = 0;   // recordings dropped: for newer ones, or because memory moved
  std::uint64_t grown = 0;     // times that a step exceeded the reserved limits and took memory
  std::string trouble;         // why recording ended for good; empty: it did not
};

}  // namespace coppice::kernels
