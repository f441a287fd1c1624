// Times of a request.
#include "server/sessions/session_meter.h"

namespace coppice::server {
namespace {

double seconds_between(SessionMeter::Clock::time_point from, SessionMeter::Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

}  // namespace

void SessionMeter::observe_tokens(std::size_t count, Clock::time_point& last) {
  if (count == 0) {
    return;
  }
  const Clock::time_point now = Clock::now();
  if (first_token_s_ == 0) {
    first_token_s_ = seconds_between(arrival_, now);
    metrics_.observe_first_token(first_token_s_);
  }
  if (last != Clock::time_point()) {
    metrics_.observe_inter_token(seconds_between(last, now), static_cast<std::int64_t>(count));
  }
  last = now;
}

void SessionMeter::observe_end(std::int64_t prompt_tokens, std::int64_t completion_tokens) {
  metrics_.observe_end(seconds_between(arrival_, Clock::now()));
  metrics_.observe_lengths(prompt_tokens, completion_tokens);
}

}  // namespace coppice::server
