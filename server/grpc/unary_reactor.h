// UnaryReactor: one answer of one message, made on the work pool.
#pragma once

#include <functional>
#include <memory>

#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "server/grpc/call.h"
#include "server/sessions/prepared_request.h"

namespace coppice::server {

// Owner: itself; deletes itself after OnDone(). Thread: gRPC's and the pool's; finished once.
class UnaryReactor final : public grpc::ServerUnaryReactor {
 public:
  // Makes the answer from the request. Runs on the work pool.
  using Work = std::function<openai::Result<grpc::ByteBuffer>(const grpc::ByteBuffer& request, const JobContext& job)>;

  // Both buffers are gRPC's, valid until OnDone(); the request is emptied when it has been read.
  UnaryReactor(CallContext& context, Call call, grpc::ByteBuffer& request, grpc::ByteBuffer& response, Work work);

  void OnCancel() override { is_cancelled_ = true; }
  void OnDone() override;

 private:
  using Answer = openai::Result<grpc::ByteBuffer>;

  Answer answer(grpc::ByteBuffer& request, const Work& work);
  void finish(Answer answer, grpc::ByteBuffer& response);

  CallContext& context_;
  const Call call_;
  MemoryBudget::Lease memory_;
  CancelFlag is_cancelled_{false};
};

// An answer that is a refusal. Owner: itself.
class RefusedUnary final : public grpc::ServerUnaryReactor {
 public:
  explicit RefusedUnary(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }  // NOLINT: reactors own themselves
};

}  // namespace coppice::server
