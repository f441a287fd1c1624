// Weights take turns, so that each product reads its own from memory.
#include "kernels/bench/linear_bench.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <utility>
#include <vector>

#include "base/status_macros.h"

namespace coppice::kernels {
namespace {

constexpr std::uint32_t kSeed = 1;         // any: only time is measured
constexpr int kRepetitionsLeast = 5;       // for a median
constexpr std::size_t kWeightsMost = 256;  // of a small product: enough to be out of every cache's prediction

}  // namespace

absl::StatusOr<LinearBench> LinearBench::make(const LinearBenchOptions& options, Backend& backend) {
  LinearBench bench(options, backend);
  std::vector<float> numbers(static_cast<std::size_t>(options.in_features * options.out_features));
  std::minstd_rand generator(kSeed);
  for (float& number : numbers) {
    number = static_cast<float>(generator() % 2048) / 1024.0F - 1.0F;
  }
  const HostWeight part{
      std::as_bytes(std::span(numbers)), {WeightKind::kF32}, options.out_features, options.in_features, {}};
  std::size_t bytes = 0;
  while (bytes < options.cold_bytes && bench.weights_.size() < kWeightsMost) {
    COPPICE_ASSIGN_OR_RETURN(std::unique_ptr<LinearWeight> weight,
                             backend.device().pack_linear({&part, 1}, {}, options.packing));
    bytes += weight->bytes();
    bench.weights_.push_back(std::move(weight));
  }
  return bench;
}

absl::StatusOr<double> LinearBench::measure(std::int64_t rows) {
  Device& device = backend_->device();
  const ComputeType type = options_.packing.compute;
  const auto elements = static_cast<std::size_t>(rows * options_.in_features);
  COPPICE_ASSIGN_OR_RETURN(const Buffer in, device.allocate(elements * element_bytes(type)));
  COPPICE_ASSIGN_OR_RETURN(const Buffer out,
                           device.allocate(static_cast<std::size_t>(rows * options_.out_features) * sizeof(float)));
  std::vector<std::uint16_t> halves(elements * element_bytes(type) / sizeof(std::uint16_t));
  for (std::size_t i = 0; i < halves.size(); ++i) {
    // bf16 and f16 numbers that are no denormals; two of them are such a float.
    halves[i] = static_cast<std::uint16_t>(0x3800U + i * 37 % 256);
  }
  device.upload(halves.data(), in.data(), elements * element_bytes(type));
  const Matrix from = in.matrix(type, rows, options_.in_features);
  const Matrix to = out.matrix(ComputeType::kF32, rows, options_.out_features);
  device.synchronize();
  std::vector<double> times;
  using Clock = std::chrono::steady_clock;
  const Clock::time_point end =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options_.seconds));
  for (std::size_t i = 0; Clock::now() < end || times.size() < kRepetitionsLeast; ++i) {
    const Clock::time_point begin = Clock::now();
    backend_->operations().linear(from, *weights_[i % weights_.size()], LinearEpilogue::kStore, to);
    device.synchronize();
    times.push_back(std::chrono::duration<double, std::micro>(Clock::now() - begin).count());
  }
  std::ranges::nth_element(times, times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2));
  return times[times.size() / 2];
}

}  // namespace coppice::kernels
