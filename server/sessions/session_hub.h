// SessionHub: one I/O thread's share of the engine's news. The engine appends events to the hub's queue and wakes its
// thread; dispatch() then hands each event to its session and tells every session that got some, once, to flush.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "engine/events.h"
#include "proto/openai/api_error.h"

namespace coppice::server {

class Session;

// Owner: the I/O thread (HTTP) or the door (gRPC). Thread: all methods from that one thread; only `wake` is called from
// the engine's, must not block, and may be called until the engine has stopped.
class SessionHub {
 public:
  explicit SessionHub(std::function<void()> wake) : queue_(std::make_shared<engine::EventQueue>(std::move(wake))) {}

  const std::shared_ptr<engine::EventQueue>& queue() const { return queue_; }

  // Events of request `id` go to `session` until forget(id).
  void remember(engine::RequestId id, Session& session) { sessions_[id] = &session; }
  void forget(engine::RequestId id) { sessions_.erase(id); }
  std::size_t size() const { return sessions_.size(); }

  // Takes all events there are. Sinks may not destroy a session from inside its callbacks.
  void dispatch();

  // Every session ends with `error`, as if the engine had failed it.
  void abort_all(const openai::ApiError& error);

 private:
  std::shared_ptr<engine::EventQueue> queue_;
  absl::flat_hash_map<engine::RequestId, Session*> sessions_;
  std::vector<Session*> touched_;  // scratch of dispatch()
};

}  // namespace coppice::server
