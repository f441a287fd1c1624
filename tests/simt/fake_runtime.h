// What tests ask of and tell the emulated CUDA runtime (fake_runtime.cc).
#pragma once

#include <cstdint>
#include <map>
#include <utility>

namespace coppice::simt {

// Allocations of device and of page-locked memory so far.
std::int64_t allocations_made();

// What kernels were given, by address and cudaFuncAttribute.
std::map<std::pair<const void*, int>, int>& function_attributes();

// From now on streams cannot be captured; false: they can again.
void refuse_captures(bool refuse);

}  // namespace coppice::simt
