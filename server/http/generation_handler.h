// GenerationHandler: one generation over HTTP, from its session's items to one JSON object or a stream of server-sent
// events, in the form of the API that it came by.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "proto/openai/answer_writer.h"
#include "proto/openai/request.h"
#include "server/http/pool_task.h"
#include "server/http/route_call.h"
#include "server/sessions/server_state.h"
#include "server/sessions/session.h"

namespace coppice::server {

// Owner: the connection. Thread: the connection's. Destroyed before the answer is complete, because the client has
// left, its session cancels and the answer counts as 499.
class GenerationHandler final : public RequestHandler, public OutputSink {
 public:
  // What the pool has made of a request.
  struct Prepared {
    std::shared_ptr<openai::AnswerWriter> writer;
    PreparedRequest request;
  };

  // Null: the request was refused and the refusal sent.
  static std::unique_ptr<RequestHandler> start(ServerState& state, const ModelHost& host, const CallPointer& call,
                                               Prepared prepared);

  GenerationHandler(ServerState& state, const ModelHost& host, const CallPointer& call,
                    std::shared_ptr<openai::AnswerWriter> writer, bool is_stream);
  ~GenerationHandler() override;

  void on_quiet() override;

  void on_begin(const openai::AnswerUsage& known) override;
  void on_delta(openai::ChoiceDelta delta) override;
  void on_done(openai::Answer answer) override;
  void on_error(openai::ApiError error) override;
  void on_flush() override;

 private:
  void begin_stream();
  openai::MaybeError count_writer();
  bool write_on_pool(openai::Answer& answer);
  void respond(std::string body);
  void finish(int status);

  ServerState& state_;
  const CallPointer call_;
  const std::shared_ptr<openai::AnswerWriter> writer_;
  const bool is_stream_;
  bool has_begun_ = false;
  bool is_finished_ = false;
  bool ends_stream_ = false;  // at the next flush
  std::string batch_;         // events of this dispatch
  std::size_t counted_ = 0;   // bytes of the writer that the lease knows of
  std::optional<PoolTask> writing_;
  Session session_;  // last: its destructor cancels while everything else still stands
};

}  // namespace coppice::server
