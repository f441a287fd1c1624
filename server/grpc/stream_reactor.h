// StreamReactor: one streaming answer over gRPC. gRPC's callbacks come on any of its threads and only post; all state
// is used on the server's loop alone.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "coppice/v1/inference.grpc.pb.h"
#include "grpcpp/support/server_callback.h"
#include "server/grpc/answer_writer.h"
#include "server/grpc/task_loop.h"
#include "server/sessions/server_state.h"
#include "server/sessions/session.h"

namespace coppice::server {

// What all streams share. Owner: the gRPC server. `hub` is used on the loop's thread alone.
struct StreamContext {
  ServerState& state;
  TaskLoop& loop;
  SessionHub& hub;
  std::atomic<std::int64_t>& active;  // streams alive
};

// Owner: itself; deletes itself after OnDone(). Thread: see above.
class StreamReactor final : public grpc::ServerWriteReactor<v1::GenerateResponse>, private OutputSink {
 public:
  using Parse = std::function<openai::Result<openai::GenerationRequest>(const openai::RequestLimits&)>;

  // Parses and starts a request. `parse` runs on the loop and must own what it reads. `route` is a literal, for the
  // metrics.
  StreamReactor(const StreamContext& context, const char* route, std::string tenant, std::string request_id,
                Parse parse);
  // Ends with `error` at once.
  StreamReactor(const StreamContext& context, const char* route, const openai::ApiError& error);
  ~StreamReactor() override { --context_.active; }

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  // Responses waiting for a slow reader; beyond, the stream is cut off. Several answers of full context length in
  // responses of one token, and a few MiB at most.
  static constexpr std::size_t kPendingMax = 8192;

  void begin(const Parse& parse, const std::string& tenant);
  void end(const openai::ApiError& error);
  void abandon();
  void push(v1::GenerateResponse response);
  void pump();

  void on_delta(openai::ChoiceDelta delta) override { push(writer_.delta(delta)); }
  void on_done(openai::Answer answer) override;
  void on_error(openai::ApiError error) override { end(error); }
  void on_flush() override { pump(); }

  const StreamContext context_;
  const char* const route_;
  const std::string request_id_;
  GrpcAnswerWriter writer_{/*has_logprobs=*/false};
  std::unique_ptr<Session> session_;
  std::deque<v1::GenerateResponse> pending_;
  v1::GenerateResponse writing_;  // the response in gRPC's hands
  grpc::Status status_;
  int http_status_ = 200;
  bool is_writing_ = false;
  bool is_ended_ = false;     // nothing more will be pushed
  bool is_finished_ = false;  // Finish() was called
};

}  // namespace coppice::server
