// BodyBudget: how many bytes of request bodies all connections together may be receiving. Each body is bounded, and so
// is the number of connections, but their product is more memory than a machine has.
#pragma once

#include <atomic>
#include <cstddef>

namespace coppice::server {

// Owner: the HTTP server. Thread: any.
class BodyBudget {
 public:
  explicit BodyBudget(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  // The first bytes of every body are free, so that ordinary requests go on while large ones fill the budget.
  static constexpr std::size_t kFreeBytes = std::size_t{64} << 10U;

  // One body's part, given back when it goes. Owner: the connection, from the body's first byte until the application
  // has taken what it wants of it.
  class Part {
   public:
    explicit Part(BodyBudget& budget) : budget_(budget) {}
    ~Part() { release(); }
    Part(const Part&) = delete;
    Part& operator=(const Part&) = delete;

    // The body has `body_bytes` bytes by now. False: there is no room for what came since; the part stays as it was.
    bool grow_to(std::size_t body_bytes) {
      const std::size_t wanted = body_bytes > kFreeBytes ? body_bytes - kFreeBytes : 0;
      if (wanted <= bytes_) {
        return true;
      }
      const std::size_t more = wanted - bytes_;
      if (budget_.used_.fetch_add(more) + more > budget_.bytes_max_) {
        budget_.used_.fetch_sub(more);
        return false;
      }
      bytes_ = wanted;
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
