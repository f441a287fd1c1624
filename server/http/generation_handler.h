// GenerationHandler: one completion or chat over HTTP, from its session's items to one JSON object or a stream of
// server-sent events.
#pragma once

#include <memory>
#include <string>

#include "proto/openai/answer_writer.h"
#include "proto/openai/request.h"
#include "server/http/router.h"
#include "server/sessions/session.h"

namespace coppice::server {

// Owner: the connection. Thread: the connection's. Destroyed before the answer is complete, because the client has
// left, its session cancels and the answer counts as 499.
class GenerationHandler final : public RequestHandler, public OutputSink {
 public:
  GenerationHandler(ServerState& state, const ModelHost& host, const RouteCall& call);
  ~GenerationHandler() override;

  // False: the request was refused and the refusal sent.
  bool start(openai::GenerationRequest request, const std::string& tenant);

  void on_delta(openai::ChoiceDelta delta) override;
  void on_done(openai::Answer answer) override;
  void on_error(openai::ApiError error) override;
  void on_flush() override;

 private:
  void begin_stream();
  void finish(int status);

  ServerState& state_;
  const ModelHost& host_;
  Exchange& exchange_;
  const std::string request_id_;
  const std::string route_;
  std::unique_ptr<openai::AnswerWriter> writer_;  // null before start()
  bool is_stream_ = false;
  bool has_begun_ = false;
  bool is_finished_ = false;
  bool ends_stream_ = false;  // at the next flush
  std::string batch_;         // events of this dispatch
  Session session_;           // last: its destructor cancels while everything else still stands
};

}  // namespace coppice::server
