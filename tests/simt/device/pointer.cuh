// Checked pointers: Global<T> against the registered buffers, Shared<T> against the block's shared memory and its
// shadow. What they point at is read and written through a proxy, so that the machine sees which of the two it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "tests/simt/session.h"

namespace coppice::kernels::cuda {

// Stands for *pointer. Converts to a value (a read); takes one (a write).
template <typename Pointer>
class Proxy {
 public:
  using Value = typename Pointer::Value;

  explicit Proxy(Pointer pointer) : pointer_(pointer) {}
  Proxy(const Proxy&) = default;
  operator Value() const { return pointer_.template read<Value>(); }  // NOLINT: reading looks like a plain read
  const Proxy& operator=(Value value) const {
    pointer_.template write<Value>(value);
    return *this;
  }
  const Proxy& operator=(const Proxy& other) const { return *this = static_cast<Value>(other); }
  const Proxy& operator+=(Value value) const { return *this = static_cast<Value>(static_cast<Value>(*this) + value); }
  const Proxy& operator-=(Value value) const { return *this = static_cast<Value>(static_cast<Value>(*this) - value); }
  const Proxy& operator*=(Value value) const { return *this = static_cast<Value>(static_cast<Value>(*this) * value); }

 private:
  Pointer pointer_;
};

template <typename T>
class Global {
 public:
  using Value = std::remove_const_t<T>;

  Global() = default;
  Global(T* raw) : raw_(raw) {}  // NOLINT: the host fills parameters with plain pointers
  Global(const Global&) = default;
  Global(const Global<Value>& other) requires std::is_const_v<T> : raw_(other.raw()) {}
  Global& operator=(const Global&) = default;

  Proxy<Global> operator[](std::int64_t index) const { return Proxy<Global>(Global(raw_ + index)); }
  Proxy<Global> operator*() const { return Proxy<Global>(*this); }
  Global operator+(std::int64_t count) const { return Global(raw_ + count); }
  Global operator-(std::int64_t count) const { return Global(raw_ - count); }
  Global& operator+=(std::int64_t count) { return *this = *this + count; }
  std::int64_t operator-(const Global& other) const { return raw_ - other.raw_; }
  bool operator==(const Global& other) const { return raw_ == other.raw_; }
  explicit operator bool() const { return raw_ != nullptr; }
  T* raw() const { return raw_; }

  // For primitives: V at this address.
  template <typename V>
  V read() const {
    simt::GlobalMemory::check(raw_, sizeof(V), alignof(V), false);
    V value;
    std::memcpy(static_cast<void*>(&value), static_cast<const void*>(raw_), sizeof(V));
    return value;
  }
  template <typename V>
  void write(const V& value) const {
    static_assert(!std::is_const_v<T>, "a write through Global<const T>");
    simt::GlobalMemory::check(raw_, sizeof(V), alignof(V), true);
    std::memcpy(static_cast<void*>(raw_), static_cast<const void*>(&value), sizeof(V));
  }

 private:
  T* raw_ = nullptr;
};

template <typename T>
class Shared {
 public:
  using Value = std::remove_const_t<T>;
  static_assert(sizeof(T) >= 2, "races are looked for in units of two bytes");

  Shared() = default;
  explicit Shared(std::int64_t offset) : offset_(offset) {}
  Shared(const Shared&) = default;
  Shared(const Shared<Value>& other) requires std::is_const_v<T> : offset_(other.offset()) {}
  Shared& operator=(const Shared&) = default;

  Proxy<Shared> operator[](std::int64_t index) const { return Proxy<Shared>(*this + index); }
  Proxy<Shared> operator*() const { return Proxy<Shared>(*this); }
  Shared operator+(std::int64_t count) const { return Shared(offset_ + count * static_cast<std::int64_t>(sizeof(T))); }
  Shared operator-(std::int64_t count) const { return *this + -count; }
  Shared& operator+=(std::int64_t count) { return *this = *this + count; }
  std::int64_t offset() const { return offset_; }

  // Fails the run unless `bytes` from here lie in shared memory, aligned. Returns the offset.
  std::int32_t place(std::int64_t bytes, std::int64_t alignment) const {
    simt::Machine& machine = simt::Machine::current();
    if (!machine.thread().block->shared->holds(offset_, bytes) || offset_ % alignment != 0) {
      machine.fail("bad access", "thread " + std::to_string(machine.thread().index) +
                                     " is out of bounds or misaligned in shared " + "memory: " + std::to_string(bytes) +
                                     " bytes at " + std::to_string(offset_) + " of " +
                                     std::to_string(machine.thread().block->shared->bytes()));
    }
    return static_cast<std::int32_t>(offset_);
  }
  template <typename V>
  V read() const {
    const std::int32_t at = place(sizeof(V), alignof(V));
    simt::Thread& thread = simt::Machine::current().thread();
    thread.block->shared->read({thread.index, thread.warp()}, at, sizeof(V));
    V value;
    std::memcpy(static_cast<void*>(&value), thread.block->shared->data(at), sizeof(V));
    return value;
  }
  template <typename V>
  void write(const V& value, bool atomic = false) const {
    static_assert(!std::is_const_v<T>, "a write through Shared<const T>");
    const std::int32_t at = place(sizeof(V), alignof(V));
    simt::Thread& thread = simt::Machine::current().thread();
    thread.block->shared->write({thread.index, thread.warp()}, at, sizeof(V), atomic);
    std::memcpy(thread.block->shared->data(at), static_cast<const void*>(&value), sizeof(V));
  }

 private:
  std::int64_t offset_ = 0;
};

}  // namespace coppice::kernels::cuda
