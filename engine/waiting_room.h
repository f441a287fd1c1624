// WaitingRoom: the places of requests that were submitted and have not run, shared so that no account can fill it for
// the others. An account is what pays for a request: an API key, whatever salts it uses.
//
// The rule is that of buffers shared by queues of a switch (Choudhury and Hahne, "Dynamic Queue Length Thresholds",
// 1998): an account may hold as many places as are free. The room has twice --max-queued places, so one account alone
// gets --max-queued, n greedy ones get 2 / (n + 1) of that each, and a share as large is always free for one more.
#pragma once

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <string>

#include "absl/container/flat_hash_map.h"

namespace coppice::engine {

// Owner: RequestDesk. Thread: any; the lock is held for a look-up.
class WaitingRoom {
 public:
  explicit WaitingRoom(std::int32_t queued_max) : places_(kRoomFor * queued_max), queued_max_(queued_max) {}

  // Takes `count` places, or none; false when the account would have more than its share.
  bool enter(const std::string& account, std::int32_t count = 1) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = held_.find(account);
    const std::int32_t held = found == held_.end() ? 0 : found->second;
    // Place by place each one lessens what is left for the next: the last must be within the share, too.
    if (held + count > std::min(places_ - taken_ - count + 1, queued_max_)) {
      return false;
    }
    held_[account] += count;
    taken_ += count;
    return true;
  }
  // Gives places back. REQUIRES: the account has them.
  void leave(const std::string& account, std::int32_t count = 1) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = held_.find(account);
    taken_ -= count;
    if ((found->second -= count) == 0) {
      held_.erase(found);
    }
  }
  // Most requests that may wait at once.
  std::int32_t places() const { return places_; }

 private:
  static constexpr std::int32_t kRoomFor = 2;  // accounts that fill their share

  const std::int32_t places_;
  const std::int32_t queued_max_;
  std::mutex mutex_;
  std::int32_t taken_ = 0;                               // guarded by mutex_
  absl::flat_hash_map<std::string, std::int32_t> held_;  // guarded by mutex_; no account with 0
};

}  // namespace coppice::engine
