// Launches of kernels, for ordinary C++: every function enqueues one kernel on `stream` and returns 0 or the
// cudaError_t of the launch. Arguments are as in kernels/operations.h and already checked; memory is device memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/types.h"
#include "kernels/cuda/cache/kv_layout.h"
#include "kernels/cuda/launch_stream.h"
#include "kernels/cuda/linear/linear.h"
#include "kernels/cuda/prepare.h"
#include "kernels/cuda/sampling/rows.h"
#include "kernels/operations.h"
#include "kernels/tensor.h"

namespace coppice::kernels::cuda {

int launch_embed(std::span<const TokenId> tokens, const Matrix& table, const Matrix& out, LaunchStream stream);
int launch_gather(const Matrix& in, std::span<const std::int32_t> rows, const Matrix& out, LaunchStream stream);
int launch_rms_norm(const Matrix& x, const float* weight, float epsilon, const Matrix& out, LaunchStream stream);
int launch_swiglu(const Matrix& gate_up, const Matrix& out, LaunchStream stream);

constexpr KvLayout kv_layout(const KvGeometry& geometry) {
  return {.layers = geometry.layers,
          .pages = geometry.pages,
          .key_heads = geometry.key_heads,
          .page_size = geometry.page_size,
          .head_dim = geometry.head_dim};
}

// parameters.inverse_frequency: device memory here. query_out: of the cache's type.
int launch_rope(const Matrix& qkv, std::span<const std::int32_t> positions, std::span<const KvSlot> slots,
                const RopeParameters& parameters, void* cache, const KvLayout& layout, KvFormat kv, std::int32_t layer,
                const Matrix& query_out, LaunchStream stream);
// moves: device memory, pairs of from and to.
int launch_move_slots(void* cache, const KvLayout& layout, KvFormat kv, const KvSlot* moves, std::int32_t count,
                      LaunchStream stream);
// One page in every layer.
int launch_copy_page(void* cache, const KvLayout& layout, KvFormat kv, PageId from, PageId to, LaunchStream stream);

// Prepare the kernels of the launches below (prepare.h): once per device, before the first of them. prepare_linear
// returns the rings that suit the device; prepare_linear_hopper is for Hopper, prepare_read for launch_read alone.
void prepare_elementwise(LoadedKernels& loaded);
void prepare_cache(LoadedKernels& loaded);
LinearRings prepare_linear(LoadedKernels& loaded);
void prepare_linear_hopper(LoadedKernels& loaded);
void prepare_sample(LoadedKernels& loaded);
void prepare_read(LoadedKernels& loaded);

// Writes rows [row_begin, row_begin + row_count) of a weight of 16-bit elements to their tiles (linear.h). `rows`:
// row-major, padded_k columns.
int launch_pack_linear(const void* rows, std::int64_t row_begin, std::int64_t row_count, std::int64_t padded_k,
                       void* weight, LaunchStream stream);
// storage: dense, of the factors: `in` is of its type, and the weight too unless it is in few bits. `tile`
// (choose_linear_tile) changes the speed, not a bit of the result; f32 has one kernel only.
int launch_linear(const LinearArguments& arguments, WeightFormat storage, LinearTile tile, LaunchStream stream);
// launch_linear() for the tiles of Hopper: bf16 and f16, linear_hopper_takes(arguments).
int launch_linear_hopper(const LinearArguments& arguments, WeightFormat storage, LinearTile tile, LaunchStream stream);

// launch_linear() for weights in few bits. prepare_linear() prepares these as well.
int launch_linear_quantised(const LinearArguments& arguments, ComputeType type, LinearTile tile, LaunchStream stream);
void prepare_linear_quantised(const LinearRings& rings, LoadedKernels& loaded);

// Reads `bytes` (a multiple of 16) front to back with `blocks` blocks, which each write one word to `sums`.
int launch_read(const void* data, std::size_t bytes, std::uint32_t* sums, std::int32_t blocks, LaunchStream stream);

struct SampleCall {
  Matrix logits;
  const SampleRow* rows = nullptr;
  const SampleEdit* edits = nullptr;
  float* saved = nullptr;
  const std::uint32_t* allowed = nullptr;
  SampleAnswer* answers = nullptr;
  SampleTop* tops = nullptr;
  std::int32_t top_capacity = 0;
  const TokenId* labels = nullptr;
  float* label_logits = nullptr;
};
int launch_sample(const SampleCall& call, LaunchStream stream);

}  // namespace coppice::kernels::cuda
