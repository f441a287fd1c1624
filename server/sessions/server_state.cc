// Phases, in words for clients.
#include "server/sessions/server_state.h"

namespace coppice::server {
namespace {

constexpr int kStartingRetrySeconds = 2;  // loading a model takes seconds to a minute
constexpr int kDrainingRetrySeconds = 5;  // long enough for a load balancer to choose another server

}  // namespace

openai::MaybeError ServerState::refusal() const {
  switch (phase.load()) {
    case Phase::kStarting:
      return openai::unavailable("starting", "the server is loading its model; try again soon", kStartingRetrySeconds);
    case Phase::kDraining:
      return openai::unavailable("draining", "the server is shutting down; try another one", kDrainingRetrySeconds);
    case Phase::kServing:
      break;
  }
  return std::nullopt;
}

openai::MaybeError ServerState::turn_away() {
  openai::MaybeError error = refusal();
  if (error) {
    metrics.count_rejection(error->code);
  }
  return error;
}

}  // namespace coppice::server
