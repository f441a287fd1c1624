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

// Requests that are served before the next one of an account with `held` in line.
double WaitingRoom::line_before(std::int32_t held) const {
  const double accounts = static_cast<double>(held_.size()) + (held == 0 ? 1.0 : 0.0);
  return std::min(static_cast<double>(taken_), (static_cast<double>(held) + 1.0) * accounts - 1.0);
}

milliseconds WaitingRoom::time_for(double count, TimePoint now) const {
  const std::optional<double> seconds = rate_.seconds_for(count, now);
  return seconds ? milliseconds(static_cast<std::int64_t>(*seconds * 1e3)) : milliseconds(0);
}

Overload WaitingRoom::enter(const Party& party, TimePoint now) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = held_.find(party.account);
  const std::int32_t held = found == held_.end() ? 0 : found->second;
  // Place by place each one lessens what is left for the next: the last must be within the share, too.
  if (held + party.count > std::min(places_ - taken_ - party.count + 1, queued_max_)) {
    const bool is_kv = is_short_of_pages_.load(std::memory_order_relaxed);
    return {is_kv ? OverloadReason::kKv : OverloadReason::kQueue,
            time_for(kServedBeforeRetry * std::max(1, held), now)};
  }
  if (taken_ > 0 && party.deadline && *party.deadline > now) {
    const milliseconds wait = time_for(line_before(held) + party.count, now);
    const auto left = std::chrono::duration_cast<milliseconds>(*party.deadline - now);
    if (wait > left) {
      return {OverloadReason::kDeadline, wait - left};
    }
  }
  if (taken_ == 0) {
    rate_.begin(now);
  }
  held_[party.account] += party.count;
  taken_ += party.count;
  return {};
}

void WaitingRoom::leave(const std::string& account, std::int32_t count, TimePoint now) {
  const std::lock_guard<std::mutex> lock(mutex_);
  rate_.leave(count, now);
  release(account, count);
}

void WaitingRoom::give_back(const std::string& account, std::int32_t count) {
  const std::lock_guard<std::mutex> lock(mutex_);
  release(account, count);
}

// REQUIRES: mutex_ is held.
void WaitingRoom::release(const std::string& account, std::int32_t count) {
  const auto found = held_.find(account);
  taken_ -= count;
  if ((found->second -= count) == 0) {
    held_.erase(found);
  }
}

milliseconds WaitingRoom::wait(TimePoint now) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return taken_ == 0 ? milliseconds(0) : time_for(line_before(0) + 1.0, now);
}

}  // namespace coppice::engine
