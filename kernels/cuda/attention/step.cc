// The memory of a step's attention, and its launch.
#include "kernels/cuda/attention/step.h"

#include <algorithm>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "kernels/cuda/attention/attention.h"
#include "kernels/cuda/attention/device_plan.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/key_positions.h"
#include "kernels/plan_balance.h"

namespace coppice::kernels::cuda {

namespace {

// Partial results get room for every row and split, if that is no more than the larger of these two: 256 MB, which
// keeps plans of a few hundred sequences as they are on a small GPU; and a share of the GPU's memory, of which not more
// than a quarter of what is free, since activations may be still to come. Chosen, not measured.
constexpr std::size_t kPartialBytesLeast = std::size_t{256} << 20;
constexpr std::size_t kPartialShareOfMemory = 32;
constexpr std::size_t kPartialShareOfFree = 4;

std::size_t partial_bytes_most(MemoryFacts memory) {
  return std::max(kPartialBytesLeast,
                  std::min(memory.total_bytes / kPartialShareOfMemory, memory.free_bytes / kPartialShareOfFree));
}

std::size_t splits_most(const StepLimits& limits) {
  return static_cast<std::size_t>(kv_split_index(limits.sequence_tokens - 1)) + 1;
}

// Returns a bound on the full blocks that prompts' rows stand in.
std::size_t row_blocks_most(const StepLimits& limits) {
  const std::int32_t group = limits.query_heads / limits.key_heads;
  return static_cast<std::size_t>(limits.tokens / row_block({.group_size = group, .workers = limits.workers}));
}

// Returns the usual bound on items: leaves and shared nodes of the tree of sequences, blocks of prompts' rows, drafted
// paths, and pieces that keep all blocks busy.
std::size_t items_most(const StepLimits& limits) {
  return 4 * static_cast<std::size_t>(limits.sequences) + 2 * static_cast<std::size_t>(limits.logits) +
         row_blocks_most(limits) + 8 * static_cast<std::size_t>(limits.workers);
}

}  // namespace

std::size_t attention_plan_bytes_most(const StepLimits& limits) {
  const auto tokens = static_cast<std::size_t>(limits.tokens);
  const auto logits = static_cast<std::size_t>(limits.logits);
  const std::size_t page_lists = static_cast<std::size_t>(limits.sequences) + row_blocks_most(limits);
  const std::size_t group = static_cast<std::size_t>(limits.query_heads / limits.key_heads);
  const std::size_t splits = splits_most(limits);
  const std::size_t split_pages = static_cast<std::size_t>(kLargeSplit / limits.page_size);
  const std::size_t sequence_pages = static_cast<std::size_t>(limits.sequence_tokens / limits.page_size) + split_pages;
  const std::size_t items = items_most(limits);
  // Every sequence and every block of a prompt's rows with a page list of its own; a drafted token with the slots of
  // two splits; every row with a partial of every split.
  return sizeof(DevicePlanHeader) + items * (sizeof(DeviceItem) + sizeof(DeviceUnit)) +
         tokens * group * sizeof(DeviceUnit) +
         sizeof(std::int32_t) * (kSparePages + page_lists * sequence_pages + logits * 2 * std::size_t{kLargeSplit} +
                                 3 * tokens + tokens * splits);
}

std::int32_t attention_partials_most(const StepLimits& limits, MemoryFacts memory) {
  const auto tokens = static_cast<std::size_t>(limits.tokens);
  const std::size_t slot_bytes = attention_partial_floats(1, limits.query_heads, limits.head_dim) * sizeof(float);
  const std::size_t slots = std::min(tokens * (1 + splits_most(limits)), partial_bytes_most(memory) / slot_bytes);
  return static_cast<std::int32_t>(std::max(slots, tokens));
}

absl::Status AttentionStep::reserve(const StepLimits& limits, std::int32_t partials, cudaStream_t stream) {
  const std::size_t floats = attention_partial_floats(partials, limits.query_heads, limits.head_dim);
  COPPICE_RETURN_IF_ERROR(make_room(partials_, floats * sizeof(float), stream));
  const std::size_t words = attention_progress_words(items_most(limits), limits.key_heads);
  return make_room(progress_, words * sizeof(std::uint32_t), stream);
}

bool AttentionStep::prepare(const AttentionPlan& plan, const AttentionParameters& parameters, cudaStream_t stream) {
  const std::size_t partials =
      attention_partial_floats(plan.partial_count, parameters.query_heads, parameters.head_dim) * sizeof(float);
  const std::size_t words = attention_progress_words(plan.items.size(), parameters.key_heads);
  const bool partials_moved = reserve_device(partials_, partials, stream);
  return reserve_device(progress_, words * sizeof(std::uint32_t), stream) || partials_moved;
}

int AttentionStep::run(const LoadedAttention& attention, const Matrix& query, const CudaKvCache& cache,
                       std::int32_t layer, const Matrix& out, LaunchStream stream) const {
  const AttentionParameters& parameters = attention.parameters;
  // The capacity follows from the memory, not from the plan: it is a parameter of the launch, which may be recorded.
  const std::size_t slot_bytes =
      attention_partial_floats(1, parameters.query_heads, parameters.head_dim) * sizeof(float);
  const AttentionCall call{.plan = attention.packed,
                           .partials = static_cast<float*>(partials_.data()),
                           .partial_capacity = static_cast<std::int32_t>(partials_.bytes() / slot_bytes),
                           .progress = static_cast<std::uint32_t*>(progress_.data()),
                           .query = query.data,
                           .query_stride = query.stride,
                           .out = out.data,
                           .out_stride = out.stride,
                           .out_is_f32 = out.dtype == ComputeType::kF32,
                           .cache = cache.data(),
                           .layout = cache.layout(),
                           .layer = layer,
                           .query_heads = parameters.query_heads,
                           .scale = parameters.scale,
                           .kv = cache.geometry().format,
                           .stages = cache.stages()};
  return launch_attention(call, cache.workers(), stream);
}

}  // namespace coppice::kernels::cuda
