// EnginePulse: what a watch outside the engine's thread needs to see whether that thread gets on. Statistics are copied
// out between steps, so a thread that is stuck would leave the last good ones.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace coppice::engine {

// A value.
struct EnginePulse {
  std::uint64_t turns = 0;   // grows whenever a step begins or ends
  std::int32_t rows = 0;     // of the step that runs now; 0 between steps
  std::uint64_t row_ns = 0;  // a row's share of the slowest step lately; 0: no step has ended
  bool has_work = false;     // commands wait, a step runs, or there is one to run
};

// The engine's pulse. Owner: EngineCore. Thread: the engine's, except read().
class PulseBook {
 public:
  void begin_turn() {
    is_inside_.store(true, std::memory_order_relaxed);
    turns_.fetch_add(1, std::memory_order_release);
  }
  // A step of `rows` rows is submitted.
  void set_rows(std::int32_t rows) { rows_.store(rows, std::memory_order_relaxed); }
  // The turn took `ns`; `is_busy`: another one follows at once.
  void end_turn(std::uint64_t ns, bool is_busy) {
    const auto rows = static_cast<std::uint64_t>(rows_.load(std::memory_order_relaxed));
    if (rows > 0) {
      const std::uint64_t before = row_ns_.load(std::memory_order_relaxed);
      row_ns_.store(std::max({before - before / kFadeIn, ns / rows, std::uint64_t{1}}), std::memory_order_relaxed);
    }
    rows_.store(0, std::memory_order_relaxed);
    is_inside_.store(false, std::memory_order_relaxed);
    is_busy_.store(is_busy, std::memory_order_relaxed);
    turns_.fetch_add(1, std::memory_order_release);
  }
  // `has_commands`: some wait.
  EnginePulse read(bool has_commands) const {
    EnginePulse pulse;
    pulse.turns = turns_.load(std::memory_order_acquire);
    pulse.rows = rows_.load(std::memory_order_relaxed);
    pulse.row_ns = row_ns_.load(std::memory_order_relaxed);
    pulse.has_work =
        has_commands || is_inside_.load(std::memory_order_relaxed) || is_busy_.load(std::memory_order_relaxed);
    return pulse;
  }

 private:
  static constexpr std::uint64_t kFadeIn = 1024;  // steps until a slow one counts for a third: a few minutes' worth

  std::atomic<std::uint64_t> turns_{0};
  std::atomic<std::uint64_t> row_ns_{0};
  std::atomic<std::int32_t> rows_{0};
  std::atomic<bool> is_inside_{false};
  std::atomic<bool> is_busy_{false};
};

}  // namespace coppice::engine
