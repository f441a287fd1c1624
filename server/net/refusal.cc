// One line for each, while they are few.
#include "server/net/refusal.h"

#include <spdlog/spdlog.h>

#include <utility>

namespace coppice::server {

void RefusalLog::refuse(std::string_view peer, const Refusal& refusal, std::string_view detail) {
  if (count_) {
    count_(refusal.label);
  }
  std::uint64_t unsaid = 0;
  {
    const std::lock_guard lock(mutex_);
    if (!lines_.take(1, TokenBucket::Clock::now())) {
      ++unsaid_;
      return;
    }
    unsaid = std::exchange(unsaid_, 0);
  }
  if (unsaid > 0) {
    spdlog::warn("{}: {} more connections were closed", listener_, unsaid);
  }
  spdlog::warn("{}: connection of {} closed: {}{}{}", listener_, peer, refusal.words, detail.empty() ? "" : ": ",
               detail);
}

}  // namespace coppice::server
