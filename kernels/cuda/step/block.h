// A step's inputs and attention plan in one piece of GPU memory, brought there by one copy. Where an array begins
// depends on the padded numbers of rows alone, and what lies behind the inputs is found by offsets in the data, so that
// a recorded step finds everything where it was when it was recorded.
//
//   tokens, positions, slots [tokens each] | logits_rows [logits] | attention plan (attention/device_plan.h)
//
// The host packs a step in page-locked memory. There are two such pieces: one may be on its way to the GPU while the
// next step is packed in the other.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/runtime.h"
#include "kernels/step.h"

namespace coppice::kernels::cuda {

// Rows of a step with padding.
struct StepShape {
  std::int32_t tokens = 0;
  std::int32_t logits = 0;

  bool operator==(const StepShape&) const = default;
};

// Steps of more rows are neither padded nor recorded: they compute for milliseconds, beside which the launches of a
// step (some 300, a few microseconds each) do not count.
inline constexpr std::int32_t kRecordedRowsMax = 512;

// Products take rows by 16 up to this many, then by this many.
inline constexpr std::int32_t kRecordedRowsStep = 64;

// The rows that a recording for `rows` rows has, at most `most`: few different numbers, so that steps find a recording,
// but few rows that are computed in vain.
constexpr std::int32_t recorded_rows(std::int32_t rows, std::int32_t most) {
  // At most the double of what is asked for.
  constexpr std::int32_t kFew[] = {0, 1, 2, 4, 8, 12, 16, 24, 32, 48, kRecordedRowsStep};
  if (rows > kRecordedRowsMax || rows > most) {
    return rows;
  }
  for (const std::int32_t few : kFew) {
    if (rows <= few) {
      return std::min(few, most);
    }
  }
  return std::min((rows + kRecordedRowsStep - 1) / kRecordedRowsStep * kRecordedRowsStep, most);
}

// Owner: the step runner. Thread: its caller.
class StepBlock {
 public:
  // Without memory yet. ERRORS: Internal.
  static absl::StatusOr<StepBlock> create();

  // Memory for plans of at most `plan_bytes`. ERRORS: ResourceExhausted.
  absl::Status reserve(StepShape largest, std::size_t plan_bytes, cudaStream_t stream);
  // Puts a step without its tokens together in page-locked memory, while the step before may still be on its way.
  // `padded` has room for it.
  void pack(const StepArrays& arrays, StepShape padded, const AttentionPlan& plan,
            const AttentionParameters& parameters);
  // Brings what was packed last to the GPU, with these tokens. Returns whether the memory there had to move. REQUIRES:
  // pack() since the last send().
  bool send(std::span<const TokenId> tokens, cudaStream_t stream);

  StepInputs inputs() const { return inputs_; }                     // of the last send()
  const std::byte* plan() const { return memory() + plan_begin_; }  // of the last send(), 16-byte aligned

 private:
  // One piece of page-locked memory.
  struct HostPiece {
    Buffer memory;
    CudaEvent sent;  // its copy to the GPU is done
    std::size_t used = 0;
  };

  std::byte* memory() const { return static_cast<std::byte*>(memory_.data()); }
  // The piece that is not on its way, once it is free, with room for `bytes`.
  std::byte* claim(std::size_t bytes);

  Buffer memory_;  // the block on the GPU
  std::array<HostPiece, 2> pieces_;
  std::size_t packing_ = 0;  // the piece that pack() fills
  bool is_packed_ = false;
  StepShape shape_;  // of what was packed last
  StepInputs inputs_;
  std::size_t plan_begin_ = 0;
};

}  // namespace coppice::kernels::cuda
