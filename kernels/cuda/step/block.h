// A step's inputs and attention plan in one block of GPU memory, written by one copy. Where an array begins depends on
// the padded numbers of rows alone, and data behind the inputs is found by offsets in the data, so a recorded step
// finds everything at the addresses of its recording.
//
//   tokens, positions, slots [tokens each] | hidden_rows [hidden] | logits_rows [logits] | attention plan
//
// The attention plan is that of attention/device_plan.h.
//
// The host packs a step in page-locked memory. There are two pieces: one may be copied to the GPU while the next step
// is packed in the other.
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
  std::int32_t hidden = 0;  // rows whose final hidden states are brought back

  std::int32_t outputs() const { return logits + hidden; }
  bool operator==(const StepShape&) const = default;
};

// Rows. Larger steps are neither padded nor recorded: they compute for milliseconds, against which a step's launches
// (some 300, a few microseconds each) do not count. An estimate, not measured.
inline constexpr std::int32_t kRecordedRowsMax = 512;

// Rows. Products take rows by 16 up to this number, then by this number.
inline constexpr std::int32_t kRecordedRowsStep = 64;

// Returns the rows of a recording that serves `rows` rows, at most `most`: few different numbers, so that steps find a
// recording, but little padding.
constexpr std::int32_t recorded_rows(std::int32_t rows, std::int32_t most) {
  // At most twice `rows`.
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
  // Makes a block without memory. ERRORS: Internal.
  static absl::StatusOr<StepBlock> create();

  // Allocates memory for plans of at most `plan_bytes`. ERRORS: ResourceExhausted.
  absl::Status reserve(StepShape largest, std::size_t plan_bytes, cudaStream_t stream);
  // Packs a step without its tokens in page-locked memory; the step before may still be being copied. REQUIRES:
  // `padded` is at least the step's shape.
  void pack(const StepArrays& arrays, StepShape padded, const AttentionPlan& plan,
            const AttentionParameters& parameters);
  // Enqueues the copy of the packed step, with these tokens, to the GPU. Returns whether the memory there had to move.
  // REQUIRES: pack() since the last send().
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
  // Returns the piece that is not being copied, with room for `bytes`; waits until it is free.
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
