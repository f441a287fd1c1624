// TokenBucket: how often something may happen: a rate in the long run, a burst at once.
#pragma once

#include <algorithm>
#include <chrono>

namespace coppice::server {

// What a bucket holds at most, and how much of it comes back in a second.
struct BucketRate {
  double burst = 0;
  double per_second = 0;
};

// Owner: what it limits. Thread: its owner's. A value. Times must not go back.
class TokenBucket {
 public:
  using Clock = std::chrono::steady_clock;

  explicit TokenBucket(BucketRate rate) : rate_(rate), level_(rate.burst) {}

  // False: there is not enough; then nothing is taken.
  bool take(double cost, Clock::time_point now) {
    refill(now);
    if (level_ < cost) {
      return false;
    }
    level_ -= cost;
    return true;
  }
  void give(double amount) { level_ = std::min(rate_.burst, level_ + amount); }
  double level(Clock::time_point now) {
    refill(now);
    return level_;
  }

 private:
  void refill(Clock::time_point now) {
    if (last_ != Clock::time_point{} && now > last_) {
      give(rate_.per_second * std::chrono::duration<double>(now - last_).count());
    }
    last_ = now;
  }

  BucketRate rate_;
  double level_;
  Clock::time_point last_{};  // of the last refill
};

}  // namespace coppice::server
