// The same products by both kinds of tensor-core instructions, compared bit for bit.
#include "kernels/cuda/linear/probe.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "base/status_macros.h"
#include "kernels/cuda/launch.h"

namespace coppice::kernels::cuda {

namespace {

constexpr std::int32_t kRows = 128;  // rows of `in`: one tile of both kernels of Hopper
constexpr std::int32_t kOut = 256;   // out_features: one tile of the wider kernel
constexpr std::int32_t kIn = 256;    // in_features: sixteen steps of sixteen products

// Kinds of numbers for which different ways to sum sixteen products differ.
enum class Numbers { kOrdinary, kWide, kCancelling, kTiny, kFullMantissas };
constexpr Numbers kAllNumbers[] = {Numbers::kOrdinary, Numbers::kWide, Numbers::kCancelling, Numbers::kTiny,
                                   Numbers::kFullMantissas};

const char* name_of(Numbers numbers) {
  switch (numbers) {
    case Numbers::kOrdinary:
      return "ordinary";
    case Numbers::kWide:
      return "of wide range";
    case Numbers::kCancelling:
      return "cancelling";
    case Numbers::kTiny:
      return "denormal";
    case Numbers::kFullMantissas:
      return "full mantissas";
  }
  return "";
}

// Of a 16-bit type. `widest`: the exponents of drawn numbers are at most this far from 2^0.
struct Half {
  int mantissa_bits;
  int bias;
  int widest;
};

Half half_of(ComputeType type) {
  switch (type) {
    case ComputeType::kBF16:
      return {.mantissa_bits = 7, .bias = 127, .widest = 30};
    case ComputeType::kF16:
      return {.mantissa_bits = 10, .bias = 15, .widest = 10};
    case ComputeType::kF32:
      break;
  }
  COPPICE_CHECK(false, "only halves are probed");
  return {};
}

// Bits of one number: `exponent` above the type's 2^0, zero or less than its least for a denormal.
std::uint16_t number_of(ComputeType type, bool negative, int exponent, std::uint32_t mantissa) {
  const Half half = half_of(type);
  const auto field = static_cast<std::uint32_t>(std::clamp(exponent + half.bias, 0, 2 * half.bias));
  return static_cast<std::uint16_t>((negative ? 0x8000U : 0U) | field << half.mantissa_bits |
                                    (mantissa & ((1U << half.mantissa_bits) - 1)));
}

// [rows][kIn]. Of cancelling numbers, every second is its neighbour negated and a little off in `in`, equal in the
// weight, so that products within a step all but annihilate each other.
std::vector<std::uint16_t> matrix_of(ComputeType type, Numbers numbers, std::int32_t rows, bool is_in,
                                     std::mt19937& generator) {
  std::vector<std::uint16_t> matrix(static_cast<std::size_t>(rows * kIn));
  const int widest = half_of(type).widest;
  for (std::size_t i = 0; i < matrix.size(); ++i) {
    const auto word = static_cast<std::uint32_t>(generator());
    const bool negative = (word & 1U) != 0;
    const std::uint32_t mantissa = word >> 16;
    const int small = static_cast<int>(word >> 1 & 3U);
    switch (numbers) {
      case Numbers::kOrdinary:
        matrix[i] = number_of(type, negative, -small, mantissa);
        break;
      case Numbers::kWide:
        matrix[i] = number_of(type, negative, static_cast<int>(word >> 1 & 0xFFFU) % (2 * widest) - widest, mantissa);
        break;
      case Numbers::kCancelling:
        matrix[i] = i % 2 == 0 ? number_of(type, negative, small, mantissa)
                               : static_cast<std::uint16_t>(is_in ? matrix[i - 1] ^ (0x8000U | (word >> 4 & 1U))
                                                                  : matrix[i - 1]);
        break;
      case Numbers::kTiny:  // for bf16, products that are denormal in float32
        matrix[i] = number_of(type, negative, type == ComputeType::kF16 ? -20 : is_in ? -130 : -small, mantissa);
        break;
      case Numbers::kFullMantissas:
        matrix[i] = number_of(type, false, -small, ~0U << (word >> 8 & 1U));
        break;
    }
  }
  return matrix;
}

// The memory of one comparison. A value.
struct Probe {
  Buffer in;
  Buffer weight;
  Buffer out;
  Staging& staging;
  cudaStream_t stream;

