// ConnectionList: the connections of one thread, and which of them goes when there are too many.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <vector>

namespace coppice::server {

// Connection: has `Clock::duration quiet_for(Clock::time_point now)`, for how long it has waited for its client, zero
// while the client waits for it; and `void make_room()`, which ends it.
//
// Owner: an I/O thread. Thread: that one.
template <typename Connection>
class ConnectionList {
 public:
  using Clock = std::chrono::steady_clock;

  void add(const std::shared_ptr<Connection>& connection) {
    if (live_.size() >= sweep_at_) {
      std::erase_if(live_, [](const std::weak_ptr<Connection>& weak) { return weak.expired(); });
      sweep_at_ = std::max(kSweepMin, live_.size() * 2);
    }
    live_.push_back(connection);
  }

  template <typename Visit>
  void for_each(Visit&& visit) {
    for (std::size_t i = 0; i < live_.size(); ++i) {  // by index: a visit may end connections, but adds none
      if (const std::shared_ptr<Connection> connection = live_[i].lock()) {
        visit(*connection);
      }
    }
  }

  // Ends the connection that has been quiet for longest. False: none is.
  bool make_room() {
    const Clock::time_point now = Clock::now();
    std::shared_ptr<Connection> quietest;
    Clock::duration longest{};
    for (const std::weak_ptr<Connection>& weak : live_) {
      std::shared_ptr<Connection> connection = weak.lock();
      const Clock::duration quiet = connection == nullptr ? Clock::duration{} : connection->quiet_for(now);
      if (quiet > longest) {
        longest = quiet;
        quietest = std::move(connection);
      }
    }
    if (quietest != nullptr) {
      quietest->make_room();
    }
    return quietest != nullptr;
  }

 private:
  static constexpr std::size_t kSweepMin = 64;  // connections before the list is first swept of dead ones

  std::vector<std::weak_ptr<Connection>> live_;
  std::size_t sweep_at_ = kSweepMin;
};

}  // namespace coppice::server
