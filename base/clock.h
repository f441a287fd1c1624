// Clock: the seam through which time is read, so that a simulation can own it.
// Deadlines are steady-clock points; nothing here knows the time of day.
#pragma once

#include <chrono>

namespace coppice::base {

// Immutable; any thread.
class Clock {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  virtual ~Clock() = default;
  virtual TimePoint now() const = 0;
};

class SteadyClock final : public Clock {
 public:
  TimePoint now() const override { return std::chrono::steady_clock::now(); }
};

}  // namespace coppice::base
