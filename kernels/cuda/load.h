// Loads the CUDA device: opens the shared object libcoppice_cuda.so at run time, so that the same program starts on a
// machine without CUDA. Needs no CUDA header and is always built.
//
// `library` is a path; "" looks for libcoppice_cuda.so beside the running program, then in ../lib. The library stays
// open until the program ends. ERRORS: Unimplemented (no library: the program was built without CUDA),
// FailedPrecondition (a library of another build, no driver, no usable GPU), ResourceExhausted. Each message is one
// line.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "kernels/cuda/options.h"
#include "kernels/machine_figures.h"

namespace coppice::kernels::cuda {

absl::StatusOr<std::unique_ptr<Backend>> load_cuda_backend(const CudaOptions& options, const std::string& library = "");

// For benchmarks: measures the GPU's best rates, in a second or two.
absl::StatusOr<MachineFigures> measure_cuda_machine(const CudaOptions& options, const std::string& library = "");

}  // namespace coppice::kernels::cuda
