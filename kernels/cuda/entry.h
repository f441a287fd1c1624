// The one door of libcoppice_cuda.so. C++ objects pass through it (the Backend's table of functions, absl::Status,
// std::string), which is safe only between two halves of one build: the same compiler, the same headers, the same heap.
// So the caller says what it was built as and the library refuses a stranger before any object is touched.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "kernels/backend.h"
#include "kernels/cuda/options.h"

namespace coppice::kernels::cuda {

inline constexpr const char* kLibraryName = "libcoppice_cuda.so";
inline constexpr const char* kEntryName = "coppice_open_cuda";
inline constexpr int kEntryVersion = 4;  // raised with every change of meaning that no size shows

// Compiled on both sides; equal where both sides see the same types.
inline std::string build_identity() {
  return fmt::format("{}; {}; {} {} {} {} {} {} {} {} {} {} {}", kEntryVersion, __VERSION__, sizeof(Backend),
                     sizeof(AttentionPlan), sizeof(AttentionItem), sizeof(SamplingRow), sizeof(SamplingResult),
                     sizeof(RopeParameters), sizeof(KvGeometry), sizeof(StepInputs), sizeof(StepLimits),
                     sizeof(StepCounts), sizeof(CudaOptions));
}

using BackendResult = absl::StatusOr<std::unique_ptr<Backend>>;

// coppice_open_cuda: fills `result` and returns null, or, when `identity` is not the library's own, touches nothing and
// returns the library's.
using OpenCuda = const char*(const char* identity, const CudaOptions* options, BackendResult* result);

}  // namespace coppice::kernels::cuda
