// Memory of the CPU backend: zeroed, aligned to huge pages where that pays, and refused with a clear error before the
// machine would start to kill processes.
#pragma once

#include <cstddef>

#include "absl/status/statusor.h"
#include "kernels/tensor.h"

namespace coppice::kernels::cpu {

// `bytes` zero bytes, at least 64-byte aligned (2 MiB aligned and on huge pages from 4 MiB up). A large piece takes
// memory only where it is used: a KV pool for many users costs nothing until they come. ERRORS: ResourceExhausted, when
// the machine (or its cgroup) has less memory left than asked for.
absl::StatusOr<Buffer> allocate_zeroed(std::size_t bytes);

// The same with the zeros written now by `threads` threads, so that the memory is really there: for measuring it.
absl::StatusOr<Buffer> allocate_zeroed(std::size_t bytes, int threads);

// The same without the zeros: for memory that is written next.
absl::StatusOr<Buffer> allocate_uninitialized(std::size_t bytes);

}  // namespace coppice::kernels::cpu
