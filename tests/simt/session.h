// What a test of a kernel holds: a session, in which launches run on the emulator, and buffers of "device" memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tests/simt/machine.h"

namespace coppice::simt {

// While it lives, launches of this process run on its machine. One at a time.
class Session {
 public:
  explicit Session(const Options& options = {});
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // What kernels did wrong so far; empty is what a test wants.
  const std::vector<std::string>& violations() const { return machine_.violations(); }
  std::string report() const;  // the same in one text
  const Counters& counters() const { return static_cast<const Machine&>(machine_).counters(); }

  static Session* current();
  Machine& machine() { return machine_; }

 private:
  Machine machine_;
};

// Global memory that kernels may touch. Process-wide; everything else is out of bounds. What is writable may only be
// touched behind wait_for_earlier(); `mixed` memory holds things of both kinds, so that reads of it are not judged.
class GlobalMemory {
 public:
  static void add(const void* data, std::size_t bytes, bool writable, const std::string& name, bool mixed = false);
  static void remove(const void* data);
  static void freeze(const void* data);  // from now on it is only to be read
  // Called for every access; fails the run of the machine if it is not allowed.
  static void check(const void* address, std::size_t bytes, std::size_t alignment, bool write);
};

// Memory as it comes from the system, at least `bytes` of it. More than kSparseBytes exist only where they are touched.
inline constexpr std::size_t kSparseBytes = std::size_t{1} << 30;  // more than any test touches
struct FreeMemory {
  std::size_t bytes = 0;  // that were taken
  void operator()(std::byte* memory) const;
};
using Memory = std::unique_ptr<std::byte, FreeMemory>;
Memory take_memory(std::size_t bytes);

// `count` elements of registered global memory, 256-byte aligned, filled with poison (all bits one: a NaN in every
// type) or with given values. What is larger than kSparseBytes is zeros instead, and costs what is touched of it: for
// offsets beyond 32 bits.
template <typename T>
class Buffer {
 public:
  explicit Buffer(std::size_t count, const std::string& name = "buffer", bool writable = true)
      : count_(count), memory_(take_memory(count * sizeof(T) + 2 * kGuard)) {
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.get());
    data_ = reinterpret_cast<T*>((address + kGuard - 1) / kGuard * kGuard);
    if (memory_.get_deleter().bytes <= kSparseBytes) {
      poison();
    }
    GlobalMemory::add(data_, count * sizeof(T), writable, name);
  }
  explicit Buffer(std::span<const T> values, const std::string& name = "buffer", bool writable = false)
      : Buffer(values.size(), name, writable) {
    std::memcpy(static_cast<void*>(data_), values.data(), values.size_bytes());
  }
  ~Buffer() { GlobalMemory::remove(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  void poison() { std::memset(static_cast<void*>(data_), 0xFF, count_ * sizeof(T)); }
  void zero() { std::memset(static_cast<void*>(data_), 0, count_ * sizeof(T)); }
  T* data() { return data_; }
  const T* data() const { return data_; }
  std::size_t size() const { return count_; }
  T& operator[](std::size_t index) { return data_[index]; }
  const T& operator[](std::size_t index) const { return data_[index]; }

 private:
  static constexpr std::size_t kGuard = 256;
  std::size_t count_;
  Memory memory_;
  T* data_;
};

}  // namespace coppice::simt
