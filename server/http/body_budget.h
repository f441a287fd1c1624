// BodyBudget: bounds the bytes of request bodies that all connections together are receiving. Each body and the number
// of connections are bounded too, but their product is more memory than a machine has.
#pragma once

#include <atomic>
#include <cstddef>

namespace coppice::server {

// Owner: the HTTP server. Thread: any.
class BodyBudget {
 public:
  explicit BodyBudget(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  // Bytes of every body that are not counted, so that ordinary requests go on while large ones fill the budget: a
  // prompt of some ten thousand tokens.
  static constexpr std::size_t kFreeBytes = std::size_t{64} << 10U;

  // One body's part, released by its destructor. Owner: the connection, from the body's first byte until the
  // application has parsed it.
  class Part {
   public:
    explicit Part(BodyBudget& budget) : budget_(budget) {}
    ~Part() { release(); }
    Part(const Part&) = delete;
    Part& operator=(const Part&) = delete;

    // The body has grown to `body_bytes` bytes. False: the budget has no room; the part is unchanged.
    bool grow_to(std::size_t body_bytes) {
      const std::size_t counted = body_bytes > kFreeBytes ? body_bytes - kFreeBytes : 0;
      if (counted <= bytes_) {
        return true;
      }
      const std::size_t more = counted - bytes_;
      if (budget_.used_.fetch_add(more) + more > budget_.bytes_max_) {
        budget_.used_.fetch_sub(more);
        return false;
      }
      bytes_ = counted;
      return true;
    }
    void release() {
      budget_.used_.fetch_sub(bytes_);
      bytes_ = 0;
    }

   private:
    BodyBudget& budget_;
    std::size_t bytes_ = 0;
  };

  std::size_t used() const { return used_.load(); }

 private:
  const std::size_t bytes_max_;
  std::atomic<std::size_t> used_{0};
};

}  // namespace coppice::server
