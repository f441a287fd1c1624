// The GPU that the emulator stands for, as far as launches can be refused on it.
#pragma once

#include <cstdint>
#include <set>
#include <string>

namespace coppice::simt {

// A value.
struct DeviceLimits {
  std::int32_t capability = 90;         // 10 * major + minor
  std::int32_t shared_block_kib = 227;  // of a block, with opting in
  std::int32_t shared_kib = 228;        // of a multiprocessor
  std::int32_t threads = 2048;          // of a multiprocessor
  std::int32_t code_version = 90;       // of the PTX that loaded code was made from
};

// From CUDA's programming guide, "Technical specifications per compute capability". Code as the fat binary would give
// it: code of the device's own, or translated from what is older.
inline constexpr DeviceLimits kDevices[] = {
    {80, 163, 164, 2048, 80},    // A100
    {86, 99, 100, 1536, 86},     // A10, A40, RTX 30
    {87, 163, 164, 1536, 80},    // Orin
    {89, 99, 100, 1536, 89},     // L4, L40S, RTX 40
    {90, 227, 228, 2048, 90},    // H100, H200
    {100, 227, 228, 2048, 100},  // B200
    {103, 227, 228, 2048, 100},  // B300
    {120, 99, 100, 1536, 120},   // RTX PRO, RTX 50
};

inline constexpr std::int32_t kReservedBytes = 1024;  // of shared memory, which the system takes from every block
inline constexpr std::int32_t kUnpreparedBytes =
    49152;                                     // of shared memory that a block may have without being asked for
inline constexpr std::int32_t kRefused = 701;  // cudaErrorLaunchOutOfResources

// The device of all launches from now on.
inline DeviceLimits& device_limits() {
  static DeviceLimits limits;
  return limits;
}

// Kernels that were launched and never prepared, by name.
inline std::set<std::string>& unprepared_launches() {
  static std::set<std::string> names;
  return names;
}

}  // namespace coppice::simt
