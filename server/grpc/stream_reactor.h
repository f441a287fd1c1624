// StreamReactor: one streaming answer over gRPC. gRPC's callbacks come on any of its threads and only post; the request
// is read on the work pool; all state is used on one loop alone.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "coppice/v1/inference.pb.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "server/grpc/answer_writer.h"
#include "server/grpc/call.h"
#include "server/sessions/prepared_request.h"
#include "server/sessions/session.h"

namespace coppice::server {

// Owner: itself; deletes itself after OnDone(). Thread: see above.
class StreamReactor final : public grpc::ServerWriteReactor<grpc::ByteBuffer>, private OutputSink {
 public:
  // Decodes and checks a request, and says what it calls itself. Runs on the work pool.
  using Read = openai::Result<openai::GenerationRequest> (*)(const grpc::ByteBuffer& bytes,
                                                             const openai::RequestLimits& limits,
                                                             std::string& request_id);

  // `server_context` is gRPC's of this call. `request` is gRPC's, valid until OnDone(); it is emptied when it has been
  // read.
  StreamReactor(CallContext& context, grpc::CallbackServerContext& server_context, SessionLoop& home, Call call,
                grpc::ByteBuffer& request, Read read);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  using Prepared = openai::Result<PreparedRequest>;

  // Responses waiting for a slow reader; beyond, the stream is cut off. Several answers of full context length in
  // responses of one token.
  static constexpr std::size_t kPendingMax = 8192;
  // Their bytes; as over HTTP.
  static constexpr std::size_t kPendingBytesMax = std::size_t{8} << 20U;
  // The budget hears of pending bytes in steps of this size: a lock is not taken for every response.
  static constexpr std::size_t kCountedStep = std::size_t{64} << 10U;

  template <typename Task>
  void post(Task task);
  std::shared_ptr<Prepared> expect_result();
  void queue(grpc::ByteBuffer& request, Read read);
  Prepared prepare(grpc::ByteBuffer& request, Read read);
  void begin(Prepared prepared);
  void compile(PreparedRequest prepared);
  void end(const openai::ApiError& error);
  void abandon();
  void drop_session(const char* finish);
  void push(v1::GenerateResponse response);
  void cut_off(const openai::ApiError& error);
  openai::MaybeError count_pending();
  void pump();

  void on_delta(openai::ChoiceDelta delta) override { push(writer_.delta(delta)); }
  void on_done(openai::Answer answer) override;
  void on_error(openai::ApiError error) override;
  void on_flush() override { pump(); }

  CallContext& context_;
  grpc::CallbackServerContext& server_context_;  // lives until OnDone()
  SessionLoop& home_;
  Call call_;  // changed by the pool while it has the request
  const SessionMeter::Clock::time_point arrival_ = SessionMeter::Clock::now();
  const std::shared_ptr<MemoryBudget::Lease> memory_;
  CancelFlag is_cancelled_{false};  // set at once, on any thread
  GrpcAnswerWriter writer_{/*has_logprobs=*/false};
  std::unique_ptr<Session> session_;
  std::deque<grpc::ByteBuffer> pending_;
  std::size_t pending_bytes_ = 0;
  std::size_t counted_bytes_ = 0;  // of them, known to the budget
  grpc::ByteBuffer writing_;       // the response in gRPC's hands
  grpc::Status status_;
  int http_status_ = 200;
  bool is_reading_ = true;  // the pool has the request, or its grammar is being compiled
  bool is_writing_ = false;
  bool is_ended_ = false;     // nothing more will be pushed
  bool is_finished_ = false;  // Finish() was called
};

// An answer that is a refusal. Owner: itself.
class RefusedStream final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  explicit RefusedStream(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }  // NOLINT: reactors own themselves
};

}  // namespace coppice::server
