// Finish() is called by the last owner of the result: the job, or the pool when it drops the job.
#include "server/grpc/unary_reactor.h"

#include <spdlog/spdlog.h>

#include <exception>
#include <utility>

#include "server/grpc/convert.h"

namespace coppice::server {

UnaryReactor::UnaryReactor(CallContext& context, Call call, grpc::ByteBuffer& request, grpc::ByteBuffer& response,
                           Work work)
    : context_(context), call_(std::move(call)), memory_(context.state.memory) {
  const auto finish_with = [this, &response](Answer* result) {
    const std::unique_ptr<Answer> owner(result);
    finish(std::move(*owner), response);
  };
  const std::shared_ptr<Answer> result(new Answer(openai::unavailable("draining", "the server is shutting down", 1)),
                                       finish_with);
  memory_.set_tenant(call_.tenant);
  if (openai::MaybeError error = memory_.set(MemoryPart::kBody, request.Length())) {
    *result = *std::move(error);
    return;
  }
  if (!context_.run(call_, request.Length(),
                    [this, result, &request, work = std::move(work)] { *result = answer(request, work); })) {
    *result = openai::overloaded("too many requests wait to be read; try again later", 1);
  }
}

UnaryReactor::Answer UnaryReactor::answer(grpc::ByteBuffer& request, const Work& work) {
  if (is_cancelled_) {
    return openai::cancelled();
  }
  try {
    Answer answer = work(request, {&is_cancelled_, &memory_});
    request.Clear();
    (void)memory_.set(MemoryPart::kBody, 0);
    return answer;
  } catch (const std::exception& error) {  // out of memory at worst
    spdlog::error("{}: {}", call_.route, error.what());
    return openai::internal_error("the request could not be answered");
  }
}

void UnaryReactor::OnDone() {
  call_.place->entry().leave();
  delete this;  // NOLINT: reactors own themselves
}

void UnaryReactor::finish(Answer answer, grpc::ByteBuffer& response) {
  context_.state.metrics.count_answer("grpc", call_.route, answer.ok() ? 200 : answer.error().status);
  call_.place->entry().waits_for_client(true);
  if (answer.ok()) {
    response = std::move(answer.value());
    Finish(grpc::Status::OK);
  } else {
    Finish(to_status(answer.error()));
  }
}

}  // namespace coppice::server
