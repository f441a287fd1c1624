// Routing of events to sessions.
#include "server/sessions/session_hub.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <exception>

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
    handle(*session, std::move(event));
  }
  for (Session* const session : touched_) {
    flush(*session);
  }
  drop_ended();
}

void SessionHub::drop(const std::string& name) {
  std::erase_if(detached_, [&name](const auto& session) { return session->name() == name; });
}

void SessionHub::drop_ended() {
  std::erase_if(detached_, [](const auto& session) { return session->ended(); });
}

// What a session throws, out of memory at worst, ends that session alone.
void SessionHub::handle(Session& session, engine::Event&& event) {
  try {
    session.handle(std::move(event));
  } catch (const std::exception& error) {
    session.abort(openai::internal_error(fmt::format("the answer could not be made: {}", error.what())));
  }
}

void SessionHub::flush(Session& session) {
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
  for (Session* const session : touched_) {
    session->abort(error);
    flush(*session);
  }
  drop_ended();
}

}  // namespace coppice::server
