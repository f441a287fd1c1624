// The emulated CUDA runtime's captures: noted down, not done; spoilt by what CUDA forbids meanwhile. And the numbers of
// rows that steps are padded to for recording.
#include <cuda_runtime_api.h>

#include <catch2/catch.hpp>
#include <set>

#include "kernels/cuda/prepare.h"
#include "kernels/cuda/step/block.h"
#include "kernels/cuda/step/graphs.h"
#include "tests/simt/device_limits.h"
#include "tests/simt/fake_runtime.h"

namespace coppice::kernels::cuda {
namespace {

struct Memory {
  Memory() { REQUIRE(cudaMalloc(reinterpret_cast<void**>(&data), 8) == cudaSuccess); }
  ~Memory() { static_cast<void>(cudaFree(data)); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  unsigned char* data = nullptr;
};

TEST_CASE("a kernel gets its shared memory and the largest division of on-chip memory, or an error") {
  const simt::DeviceLimits before = simt::device_limits();
  const int function = 0;
  LoadedKernels loaded;
  prepare_function(&function, 99 * 1024, loaded);
  CHECK(loaded.error() == 0);
  CHECK(loaded.wait_for_earlier());
  auto& given = simt::function_attributes();
  CHECK((given[{&function, cudaFuncAttributeMaxDynamicSharedMemorySize}]) == 99 * 1024);
  CHECK((given[{&function, cudaFuncAttributePreferredSharedMemoryCarveout}]) == cudaSharedmemCarveoutMaxShared);
  // Code that a driver translated from older PTX does not wait, whatever the GPU can do.
  simt::device_limits() = {.capability = 100, .code_version = 80};
  prepare_function(&function, 0, loaded);
  CHECK_FALSE(loaded.wait_for_earlier());
  simt::device_limits() = {.capability = 86, .shared_block_kib = 99, .shared_kib = 100, .threads = 1536};
  prepare_function(&function, 99 * 1024 + 1, loaded);
  CHECK(loaded.error() == cudaErrorLaunchOutOfResources);
  CHECK(loaded.count() == 3);
  CHECK_FALSE(LoadedKernels().wait_for_earlier());
  simt::device_limits() = before;
}

TEST_CASE("a captured stream does nothing until its graph is launched, and then the same every time") {
  const Memory memory;
  REQUIRE(cudaMemsetAsync(memory.data, 1, 8, nullptr) == cudaSuccess);
  REQUIRE(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
  CHECK(cudaMemcpyAsync(memory.data + 4, memory.data, 1, cudaMemcpyDeviceToDevice, nullptr) == cudaSuccess);
  CHECK(cudaMemsetAsync(memory.data, 3, 1, nullptr) == cudaSuccess);
  CHECK(memory.data[0] == 1);
  cudaGraph_t graph = nullptr;
  REQUIRE(cudaStreamEndCapture(nullptr, &graph) == cudaSuccess);
  cudaGraphExec_t exec = nullptr;
  REQUIRE(cudaGraphInstantiate(&exec, graph, 0) == cudaSuccess);
  CHECK(cudaGraphDestroy(graph) == cudaSuccess);
  CHECK(memory.data[0] == 1);
  for (const int value : {7, 9}) {
    memory.data[0] = static_cast<unsigned char>(value);
    CHECK(cudaGraphLaunch(exec, nullptr) == cudaSuccess);
    CHECK(memory.data[4] == value);
    CHECK(memory.data[0] == 3);
  }
  CHECK(cudaGraphExecDestroy(exec) == cudaSuccess);
}

TEST_CASE("what allocates, frees, waits or copies from the host spoils a capture") {
  const Memory memory;
  void* got = nullptr;
  const unsigned char host = 5;
  cudaEvent_t event = nullptr;
  REQUIRE(cudaEventCreateWithFlags(&event, 0) == cudaSuccess);
  for (int call = 0; call < 7; ++call) {
    INFO("call " << call);
    REQUIRE(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
    const cudaError_t error = call == 0   ? cudaMalloc(&got, 8)
                              : call == 1 ? cudaFree(memory.data)
                              : call == 2 ? cudaHostAlloc(&got, 8, 0)
                              : call == 3 ? cudaFreeHost(memory.data)
                              : call == 4 ? cudaStreamSynchronize(nullptr)
                              : call == 5 ? cudaEventSynchronize(event)
                                          : cudaMemcpyAsync(memory.data, &host, 1, cudaMemcpyHostToDevice, nullptr);
    CHECK(error == cudaErrorStreamCaptureUnsupported);
    cudaGraph_t graph = nullptr;
    CHECK(cudaStreamEndCapture(nullptr, &graph) == cudaErrorStreamCaptureInvalidated);
    CHECK(graph == nullptr);
  }
  CHECK(cudaEventDestroy(event) == cudaSuccess);
}

TEST_CASE("a recording that is spoilt ends recording, and its step is run all the same") {
  const Memory memory;
  LaunchErrors errors;
  StepGraphs graphs(4, errors);
  const StepGraphs::Key key{StepProgram{1}, {2, 2}};
  int runs = 0;
  const auto enqueue = [&] {
    ++runs;
    if (errors.is_recording()) {
      errors.check(cudaErrorInvalidConfiguration);  // a launch that was refused
    }
    COPPICE_CUDA_CHECK(cudaMemsetAsync(memory.data, runs, 1, nullptr));
  };
  for (int i = 0; i < 3; ++i) {
    graphs.run(key, nullptr, enqueue);
  }
  CHECK(runs == 4);  // one of them for nothing
  CHECK(memory.data[0] == 4);
  CHECK(graphs.counts().direct == 3);
  CHECK(graphs.counts().played == 0);
  CHECK(graphs.counts().trouble != "");
  CHECK_FALSE(graphs.active());
}

TEST_CASE("recordings of two programs are kept apart") {
  const Memory memory;
  LaunchErrors errors;
  StepGraphs graphs(4, errors);
  for (int i = 0; i < 3; ++i) {
    for (const std::uint32_t program : {1U, 2U}) {
      graphs.run({StepProgram{program}, {4, 0}}, nullptr,
                 [&] { COPPICE_CUDA_CHECK(cudaMemsetAsync(memory.data, static_cast<int>(program), 1, nullptr)); });
      CHECK(memory.data[0] == program);
    }
  }
  CHECK(graphs.counts().recorded == 2);
  CHECK(graphs.counts().played == 4);
}

TEST_CASE("steps are padded to few sizes, little, and never beyond the limit") {
  for (const std::int32_t most : {1, 7, 100, 512, 4096}) {
    std::set<std::int32_t> sizes;
    for (std::int32_t rows = 0; rows <= most; ++rows) {
      const std::int32_t padded = recorded_rows(rows, most);
      INFO(rows << " of " << most);
      CHECK(padded >= rows);
      CHECK(padded <= most);
      CHECK(padded == recorded_rows(padded, most));
      if (rows == 0 || rows > kRecordedRowsMax) {
        CHECK(padded == rows);
      } else {
        sizes.insert(padded);
        CHECK(padded - rows < 64);
        CHECK((rows > 64 || padded <= 2 * rows));
      }
    }
    CHECK(sizes.size() <= 20);
  }
  CHECK(recorded_rows(5, 3) == 5);  // more than was foreseen
}

}  // namespace
}  // namespace coppice::kernels::cuda
