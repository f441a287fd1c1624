// Launches of the large matrix product on Hopper.
#include "kernels/cuda/linear/hopper.cuh"

#include "kernels/cuda/launch.h"
#include "kernels/cuda/linear/launch_tile.cuh"

namespace coppice::kernels::cuda {

namespace {

template <typename Kernel>
int launch_tile(const LinearArguments& arguments, LinearTile tile, LaunchStream stream) {
  using Element = typename Kernel::Element;
  const std::size_t pair_bytes = arguments.out_is_half ? 4 : 8;
  const bool stores_pairs =
      reinterpret_cast<std::uintptr_t>(arguments.out) % pair_bytes == 0 && arguments.out_stride % 2 == 0;
  const typename Kernel::Params params{
      .linear = linear_params<Element>(arguments, tile, arguments.weight),
      .weight_tiles = (arguments.out_features + kLinearPadN - 1) / kLinearPadN * (kLinearPadN / kLinearTileRows),
      .stores_pairs = stores_pairs};
  const std::int32_t tiles = params.linear.row_tiles * params.linear.column_tiles;
  const LaunchShape shape{.blocks = tiles < arguments.processors ? tiles : arguments.processors,
                          .threads = Kernel::kThreadsMax,
                          .shared_bytes = Kernel::kSharedBytesMax,
                          .blocks_y = 1};
  return launch<Kernel>(shape, params, stream);
}

template <typename Element>
int launch_tensor(const LinearArguments& arguments, LinearTile tile, LaunchStream stream) {
  return tile == LinearTile::k128x256Hopper ? launch_tile<LinearHopper256<Element>>(arguments, tile, stream)
                                            : launch_tile<LinearHopper128<Element>>(arguments, tile, stream);
}

}  // namespace

void prepare_linear_hopper(LoadedKernels& loaded) {
  prepare_kernel<LinearHopper128<Bf16>>(loaded);
  prepare_kernel<LinearHopper256<Bf16>>(loaded);
  prepare_kernel<LinearHopper128<F16>>(loaded);
  prepare_kernel<LinearHopper256<F16>>(loaded);
}

int launch_linear_hopper(const LinearArguments& arguments, WeightFormat storage, LinearTile tile, LaunchStream stream) {
  const std::optional<ComputeType> type = dense_type(storage);
  if (!type) {
    return 1;  // cudaErrorInvalidValue
  }
  switch (*type) {
    case ComputeType::kF32:
      break;
    case ComputeType::kBF16:
      return launch_tensor<Bf16>(arguments, tile, stream);
    case ComputeType::kF16:
      return launch_tensor<F16>(arguments, tile, stream);
  }
  return 1;  // cudaErrorInvalidValue
}

}  // namespace coppice::kernels::cuda
