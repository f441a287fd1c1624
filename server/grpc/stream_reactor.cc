// Posting from gRPC's threads, state on the loop. At most one write is outstanding; Finish() is called once.
#include "server/grpc/stream_reactor.h"

#include <utility>

#include "server/grpc/convert.h"

namespace coppice::server {

StreamReactor::StreamReactor(const StreamContext& context, const char* route, std::string tenant,
                             std::string request_id, Parse parse)
    : context_(context), route_(route), request_id_(std::move(request_id)) {
  ++context_.active;
  context_.loop.post([this, parse = std::move(parse), tenant = std::move(tenant)] { begin(parse, tenant); });
}

StreamReactor::StreamReactor(const StreamContext& context, const char* route, const openai::ApiError& error)
    : context_(context), route_(route) {
  ++context_.active;
  context_.loop.post([this, error] {
    end(error);
    pump();
  });
}

void StreamReactor::OnWriteDone(bool ok) {
  context_.loop.post([this, ok] {
    is_writing_ = false;
    if (!ok) {
      abandon();
    }
    pump();
  });
}

void StreamReactor::OnCancel() {
  context_.loop.post([this] {
    abandon();
    pump();
  });
}

void StreamReactor::OnDone() {
  context_.loop.post([this] {
    context_.state.metrics.count_answer("grpc", route_, http_status_);
    delete this;  // NOLINT: gRPC's reactors own themselves; this is their last callback
  });
}

void StreamReactor::begin(const Parse& parse, const std::string& tenant) {
  if (is_ended_) {  // cancelled before it began
    return;
  }
  const ModelHost& host = *context_.state.host.load();  // not null: the phase was kServing
  openai::Result<openai::GenerationRequest> parsed = parse(host.request_limits);
  if (!parsed.ok()) {
    end(parsed.error());
  } else {
    openai::GenerationRequest& request = parsed.value();
    const bool has_logprobs = request.top_logprobs.has_value();
    request.return_token_ids = !has_logprobs;  // entries with logprobs name their tokens
    writer_ = GrpcAnswerWriter(has_logprobs);
    OutputSink& sink = *this;
    session_ = std::make_unique<Session>(host, context_.hub, sink);
    if (const openai::MaybeError error = session_->start(std::move(request), tenant)) {
      end(*error);
    }
  }
  pump();
}

void StreamReactor::end(const openai::ApiError& error) {
  if (!is_ended_) {
    is_ended_ = true;
    status_ = to_status(error);
    http_status_ = error.status;
  }
}

// The client has left: cancels the request.
void StreamReactor::abandon() {
  session_.reset();
  pending_.clear();
  end({.status = 499, .type = "cancelled", .param = "", .code = "cancelled", .message = "the client cancelled"});
}

void StreamReactor::push(v1::GenerateResponse response) {
  if (is_ended_) {
    return;
  }
  if (pending_.size() >= kPendingMax) {
    end(openai::overloaded("the client reads too slowly; the stream was cut off", 0));
    context_.loop.post([this] {  // not from inside the session's own call
      session_.reset();
      pending_.clear();
      pump();
    });
    return;
  }
  response.set_request_id(request_id_);
  pending_.push_back(std::move(response));
}

void StreamReactor::on_done(openai::Answer answer) {
  push(writer_.end(answer));
  is_ended_ = true;
}

void StreamReactor::pump() {
  if (is_writing_ || is_finished_) {
    return;
  }
  if (!pending_.empty()) {
    writing_ = std::move(pending_.front());
    pending_.pop_front();
    is_writing_ = true;
    StartWrite(&writing_);
  } else if (is_ended_) {
    is_finished_ = true;
    Finish(status_);
  }
}

}  // namespace coppice::server
