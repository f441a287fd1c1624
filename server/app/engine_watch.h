// EngineWatch: whether the engine's thread still gets on, judged from outside it. A thread that is stuck cannot report
// that it is; its silence must be heard.
#pragma once

#include <chrono>
#include <cstdint>

#include "engine/pulse.h"

namespace coppice::server {

// Owner: the app. Thread: one, which looks a few times a second.
//
// Between steps the engine has at most some milliseconds of work: commands that wait, or work that is known, and no
// turn for kStuckAfter means stuck. In a step the device computes, and a large prompt on a slow machine takes its time:
// a step is given ten times what its rows take at the slowest pace that the engine has seen, but no less than
// kStuckAfter and no more than kStuckAfterMost. Before the first step has ended, kRowUnknown stands for that pace.
class EngineWatch {
 public:
  using Clock = std::chrono::steady_clock;

  // Looks once. REQUIRES: `now` does not go back.
  bool is_stuck(const engine::EnginePulse& pulse, Clock::time_point now);
  // Since the last sign of progress, or of having nothing to do.
  std::chrono::milliseconds silence() const { return silence_; }

  static constexpr std::chrono::seconds kStuckAfter{4};       // with the time between two looks, /ready fails within 5
  static constexpr std::chrono::seconds kStuckAfterMost{60};  // whatever was seen: clients have given up by then
  static constexpr std::chrono::milliseconds kRowUnknown{100};  // a small model's row on a slow core, or far more

 private:
  std::uint64_t turns_ = 0;
  Clock::time_point last_progress_{};
  std::chrono::milliseconds silence_{0};
};

}  // namespace coppice::server
