// Snapshot: one thread publishes a plain value, any thread reads the last one whole, no thread waits (a sequence lock).
// Every access is atomic, so thread sanitizers agree with it.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace coppice::base {

// Thread: publish() from one thread, read() from any.
template <typename T>
class Snapshot {
  static_assert(std::is_trivially_copyable_v<T>, "a snapshot is copied word by word");

 public:
  Snapshot() { publish(T{}); }

  void publish(const T& value) {
    std::array<std::uint64_t, kWords> words{};
    std::memcpy(words.data(), &value, sizeof(T));
    const std::uint64_t version = version_.load(std::memory_order_relaxed);
    version_.store(version + 1, std::memory_order_relaxed);
    for (std::size_t i = 0; i < kWords; ++i) {
      words_[i].store(words[i], std::memory_order_release);  // a reader that sees it also sees the odd version
    }
    version_.store(version + 2, std::memory_order_release);
  }

  T read() const {
    std::array<std::uint64_t, kWords> words{};
    for (;;) {
      const std::uint64_t before = version_.load(std::memory_order_acquire);
      for (std::size_t i = 0; i < kWords; ++i) {
        words[i] = words_[i].load(std::memory_order_acquire);
      }
      if (before % 2 == 0 && version_.load(std::memory_order_relaxed) == before) {
        break;
      }
    }
    T value;
    std::memcpy(static_cast<void*>(&value), words.data(), sizeof(T));
    return value;
  }

 private:
  // Of 8 bytes: the value is copied by whole atomic words.
  static constexpr std::size_t kWords = (sizeof(T) + 7) / 8;
  std::atomic<std::uint64_t> version_{0};
  std::array<std::atomic<std::uint64_t>, kWords> words_{};
};

}  // namespace coppice::base
