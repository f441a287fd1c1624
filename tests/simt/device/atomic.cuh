// Atomics on the emulator: one fiber runs at a time, so plain updates, each followed by a turn of others.
#pragma once

#include <cstdint>
#include <type_traits>

#include "tests/simt/device/pointer.cuh"

namespace coppice::kernels::cuda {

template <typename T, typename Update>
T atomic_update(Global<T> address, Update update) {
  const T before = address.template read<T>();
  address.template write<T>(update(before));
  simt::Machine::current().yield();
  return before;
}
// A race is one with plain accesses; the shadow knows atomic writes among themselves are none.
template <typename T, typename Update>
T atomic_update(Shared<T> address, Update update) {
  simt::Thread& thread = simt::Machine::current().thread();
  T before;
  std::memcpy(&before, thread.block->shared->data(address.place(sizeof(T), alignof(T))), sizeof(T));
  address.template write<T>(update(before), true);
  simt::Machine::current().yield();
  return before;
}

template <template <typename> typename Pointer, typename T>
T atomic_add(Pointer<T> address, std::type_identity_t<T> value) {
  return atomic_update(address, [&](T before) { return static_cast<T>(before + value); });
}
template <template <typename> typename Pointer, typename T>
T atomic_max(Pointer<T> address, std::type_identity_t<T> value) {
  return atomic_update(address, [&](T before) { return before > value ? before : value; });
}
template <template <typename> typename Pointer, typename T>
T atomic_min(Pointer<T> address, std::type_identity_t<T> value) {
  return atomic_update(address, [&](T before) { return before < value ? before : value; });
}
template <template <typename> typename Pointer, typename T>
T atomic_or(Pointer<T> address, std::type_identity_t<T> value) {
  return atomic_update(address, [&](T before) { return before | value; });
}
template <template <typename> typename Pointer, typename T>
T atomic_exchange(Pointer<T> address, std::type_identity_t<T> value) {
  return atomic_update(address, [&](T) { return value; });
}
template <template <typename> typename Pointer, typename T>
T atomic_compare_exchange(Pointer<T> address, std::type_identity_t<T> expected, std::type_identity_t<T> desired) {
  return atomic_update(address, [&](T before) { return before == expected ? desired : before; });
}

template <typename T>
std::uint32_t load_acquire(Global<T> address) {
  static_assert(sizeof(T) == 4);
  simt::Machine& machine = simt::Machine::current();
  machine.yield();
  const auto value = address.template read<std::uint32_t>();
  simt::Thread& thread = machine.thread();
  const simt::LastAsked asked{address.raw(), value};
  if (thread.asked == asked) {
    machine.report("wait without rest", "a thread asks again at once for what had not changed");
  }
  thread.asked = asked;
  return value;
}
inline void rest() {
  simt::Machine::current().thread().asked = {};
}
inline void store_release(Global<std::uint32_t> address, std::uint32_t value) {
  address.write<std::uint32_t>(value);
  simt::Machine::current().yield();
}
inline std::uint32_t atomic_add_acquire_release(Global<std::uint32_t> address, std::uint32_t value) {
  return atomic_add(address, value);
}
inline void fence_device() {}

}  // namespace coppice::kernels::cuda
