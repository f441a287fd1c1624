// Refusal: why a connection is not served, or no longer. RefusalLog: the lines about it, at a bounded rate, since
// strangers cause them, and the count of every one.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <string_view>

#include "server/net/token_bucket.h"

namespace coppice::server {

// Both are literals.
struct Refusal {
  const char* label = "";  // for metrics: "too_many_connections"
  const char* words = "";  // for the log: "too many connections"
};

// Those of every listener; HTTP and the proxy in front of gRPC have more.
inline constexpr Refusal kTooManyConnections = {"too_many_connections", "too many connections, none of them idle"};
inline constexpr Refusal kMadeRoom = {"made_room", "quiet for longest while others wait"};
inline constexpr Refusal kNoFileHandles = {"no_file_handles", "the process is out of file handles"};
inline constexpr Refusal kNotAccepted = {"not_accepted", "the system did not hand it over"};
inline constexpr Refusal kHandshakeFailed = {"handshake", "no TLS handshake, or not in time"};
inline constexpr Refusal kReadsNothing = {"reads_nothing", "it does not read"};

// Owner: a front end. Thread: any.
class RefusalLog {
 public:
  // Counts one more for a label.
  using Count = std::function<void(const char* label)>;

  // `listener` begins the lines, a literal; `count` may be empty.
  RefusalLog(const char* listener, Count count) : listener_(listener), count_(std::move(count)) {}

  // `peer`: who; `detail` is added to the words, it may be empty.
  void refuse(std::string_view peer, const Refusal& refusal, std::string_view detail = "");

 private:
  static constexpr BucketRate kLines = {20, 2};  // enough to see what happens

  const char* const listener_;
  const Count count_;
  std::mutex mutex_;
  TokenBucket lines_{kLines};  // guarded by mutex_
  std::uint64_t unsaid_ = 0;   // since the last line; guarded by mutex_
};

}  // namespace coppice::server
