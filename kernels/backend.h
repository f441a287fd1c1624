// Backend: one device as a program opens it, behind three interfaces. Which backends exist is decided at link time
// (cpu::make_cpu_backend) and at run time (cuda::load_cuda_backend), never by #ifdef.
#pragma once

#include "kernels/device.h"
#include "kernels/operations.h"
#include "kernels/step_runner.h"

namespace coppice::kernels {

// Owner: the program's main object. REQUIRES: it outlives everything it made; one caller at a time for all three
// interfaces together (a loader's thread, then the engine's).
class Backend {
 public:
  virtual ~Backend() = default;
  virtual Device& device() = 0;          // memory, packed weights, KV caches
  virtual StepRunner& steps() = 0;       // prepare, run, sample, finish
  virtual Operations& operations() = 0;  // what a forward pass calls
};

}  // namespace coppice::kernels
