// Routing of events to sessions.
#include "server/sessions/session_hub.h"

#include <algorithm>

#include "server/sessions/session.h"

namespace coppice::server {

void SessionHub::dispatch() {
  touched_.clear();
  for (engine::Event& event : queue_->take()) {
    const auto found = sessions_.find(event.request);
    if (found == sessions_.end()) {
      continue;  // its session has left and cancelled it
    }
    Session* const session = found->second;
    if (touched_.empty() || touched_.back() != session) {
      touched_.push_back(session);
    }
    session->handle(std::move(event));
  }
  for (Session* const session : touched_) {
    session->flush();
  }
}

void SessionHub::abort_all(const openai::ApiError& error) {
  touched_.clear();
  for (const auto& [id, session] : sessions_) {
    touched_.push_back(session);
  }
  std::sort(touched_.begin(), touched_.end());
  touched_.erase(std::unique(touched_.begin(), touched_.end()), touched_.end());
  for (Session* const session : touched_) {
    session->abort(error);
    session->flush();
  }
}

}  // namespace coppice::server
