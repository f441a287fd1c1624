// One launch of a product's kernel for a tile: what the launches of dense weights and of those in few bits share.
#pragma once

#include <device/launch.cuh>

#include "kernels/cuda/linear/linear.cuh"

namespace coppice::kernels::cuda {

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

struct LinearGrid {
  std::int32_t row_tiles;
  std::int32_t column_tiles;
};
inline LinearGrid linear_grid(const LinearArguments& arguments, LinearTile tile) {
  return {(arguments.rows + linear_tile_rows(tile) - 1) / linear_tile_rows(tile),
          (arguments.out_features + linear_tile_columns(tile) - 1) / linear_tile_columns(tile)};
}

// weight: of elements, or null.
template <typename Element>
LinearParams<Element> linear_params(const LinearArguments& arguments, LinearTile tile, const void* weight) {
  const LinearGrid grid = linear_grid(arguments, tile);
  return {.in = static_cast<const Element*>(arguments.in),
          .in_stride = arguments.in_stride,
          .weight = static_cast<const Element*>(weight),
          .workspace = arguments.workspace,
          .counters = arguments.counters,
          .output = output_of<Element>(arguments),
          .in_features = arguments.in_features,
          .padded_k = arguments.padded_k,
          .slices = arguments.slices,
          .row_tiles = grid.row_tiles,
          .column_tiles = grid.column_tiles,
          .is_aligned = arguments.is_aligned};
}

template <typename Kernel>
int launch_linear_kernel(const typename Kernel::Params& params, const LinearArguments& arguments, LinearTile tile,
                         LaunchStream stream) {
  const LinearGrid grid = linear_grid(arguments, tile);
  const std::int32_t slice_blocks = linear_tile_is_whole(tile) ? 1 : arguments.slices;
  const LaunchShape shape{.blocks = grid.row_tiles * grid.column_tiles * slice_blocks,
                          .threads = Kernel::kThreadsMax,
                          .shared_bytes = Kernel::kSharedBytesMax,
                          .blocks_y = 1};
  return launch<Kernel>(shape, params, stream);
}

// The kernel of a tile that is not Hopper's. Weight: DenseWeight or QuantisedWeight.
template <typename Weight>
int launch_linear_tile(const typename Weight::Params& params, const LinearArguments& arguments, LinearTile tile,
                       LaunchStream stream) {
  switch (tile) {
    case LinearTile::k16x64Split:
      return launch_linear_kernel<LinearRows16<Weight>>(params, arguments, tile, stream);
    case LinearTile::k64x64Split:
      return arguments.rings.rows64 == kLinearStagesMax
                 ? launch_linear_kernel<LinearRows64<Weight, kLinearStagesMax>>(params, arguments, tile, stream)
                 : launch_linear_kernel<LinearRows64<Weight, kLinearStagesMin>>(params, arguments, tile, stream);
    case LinearTile::k128x128Whole:
      return arguments.rings.rows128 == kLinearStagesMax
                 ? launch_linear_kernel<LinearRows128<Weight, kLinearStagesMax>>(params, arguments, tile, stream)
                 : launch_linear_kernel<LinearRows128<Weight, kLinearStagesMin>>(params, arguments, tile, stream);
    case LinearTile::k128x128Hopper:
    case LinearTile::k128x256Hopper:
      break;
  }
  return 1;  // cudaErrorInvalidValue
}

}  // namespace coppice::kernels::cuda
