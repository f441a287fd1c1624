// ServiceRate: how many requests a second leave the line to be served, measured while some stand in it. Old departures
// fade, so that the rate follows what requests are like now, and it falls while none leaves.
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

  // The line is empty no longer.
  void begin(TimePoint now) { last_ = now; }
  // `count` have left it.
  void leave(int count, TimePoint now) {
    const double passed = seconds_to(now);
    const double kept = fade(passed) * std::pow(1 - 1 / kRemembered, count);
    seconds_ = seconds_ * kept + passed;
    departures_ = departures_ * kept + count;
    last_ = std::max(now, last_);
  }
  // Seconds until `count` that stand in line have left it. Nothing: too few have left yet to tell.
  std::optional<double> seconds_for(double count, TimePoint now) const {
    const double passed = seconds_to(now);
    const double kept = fade(passed);
    if (departures_ < kDeparturesMin) {
      return std::nullopt;
    }
    return count * (seconds_ * kept + passed) / (departures_ * kept);
  }

 private:
  // Until a departure counts for a third: long answers take that long, and a load that changed is known within it.
  static constexpr double kFadeSeconds = 30;
  // Departures until one counts for a third: thousands that found an idle engine say nothing about a full one.
  static constexpr double kRemembered = 32;
  // Departures that are remembered before anybody is told a time: fewer are chance.
  static constexpr double kDeparturesMin = 4;

  double seconds_to(TimePoint now) const { return std::max(0.0, std::chrono::duration<double>(now - last_).count()); }
  static double fade(double passed) { return std::exp(-passed / kFadeSeconds); }

  TimePoint last_{};       // of the last departure, or since when the line is not empty
  double seconds_ = 0;     // in which the line was not empty, faded
  double departures_ = 0;  // in that time, faded
};

}  // namespace coppice::engine
