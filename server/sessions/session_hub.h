// SessionHub: routes the engine's events to the sessions of one I/O thread. The engine appends events to the hub's
// queue and wakes its thread; dispatch() then hands each event to its session and flushes every session that got some,
// once. What would hold the thread for long is done in turns: others on the thread come between.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "engine/events.h"
#include "proto/openai/api_error.h"

namespace coppice::server {

// What hears of the events of some requests: a session. Thread: its hub's.
class EventListener {
 public:
  // Returns a measure of the work that it was: entries of tokens read and written.
  virtual std::size_t handle(engine::Event&& event) = 0;
  // After the last event of one dispatch: sends what there is.
  virtual void flush() = 0;
  // Ends with `error`, unless it has ended. flush() comes next.
  virtual void abort(const openai::ApiError& error) = 0;

 protected:
  ~EventListener() = default;
};

// A session that no client waits for: the hub owns it.
class DetachedSession {
 public:
  virtual ~DetachedSession() = default;
  virtual const std::string& name() const = 0;  // unique among them
  virtual bool ended() const = 0;
};

// Owner: the I/O thread (HTTP) or the server (gRPC). Thread: all methods from that one thread; only `wake` is called
// from the engine's thread, until the engine has stopped. REQUIRES: `wake` does not block.
class SessionHub {
 public:
  explicit SessionHub(std::function<void()> wake)
      : wake_(std::move(wake)), queue_(std::make_shared<engine::EventQueue>(wake_)) {}

  const std::shared_ptr<engine::EventQueue>& queue() const { return queue_; }

  // Events of request `id` go to `session` until forget(id).
  void remember(engine::RequestId id, EventListener& session) { sessions_[id] = &session; }
  void forget(engine::RequestId id) { sessions_.erase(id); }
  std::size_t size() const { return sessions_.size(); }

  // Owns `session` until it has ended, or is dropped.
  void adopt(std::unique_ptr<DetachedSession> session) { detached_.push_back(std::move(session)); }
  void drop(const std::string& name);

  // Takes the queued events and handles those of one turn; wakes the thread again for the rest. REQUIRES: no sink
  // destroys a session from inside a call.
  void dispatch();

  // Entries of tokens in a turn, after the event that reaches it: some milliseconds of decoding and writing. A step of
  // a thousand streams has fewer.
  static constexpr std::size_t kTurnEntries = 8192;

  // Ends every session with `error`.
  void abort_all(const openai::ApiError& error);

 private:
  std::size_t handle(EventListener& session, engine::Event&& event);
  void flush(EventListener& session);
  void drop_ended();
  void abort(EventListener& session, const openai::ApiError& error);

  const std::function<void()> wake_;
  std::shared_ptr<engine::EventQueue> queue_;
  absl::flat_hash_map<engine::RequestId, EventListener*> sessions_;
  std::vector<engine::Event> events_;                       // taken from the queue
  std::size_t handled_ = 0;                                 // of events_
  std::vector<EventListener*> touched_;                     // scratch of dispatch()
  std::vector<std::unique_ptr<DetachedSession>> detached_;  // last: they leave sessions_
};

}  // namespace coppice::server
