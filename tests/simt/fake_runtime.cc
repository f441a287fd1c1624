// A CUDA runtime for the emulator: the calls that kernels/cuda makes, with host memory for the GPU's. Everything
// happens at once and in order; device memory starts as NaN. A stream that is captured notes down what it is told, and
// calls that CUDA forbids meanwhile (those that allocate, free or wait) spoil the capture as they do there.
#include "tests/simt/fake_runtime.h"

#include <cuda_runtime_api.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <utility>

#include "tests/simt/device_limits.h"
#include "tests/simt/recording.h"
#include "tests/simt/session.h"

// The runtime's own names for what it hands out.
struct CUgraph_st {
  coppice::simt::Recording operations;
};
struct CUgraphExec_st {
  coppice::simt::Recording operations;
};
struct CUevent_st {
  std::chrono::steady_clock::time_point recorded;
};

namespace {

using coppice::simt::recording;
using coppice::simt::set_recording;

// The capture under way.
CUgraph_st* captured = nullptr;
bool capture_spoilt = false;
bool captures_refused = false;
std::int64_t allocation_count = 0;

// For calls that must not be made while a stream is captured.
cudaError_t refuse_in_capture() {
  if (recording() == nullptr) {
    return cudaSuccess;
  }
  capture_spoilt = true;
  return cudaErrorStreamCaptureUnsupported;
}

cudaError_t enqueue(coppice::simt::Operation operation) {
  return coppice::simt::do_or_record(std::move(operation)) ? cudaSuccess : cudaErrorLaunchFailure;
}

constexpr std::size_t kMemoryBytes = std::size_t{1} << 30;
std::map<void*, std::size_t>& allocations() {
  static std::map<void*, std::size_t> map;
  return map;
}

std::size_t used_bytes() {
  std::size_t sum = 0;
  for (const auto& [data, bytes] : allocations()) {
    sum += bytes;
  }
  return sum;
}

}  // namespace

namespace coppice::simt {

std::int64_t allocations_made() {
  return allocation_count;
}
std::map<std::pair<const void*, int>, int>& function_attributes() {
  static std::map<std::pair<const void*, int>, int> map;
  return map;
}
void refuse_captures(bool refuse) {
  captures_refused = refuse;
}

}  // namespace coppice::simt

extern "C" {

const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaSuccess ? "no error" : error == cudaErrorMemoryAllocation ? "out of memory" : "failed";
}
cudaError_t cudaGetLastError() {
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  return device == 0 ? cudaSuccess : cudaErrorInvalidDevice;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = cudaDeviceProp{};
  std::strcpy(properties->name, "emulated GPU");
  properties->major = coppice::simt::device_limits().capability / 10;
  properties->minor = coppice::simt::device_limits().capability % 10;
  properties->multiProcessorCount = 3;
  properties->totalGlobalMem = kMemoryBytes;
  properties->sharedMemPerBlockOptin = static_cast<std::size_t>(coppice::simt::device_limits().shared_block_kib) << 10;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  *value = coppice::simt::device_limits().shared_block_kib * 1024;
  return attribute == cudaDevAttrMaxSharedMemoryPerBlockOptin ? cudaSuccess : cudaErrorInvalidValue;
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
  attributes->ptxVersion = coppice::simt::device_limits().code_version;
  return cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  coppice::simt::function_attributes()[{function, attribute}] = value;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** data, std::size_t bytes) {
  if (const cudaError_t error = refuse_in_capture(); error != cudaSuccess) {
    return error;
  }
  ++allocation_count;
  if (bytes > kMemoryBytes - used_bytes()) {
    return cudaErrorMemoryAllocation;
  }
  *data = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  std::memset(*data, 0xFF, bytes);
  allocations()[*data] = bytes;
  coppice::simt::GlobalMemory::add(*data, bytes, true, "device memory", true);
  return cudaSuccess;
}
cudaError_t cudaFree(void* data) {
  if (const cudaError_t error = refuse_in_capture(); error != cudaSuccess) {
    return error;
  }
  coppice::simt::GlobalMemory::remove(data);
  allocations().erase(data);
  std::free(data);
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) {
  *free_bytes = kMemoryBytes - used_bytes();
  *total_bytes = kMemoryBytes;
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** data, std::size_t bytes, unsigned) {
  if (const cudaError_t error = refuse_in_capture(); error != cudaSuccess) {
    return error;
  }
  ++allocation_count;
  *data = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* data) {
  if (const cudaError_t error = refuse_in_capture(); error != cudaSuccess) {
    return error;
  }
  std::free(data);
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* data, int value, std::size_t bytes, cudaStream_t) {
  return enqueue([=] {
    std::memset(data, value, bytes);
    return true;
  });
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
  if (recording() != nullptr && kind == cudaMemcpyHostToDevice) {
    // CUDA would note it down. But the backend's host memory is a ring, so it would copy something else when played.
    return refuse_in_capture();
  }
  return enqueue([=] {
    std::memcpy(to, from, bytes);
    return true;
  });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = reinterpret_cast<cudaStream_t>(std::malloc(1));
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  std::free(stream);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) {
  return refuse_in_capture();
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  if (recording() == nullptr) {
    event->recorded = std::chrono::steady_clock::now();
  }
  return cudaSuccess;
}
// Not ready at every other question, so that who asks has to wait.
cudaError_t cudaEventQuery(cudaEvent_t) {
  static bool is_ready = true;
  is_ready = !is_ready;
  return is_ready ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaEventSynchronize(cudaEvent_t) {
  return refuse_in_capture();
}
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t begin, cudaEvent_t end) {
  *ms = std::chrono::duration<float, std::milli>(end->recorded - begin->recorded).count();
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
  if (captures_refused) {
    return cudaErrorStreamCaptureUnsupported;
  }
  if (captured != nullptr) {
    return cudaErrorIllegalState;
  }
  captured = new CUgraph_st;
  capture_spoilt = false;
  set_recording(&captured->operations);
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) {
  if (captured == nullptr) {
    return cudaErrorIllegalState;
  }
  set_recording(nullptr);
  *graph = std::exchange(captured, nullptr);
  if (capture_spoilt) {
    delete std::exchange(*graph, nullptr);
    return cudaErrorStreamCaptureInvalidated;
  }
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  *exec = new CUgraphExec_st{graph->operations};
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t) {
  for (const coppice::simt::Operation& operation : exec->operations) {
    if (!operation()) {
      return cudaErrorLaunchFailure;
    }
  }
  return cudaSuccess;
}

}  // extern "C"
