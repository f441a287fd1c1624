// What tests ask of and tell the emulated CUDA runtime (fake_runtime.cc).
#pragma once

#include <cstdint>

namespace coppice::simt {

// Allocations of device and of page-locked memory so far.
std::int64_t allocations_made();

// From now on streams cannot be captured; false: they can again.
void refuse_captures(bool refuse);

}  // namespace coppice::simt
