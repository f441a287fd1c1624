// Accesses of several elements, shared arrays and asynchronous copies on the emulator.
#pragma once

#include <cstdint>

#include "kernels/cuda/element.h"
#include "tests/simt/device/pointer.cuh"
#include "tests/simt/device/thread.cuh"

namespace coppice::kernels::cuda {

template <typename To, typename From>
Global<To> pointer_as(Global<From> pointer) {
  return Global<To>(reinterpret_cast<To*>(pointer.raw()));
}
template <typename To, typename From>
Shared<To> pointer_as(Shared<From> pointer) {
  return Shared<To>(pointer.offset());
}

template <typename T>
Shared<T> shared_array(std::int32_t offset) {
  return Shared<T>(offset);
}

template <typename V, typename Pointer>
V load_as(Pointer pointer) {
  static_assert(sizeof(V) <= 16 && alignof(V) == sizeof(V));
  return pointer.template read<V>();
}
template <typename V, typename Pointer>
void store_as(Pointer pointer, const V& value) {
  static_assert(sizeof(V) <= 16 && alignof(V) == sizeof(V));
  pointer.template write<V>(value);
}
template <typename V, typename T>
V load_once_as(Global<T> pointer) {
  static_assert(sizeof(V) == 16);
  return load_as<V>(pointer);
}

template <typename T, typename U>
void copy_async_16_or_zeros(Shared<T> to, Global<U> from, bool present) {
  if (present) {
    simt::GlobalMemory::check(from.raw(), 16, 16, false);
  }
  simt::Machine::current().copy_async(to.place(16, 16), from.raw(), present);
}
template <typename T, typename U>
void copy_async_16(Shared<T> to, Global<U> from) {
  copy_async_16_or_zeros(to, from, true);
}
inline void copy_async_commit() {
  simt::Machine::current().copy_async_commit();
}
template <int groups_left>
void copy_async_wait() {
  simt::Machine::current().copy_async_wait(groups_left);
}

}  // namespace coppice::kernels::cuda
