// The primitives that kernels are written in, as NVIDIA GPUs have them (sm_80 and later). tests/simt/device has the
// same names for ordinary C++; the include path chooses (kernels/cuda/README.md), which is why kernels say
// #include <device/primitives.cuh>.
#pragma once

#include "atomic.cuh"
#include "kernels/cuda/element.h"
#include "matrix.cuh"
#include "memory.cuh"
#include "number.cuh"
#include "overlap.cuh"
#include "thread.cuh"
