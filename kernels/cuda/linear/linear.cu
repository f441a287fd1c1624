// Launches of matrix products.
#include "kernels/cuda/linear/linear.cuh"

#include <type_traits>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/linear/f32.cuh"
#include "kernels/cuda/linear/launch_tile.cuh"
#include "kernels/cuda/linear/pack.cuh"
#include "kernels/cuda/ring.h"

namespace coppice::kernels::cuda {

namespace {

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
  using Weight = DenseWeight<Element>;
  if (tile == LinearTile::k128x128Hopper || tile == LinearTile::k128x256Hopper) {
    return launch_linear_hopper(arguments, {std::is_same_v<Element, Bf16> ? WeightKind::kBF16 : WeightKind::kF16}, tile,
                                stream);
  }
  return launch_linear_tile<Weight>(linear_params<Element>(arguments, tile, arguments.weight), arguments, tile, stream);
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
  using Weight = DenseWeight<Element>;
  prepare_kernel<LinearRows16<Weight>>(loaded);
  LinearRings rings;
  rings.rows64 = prepare_ring<LinearRows64<Weight, kLinearStagesMax>, LinearRows64<Weight, kLinearStagesMin>>(loaded);
  rings.rows128 =
      prepare_ring<LinearRows128<Weight, kLinearStagesMax>, LinearRows128<Weight, kLinearStagesMin>>(loaded);
  return rings;
}

}  // namespace

LinearRings prepare_linear(LoadedKernels& loaded) {
  prepare_kernel<LinearF32Kernel>(loaded);
  prepare_kernel<LinearPackKernel>(loaded);
  const LinearRings rings = prepare_tensor<Bf16>(loaded);
  prepare_tensor<F16>(loaded);              // as large as those of bf16, so the same rings
  prepare_linear_quantised(rings, loaded);  // smaller
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
    return 1;  // cudaErrorInvalidValue: factors are dense
  }
  if (arguments.form.bits != 0) {
    return launch_linear_quantised(arguments, *type, tile, stream);
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
