// ProxyLog: lines about clients that are sent away. A stranger causes them, so their rate is bounded.
#pragma once

#include <spdlog/spdlog.h>

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "server/grpc/proxy/token_bucket.h"

namespace coppice::server {

// Owner: the proxy. Thread: any.
class ProxyLog {
 public:
  void closed(const std::string& peer, std::string_view reason) {
    const std::lock_guard lock(mutex_);
    if (!lines_.take(1, TokenBucket::Clock::now())) {
      ++dropped_;
      return;
    }
    if (const std::uint64_t dropped = std::exchange(dropped_, 0); dropped > 0) {
      spdlog::warn("grpc: {} more connections were closed", dropped);
    }
    spdlog::warn("grpc: connection of {} closed: {}", peer, reason);
  }

 private:
  static constexpr BucketRate kLines = {20, 2};  // enough to see what happens

  std::mutex mutex_;
  TokenBucket lines_{kLines};
  std::uint64_t dropped_ = 0;  // since the last line
};

}  // namespace coppice::server
