// Packing of a step's inputs and plan, with padding.
#include "kernels/cuda/step/block.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/cuda/attention/attention.h"
#include "kernels/cuda/device_memory.h"

namespace coppice::kernels::cuda {
namespace {

constexpr std::size_t kPlanAlignment = 16;

std::size_t plan_begin(StepShape shape) {
  const std::size_t words = 3 * static_cast<std::size_t>(shape.tokens) + static_cast<std::size_t>(shape.logits);
  return (words * sizeof(std::int32_t) + kPlanAlignment - 1) / kPlanAlignment * kPlanAlignment;
}

// Writes `values` and then `padding` up to `count`; returns where the next array begins.
std::int32_t* pack_words(std::span<const std::int32_t> values, std::int32_t padding, std::int32_t count,
                         std::int32_t* out) {
  std::copy(values.begin(), values.end(), out);
  std::fill(out + values.size(), out + count, padding);
  return out + count;
}

}  // namespace

absl::Status StepBlock::reserve(StepShape largest, std::size_t plan_bytes, cudaStream_t stream) {
  return make_room(memory_, plan_begin(largest) + plan_bytes, stream);
}

void StepBlock::pack(const StepInputs& host, StepShape padded, const AttentionPlan& plan, std::int32_t group,
                     std::int32_t head_dim, Staging& staging) {
  const std::size_t begin = plan_begin(padded);
  packed_ = staging.claim(begin + attention_plan_bytes(plan, group, head_dim));
  packed_shape_ = padded;
  auto* words = reinterpret_cast<std::int32_t*>(packed_.data());
  words = pack_words(host.tokens, 0, padded.tokens, words);
  words = pack_words(host.positions, 0, padded.tokens, words);
  words = pack_words(host.slots, kNoSlot, padded.tokens, words);
  pack_words(host.logits_rows, 0, padded.logits, words);
  pack_attention_plan(plan, group, head_dim, packed_.subspan(begin));
}

bool StepBlock::send(std::span<const TokenId> host_tokens, Staging& staging, cudaStream_t stream) {
  COPPICE_CHECK(is_packed(packed_shape_, staging), "a step is packed before it is sent");
  std::copy(host_tokens.begin(), host_tokens.end(), reinterpret_cast<TokenId*>(packed_.data()));
  const bool moved = reserve_device(memory_, packed_.size(), stream);
  staging.send(memory());
  plan_begin_ = plan_begin(packed_shape_);
  const auto tokens = static_cast<std::size_t>(packed_shape_.tokens);
  const auto* first = reinterpret_cast<const std::int32_t*>(memory());
  inputs_ = {.tokens = {first, tokens},
             .positions = {first + tokens, tokens},
             .slots = {first + 2 * tokens, tokens},
             .logits_rows = {first + 3 * tokens, static_cast<std::size_t>(packed_shape_.logits)}};
  return moved;
}

}  // namespace coppice::kernels::cuda
