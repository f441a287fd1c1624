// Places: a number of things that may be at once: connections of a listener, handshakes under way. Each holds a place
// and gives it back when it is gone, however it ends.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

namespace coppice::server {

// Owner: shared by its places and the one who takes them. Thread: any.
class Places {
 public:
  explicit Places(std::int64_t most) : most_(most) {}

  std::int64_t taken() const { return taken_.load(); }
  std::int64_t most() const { return most_; }
  bool is_full() const { return taken() >= most_; }

  class Place {
   public:
    explicit Place(std::shared_ptr<Places> of) : of_(std::move(of)) { of_->taken_.fetch_add(1); }
    ~Place() { of_->taken_.fetch_sub(1); }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

    const Places& of() const { return *of_; }

   private:
    const std::shared_ptr<Places> of_;
  };
  // A place more, whether or not all are taken: that is the caller's to judge.
  static std::unique_ptr<Place> take(const std::shared_ptr<Places>& of) { return std::make_unique<Place>(of); }

 private:
  const std::int64_t most_;
  std::atomic<std::int64_t> taken_{0};
};

}  // namespace coppice::server
