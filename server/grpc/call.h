// What the calls of the gRPC server share, and what each of them knows of itself.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "server/grpc/call_table.h"
#include "server/grpc/task_loop.h"
#include "server/sessions/server_state.h"
#include "server/sessions/session_hub.h"

namespace coppice::server {

// A thread for sessions, and the hub of their events. Owner: the gRPC server.
struct SessionLoop {
  SessionLoop() : hub([this] { loop.post([this] { hub.dispatch(); }); }) {}

  SessionHub hub;  // declared before the loop: its tasks use the hub until the loop has joined
  TaskLoop loop;
};

// One call, from its metadata and its connection. Moved, not copied.
struct Call {
  const char* route = "";  // a literal, for metrics
  std::string tenant;
  std::unique_ptr<CallTable::Place> place;
  std::string client;  // its address, for the log
  std::string request_id;
  std::optional<std::chrono::steady_clock::time_point> deadline;  // of the client
  bool renders = false;                                           // a chat template, which may take long
};

// What all calls share. Owner: the gRPC server, which outlives them. Thread: any.
struct CallContext {
  ServerState& state;
  CallTable calls;  // alive

  // Runs the job of a call with `bytes` of input: here, on gRPC's thread, when it is sure to be short or there is no
  // pool; else on the work pool. False: the pool is full; the job is dropped.
  bool run(const Call& call, std::size_t bytes, std::function<void()> job) const;
};

inline bool CallContext::run(const Call& call, std::size_t bytes, std::function<void()> job) const {
  constexpr std::size_t kShortBytes = 4096;  // read and tokenised in well under a millisecond
  if (state.work == nullptr || (bytes <= kShortBytes && !call.renders)) {
    job();
    return true;
  }
  return state.work->post(call.tenant, bytes, std::move(job));
}

}  // namespace coppice::server
