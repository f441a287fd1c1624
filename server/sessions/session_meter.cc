// Times of a request.
#include "server/sessions/session_meter.h"

#include <algorithm>

namespace coppice::server {
namespace {

double seconds_between(SessionMeter::Clock::time_point from, SessionMeter::Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

}  // namespace

void SessionMeter::mark_event(std::uint64_t queued_ns) {
  if (!queued_s_) {
    queued_s_ = std::chrono::duration<double>(std::chrono::nanoseconds(queued_ns)).count();
  }
}

void SessionMeter::observe_tokens(std::size_t count, Clock::time_point& last) {
  if (count == 0) {
    return;
  }
  const Clock::time_point now = Clock::now();
  if (first_token_s_ == 0) {
    first_token_s_ = seconds_between(arrival_, now);
    metrics_.observe_first_token(first_token_s_);
  }
  if (last == Clock::time_point()) {
    gaps_ += count - 1;  // those that came with the first one
  } else {
    const double passed_s = seconds_between(last, now);
    metrics_.observe_inter_token(passed_s, static_cast<std::int64_t>(count));
    gaps_s_ += passed_s;
    gaps_ += count;
  }
  last = now;
}

void SessionMeter::observe_end(const RequestLengths& lengths) {
  RequestTimes times;
  times.whole_s = seconds_between(arrival_, Clock::now());
  times.queue_s = queued_s_.value_or(0);
  const double begun_s = seconds_between(arrival_, submitted_) + times.queue_s;
  const double first_s = first_token_s_ > 0 ? first_token_s_ : times.whole_s;  // what draws nothing is all prefill
  times.prefill_s = std::max(0.0, first_s - begun_s);
  times.decode_s = times.whole_s - first_s;
  if (gaps_ > 0) {
    times.per_token_s = gaps_s_ / static_cast<double>(gaps_);
  }
  metrics_.observe_finished(times, lengths);
}

}  // namespace coppice::server
