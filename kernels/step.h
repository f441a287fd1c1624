// What changes from one step to the next, as a backend takes it: arrays of one entry a row, and how large they may get.
// Everything else about a step (weights, shapes, addresses of activations) is the same every time, so that a device may
// record a step once and play it again over new data.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/types.h"
#include "kernels/attention_plan.h"

namespace coppice::kernels {

// A step's inputs: in host memory as the caller of Backend::load_step gives them, in device memory as it returns them.
// One entry per token row except logits_rows. The returned arrays may be longer than the given ones: padded rows have
// token 0, position 0, kNoSlot and stand behind the real ones; padded logits rows name row 0.
struct StepInputs {
  std::span<const TokenId> tokens;
  std::span<const std::int32_t> positions;    // rotary position of each row
  std::span<const KvSlot> slots;              // where each row's K and V go
  std::span<const std::int32_t> logits_rows;  // rows whose logits are wanted, ascending
};

// The largest steps that a caller will run: memory for them is taken at once.
struct StepLimits {
  std::int32_t tokens = 0;           // rows of a step
  std::int32_t logits = 0;           // rows whose logits are wanted
  std::int32_t sequences = 0;        // of a step
  std::int32_t sequence_tokens = 0;  // positions of one sequence
  std::int32_t page_size = 16;
  std::int32_t query_heads = 1;
  std::int32_t key_heads = 1;
  std::int32_t head_dim = 1;
  std::int64_t vocab = 0;
};

// Names the caller of run_step: what was recorded for one is never played for another. kNone: nothing was reserved, so
// steps are neither padded nor recorded.
enum class StepProgram : std::uint32_t { kNone = 0 };

// What became of steps so far: for tests, benchmarks and the log.
struct StepCounts {
  std::uint64_t direct = 0;    // operations enqueued one by one
  std::uint64_t recorded = 0;  // recordings made
  std::uint64_t played = 0;    // steps that were one launch of a recording
  std::uint64_t dropped = 0;   // recordings given up: for newer ones, or because memory moved
  std::uint64_t grown = 0;     // times that a step was larger than reserve_steps() had been told, and took memory
  std::string trouble;         // why recording was given up for good; empty: it was not
};

}  // namespace coppice::kernels
