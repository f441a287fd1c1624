// Attention on the GPU, host side: packs an AttentionPlan for the device and launches one kernel per layer that
// executes it (loop.cuh says how). Nothing here allocates or waits. All buffers are the caller's and keep their
// address, so that a captured graph serves every plan that fits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/attention_plan.h"
#include "kernels/cuda/cache/kv_layout.h"
#include "kernels/cuda/launch_stream.h"
#include "kernels/cuda/prepare.h"
#include "kernels/cuda/ring.h"
#include "kernels/tensor.h"

namespace coppice::kernels::cuda {

// --- the plan on the device ---

// Returns the bytes that pack_attention_plan() writes for this plan. `group`: query heads per key head.
std::size_t attention_plan_bytes(const AttentionPlan& plan, std::int32_t group, std::int32_t head_dim);

// Writes the plan in the kernel's format to host memory, which the caller copies to the device (16-byte aligned on both
// sides). Returns the bytes written. Row positions are not included: on the device they are row_positions words from
// the plan's beginning. REQUIRES: staging.size() >= attention_plan_bytes(same arguments).
std::size_t pack_attention_plan(const AttentionPlan& plan, std::int32_t group, std::int32_t head_dim,
                                std::int32_t row_positions, std::span<std::byte> staging);

// Returns the floats of AttentionCall::partials for a plan of `partial_count` slots.
constexpr std::size_t attention_partial_floats(std::int32_t partial_count, std::int32_t query_heads,
                                               std::int32_t head_dim) {
  return static_cast<std::size_t>(partial_count) * static_cast<std::size_t>(query_heads) *
         (static_cast<std::size_t>(head_dim) + 2);
}

// Returns the words of AttentionCall::progress for a plan.
constexpr std::size_t attention_progress_words(std::size_t items, std::int32_t key_heads) {
  return 4 + items * static_cast<std::size_t>(key_heads);
}

// --- the launch ---

// One layer. All pointers: device memory.
struct AttentionCall {
  const void* plan = nullptr;         // what pack_attention_plan() wrote
  float* partials = nullptr;          // attention_partial_floats(), 16-byte aligned: scratch, nothing lasts
  std::int32_t partial_capacity = 0;  // slots that fit in `partials`; the plan's partial_count is at most this
  std::uint32_t* progress = nullptr;  // attention_progress_words(): zeros before the first launch; each leaves zeros
  const void* query = nullptr;        // of the cache's type [rows][query_stride]; rows aligned to two elements
  std::int64_t query_stride = 0;      // elements; even
  void* out = nullptr;                // the query's type or f32 [rows][out_stride]; f32 means out_is_f32
  std::int64_t out_stride = 0;        // elements; even
  bool out_is_f32 = false;
  const void* cache = nullptr;  // laid out as `layout` says
  KvLayout layout;
  std::int32_t layer = 0;
  std::int32_t query_heads = 0;
  float scale = 1.0F;
  KvFormat kv;  // of the cache
  // Of the ring of keys: what prepare_attention() returned, or fewer, but attention_stages_min(). Same bits; f32 has 1.
  std::int32_t stages = 0;
};

// Head dimensions: multiples of 8 up to 256; 64, 80, 96, 128 and 256 without padding.
constexpr bool attention_supports(std::int32_t head_dim) {
  return head_dim > 0 && head_dim <= 256 && head_dim % 8 == 0;
}

// Stages of the ring of keys. One alone, where nothing is copied ahead, is for wide heads on devices with little shared
// memory.
constexpr std::int32_t attention_stages_max(std::int32_t head_dim) {
  return head_dim <= 64 ? 4 : 3;
}
constexpr std::int32_t attention_stages_min(std::int32_t head_dim) {
  return head_dim <= 128 ? 2 : 1;
}

// Prepares the kernel on the current device (prepare.h) and returns its ring there, and how many blocks a
// multiprocessor holds at once: PlanOptions::workers is this times the number of multiprocessors. Blocks claim work in
// order and wait for earlier claims only, so a launch may have more.
RingFit prepare_attention(std::int32_t head_dim, KvFormat kv, LoadedKernels& loaded);

// Enqueues attention on `stream`. Returns 0 or the cudaError_t of the launch; cudaErrorInvalidValue for a ring that the
// kernel cannot work with.
int launch_attention(const AttentionCall& call, std::int32_t blocks, LaunchStream stream);

}  // namespace coppice::kernels::cuda
