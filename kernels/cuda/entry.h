// The entry of libcoppice_cuda.so: one exported function that returns a table. C++ objects pass through it (virtual
// tables, absl::Status, std::string), which is safe only within one build: the same compiler, the same headers, the
// same heap. So the caller passes its build's identity, and the library refuses any other build before it touches an
// object.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "kernels/backend.h"
#include "kernels/cuda/options.h"
#include "kernels/machine_figures.h"

namespace coppice::kernels::cuda {

inline constexpr const char* kLibraryName = "libcoppice_cuda.so";
inline constexpr const char* kEntryName = "coppice_cuda_entry";
inline constexpr int kEntryVersion = 5;  // raised with every change of meaning that no size shows

// Compiled on both sides; equal where both sides see the same types.
inline std::string build_identity() {
  return fmt::format("{}; {}; {} {} {} {} {} {} {} {} {} {} {} {} {} {}", kEntryVersion, __VERSION__, sizeof(Device),
                     sizeof(StepRunner), sizeof(Operations), sizeof(AttentionPlan), sizeof(AttentionItem),
                     sizeof(SamplingRow), sizeof(SamplingResult), sizeof(RopeParameters), sizeof(KvGeometry),
                     sizeof(LoadedStep), sizeof(StepLimits), sizeof(StepCounts), sizeof(CudaOptions),
                     sizeof(MachineFigures));
}

using BackendResult = absl::StatusOr<std::unique_ptr<Backend>>;
using FiguresResult = absl::StatusOr<MachineFigures>;

// What the library offers.
struct CudaEntry {
  BackendResult (*make_backend)(const CudaOptions& options) = nullptr;
  FiguresResult (*measure)(const CudaOptions& options) = nullptr;  // machine/machine.h
};

// coppice_cuda_entry: fills `entry` and returns null; if `identity` is not the library's, changes nothing and returns
// the library's.
using OpenEntry = const char*(const char* identity, CudaEntry* entry);

}  // namespace coppice::kernels::cuda
