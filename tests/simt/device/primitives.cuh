// The primitives of kernels/cuda/device for ordinary C++: same names, same meaning, every access and every meeting
// watched by the emulator's machine.
#pragma once

#include "kernels/cuda/element.h"
#include "tests/simt/device/atomic.cuh"
#include "tests/simt/device/matrix.cuh"
#include "tests/simt/device/memory.cuh"
#include "tests/simt/device/number.cuh"
#include "tests/simt/device/overlap.cuh"
#include "tests/simt/device/pointer.cuh"
#include "tests/simt/device/thread.cuh"
