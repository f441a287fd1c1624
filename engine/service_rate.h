// ServiceRate: how many requests a second leave the line to be served, measured while the engine is full. Old
// departures fade, so that the rate follows what requests are like now and is unknown again after a quiet while; it
// falls while none leaves.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>

#include "base/clock.h"

namespace coppice::engine {

// Owner: WaitingRoom, whose lock guards it. Times must not go back; one that does counts as the last.
class ServiceRate {
 public:
  using TimePoint = base::Clock::TimePoint;

  // Until now there was room for more: that time says nothing, and what was measured before it fades.
  void rest(TimePoint now) {
    const double kept = fade(seconds_to(now));
    seconds_ *= kept;
    departures_ *= kept;
    last_ = std::max(now, last_);
  }
  // `count` have left it.
  void leave(int count, TimePoint now) {
    const double passed = seconds_to(now);
    const double kept = fade(passed) * std::pow(1 - 1 / kRemembered, count);
    seconds_ = seconds_ * kept + passed;
    departures_ = departures_ * kept + count;
    last_ = std::max(now, last_);
  }
  // Seconds until `count` that stand in line have left it, a day at most. Nothing: too few have left yet to tell.
  std::optional<double> seconds_for(double count, TimePoint now) const {
    if (departures_ < kDeparturesMin) {
      return std::nullopt;
    }
    // Nothing fades within a pause: one long answer is one late departure.
    return std::min(kSecondsMost, count * (seconds_ + seconds_to(now)) / departures_);
  }

 private:
  // Until a departure counts for a third: long answers take that long, and a load that changed is known within it.
  static constexpr double kFadeSeconds = 30;
  // Departures until one counts for a third: thousands that found an idle engine say nothing about a full one.
  static constexpr double kRemembered = 32;
  // Departures that are remembered before anybody is told a time: fewer are chance.
  static constexpr double kDeparturesMin = 4;
  static constexpr double kSecondsMost = 86'400;  // s; what is further away is as good as never

  double seconds_to(TimePoint now) const { return std::max(0.0, std::chrono::duration<double>(now - last_).count()); }
  static double fade(double passed) { return std::exp(-passed / kFadeSeconds); }

  TimePoint last_{};       // of the last departure or rest
  double seconds_ = 0;     // in which the engine was full, faded
  double departures_ = 0;  // in that time, faded
};

}  // namespace coppice::engine
