// Launches of matrix products.
#include "kernels/cuda/linear/linear.cuh"

#include <device/launch.cuh>
#include <type_traits>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/linear/f32.cuh"
#include "kernels/cuda/linear/pack.cuh"
#include "kernels/cuda/ring.h"

namespace coppice::kernels::cuda {

namespace {

template <typename Element>
LinearOutput<Element> output_of(const LinearArguments& arguments) {
  return {.bias = arguments.bias,
          .out = arguments.out_is_half ? nullptr : static_cast<float*>(arguments.out),
          .out_half = arguments.out_is_half ? static_cast<Element*>(arguments.out) : nullptr,
          .stride = arguments.out_stride,
          .rows = arguments.rows,
          .columns = arguments.out_features,
          .has_bias = arguments.bias != nullptr,
          .out_is_half = arguments.out_is_half,
          .adds = arguments.adds};
}

template <typename Kernel>
int launch_tile(const LinearArguments& arguments, LinearTile tile, LaunchStream stream) {
  using Element = typename Kernel::Element;
  const std::int32_t row_tiles = (arguments.rows + linear_tile_rows(tile) - 1) / linear_tile_rows(tile);
  const std::int32_t column_tiles =
      (arguments.out_features + linear_tile_columns(tile) - 1) / linear_tile_columns(tile);
  const typename Kernel::Params params{.in = static_cast<const Element*>(arguments.in),
                                       .in_stride = arguments.in_stride,
                                       .weight = static_cast<const Element*>(arguments.weight),
                                       .workspace = arguments.workspace,
                                       .counters = arguments.counters,
                                       .output = output_of<Element>(arguments),
                                       .in_features = arguments.in_features,
                                       .padded_k = arguments.padded_k,
                                       .slices = arguments.slices,
                                       .row_tiles = row_tiles,
                                       .column_tiles = column_tiles,
                                       .is_aligned = arguments.is_aligned};
  const std::int32_t slice_blocks = linear_tile_is_whole(tile) ? 1 : arguments.slices;
  const LaunchShape shape{.blocks = row_tiles * column_tiles * slice_blocks,
                          .threads = Kernel::kThreadsMax,
                          .shared_bytes = Kernel::kSharedBytesMax,
                          .blocks_y = 1};
  return launch<Kernel>(shape, params, stream);
}

int launch_f32(const LinearArguments& arguments, LaunchStream stream) {
  using Kernel = LinearF32Kernel;
  const std::int32_t row_tiles = (arguments.rows + Kernel::kTile - 1) / Kernel::kTile;
  const std::int32_t column_tiles = (arguments.out_features + Kernel::kTile - 1) / Kernel::kTile;
  const Kernel::Params params{.in = static_cast<const float*>(arguments.in),
                              .in_stride = arguments.in_stride,
                              .weight = static_cast<const float*>(arguments.weight),
                              .output = output_of<float>(arguments),
                              .in_features = arguments.in_features,
                              .padded_k = arguments.padded_k,
                              .row_tiles = row_tiles};
  const LaunchShape shape{.blocks = row_tiles * column_tiles,
                          .threads = Kernel::kThreadsMax,
                          .shared_bytes = Kernel::kSharedBytesMax,
                          .blocks_y = 1};
  return launch<Kernel>(shape, params, stream);
}

template <typename Element>
int launch_tensor(const LinearArguments& arguments, LinearTile tile, LaunchStream stream) {
  switch (tile) {
    case LinearTile::k16x64Split:
      return launch_tile<LinearRows16<Element>>(arguments, tile, stream);
    case LinearTile::k64x64Split:
      return arguments.rings.rows64 == kLinearStagesMax
                 ? launch_tile<LinearRows64<Element, kLinearStagesMax>>(arguments, tile, stream)
                 : launch_tile<LinearRows64<Element, kLinearStagesMin>>(arguments, tile, stream);
    case LinearTile::k128x128Whole:
      return arguments.rings.rows128 == kLinearStagesMax
                 ? launch_tile<LinearRows128<Element, kLinearStagesMax>>(arguments, tile, stream)
                 : launch_tile<LinearRows128<Element, kLinearStagesMin>>(arguments, tile, stream);
    case LinearTile::k128x128Hopper:
    case LinearTile::k128x256Hopper:
      return launch_linear_hopper(arguments, {std::is_same_v<Element, Bf16> ? WeightKind::kBF16 : WeightKind::kF16},
                                  tile, stream);
  }
  return 1;
}

// Blocks of the kernel that run side by side; 0: it does not fit.
template <typename Kernel>
std::int32_t try_kernel() {
  LoadedKernels trial;
  prepare_kernel<Kernel>(trial);
  return trial.error() == 0 ? resident_blocks<Kernel>(Kernel::kThreadsMax, Kernel::kSharedBytesMax) : 0;
}

// Full and Small: the same kernel with kLinearStagesMax and kLinearStagesMin stages. Returns the stages to use.
template <typename Full, typename Small>
std::int32_t prepare_ring(LoadedKernels& loaded) {
  const RingFit fit = fit_ring(
      kLinearStagesMin, kLinearStagesMax, Full::kBlocksPerMultiprocessor,
      [](std::int32_t stages) { return stages == kLinearStagesMax ? try_kernel<Full>() : try_kernel<Small>(); });
  if (fit.stages == kLinearStagesMax) {
    prepare_kernel<Full>(loaded);
    return kLinearStagesMax;
  }
  prepare_kernel<Small>(loaded);  // if this does not fit either, `loaded` says so
  return kLinearStagesMin;
}

template <typename Element>
LinearRings prepare_tensor(LoadedKernels& loaded) {
  prepare_kernel<LinearRows16<Element>>(loaded);
  LinearRings rings;
  rings.rows64 = prepare_ring<LinearRows64<Element, kLinearStagesMax>, LinearRows64<Element, kLinearStagesMin>>(loaded);
  rings.rows128 =
      prepare_ring<LinearRows128<Element, kLinearStagesMax>, LinearRows128<Element, kLinearStagesMin>>(loaded);
  return rings;
}

}  // namespace

LinearRings prepare_linear(LoadedKernels& loaded) {
  prepare_kernel<LinearF32Kernel>(loaded);
  prepare_kernel<LinearPackKernel>(loaded);
  const LinearRings rings = prepare_tensor<Bf16>(loaded);
  prepare_tensor<F16>(loaded);  // as large as those of bf16, so the same rings
  return rings;
}

int launch_pack_linear(const void* rows, std::int64_t row_begin, std::int64_t row_count, std::int64_t padded_k,
                       void* weight, LaunchStream stream) {
  constexpr std::int64_t kBlocksMax = 4096;  // of a grid: many waves, and no more launch work
  const LinearPackKernel::Params params{.from = static_cast<const Bf16*>(rows),
                                        .to = static_cast<Bf16*>(weight),
                                        .row_begin = row_begin,
                                        .pieces = row_count * padded_k / 8,
                                        .padded_k = padded_k};
  const std::int64_t blocks = (params.pieces + LinearPackKernel::kThreadsMax - 1) / LinearPackKernel::kThreadsMax;
  const LaunchShape shape{.blocks = static_cast<std::int32_t>(blocks < kBlocksMax ? blocks : kBlocksMax),
                          .threads = LinearPackKernel::kThreadsMax};
  return launch<LinearPackKernel>(shape, params, stream);
}

int launch_linear(const LinearArguments& arguments, WeightFormat storage, LinearTile tile, LaunchStream stream) {
  const std::optional<ComputeType> type = dense_type(storage);
  if (!type) {
    return 1;  // cudaErrorInvalidValue: no weight is packed so
  }
  switch (*type) {
    case ComputeType::kF32:
      return launch_f32(arguments, stream);
    case ComputeType::kBF16:
      return launch_tensor<Bf16>(arguments, tile, stream);
    case ComputeType::kF16:
      return launch_tensor<F16>(arguments, tile, stream);
  }
  return 1;
}

}  // namespace coppice::kernels::cuda
