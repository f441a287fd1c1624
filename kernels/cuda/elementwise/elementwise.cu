// Launches of the row-wise kernels.
#include "kernels/cuda/elementwise/elementwise.cuh"

#include <device/launch.cuh>

#include "kernels/cuda/launch.h"

namespace coppice::kernels::cuda {

namespace {

// Rows of these start at multiples of four elements (16 bytes for f32, 8 for halves).
bool is_whole(const Matrix& matrix) {
  const auto address = reinterpret_cast<std::uintptr_t>(matrix.data);
  return matrix.columns % 4 == 0 && matrix.stride % 4 == 0 && address % (4 * element_bytes(matrix.dtype)) == 0;
}

LaunchShape shape_of(const Matrix& out, bool is_divided) {
  const std::int64_t spans = is_divided ? (out.columns + kRowSpan - 1) / kRowSpan : 1;
  return {.blocks = static_cast<std::int32_t>(out.rows),
          .threads = kRowThreads,
          .shared_bytes = 0,
          .blocks_y = static_cast<std::int32_t>(spans)};
}

template <typename Element>
int embed(std::span<const TokenId> tokens, const Matrix& table, const Matrix& out, LaunchStream stream) {
  const typename EmbedKernel<Element>::Params params{.tokens = tokens.data(),
                                                     .table = static_cast<const Element*>(table.data),
                                                     .table_stride = table.stride,
                                                     .out = static_cast<float*>(out.data),
                                                     .out_stride = out.stride,
                                                     .columns = static_cast<std::int32_t>(out.columns),
                                                     .whole = is_whole(table) && is_whole(out)};
  return launch<EmbedKernel<Element>>(shape_of(out, true), params, stream);
}

template <typename Element>
int rms_norm(const Matrix& x, const float* weight, float epsilon, const Matrix& out, LaunchStream stream) {
  const bool is_weight_whole = reinterpret_cast<std::uintptr_t>(weight) % 16 == 0;
  const typename RmsNormKernel<Element>::Params params{.x = static_cast<const float*>(x.data),
                                                       .x_stride = x.stride,
                                                       .weight = weight,
                                                       .out = static_cast<Element*>(out.data),
                                                       .out_stride = out.stride,
                                                       .columns = static_cast<std::int32_t>(out.columns),
                                                       .epsilon = epsilon,
                                                       .whole = is_whole(x) && is_whole(out) && is_weight_whole};
  LaunchShape shape = shape_of(out, false);
  shape.shared_bytes = RmsNormKernel<Element>::kSharedBytesMax;
  return launch<RmsNormKernel<Element>>(shape, params, stream);
}

template <typename In, typename Out>
int swiglu(const Matrix& gate_up, const Matrix& out, LaunchStream stream) {
  const typename SwigluKernel<In, Out>::Params params{
      .gate_up = static_cast<const In*>(gate_up.data),
      .gate_up_stride = gate_up.stride,
      .out = static_cast<Out*>(out.data),
      .out_stride = out.stride,
      .columns = static_cast<std::int32_t>(out.columns),
      .whole = is_whole(gate_up) && is_whole(out),  // then the second half starts aligned too
  };
  return launch<SwigluKernel<In, Out>>(shape_of(out, true), params, stream);
}

// Out: a half type. REQUIRES: gate_up is f32 or of the same type.
template <typename Out>
int swiglu_to(const Matrix& gate_up, const Matrix& out, LaunchStream stream) {
  switch (gate_up.dtype) {
    case ComputeType::kF32:
      return swiglu<float, Out>(gate_up, out, stream);
    case ComputeType::kBF16:
    case ComputeType::kF16:
      return swiglu<Out, Out>(gate_up, out, stream);
  }
  return 1;
}

}  // namespace

void prepare_elementwise(LoadedKernels& loaded) {
  prepare_kernel<EmbedKernel<float>>(loaded);
  prepare_kernel<EmbedKernel<Bf16>>(loaded);
  prepare_kernel<EmbedKernel<F16>>(loaded);
  prepare_kernel<GatherKernel>(loaded);
  prepare_kernel<RmsNormKernel<float>>(loaded);
  prepare_kernel<RmsNormKernel<Bf16>>(loaded);
  prepare_kernel<RmsNormKernel<F16>>(loaded);
  prepare_kernel<SwigluKernel<float, float>>(loaded);
  prepare_kernel<SwigluKernel<float, Bf16>>(loaded);
  prepare_kernel<SwigluKernel<float, F16>>(loaded);
  prepare_kernel<SwigluKernel<Bf16, Bf16>>(loaded);
  prepare_kernel<SwigluKernel<F16, F16>>(loaded);
}

int launch_embed(std::span<const TokenId> tokens, const Matrix& table, const Matrix& out, LaunchStream stream) {
  switch (table.dtype) {
    case ComputeType::kF32:
      return embed<float>(tokens, table, out, stream);
    case ComputeType::kBF16:
      return embed<Bf16>(tokens, table, out, stream);
    case ComputeType::kF16:
      return embed<F16>(tokens, table, out, stream);
  }
  return 1;
}

int launch_gather(const Matrix& in, std::span<const std::int32_t> rows, const Matrix& out, LaunchStream stream) {
  const GatherKernel::Params params{.in = static_cast<const float*>(in.data),
                                    .in_stride = in.stride,
                                    .indices = rows.data(),
                                    .out = static_cast<float*>(out.data),
                                    .out_stride = out.stride,
                                    .columns = static_cast<std::int32_t>(out.columns),
                                    .whole = is_whole(in) && is_whole(out)};
  return launch<GatherKernel>(shape_of(out, true), params, stream);
}

int launch_rms_norm(const Matrix& x, const float* weight, float epsilon, const Matrix& out, LaunchStream stream) {
  switch (out.dtype) {
    case ComputeType::kF32:
      return rms_norm<float>(x, weight, epsilon, out, stream);
    case ComputeType::kBF16:
      return rms_norm<Bf16>(x, weight, epsilon, out, stream);
    case ComputeType::kF16:
      return rms_norm<F16>(x, weight, epsilon, out, stream);
  }
  return 1;
}

int launch_swiglu(const Matrix& gate_up, const Matrix& out, LaunchStream stream) {
  switch (out.dtype) {
    case ComputeType::kF32:
      return swiglu<float, float>(gate_up, out, stream);
    case ComputeType::kBF16:
      return swiglu_to<Bf16>(gate_up, out, stream);
    case ComputeType::kF16:
      return swiglu_to<F16>(gate_up, out, stream);
  }
  return 1;
}

}  // namespace coppice::kernels::cuda
