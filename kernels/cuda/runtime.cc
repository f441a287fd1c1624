// Errors, streams, events and memory of the CUDA runtime.
#include "kernels/cuda/runtime.h"

#include "base/status_macros.h"

namespace coppice::kernels::cuda {

namespace {

constexpr int kCapabilityMin = 80;  // bf16 arithmetic, cp.async

std::string version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

// Returns why no GPU can be used and what to do about it.
absl::Status unusable(cudaError_t error, int runtime_version, int driver_version) {
  if (driver_version == 0) {
    return absl::FailedPreconditionError("no usable GPU: this machine has no NVIDIA driver");
  }
  if (error == cudaErrorInsufficientDriver) {
    return absl::FailedPreconditionError(
        fmt::format("no usable GPU: the NVIDIA driver knows CUDA {}, this program needs {}; update the driver",
                    version_text(driver_version), version_text(runtime_version)));
  }
  return absl::FailedPreconditionError(fmt::format("no usable GPU: {}", cudaGetErrorString(error)));
}

}  // namespace

absl::Status to_status(cudaError_t error, const std::string& what) {
  if (error == cudaSuccess) {
    return absl::OkStatus();
  }
  const std::string message = fmt::format("{}: {}", what, cudaGetErrorString(error));
  switch (error) {
    case cudaErrorMemoryAllocation:
      return absl::ResourceExhaustedError(message);
    case cudaErrorInsufficientDriver:
    case cudaErrorNoDevice:
      return absl::FailedPreconditionError(message);
    default:
      return absl::InternalError(message);
  }
}

absl::StatusOr<CudaStream> CudaStream::create() {
  cudaStream_t stream = nullptr;
  COPPICE_RETURN_IF_ERROR(to_status(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "CUDA stream"));
  CudaStream out;
  out.stream_.reset(stream);
  return out;
}

absl::StatusOr<CudaEvent> CudaEvent::create(bool timed) {
  cudaEvent_t event = nullptr;
  const unsigned flags = timed ? cudaEventDefault : cudaEventDisableTiming;
  COPPICE_RETURN_IF_ERROR(to_status(cudaEventCreateWithFlags(&event, flags), "CUDA event"));
  CudaEvent out;
  out.event_.reset(event);
  return out;
}

absl::StatusOr<Buffer> allocate_device(std::size_t bytes, cudaStream_t stream) {
  if (bytes == 0) {
    return Buffer();
  }
  void* data = nullptr;
  if (const cudaError_t error = cudaMalloc(&data, bytes); error != cudaSuccess) {
    static_cast<void>(cudaGetLastError());  // an allocation that failed is no error of the calls that follow
    if (error != cudaErrorMemoryAllocation) {
      return to_status(error, "GPU memory");
    }
    std::size_t free_bytes = 0;
    std::size_t total_bytes = 0;
    static_cast<void>(cudaMemGetInfo(&free_bytes, &total_bytes));
    return absl::ResourceExhaustedError(fmt::format(
        "GPU memory: {:.2f} GB wanted, {:.2f} GB of {:.2f} GB free; use a smaller model or a smaller KV pool",
        static_cast<double>(bytes) / 1e9, static_cast<double>(free_bytes) / 1e9,
        static_cast<double>(total_bytes) / 1e9));
  }
  Buffer buffer(data, bytes, [](void* memory) { static_cast<void>(cudaFree(memory)); });
  COPPICE_RETURN_IF_ERROR(to_status(cudaMemsetAsync(data, 0, bytes, stream), "GPU memory"));
  return buffer;
}

absl::StatusOr<Buffer> allocate_pinned(std::size_t bytes) {
  void* data = nullptr;
  COPPICE_RETURN_IF_ERROR(to_status(cudaHostAlloc(&data, bytes, cudaHostAllocDefault),
                                    fmt::format("{:.1f} MB of page-locked memory", static_cast<double>(bytes) / 1e6)));
  return Buffer(data, bytes, [](void* memory) { static_cast<void>(cudaFreeHost(memory)); });
}

MemoryFacts memory_facts() {
  MemoryFacts facts;
  COPPICE_CUDA_CHECK(cudaMemGetInfo(&facts.free_bytes, &facts.total_bytes));
  return facts;
}

absl::StatusOr<GpuFacts> open_gpu(int device) {
  GpuFacts facts;
  static_cast<void>(cudaRuntimeGetVersion(&facts.runtime_version));
  static_cast<void>(cudaDriverGetVersion(&facts.driver_version));
  int count = 0;
  if (const cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess) {
    return unusable(error, facts.runtime_version, facts.driver_version);
  }
  if (count == 0) {
    return absl::FailedPreconditionError("no usable GPU: none is visible to this program");
  }
  if (device < 0 || device >= count) {
    return absl::InvalidArgumentError(fmt::format("GPU {} is not there: this program sees {}", device, count));
  }
  if (const cudaError_t error = cudaSetDevice(device); error != cudaSuccess) {
    return unusable(error, facts.runtime_version, facts.driver_version);
  }
  cudaDeviceProp properties{};
  COPPICE_RETURN_IF_ERROR(to_status(cudaGetDeviceProperties(&properties, device), "GPU properties"));
  facts.device = device;
  facts.name = properties.name;
  facts.capability = 10 * properties.major + properties.minor;
  facts.processors = properties.multiProcessorCount;
  facts.memory_bytes = properties.totalGlobalMem;
  facts.shared_bytes_max = properties.sharedMemPerBlockOptin;
  if (facts.capability < kCapabilityMin) {
    return absl::FailedPreconditionError(
        fmt::format("no usable GPU: {} has compute capability {}.{}; 8.0 (A100) or later is needed", facts.name,
                    properties.major, properties.minor));
  }
  return facts;
}

absl::Status prepared_status(const LoadedKernels& loaded, const std::string& what, const GpuFacts& gpu) {
  const auto error = static_cast<cudaError_t>(loaded.error());
  if (error == cudaErrorLaunchOutOfResources) {
    return absl::FailedPreconditionError(
        fmt::format("{}: a kernel needs more than the {} KiB of shared memory that a block can have on {}", what,
                    gpu.shared_bytes_max >> 10, gpu.name));
  }
  return to_status(error, what);
}

}  // namespace coppice::kernels::cuda