  void load(ComputeType type, Numbers numbers, std::mt19937& generator) const {
    const std::vector<std::uint16_t> rows = matrix_of(type, numbers, kRows, true, generator);
    const std::vector<std::uint16_t> weights = matrix_of(type, numbers, kOut, false, generator);
    std::vector<std::uint16_t> packed(weights.size());
    for (std::int64_t row = 0; row < kOut; ++row) {
      for (std::int64_t k = 0; k < kIn; ++k) {
        packed[static_cast<std::size_t>(linear_weight_place(row, k, kIn))] =
            weights[static_cast<std::size_t>(row * kIn + k)];
      }
    }
    staging.upload(rows.data(), in.data(), rows.size() * 2);
    staging.upload(packed.data(), weight.data(), packed.size() * 2);
  }

  absl::StatusOr<std::vector<float>> run(ComputeType type, LinearTile tile, int slices) const {
    const LinearArguments arguments{.in = in.data(),
                                    .in_stride = kIn,
                                    .weight = weight.data(),
                                    .out = out.data(),
                                    .out_stride = kOut,
                                    .rows = kRows,
                                    .out_features = kOut,
                                    .in_features = kIn,
                                    .padded_k = kIn,
                                    .slices = slices,
                                    .is_aligned = true};
    COPPICE_RETURN_IF_ERROR(
        to_status(static_cast<cudaError_t>(launch_linear(arguments, dense_format(type), tile, {stream})),
                  "a product that asks how tensor cores sum"));
    std::vector<float> result(static_cast<std::size_t>(kRows * kOut));
    COPPICE_RETURN_IF_ERROR(to_status(
        cudaMemcpyAsync(result.data(), out.data(), result.size() * 4, cudaMemcpyDeviceToHost, stream), "its result"));
    COPPICE_RETURN_IF_ERROR(to_status(cudaStreamSynchronize(stream), "a product that asks how tensor cores sum"));
    return result;
  }
};

void compare(const std::vector<float>& expected, const std::vector<float>& found, ComputeType type, Numbers numbers,
             HopperVerdict& verdict) {
  ++verdict.products;
  if (std::memcmp(expected.data(), found.data(), expected.size() * sizeof(float)) == 0) {
    return;
  }
  ++verdict.different;
  double largest = 1e-300;
  double difference = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
    const double off = std::abs(static_cast<double>(expected[i]) - static_cast<double>(found[i]));
    difference = std::isnan(off) ? HUGE_VAL : std::max(difference, off);
  }
  if (verdict.worst.empty() || difference / largest > verdict.difference) {
    verdict.difference = difference / largest;
    verdict.worst = fmt::format("{} {}", format_name(type), name_of(numbers));
  }
}

}  // namespace

std::string HopperVerdict::words() const {
  if (products == 0) {
    return "";
  }
  if (agrees()) {
    return fmt::format("wgmma gives the bits of mma in {} of {} products: used", products, products);
  }
  return fmt::format("wgmma gives other bits than mma in {} of {} products, by up to {:.1e} ({}): not used", different,
                     products, difference, worst);
}

absl::StatusOr<HopperVerdict> probe_hopper_products(Staging& staging, cudaStream_t stream) {
  LoadedKernels loaded;
  prepare_linear_hopper(loaded);
  COPPICE_RETURN_IF_ERROR(to_status(static_cast<cudaError_t>(loaded.error()), "products by wgmma"));
  // Of older PTX than waits, translated by the driver: these kernels would trap.
  if (!loaded.wait_for_earlier()) {
    return absl::FailedPreconditionError(
        "products by wgmma were asked for, but this library was compiled without code for compute capability 9.0a");
  }
  COPPICE_ASSIGN_OR_RETURN(Buffer in, allocate_device(kRows * kIn * 2, stream));
  COPPICE_ASSIGN_OR_RETURN(Buffer weight, allocate_device(kOut * kIn * 2, stream));
  COPPICE_ASSIGN_OR_RETURN(Buffer out, allocate_device(kRows * kOut * 4, stream));
  const Probe probe{std::move(in), std::move(weight), std::move(out), staging, stream};
  HopperVerdict verdict;
  std::mt19937 generator(20);
  for (const ComputeType type : {ComputeType::kBF16, ComputeType::kF16}) {
    for (const Numbers numbers : kAllNumbers) {
      probe.load(type, numbers, generator);
      for (const LinearTile tile : {LinearTile::k128x128Hopper, LinearTile::k128x256Hopper}) {
        const int slices = tile == LinearTile::k128x128Hopper ? 2 : 1;
        COPPICE_ASSIGN_OR_RETURN(const std::vector<float> expected, probe.run(type, LinearTile::k128x128Whole, slices));
        COPPICE_ASSIGN_OR_RETURN(const std::vector<float> found, probe.run(type, tile, slices));
        compare(expected, found, type, numbers, verdict);
      }
    }
  }
  return verdict;
}

}  // namespace coppice::kernels::cuda
