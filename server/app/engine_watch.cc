// What silence means.
#include "server/app/engine_watch.h"

#include <algorithm>

namespace coppice::server {
namespace {

constexpr std::int64_t kSlowerMost = 10;  // than the slowest row so far: a long context, a busy machine

std::chrono::nanoseconds allowed(const engine::EnginePulse& pulse) {
  const std::chrono::nanoseconds row =
      pulse.row_ns == 0 ? EngineWatch::kRowUnknown : std::chrono::nanoseconds(pulse.row_ns);
  const std::chrono::nanoseconds most = EngineWatch::kStuckAfterMost;
  // A product that would overflow is beyond the most anyway.
  const bool is_huge = pulse.rows > 0 && row > most / (kSlowerMost * pulse.rows);
  return is_huge ? most : std::max<std::chrono::nanoseconds>(EngineWatch::kStuckAfter, kSlowerMost * pulse.rows * row);
}

}  // namespace

bool EngineWatch::is_stuck(const engine::EnginePulse& pulse, Clock::time_point now) {
  const bool has_moved = pulse.turns != turns_ || last_progress_ == Clock::time_point();
  if (has_moved || !pulse.has_work) {
    turns_ = pulse.turns;
    last_progress_ = now;
  }
  silence_ = std::chrono::duration_cast<std::chrono::milliseconds>(now - last_progress_);
  return now - last_progress_ > allowed(pulse);
}

}  // namespace coppice::server
