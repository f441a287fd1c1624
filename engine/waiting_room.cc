// Taking places, and what the line's length and pace say about the next request.
#include "engine/waiting_room.h"

#include <algorithm>
#include <chrono>

namespace coppice::engine {
namespace {

using std::chrono::milliseconds;

// Of the places that an account has, when it is told that it has too many: the share that is served before it is worth
// trying again. All of them would let the line run dry, one would bring all its clients back at once.
constexpr double kServedBeforeRetry = 0.5;

}  // namespace

// Requests that are served before the next one of an account with `held` in line, beyond those that fit at once.
double WaitingRoom::line_before(const Held& held) const {
  const double accounts = static_cast<double>(accounts_) + (held.in_turn == 0 ? 1.0 : 0.0);
  const double before =
      std::min(static_cast<double>(all_.in_turn), (static_cast<double>(held.in_turn) + 1.0) * accounts - 1.0);
  return before - static_cast<double>(free_);
}

milliseconds WaitingRoom::time_for(double count, TimePoint now) const {
  const std::optional<double> seconds = rate_.seconds_for(std::max(0.0, count), now);
  return seconds ? milliseconds(static_cast<std::int64_t>(*seconds * 1e3)) : milliseconds(0);
}

Overload WaitingRoom::enter(const Party& party, TimePoint now) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = held_.find(party.account);
  const Held held = found == held_.end() ? Held() : found->second;
  // Place by place each one lessens what is left for the next: the last must be within the share, too.
  if (held.places + party.count > std::min(places_ - all_.places - party.count + 1, queued_max_)) {
    return {is_short_of_pages_ ? OverloadReason::kKv : OverloadReason::kQueue,
            time_for(kServedBeforeRetry * std::max(1, held.places), now)};
  }
  if (all_.in_turn > 0 && party.deadline && *party.deadline > now) {
    const milliseconds wait = time_for(line_before(held) + party.count, now);
    const auto left = std::chrono::duration_cast<milliseconds>(*party.deadline - now);
    if (wait > left) {
      return {OverloadReason::kDeadline, wait - left};
    }
  }
  const std::int32_t in_turn = party.takes_turns ? party.count : 0;
  Held& own = held_[party.account];
  accounts_ += own.in_turn == 0 && in_turn > 0 ? 1 : 0;
  own.places += party.count;
  own.in_turn += in_turn;
  all_.places += party.count;
  all_.in_turn += in_turn;
  return {};
}

void WaitingRoom::leave(const Party& party, TimePoint now) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (party.takes_turns && is_full()) {
    rate_.leave(party.count, now);
  }
  release(party);
}

void WaitingRoom::give_back(const Party& party) {
  const std::lock_guard<std::mutex> lock(mutex_);
  release(party);
}

// REQUIRES: mutex_ is held.
void WaitingRoom::release(const Party& party) {
  const std::int32_t in_turn = party.takes_turns ? party.count : 0;
  const auto found = held_.find(party.account);
  Held& own = found->second;
  own.places -= party.count;
  own.in_turn -= in_turn;
  all_.places -= party.count;
  all_.in_turn -= in_turn;
  accounts_ -= own.in_turn == 0 && in_turn > 0 ? 1 : 0;
  if (own.places == 0) {
    held_.erase(found);
  }
}

void WaitingRoom::set_free(std::int32_t places, bool is_short_of_pages, TimePoint now) {
  const std::lock_guard<std::mutex> lock(mutex_);
  is_short_of_pages_ = is_short_of_pages;
  if (!is_full()) {
    rate_.rest(now);
  }
  free_ = is_short_of_pages ? 0 : places;
}

milliseconds WaitingRoom::wait(TimePoint now) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return all_.in_turn == 0 ? milliseconds(0) : time_for(line_before(Held()) + 1.0, now);
}

}  // namespace coppice::engine
