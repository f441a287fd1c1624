// From a line to its answer.
#include "server/batch/batch_job.h"

#include <ctime>
#include <utility>

#include "server/sessions/prepared_request.h"

namespace coppice::server {

BatchJob::BatchJob(const ModelHost& host, SessionHub& hub, BatchLine line, BatchJobOptions options, Done done)
    : host_(host),
      line_(std::move(line)),
      options_(std::move(options)),
      done_(std::move(done)),
      session_(host, hub, *this, options_.memory) {
  if (options_.in_background) {
    session_.run_in_background();
  }
}

openai::Result<openai::GenerationRequest> BatchJob::read() {
  openai::Result<openai::GenerationRequest> request =
      line_.endpoint->read(std::exchange(line_.body, {}), host_.request_limits);
  if (request.ok() && request.value().stream) {
    return openai::bad_value("stream", "'stream' cannot be used in a batch");
  }
  return request;
}

openai::MaybeError BatchJob::start() {
  openai::Result<openai::GenerationRequest> request = read();
  if (!request.ok()) {
    finish(request.error());
    return std::nullopt;
  }
  const std::string& id = options_.request_id.empty() ? line_.id() : options_.request_id;
  writer_ =
      openai::make_answer_writer(request.value(), {id, static_cast<std::int64_t>(std::time(nullptr)), host_.name});
  openai::Result<PreparedRequest> prepared =
      prepare(std::move(request.value()), host_, {nullptr, options_.memory.get()});
  if (prepared.ok()) {
    const openai::GenerationRequest& asked = prepared.value().request;
    sequences_ = static_cast<std::int32_t>(prepared.value().prompts.size()) *
                 static_cast<std::int32_t>(asked.best_of.value_or(asked.n));
  }
  if (prepared.ok()) {
    if (openai::MaybeError error = compile_here(prepared.value(), host_)) {
      prepared = *std::move(error);
    }
  }
  openai::MaybeError error = prepared.ok() ? session_.start(std::move(prepared.value()), options_.tenant)
                                           : openai::MaybeError(std::move(prepared.error()));
  if (error && error->status != openai::kOverloadedStatus) {
    finish(*error);
    return std::nullopt;
  }
  return error;
}

void BatchJob::on_done(openai::Answer answer) {
  ended_ = true;
  done_(*this, {200, writer_->whole(answer), answer.usage});
}

void BatchJob::finish(const openai::ApiError& error) {
  ended_ = true;
  done_(*this, {error.status, openai::write_error(error), {}});
}

}  // namespace coppice::server
