// SessionMeter: the times of one request, for the metrics and the log.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "server/metrics/metrics.h"

namespace coppice::server {

// Owner: a session. Thread: its session's. The metrics outlive it.
class SessionMeter {
 public:
  using Clock = std::chrono::steady_clock;

  explicit SessionMeter(Metrics& metrics, Clock::time_point arrival = Clock::now())
      : metrics_(metrics), arrival_(arrival) {}

  Clock::time_point arrival() const { return arrival_; }
  // From arrival to the first token of any choice; 0 before.
  double first_token_s() const { return first_token_s_; }

  // The engine is given the request now.
  void mark_submitted() { submitted_ = Clock::now(); }
  // An event of the engine's has come, whose request ran first after `queued_ns`. Of several prompts the first counts.
  void mark_event(std::uint64_t queued_ns);
  // `count` tokens of one choice have come. `last` is when that choice's last ones came; a default time_point: none
  // did.
  void observe_tokens(std::size_t count, Clock::time_point& last);
  void count_finish(FinishLabel label) { metrics_.count_finish(label); }
  // The answer is complete.
  void observe_end(const RequestLengths& lengths);

 private:
  Metrics& metrics_;
  const Clock::time_point arrival_;
  Clock::time_point submitted_ = arrival_;
  std::optional<double> queued_s_;  // once an event has come
  double first_token_s_ = 0;
  // Between tokens of one choice, all choices together: their time, and how many there were.
  double gaps_s_ = 0;
  std::size_t gaps_ = 0;
};

}  // namespace coppice::server
