// Memory of the CPU backend: zeroed, aligned to huge pages where that pays, and refused with a clear error before the
// system would kill processes.
#pragma once

#include <cstddef>

#include "absl/status/statusor.h"
#include "kernels/tensor.h"

namespace coppice::kernels::cpu {

// Returns `bytes` zero bytes, at least 64-byte aligned (2 MiB aligned and on huge pages from 4 MiB up). A large piece
// takes memory only where it is used, so the unused part of a KV pool costs nothing. ERRORS: ResourceExhausted, if the
// machine (or its cgroup) has less memory left than requested.
absl::StatusOr<Buffer> allocate_zeroed(std::size_t bytes);

// The same with the zeros written by `threads` threads, so that the memory is resident: for measuring it.
absl::StatusOr<Buffer> allocate_zeroed(std::size_t bytes, int threads);

// The same with unspecified contents: for memory that is written next.
absl::StatusOr<Buffer> allocate_uninitialized(std::size_t bytes);

}  // namespace coppice::kernels::cpu
