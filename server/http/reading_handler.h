// ReadingHandler: embeddings or decisions over HTTP, from the session's answer to one JSON object.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "server/http/pool_task.h"
#include "server/http/route_call.h"
#include "server/sessions/reading_session.h"
#include "server/sessions/server_state.h"

namespace coppice::server {

// Owner: the connection. Thread: the connection's. Destroyed before the answer is complete, because the client has
// left, its session cancels and the answer counts as 499.
class ReadingHandler final : public RequestHandler, public ReadingSink {
 public:
  // Makes the body of the answer. On the pool when it is large.
  using Write = std::function<std::string(ReadingAnswer& answer)>;

  // Null: the request was refused and the refusal sent.
  static std::unique_ptr<RequestHandler> start(ServerState& state, const ModelHost& host, const CallPointer& call,
                                               PreparedReading prepared, Write write);

  ReadingHandler(ServerState& state, const ModelHost& host, const CallPointer& call, Write write,
                 std::size_t held_bytes);
  ~ReadingHandler() override;

  void on_reading(ReadingAnswer answer) override;
  void on_reading_error(openai::ApiError error) override;

 private:
  void respond(std::string body);
  void finish(int status);

  ServerState& state_;
  const CallPointer call_;
  const Write write_;
  const std::size_t held_bytes_;
  bool is_finished_ = false;
  std::optional<PoolTask> writing_;
  ReadingSession session_;  // last: its destructor cancels while everything else still stands
};

}  // namespace coppice::server
