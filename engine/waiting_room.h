// WaitingRoom: the places of requests that were submitted and have not run, shared so that no account can fill it for
// the others. An account is what pays for a request: an API key, whatever salts it uses.
//
// The rule is that of buffers shared by queues of a switch (Choudhury and Hahne, "Dynamic Queue Length Thresholds",
// 1998): an account may hold as many places as are free. The room has twice --max-queued places, so one account alone
// gets --max-queued, n greedy ones get 2 / (n + 1) of that each, and a share as large is always free for one more.
//
// The room also measures how fast its requests are served, and refuses those that would wait beyond their deadline. It
// is shared fairly: an account that holds h places, of n accounts that wait, has about h x n requests before its next
// one, and never more than there are.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "engine/overload.h"
#include "engine/service_rate.h"

namespace coppice::engine {

// Owner: RequestDesk. Thread: any; the lock is held for a look-up.
class WaitingRoom {
 public:
  using TimePoint = base::Clock::TimePoint;

  explicit WaitingRoom(std::int32_t queued_max) : places_(kRoomFor * queued_max), queued_max_(queued_max) {}

  // Requests of one account that come together.
  struct Party {
    const std::string& account;
    std::int32_t count = 1;
    std::optional<TimePoint> deadline = std::nullopt;  // by which they want to be served; nothing: they wait
  };

  // Takes a place for each, or none: when the account would have more than its share, or would wait beyond the
  // deadline.
  Overload enter(const Party& party, TimePoint now);
  // Gives places back. REQUIRES: the account has them.
  void leave(const std::string& account, std::int32_t count, TimePoint now);
  // Gives places back that were not used after all: none was served. REQUIRES: the account has them.
  void give_back(const std::string& account, std::int32_t count);

  // Whether those that wait do so for want of KV pages.
  void set_short_of_pages(bool is_short) { is_short_of_pages_.store(is_short, std::memory_order_relaxed); }
  // Until a request of a new account would be served, as things go; 0 when that is not known.
  std::chrono::milliseconds wait(TimePoint now) const;
  // Most requests that may wait at once.
  std::int32_t places() const { return places_; }

 private:
  static constexpr std::int32_t kRoomFor = 2;  // accounts that fill their share

  void release(const std::string& account, std::int32_t count);
  double line_before(std::int32_t held) const;
  std::chrono::milliseconds time_for(double count, TimePoint now) const;

  const std::int32_t places_;
  const std::int32_t queued_max_;
  std::atomic<bool> is_short_of_pages_{false};
  mutable std::mutex mutex_;
  std::int32_t taken_ = 0;                               // guarded by mutex_
  absl::flat_hash_map<std::string, std::int32_t> held_;  // guarded by mutex_; no account with 0
  ServiceRate rate_;                                     // guarded by mutex_
};

}  // namespace coppice::engine
