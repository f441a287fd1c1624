// Atomics, and ordering between blocks. Everything is of device scope.
#pragma once

#include <cstdint>
#include <type_traits>

#include "thread.cuh"

namespace coppice::kernels::cuda {

// Relaxed; return the value before. T: int32, uint32, uint64 (unsigned long long), float (add and exchange only).
template <typename T>
COPPICE_DEVICE T atomic_add(T* address, std::type_identity_t<T> value) {
  return atomicAdd(address, value);
}
template <typename T>
COPPICE_DEVICE T atomic_max(T* address, std::type_identity_t<T> value) {
  return atomicMax(address, value);
}
template <typename T>
COPPICE_DEVICE T atomic_min(T* address, std::type_identity_t<T> value) {
  return atomicMin(address, value);
}
template <typename T>
COPPICE_DEVICE T atomic_or(T* address, std::type_identity_t<T> value) {
  return atomicOr(address, value);
}
template <typename T>
COPPICE_DEVICE T atomic_exchange(T* address, std::type_identity_t<T> value) {
  return atomicExch(address, value);
}
// Writes `desired` if `expected` was there; returns what was there.
template <typename T>
COPPICE_DEVICE T atomic_compare_exchange(T* address, std::type_identity_t<T> expected,
                                         std::type_identity_t<T> desired) {
  return atomicCAS(address, expected, desired);
}

// Global memory, 32 bits. What the thread that released wrote before (or knew of through a barrier) is visible to the
// thread that acquires the value, and through a barrier to its block. A loop may wait on load_acquire().
COPPICE_DEVICE std::uint32_t load_acquire(const std::uint32_t* address) {
  std::uint32_t value;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(address) : "memory");
  return value;
}
COPPICE_DEVICE void store_release(std::uint32_t* address, std::uint32_t value) {
  asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(address), "r"(value) : "memory");
}
// Both an acquire and a release; returns the value before.
COPPICE_DEVICE std::uint32_t atomic_add_acquire_release(std::uint32_t* address, std::uint32_t value) {
  std::uint32_t before;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], %2;" : "=r"(before) : "l"(address), "r"(value) : "memory");
  return before;
}
// Lets a thread that waits in a loop sleep a little: others work on the same cache line that it asks for.
COPPICE_DEVICE void rest() {
  asm volatile("nanosleep.u32 64;" ::: "memory");  // nanoseconds: a few loads from L2; chosen, not measured
}
// Orders this thread's accesses before and after it, for every thread of the device.
COPPICE_DEVICE void fence_device() {
  __threadfence();
}

}  // namespace coppice::kernels::cuda
