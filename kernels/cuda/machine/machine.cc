// Measuring a GPU's memory and its bf16 arithmetic.
#include "kernels/cuda/machine/machine.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <random>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/launch.h"

namespace coppice::kernels::cuda {

namespace {

constexpr std::size_t kBytes = std::size_t{1} << 30;            // far larger than a GPU's cache
constexpr std::int64_t kSide = 8192;                            // of a square product: large enough for full speed
constexpr int kRuns = 8;                                        // the best counts
constexpr std::size_t kWorkspaceBytes = std::size_t{64} << 20;  // more than cuBLASLt asks for

struct TimedEvent {
  TimedEvent() { COPPICE_CUDA_CHECK(cudaEventCreate(&event)); }
  ~TimedEvent() { static_cast<void>(cudaEventDestroy(event)); }
  TimedEvent(const TimedEvent&) = delete;
  TimedEvent& operator=(const TimedEvent&) = delete;
  cudaEvent_t event = nullptr;
};

// Returns the seconds of the fastest of several runs, after warm-up runs that raise an idle GPU's clock.
absl::StatusOr<double> fastest(const std::function<absl::Status()>& work, cudaStream_t stream) {
  constexpr std::chrono::milliseconds kWarmUp(50);
  const auto warm = std::chrono::steady_clock::now() + kWarmUp;
  do {
    COPPICE_RETURN_IF_ERROR(work());
    COPPICE_RETURN_IF_ERROR(to_status(cudaStreamSynchronize(stream), "a benchmark's kernel"));
  } while (std::chrono::steady_clock::now() < warm);
  const TimedEvent begin;
  const TimedEvent end;
  double best_s = 1e30;
  for (int run = 0; run < kRuns; ++run) {
    COPPICE_CUDA_CHECK(cudaEventRecord(begin.event, stream));
    COPPICE_RETURN_IF_ERROR(work());
    COPPICE_CUDA_CHECK(cudaEventRecord(end.event, stream));
    COPPICE_CUDA_CHECK(cudaEventSynchronize(end.event));
    float ms = 0;
    COPPICE_CUDA_CHECK(cudaEventElapsedTime(&ms, begin.event, end.event));
    best_s = std::min(best_s, static_cast<double>(ms) / 1e3);
  }
  return best_s;
}

absl::Status launched(int error) {
  return to_status(static_cast<cudaError_t>(error), "a benchmark's kernel");
}

// Numbers around zero, not all alike: products of zeros run faster than a model's.
absl::Status fill_random(const Buffer& matrix, cudaStream_t stream) {
  constexpr std::size_t kPart = std::size_t{1} << 20;  // numbers made on the host, and repeated
  std::vector<std::uint16_t> part(kPart);
  std::mt19937 generator(5);
  for (std::uint16_t& number : part) {
    // Sign, exponent of 2^-3 to 2^0, mantissa.
    const auto word = static_cast<std::uint32_t>(generator());
    number = static_cast<std::uint16_t>((word & 0x807FU) | (124U + (word >> 16 & 3U)) << 7);
  }
  auto* data = static_cast<std::byte*>(matrix.data());
  for (std::size_t done = 0; done < matrix.bytes(); done += kPart * 2) {
    const std::size_t bytes = std::min(kPart * 2, matrix.bytes() - done);
    COPPICE_CUDA_CHECK(cudaMemcpyAsync(data + done, part.data(), bytes, cudaMemcpyHostToDevice, stream));
  }
  return to_status(cudaStreamSynchronize(stream), "filling matrices");
}

absl::Status measure_memory(const GpuFacts& gpu, cudaStream_t stream, MachineFigures& figures) {
  COPPICE_ASSIGN_OR_RETURN(const Buffer from, allocate_device(kBytes, stream));
  COPPICE_ASSIGN_OR_RETURN(const Buffer to, allocate_device(kBytes, stream));
  const std::int32_t blocks = 4 * gpu.processors;
  COPPICE_ASSIGN_OR_RETURN(const Buffer sums, allocate_device(static_cast<std::size_t>(blocks) * 4, stream));
  const auto read = [&] {
    return launched(launch_read(from.data(), kBytes, static_cast<std::uint32_t*>(sums.data()), blocks, {stream}));
  };
  COPPICE_ASSIGN_OR_RETURN(const double read_s, fastest(read, stream));
  const auto copy = [&] {
    return to_status(cudaMemcpyAsync(to.data(), from.data(), kBytes, cudaMemcpyDeviceToDevice, stream), "copy");
  };
  COPPICE_ASSIGN_OR_RETURN(const double copy_s, fastest(copy, stream));
  figures.read_gb_per_s = static_cast<double>(kBytes) / read_s / 1e9;
  figures.copy_gb_per_s = 2 * static_cast<double>(kBytes) / copy_s / 1e9;
  return absl::OkStatus();
}

absl::Status measure_products(const CudaContext& context, MachineFigures& figures) {
  const cudaStream_t stream = context.on();
  constexpr std::size_t kMatrixBytes = static_cast<std::size_t>(kSide * kSide) * 2;  // of bf16
  Buffer matrices[3];
  for (Buffer& matrix : matrices) {
    COPPICE_ASSIGN_OR_RETURN(matrix, allocate_device(kMatrixBytes, stream));
    COPPICE_RETURN_IF_ERROR(fill_random(matrix, stream));
  }
  COPPICE_ASSIGN_OR_RETURN(const Buffer workspace, allocate_device(kWorkspaceBytes, stream));
  const double flops = 2.0 * static_cast<double>(kSide) * static_cast<double>(kSide) * static_cast<double>(kSide);
  const LinearArguments arguments{.in = matrices[0].data(),
                                  .in_stride = kSide,
                                  .weight = matrices[1].data(),
                                  .out = matrices[2].data(),
                                  .out_stride = kSide,
                                  .rows = kSide,
                                  .out_features = kSide,
                                  .in_features = kSide,
                                  .padded_k = kSide,
                                  .slices = linear_slices(kSide, kSide),
                                  .rings = context.rings,
                                  .processors = context.gpu.processors,
                                  .out_is_half = true,
                                  .is_aligned = true};
  double best_gflops = 0;
  const auto time_own = [&](LinearTile tile, int slices, const char* what) -> absl::Status {
    const auto own = [&] {
      LinearArguments product = arguments;
      product.slices = slices;
      return launched(launch_linear(product, dense_format(ComputeType::kBF16), tile, {stream}));
    };
    COPPICE_ASSIGN_OR_RETURN(const double seconds, fastest(own, stream));
    const double gflops = flops / seconds / 1e9;
    best_gflops = std::max(best_gflops, gflops);
    figures.isa += fmt::format("; {} {:.0f} GFLOP/s", what, gflops);
    return absl::OkStatus();
  };
  COPPICE_RETURN_IF_ERROR(time_own(LinearTile::k128x128Whole, arguments.slices, "our own bf16 product"));
  if (context.hopper.agrees()) {
    COPPICE_RETURN_IF_ERROR(time_own(LinearTile::k128x128Hopper, arguments.slices, "by wgmma"));
    COPPICE_RETURN_IF_ERROR(time_own(LinearTile::k128x256Hopper, 1, "by wgmma with K in one slice"));
  }
  figures.bf16_gflops = best_gflops;
  absl::StatusOr<BlasProduct> blas = BlasProduct::create(kSide);
  if (!blas.ok()) {
    figures.isa += "; no cuBLASLt here";
    return absl::OkStatus();
  }
  const auto product = [&] {
    return blas->run(matrices[1].data(), matrices[0].data(), matrices[2].data(), workspace.data(), kWorkspaceBytes,
                     stream);
  };
  COPPICE_ASSIGN_OR_RETURN(const double blas_s, fastest(product, stream));
  const double blas_gflops = flops / blas_s / 1e9;
  figures.bf16_gflops = std::max(best_gflops, blas_gflops);
  figures.isa += fmt::format("; by cuBLASLt {:.0f} GFLOP/s", blas_gflops);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<MachineFigures> measure_machine(const CudaOptions& options) {
  COPPICE_ASSIGN_OR_RETURN(const std::unique_ptr<CudaContext> context, CudaContext::open(options));
  prepare_read(context->kernels);
  COPPICE_RETURN_IF_ERROR(prepared_status(context->kernels, "a kernel that reads", context->gpu));
  MachineFigures figures;
  figures.cores = context->gpu.processors;
  figures.isa = context->gpu.name;
  COPPICE_RETURN_IF_ERROR(measure_memory(context->gpu, context->on(), figures));
  COPPICE_RETURN_IF_ERROR(measure_products(*context, figures));
  return figures;
}

}  // namespace coppice::kernels::cuda
