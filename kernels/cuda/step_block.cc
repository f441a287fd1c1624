// Packing of a step's inputs and plan, with padding.
#include "kernels/cuda/step_block.h"

#include <cstring>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/device_memory.h"

namespace coppice::kernels::cuda {
namespace {

constexpr std::size_t kPlanAlignment = 16;

std::size_t plan_begin(StepShape shape) {
  const std::size_t words = 3 * static_cast<std::size_t>(shape.tokens) + static_cast<std::size_t>(shape.logits);
  return (words * sizeof(std::int32_t) + kPlanAlignment - 1) / kPlanAlignment * kPlanAlignment;
}

// Writes `values` and then `padding` up to `count`; returns where the next array begins.
std::int32_t* pack(std::span<const std::int32_t> values, std::int32_t padding, std::int32_t count, std::int32_t* out) {
  std::copy(values.begin(), values.end(), out);
  std::fill(out + values.size(), out + count, padding);
  return out + count;
}

}  // namespace

absl::Status StepBlock::reserve(StepShape largest, std::size_t plan_bytes, cudaStream_t stream) {
  return make_room(memory_, plan_begin(largest) + plan_bytes, stream);
}

bool StepBlock::load(const StepInputs& host, StepShape padded, const AttentionPlan& plan, std::int32_t group,
                     std::int32_t head_dim, Staging& staging, cudaStream_t stream) {
  plan_begin_ = plan_begin(padded);
  const std::size_t bytes = plan_begin_ + attention_plan_bytes(plan, group, head_dim);
  const bool moved = reserve_device(memory_, bytes, stream);
  const std::span<std::byte> staged = staging.claim(bytes);
  auto* words = reinterpret_cast<std::int32_t*>(staged.data());
  words = pack(host.tokens, 0, padded.tokens, words);
  words = pack(host.positions, 0, padded.tokens, words);
  words = pack(host.slots, kNoSlot, padded.tokens, words);
  pack(host.logits_rows, 0, padded.logits, words);
  pack_attention_plan(plan, group, head_dim, staged.subspan(plan_begin_));
  staging.send(memory());
  const auto tokens = static_cast<std::size_t>(padded.tokens);
  const auto* first = reinterpret_cast<const std::int32_t*>(memory());
  inputs_ = {.tokens = {first, tokens},
             .positions = {first + tokens, tokens},
             .slots = {first + 2 * tokens, tokens},
             .logits_rows = {first + 3 * tokens, static_cast<std::size_t>(padded.logits)}};
  return moved;
}

}  // namespace coppice::kernels::cuda
