// What this process may use of the machine: cores and memory, with the limits of its affinity mask and cgroup applied,
// so that a container with two cores does not start sixty-four threads.
#pragma once

#include <cstdint>
#include <string>

namespace coppice::base {

// Cores that this process may use: its affinity mask, and no more than its cgroup's CPU quota rounded up. At least 1.
int available_cores();

// Bytes of memory that this process can still take without swapping: MemAvailable, and what its cgroup's limit leaves
// (page cache of the cgroup counts as free). INT64_MAX where the system does not say.
std::int64_t available_memory_bytes();

// Bytes of the last-level cache as the system reports it; 0 where it does not say.
std::int64_t last_level_cache_bytes();

// "AMD EPYC 9655", from /proc/cpuinfo; "unknown" where the system does not say.
std::string cpu_model_name();

}  // namespace coppice::base
