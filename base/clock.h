// Clock: the seam through which time is read, so that a simulation can own it.
// Deadlines are steady-clock points; nothing here knows the time of day.
#pragma once

#include <chrono>
#include <cstdint>

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

// The machine's clock, for code that is given none. Lives as long as the program.
inline const Clock& real_clock() {
  static const SteadyClock clock;
  return clock;
}

inline std::uint64_t ns_between(Clock::TimePoint begin, Clock::TimePoint end) {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(end - begin).count());
}

inline std::uint64_t ns_since(const Clock& clock, Clock::TimePoint begin) {
  return ns_between(begin, clock.now());
}

// Adds the nanoseconds of its own life to a sum.
class ScopedTimer {
 public:
  ScopedTimer(const Clock& clock, std::uint64_t& sum_ns) : clock_(clock), sum_ns_(sum_ns), begin_(clock.now()) {}
  ~ScopedTimer() { sum_ns_ += ns_since(clock_, begin_); }
  ScopedTimer(const ScopedTimer&) = delete;
  ScopedTimer& operator=(const ScopedTimer&) = delete;

 private:
  const Clock& clock_;
  std::uint64_t& sum_ns_;
  const Clock::TimePoint begin_;
};

}  // namespace coppice::base
