// MemoryMeter: counts the bytes that stored things take, as long as anything holds them.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>

namespace coppice::server {

// Of a tenant, and above it of the server. Thread: any.
class MemoryMeter {
 public:
  explicit MemoryMeter(std::shared_ptr<MemoryMeter> above = nullptr) : above_(std::move(above)) {}

  std::size_t bytes() const { return bytes_.load(); }
  void add(std::size_t bytes) {
    bytes_ += bytes;
    if (above_ != nullptr) {
      above_->add(bytes);
    }
  }
  void remove(std::size_t bytes) {
    bytes_ -= bytes;
    if (above_ != nullptr) {
      above_->remove(bytes);
    }
  }

 private:
  std::atomic<std::size_t> bytes_{0};
  const std::shared_ptr<MemoryMeter> above_;
};

// Bytes that are counted while this lives. Owner: what has them.
class MeteredBytes {
 public:
  MeteredBytes() = default;
  MeteredBytes(std::shared_ptr<MemoryMeter> meter, std::size_t bytes) : meter_(std::move(meter)), bytes_(bytes) {
    meter_->add(bytes_);
  }
  MeteredBytes(MeteredBytes&& other) noexcept
      : meter_(std::exchange(other.meter_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  MeteredBytes& operator=(MeteredBytes&& other) noexcept {
    std::swap(meter_, other.meter_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~MeteredBytes() {
    if (meter_ != nullptr) {
      meter_->remove(bytes_);
    }
  }

 private:
  std::shared_ptr<MemoryMeter> meter_;
  std::size_t bytes_ = 0;
};

}  // namespace coppice::server
