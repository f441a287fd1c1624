// Launches of products with weights in few bits.
#include "kernels/cuda/linear/quantised.cuh"

#include <bit>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/linear/launch_tile.cuh"

namespace coppice::kernels::cuda {

namespace {

// 4 bits are less than 16 numbers away from FactorBits::kWhole, and so is that plus a zero: the lowest bits say them.
template <typename Element>
std::uint32_t minus_zero_pair(QuantisedForm form) {
  constexpr std::uint32_t kSigns = 0x80008000U;  // of both
  constexpr std::uint32_t kTwice = 0x00010001U;  // a number in both halves
  return kSigns | (FactorBits<Element>::kWhole + static_cast<std::uint32_t>(form.zero) * kTwice);
}

template <typename Element, FewBits kMeaning>
int launch_bits(const LinearArguments& arguments, LinearTile tile, LaunchStream stream) {
  using Weight = QuantisedWeight<Element, kMeaning>;
  const QuantisedForm form = arguments.form;
  typename Weight::Params params;
  static_cast<LinearParams<Element>&>(params) = linear_params<Element>(arguments, tile, nullptr);
  params.tiles = static_cast<const std::uint32_t*>(arguments.weight);
  params.tile_words = form.tile_bytes() / 4;
  params.group_shift = std::countr_zero(static_cast<std::uint32_t>(form.group / 16));
  params.leasts = form.scales();
  params.minus_zero_pair = minus_zero_pair<Element>(form);
  return launch_linear_tile<Weight>(params, arguments, tile, stream);
}

template <typename Element>
int launch_element(const LinearArguments& arguments, LinearTile tile, LaunchStream stream) {
  if (arguments.form.is_fp8) {
    return launch_bits<Element, FewBits::kFp8>(arguments, tile, stream);
  }
  if (arguments.form.bits == 4) {
    return arguments.form.has_least ? launch_bits<Element, FewBits::k4Least>(arguments, tile, stream)
                                    : launch_bits<Element, FewBits::k4>(arguments, tile, stream);
  }
  return arguments.form.has_least ? launch_bits<Element, FewBits::k8Least>(arguments, tile, stream)
                                  : launch_bits<Element, FewBits::k8>(arguments, tile, stream);
}

template <typename Weight>
void prepare_weight(const LinearRings& rings, LoadedKernels& loaded) {
  prepare_kernel<LinearRows16<Weight>>(loaded);
  if (rings.rows64 == kLinearStagesMax) {
    prepare_kernel<LinearRows64<Weight, kLinearStagesMax>>(loaded);
  } else {
    prepare_kernel<LinearRows64<Weight, kLinearStagesMin>>(loaded);
  }
  if (rings.rows128 == kLinearStagesMax) {
    prepare_kernel<LinearRows128<Weight, kLinearStagesMax>>(loaded);
  } else {
    prepare_kernel<LinearRows128<Weight, kLinearStagesMin>>(loaded);
  }
}

template <typename Element>
void prepare_element(const LinearRings& rings, LoadedKernels& loaded) {
  prepare_weight<QuantisedWeight<Element, FewBits::k4>>(rings, loaded);
  prepare_weight<QuantisedWeight<Element, FewBits::k4Least>>(rings, loaded);
  prepare_weight<QuantisedWeight<Element, FewBits::k8>>(rings, loaded);
  prepare_weight<QuantisedWeight<Element, FewBits::k8Least>>(rings, loaded);
  prepare_weight<QuantisedWeight<Element, FewBits::kFp8>>(rings, loaded);
}

}  // namespace

void prepare_linear_quantised(const LinearRings& rings, LoadedKernels& loaded) {
  prepare_element<Bf16>(rings, loaded);
  prepare_element<F16>(rings, loaded);
}

int launch_linear_quantised(const LinearArguments& arguments, ComputeType type, LinearTile tile, LaunchStream stream) {
  switch (type) {
    case ComputeType::kF32:
      break;
    case ComputeType::kBF16:
      return launch_element<Bf16>(arguments, tile, stream);
    case ComputeType::kF16:
      return launch_element<F16>(arguments, tile, stream);
  }
  return 1;  // cudaErrorInvalidValue: supports() says no
}

}  // namespace coppice::kernels::cuda
