// Routing of events to sessions.
#include "server/sessions/session_hub.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <exception>

#include "base/release.h"

namespace coppice::server {

void SessionHub::dispatch() {
  if (handled_ == events_.size()) {
    events_ = queue_->take();
    handled_ = 0;
  }
  touched_.clear();
  for (std::size_t entries = 0; handled_ < events_.size() && entries < kTurnEntries; ++handled_) {
    engine::Event& event = events_[handled_];
    const auto found = sessions_.find(event.request);
    if (found == sessions_.end()) {
      continue;  // its session has left and cancelled it
    }
    EventListener* const session = found->second;
    if (touched_.empty() || touched_.back() != session) {
      touched_.push_back(session);
    }
    entries += handle(*session, std::move(event));
  }
  for (EventListener* const session : touched_) {
    flush(*session);
  }
  drop_ended();
  // What has come to the queue meanwhile has its own wake-up, behind this one.
  if (handled_ < events_.size()) {
    wake_();
  } else {
    base::release(events_);
    handled_ = 0;
  }
}

void SessionHub::drop(const std::string& name) {
  std::erase_if(detached_, [&name](const auto& session) { return session->name() == name; });
}

void SessionHub::drop_ended() {
  std::erase_if(detached_, [](const auto& session) { return session->ended(); });
}

// Returns the entries handled. What a session throws, out of memory at worst, ends that session alone.
std::size_t SessionHub::handle(EventListener& session, engine::Event&& event) {
  try {
    return session.handle(std::move(event));
  } catch (const std::exception& error) {
    abort(session, openai::internal_error(fmt::format("the answer could not be made: {}", error.what())));
    return 1;
  }
}

void SessionHub::abort(EventListener& session, const openai::ApiError& error) {
  try {
    session.abort(error);
  } catch (const std::exception& failure) {
    spdlog::error("an answer could not be ended: {}", failure.what());
  }
}

void SessionHub::flush(EventListener& session) {
  try {
    session.flush();
  } catch (const std::exception& error) {
    spdlog::error("an answer could not be sent: {}", error.what());
  }
}

void SessionHub::abort_all(const openai::ApiError& error) {
  touched_.clear();
  for (const auto& [id, session] : sessions_) {
    touched_.push_back(session);
  }
  std::sort(touched_.begin(), touched_.end());
  touched_.erase(std::unique(touched_.begin(), touched_.end()), touched_.end());
  for (EventListener* const session : touched_) {
    abort(*session, error);
    flush(*session);
  }
  drop_ended();
}

}  // namespace coppice::server
