// The device that the tests of this folder run on. The same tests are built twice: against a GPU (real_device.cc;
// packed by scripts/gpu-check) and against the emulator of tests/simt (emulated_device.cc; run by ctest).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "kernels/backend.h"
#include "kernels/cuda/options.h"

namespace coppice::tests {

// A backend of its own for every call. Fails the test when there is no GPU. open_device(): on a GPU with what the
// environment switches on (server/app/device_options.h).
std::unique_ptr<kernels::Backend> open_device();
std::unique_ptr<kernels::Backend> open_device_with(const kernels::cuda::CudaOptions& options);

// Slow: tests take smaller sizes.
bool device_is_emulated();

// What the kernels did wrong since the last call, as far as the device can tell; empty on a GPU.
std::string device_report();

// Allocations of the device's and of page-locked memory so far, as far as the device can tell; 0 on a GPU.
std::int64_t device_allocations();

// From now on (false: no longer) steps cannot be recorded. False: the device cannot be told so.
bool refuse_recordings(bool refuse);

}  // namespace coppice::tests
