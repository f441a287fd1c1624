// ChunkedArray: an array that grows a chunk at a time, so that growth never copies what is there already and
// references stay valid. For pools of millions of small records whose growth must not stall the engine thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace coppice::engine {

// Owner and thread: one, the same. T must be default-constructible.
template <typename T, std::uint32_t kChunkBits>
class ChunkedArray {
 public:
  static constexpr std::uint32_t kChunk = 1U << kChunkBits;  // elements allocated at a time

  T& operator[](std::uint32_t i) { return chunks_[i >> kChunkBits][i & (kChunk - 1)]; }
  const T& operator[](std::uint32_t i) const { return chunks_[i >> kChunkBits][i & (kChunk - 1)]; }

  // Index of one more element, default-constructed.
  std::uint32_t extend() {
    if (size_ == chunks_.size() * kChunk) {
      chunks_.push_back(std::make_unique<T[]>(kChunk));
    }
    return size_++;
  }
  std::uint32_t size() const { return size_; }
  std::size_t bytes() const { return chunks_.size() * (kChunk * sizeof(T) + sizeof(chunks_[0])); }
  // Frees the last chunk and its elements. Returns true while there is more to free.
  bool shrink() {
    if (!chunks_.empty()) {
      chunks_.pop_back();
      size_ = static_cast<std::uint32_t>(chunks_.size()) * kChunk;
    }
    return !chunks_.empty();
  }

 private:
  std::vector<std::unique_ptr<T[]>> chunks_;
  std::uint32_t size_ = 0;
};

}  // namespace coppice::engine
