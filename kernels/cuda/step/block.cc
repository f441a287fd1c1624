// Packing of a step's inputs and plan, with padding.
#include "kernels/cuda/step/block.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"
#include "kernels/cuda/attention/attention.h"
#include "kernels/cuda/device_memory.h"

namespace coppice::kernels::cuda {
namespace {

constexpr std::size_t kWord = sizeof(std::int32_t);  // bytes: a block is an array of words
constexpr std::size_t kPlanAlignment = 16;           // bytes: the kernel reads items as vectors of four words

std::size_t plan_begin(StepShape shape) {
  const std::size_t words = 3 * static_cast<std::size_t>(shape.tokens) + static_cast<std::size_t>(shape.outputs());
  return (words * kWord + kPlanAlignment - 1) / kPlanAlignment * kPlanAlignment;
}

// Writes `values` and then `padding` up to `count`; returns where the next array begins.
std::int32_t* pack_words(std::span<const std::int32_t> values, std::int32_t padding, std::int32_t count,
                         std::int32_t* out) {
  std::copy(values.begin(), values.end(), out);
  std::fill(out + values.size(), out + count, padding);
  return out + count;
}

}  // namespace

absl::StatusOr<StepBlock> StepBlock::create() {
  StepBlock block;
  for (HostPiece& piece : block.pieces_) {
    COPPICE_ASSIGN_OR_RETURN(piece.sent, CudaEvent::create());
  }
  return block;
}

absl::Status StepBlock::reserve(StepShape largest, std::size_t plan_bytes, cudaStream_t stream) {
  const std::size_t bytes = plan_begin(largest) + plan_bytes;
  for (HostPiece& piece : pieces_) {
    if (piece.memory.bytes() < bytes) {
      COPPICE_CUDA_CHECK(cudaEventSynchronize(piece.sent.get()));  // an event never recorded has passed
      COPPICE_ASSIGN_OR_RETURN(piece.memory, allocate_pinned(bytes));
    }
  }
  is_packed_ = false;
  return make_room(memory_, bytes, stream);
}

std::byte* StepBlock::claim(std::size_t bytes) {
  HostPiece& piece = pieces_[packing_];
  COPPICE_CUDA_CHECK(cudaEventSynchronize(piece.sent.get()));
  if (piece.memory.bytes() < bytes) {
    absl::StatusOr<Buffer> larger = allocate_pinned(std::max(bytes, 2 * piece.memory.bytes()));
    COPPICE_CHECK(larger.ok(), "no page-locked memory left for a step's inputs");
    piece.memory = *std::move(larger);
  }
  piece.used = bytes;
  return static_cast<std::byte*>(piece.memory.data());
}

void StepBlock::pack(const StepArrays& arrays, StepShape padded, const AttentionPlan& plan,
                     const AttentionParameters& parameters) {
  const std::size_t begin = plan_begin(padded);
  const std::int32_t group = parameters.query_heads / parameters.key_heads;
  const std::size_t plan_bytes = attention_plan_bytes(plan, group, parameters.head_dim);
  std::byte* packed = claim(begin + plan_bytes);
  auto* words = reinterpret_cast<std::int32_t*>(packed);
  words = pack_words({}, 0, padded.tokens, words);  // the tokens: send()
  words = pack_words(plan.row_positions, 0, padded.tokens, words);
  words = pack_words(arrays.slots, kNoSlot, padded.tokens, words);
  words = pack_words(arrays.hidden_rows, 0, padded.hidden, words);
  pack_words(arrays.logits_rows, 0, padded.logits, words);
  pack_attention_plan(plan, group, parameters.head_dim, padded.tokens - static_cast<std::int32_t>(begin / kWord),
                      {packed + begin, plan_bytes});
  shape_ = padded;
  is_packed_ = true;
}

bool StepBlock::send(std::span<const TokenId> tokens, cudaStream_t stream) {
  COPPICE_CHECK(is_packed_, "a step is packed before it is sent");
  is_packed_ = false;
  const HostPiece& piece = pieces_[packing_];
  packing_ = (packing_ + 1) % pieces_.size();
  std::copy(tokens.begin(), tokens.end(), static_cast<TokenId*>(piece.memory.data()));
  const bool moved = reserve_device(memory_, piece.used, stream);
  COPPICE_CUDA_CHECK(cudaMemcpyAsync(memory_.data(), piece.memory.data(), piece.used, cudaMemcpyHostToDevice, stream));
  COPPICE_CUDA_CHECK(cudaEventRecord(piece.sent.get(), stream));
  plan_begin_ = plan_begin(shape_);
  const auto count = static_cast<std::size_t>(shape_.tokens);
  const auto* first = reinterpret_cast<const std::int32_t*>(memory());
  inputs_ = {.tokens = {first, count},
             .positions = {first + count, count},
             .slots = {first + 2 * count, count},
             .output_rows = {first + 3 * count, static_cast<std::size_t>(shape_.outputs())},
             .hidden_count = shape_.hidden};
  return moved;
}

}  // namespace coppice::kernels::cuda
