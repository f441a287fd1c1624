// Launches of the operations.
#include "kernels/cuda/cuda_operations.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"
#include "kernels/cuda/cache/kv_cache.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/linear/weight.h"

namespace coppice::kernels::cuda {

namespace {

constexpr std::size_t kInputAlignment = 16;  // bytes: what a product's kernel copies at once

}  // namespace

absl::StatusOr<std::unique_ptr<CudaOperations>> CudaOperations::create(CudaContext& context,
                                                                       const AttentionStep& attention) {
  COPPICE_ASSIGN_OR_RETURN(Buffer workspace, allocate_device(kLinearWorkspaceBytes, context.on()));
  COPPICE_ASSIGN_OR_RETURN(Buffer counters, allocate_device(kLinearTilesMax * sizeof(std::uint32_t), context.on()));
  return std::unique_ptr<CudaOperations>(
      new CudaOperations(context, attention, std::move(workspace), std::move(counters)));
}

CudaOperations::CudaOperations(CudaContext& context, const AttentionStep& attention, Buffer workspace, Buffer counters)
    : context_(context), attention_(attention), workspace_(std::move(workspace)), counters_(std::move(counters)) {}

void CudaOperations::do_embed(std::span<const TokenId> tokens, const Table& table, const Matrix& out) {
  context_.use();
  if (out.rows > 0) {
    context_.errors.check(launch_embed(tokens, dense_matrix(table), out, context_.launches()));
  }
}

void CudaOperations::do_rms_norm(const Matrix& x, const float* weight, float epsilon, const Matrix& out) {
  if (out.rows > 0) {
    context_.errors.check(launch_rms_norm(x, weight, epsilon, out, context_.launches()));
  }
}

void CudaOperations::do_linear(const Matrix& in, const LinearWeight& weight, LinearEpilogue epilogue,
                               const Matrix& out) {
  if (out.rows == 0) {
    return;
  }
  const auto& packed = static_cast<const CudaLinearWeight&>(weight);
  COPPICE_CHECK(dense_format(in.dtype) == packed.factors(), "linear: the input is not in the weight's compute type");
  const auto row_bytes = static_cast<std::uintptr_t>(in.offset(1));
  const LinearArguments arguments{
      .in = in.data,
      .in_stride = in.stride,
      .weight = packed.matrix(),
      .form = packed.form(),
      .bias = packed.bias(),
      .out = out.data,
      .out_stride = out.stride,
      .workspace = static_cast<float*>(workspace_.data()),
      .counters = static_cast<std::uint32_t*>(counters_.data()),
      .rows = static_cast<std::int32_t>(in.rows),
      .out_features = static_cast<std::int32_t>(packed.out_features()),
      .in_features = static_cast<std::int32_t>(packed.in_features()),
      .padded_k = static_cast<std::int32_t>(packed.padded_k()),
      .slices = packed.slices(),
      .rings = context_.rings,
      .processors = context_.gpu.processors,
      .out_is_half = out.dtype != ComputeType::kF32,
      .adds = epilogue == LinearEpilogue::kAdd,
      .is_aligned = (reinterpret_cast<std::uintptr_t>(in.data) | row_bytes) % kInputAlignment == 0};
  const bool hopper = context_.hopper.agrees() && linear_hopper_takes(arguments);
  const LinearTile tile = choose_linear_tile(in.rows, packed.out_features(), packed.slices(), hopper);
  context_.errors.check(launch_linear(arguments, packed.factors(), tile, context_.launches()));
}

const float* CudaOperations::frequencies_of(const RopeParameters& parameters) {
  const std::span wanted(parameters.inverse_frequency, static_cast<std::size_t>(parameters.rotary_dim / 2));
  for (const Frequencies& known : frequencies_) {
    if (std::ranges::equal(known.host, wanted)) {
      return static_cast<const float*>(known.device.data());
    }
  }
  Frequencies& added = frequencies_.emplace_back();
  added.host.assign(wanted.begin(), wanted.end());
  reserve_device(added.device, std::max<std::size_t>(1, wanted.size()) * sizeof(float), context_.on());
  context_.staging.upload(added.host.data(), added.device.data(), wanted.size_bytes());
  return static_cast<const float*>(added.device.data());
}

void CudaOperations::do_rope_and_store(const Matrix& qkv, std::span<const std::int32_t> positions,
                                       std::span<const KvSlot> slots, const RopeParameters& parameters, KvCache& cache,
                                       std::int32_t layer, const Matrix& query_out) {
  if (qkv.rows == 0) {
    return;
  }
  auto& target = static_cast<CudaKvCache&>(cache);
  RopeParameters on_device = parameters;
  on_device.inverse_frequency = frequencies_of(parameters);
  context_.errors.check(launch_rope(qkv, positions, slots, on_device, target.data(), target.layout(),
                                    cache.geometry().format, layer, query_out, context_.launches()));
}

void CudaOperations::do_attention(const LoadedAttention& attention, const Matrix& query, const KvCache& cache,
                                  std::int32_t layer, const Matrix& out) {
  context_.errors.check(
      attention_.run(attention, query, static_cast<const CudaKvCache&>(cache), layer, out, context_.launches()));
}

void CudaOperations::do_swiglu(const Matrix& gate_up, const Matrix& out) {
  if (out.rows > 0) {
    context_.errors.check(launch_swiglu(gate_up, out, context_.launches()));
  }
}

void CudaOperations::do_gather_rows(const Matrix& in, std::span<const std::int32_t> rows, const Matrix& out) {
  if (out.rows > 0) {
    context_.errors.check(launch_gather(in, rows, out, context_.launches()));
  }
}

}  // namespace coppice::kernels::cuda
