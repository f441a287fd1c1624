// Snapshot: one thread publishes a plain value, any thread reads the last one whole, no thread waits for another: not
// even for a writer that stands still in the middle of publish(). There are eight places in a ring, each with a
// sequence lock; the writer takes the next one, readers the last that is whole. Every access is atomic, so thread
// sanitizers agree with it.
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
    const std::uint64_t number = published_.load(std::memory_order_relaxed) + 1;
    Place& place = places_[number % kPlaces];
    place.number.store(kBeingWritten, std::memory_order_relaxed);
    for (std::size_t i = 0; i < kWords; ++i) {
      // A reader that sees one of these also sees that the place is being written.
      place.words[i].store(words[i], std::memory_order_release);
    }
    place.number.store(number, std::memory_order_release);
    published_.store(number, std::memory_order_release);
  }

  // Begins anew only when the writer has come round while this copied: after eight values, which take an engine eight
  // steps. So only a reader that was interrupted begins anew, and once.
  T read() const {
    std::array<std::uint64_t, kWords> words{};
    while (true) {
      const std::uint64_t number = published_.load(std::memory_order_acquire);
      const Place& place = places_[number % kPlaces];
      for (std::size_t i = 0; i < kWords; ++i) {
        words[i] = place.words[i].load(std::memory_order_acquire);
      }
      if (place.number.load(std::memory_order_relaxed) == number) {
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
  static constexpr std::size_t kPlaces = 8;
  static constexpr std::uint64_t kBeingWritten = 0;  // no value has this number

  struct Place {
    std::atomic<std::uint64_t> number{kBeingWritten};  // of the value that lies here whole
    std::array<std::atomic<std::uint64_t>, kWords> words{};
  };
  std::array<Place, kPlaces> places_{};
  std::atomic<std::uint64_t> published_{0};  // values so far; the last lies in places_[published_ % kPlaces]
};

}  // namespace coppice::base
