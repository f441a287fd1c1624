// Preparing kernels for a device before anything is launched: what they need is asked for, or found to be missing.
// Ordinary C++; <device/launch.cuh> has prepare_kernel<Kernel>(), which fills in the kernel's needs.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

namespace coppice::kernels::cuda {

// What is known of the kernels prepared so far for one device. Owner: the GPU's context. Thread: its caller.
class LoadedKernels {
 public:
  // error: a cudaError_t of preparing a kernel; version: of the PTX that its loaded code was made from, 10 * major +
  // minor.
  void add(int error, int version) {
    error_ = error_ != 0 ? error_ : error;
    least_version_ = std::min(least_version_, version);
    ++count_;
  }

  void add(const LoadedKernels& others) {
    error_ = error_ != 0 ? error_ : others.error_;
    least_version_ = std::min(least_version_, others.least_version_);
    count_ += others.count_;
  }

  int error() const { return error_; }  // the first; 0: every kernel can run
  int count() const { return count_; }
  // Whether every kernel has the instruction that waits for the kernels before it (device/overlap.cuh). The GPU's own
  // capability does not say so: code that a driver translated from older PTX has none.
  bool wait_for_earlier() const { return count_ > 0 && least_version_ >= kVersionThatWaits; }

 private:
  static constexpr int kVersionThatWaits = 90;  // griddepcontrol is in PTX for compute capability 9.0 and later

  int error_ = 0;
  int count_ = 0;
  int least_version_ = std::numeric_limits<int>::max();
};

// Lets a kernel use `shared_bytes` of dynamic shared memory on the current device, asks for the division of on-chip
// memory that is best for it, and notes down the outcome. The error of a kernel that needs more than a block can have
// is cudaErrorLaunchOutOfResources.
void prepare_function(const void* function, std::int32_t shared_bytes, LoadedKernels& loaded);

}  // namespace coppice::kernels::cuda
