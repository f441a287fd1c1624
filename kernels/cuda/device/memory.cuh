// Global and shared memory. On the GPU both pointers are plain ones; the emulator checks every access made through
// them.
#pragma once

#include <cstdint>

#include "thread.cuh"

namespace coppice::kernels::cuda {

template <typename T>
using Global = T*;
template <typename T>
using Shared = T*;

// The same address seen as elements of another type.
template <typename To, typename From>
COPPICE_DEVICE To* pointer_as(From* pointer) {
  return reinterpret_cast<To*>(pointer);
}

// The block's dynamic shared memory from `offset` bytes on; nothing is in it at the start. `offset` is a multiple of
// the alignment of T.
template <typename T>
COPPICE_DEVICE T* shared_array(std::int32_t offset) {
  extern __shared__ __align__(1024) unsigned char coppice_shared_memory[];
  return reinterpret_cast<T*>(coppice_shared_memory + offset);
}

// Several neighbours at once: V = Vector<T, n> (element.h) or any type of 4, 8 or 16 bytes. `pointer` is aligned to
// sizeof(V). Global or shared.
template <typename V, typename T>
COPPICE_DEVICE V load_as(const T* pointer) {
  static_assert(sizeof(V) <= 16);
  return *reinterpret_cast<const V*>(pointer);
}
template <typename V, typename T>
COPPICE_DEVICE void store_as(T* pointer, V value) {
  static_assert(sizeof(V) <= 16);
  *reinterpret_cast<V*>(pointer) = value;
}

// load_as of 16 bytes from global memory that is not written during the kernel and not read again soon (weights).
template <typename V, typename T>
COPPICE_DEVICE V load_once_as(const T* pointer) {
  static_assert(sizeof(V) == 16);
  Vector<std::uint32_t, 4> words;
  asm("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
      : "=r"(words.at[0]), "=r"(words.at[1]), "=r"(words.at[2]), "=r"(words.at[3])
      : "l"(pointer));
  return __builtin_bit_cast(V, words);
}

// --- asynchronous copies ---

template <typename T>
COPPICE_DEVICE std::uint32_t shared_address(const T* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

// 16 bytes, both sides aligned to 16. What is copied may be read by this thread after copy_async_wait(), by others
// after a barrier behind that.
template <typename T, typename U>
COPPICE_DEVICE void copy_async_16(T* to, const U* from) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(shared_address(to)), "l"(from) : "memory");
}
// Zeros instead, and `from` is not read, unless `present`.
template <typename T, typename U>
COPPICE_DEVICE void copy_async_16_or_zeros(T* to, const U* from, bool present) {
  const std::uint32_t bytes = present ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(bytes)
               : "memory");
}
// Ends a group: the copies of this thread since the last commit.
COPPICE_DEVICE void copy_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
// Waits until at most `groups_left` of this thread's latest groups are under way.
template <int groups_left>
COPPICE_DEVICE void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(groups_left) : "memory");
}

}  // namespace coppice::kernels::cuda
