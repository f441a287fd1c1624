// WaitingRoom: the places of requests that were submitted and have not run, shared so that no account can fill it for
// the others. An account is what pays for a request: an API key, whatever salts it uses.
//
// The rule is that of buffers shared by queues of a switch (Choudhury and Hahne, "Dynamic Queue Length Thresholds",
// 1998): an account may hold as many places as are free. The room has twice --max-queued places, so one account alone
// gets --max-queued, n greedy ones get 2 / (n + 1) of that each, and a share as large is always free for one more.
//
// The room also measures how fast its requests are served, and refuses those that would wait beyond their deadline. It
// is shared fairly: an account that holds h places, of n accounts that wait, has about h x n requests before its next
// one, and never more than there are. Only those that take turns count: background work and low priorities go after
// them. While the engine has places free, what fits in them is not late.
#pragma once

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
    bool takes_turns = true;                           // neither background work nor of a low priority
    std::optional<TimePoint> deadline = std::nullopt;  // by which they want to be served; nothing: they wait
  };

  // Takes a place for each, or none: when the account would have more than its share, or would wait beyond the
  // deadline.
  Overload enter(const Party& party, TimePoint now);
  // Gives places back. REQUIRES: the party's account has them, of its kind.
  void leave(const Party& party, TimePoint now);
  // Gives places back that were not used after all: none was served. REQUIRES: as leave().
  void give_back(const Party& party);

  // What the engine has left for those that wait: places in the batch, none when they wait for want of KV pages.
  void set_free(std::int32_t places, bool is_short_of_pages, TimePoint now);
  // Until a request of a new account would be served, as things go; 0 when that is not known.
  std::chrono::milliseconds wait(TimePoint now) const;
  // Most requests that may wait at once.
  std::int32_t places() const { return places_; }

 private:
  static constexpr std::int32_t kRoomFor = 2;  // accounts that fill their share

  // Places of an account.
  struct Held {
    std::int32_t places = 0;
    std::int32_t in_turn = 0;  // of these: of requests that take turns
  };

  // Whether more wait than fit at once: then the pace at which they leave is the engine's, not that of their coming.
  bool is_full() const { return free_ < all_.in_turn; }
  void release(const Party& party);
  double line_before(const Held& held) const;
  std::chrono::milliseconds time_for(double count, TimePoint now) const;

  const std::int32_t places_;
  const std::int32_t queued_max_;
  mutable std::mutex mutex_;  // guards all below
  bool is_short_of_pages_ = false;
  std::int32_t free_ = INT32_MAX;  // of the engine's; before its first turn nothing is known that could refuse
  Held all_;                       // sums over the accounts
  std::int32_t accounts_ = 0;      // with requests that take turns
  absl::flat_hash_map<std::string, Held> held_;  // no account with 0 places
  ServiceRate rate_;
};

}  // namespace coppice::engine
