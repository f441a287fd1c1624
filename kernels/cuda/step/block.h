// A step's inputs and attention plan in one piece of GPU memory, brought there by one copy. Where an array begins
// depends on the padded numbers of rows alone, and what lies behind the inputs is found by offsets in the data, so that
// a recorded step finds everything where it was when it was recorded.
//
//   tokens, positions, slots [tokens each] | logits_rows [logits] | attention plan (attention_device_plan.h)
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "kernels/attention_plan.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/step/staging.h"
#include "kernels/step.h"

namespace coppice::kernels::cuda {

// Rows of a step with padding.
struct StepShape {
  std::int32_t tokens = 0;
  std::int32_t logits = 0;

  bool operator==(const StepShape&) const = default;
};

// More rows than this are computing for so long that launches do not count: neither padded nor recorded.
inline constexpr std::int32_t kRecordedRowsMax = 512;

// The rows that a recording for `rows` rows has, at most `most`: few different numbers, so that steps find a recording,
// but little to compute for nothing. Products take rows by 16 up to 64, then by 64.
constexpr std::int32_t recorded_rows(std::int32_t rows, std::int32_t most) {
  constexpr std::int32_t kFew[] = {0, 1, 2, 4, 8, 12, 16, 24, 32, 48, 64};
  if (rows > kRecordedRowsMax || rows > most) {
    return rows;
  }
  for (const std::int32_t few : kFew) {
    if (rows <= few) {
      return std::min(few, most);
    }
  }
  return std::min((rows + 63) / 64 * 64, most);
}

// Owner: the backend. Thread: its caller.
class StepBlock {
 public:
  // For plans of at most `plan_bytes`. ERRORS: ResourceExhausted.
  absl::Status reserve(StepShape largest, std::size_t plan_bytes, cudaStream_t stream);
  // Puts a step together in page-locked memory, while the one before may still be read; `padded` has room for it.
  // group: query heads per key head.
  void pack(const StepInputs& host, StepShape padded, const AttentionPlan& plan, std::int32_t group,
            std::int32_t head_dim, Staging& staging);
  // What was packed last is still there, and padded so.
  bool is_packed(StepShape padded, const Staging& staging) const {
    return padded == packed_shape_ && staging.holds(packed_);
  }
  // Brings what was packed there, with these tokens. True: the memory had to move. REQUIRES: is_packed().
  bool send(std::span<const TokenId> tokens, Staging& staging, cudaStream_t stream);

  StepInputs inputs() const { return inputs_; }                     // of the last send()
  const std::byte* plan() const { return memory() + plan_begin_; }  // of the last send(), 16-byte aligned

 private:
  std::byte* memory() const { return static_cast<std::byte*>(memory_.data()); }

  Buffer memory_;
  StepInputs inputs_;
  std::size_t plan_begin_ = 0;
  std::span<std::byte> packed_;  // the staging's, until it takes it back
  StepShape packed_shape_;
};

}  // namespace coppice::kernels::cuda
