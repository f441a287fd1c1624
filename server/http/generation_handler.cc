// Generation over HTTP.
#include "server/http/generation_handler.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <ctime>
#include <utility>

namespace coppice::server {
namespace {

constexpr int kClientLeft = 499;  // nginx's number for it; never sent

}  // namespace

GenerationHandler::GenerationHandler(ServerState& state, const ModelHost& host, const RouteCall& call)
    : state_(state),
      host_(host),
      exchange_(call.exchange),
      request_id_(call.request_id),
      route_(call.route),
      session_(host, call.hub, *this) {}

GenerationHandler::~GenerationHandler() {
  if (!is_finished_) {
    finish(kClientLeft);
  }
}

bool GenerationHandler::start(openai::GenerationRequest request, const std::string& tenant) {
  head_.kind = request.kind;
  head_.id = (request.kind == openai::RequestKind::kChat ? "chatcmpl-" : "cmpl-") + request_id_;
  head_.created_s = static_cast<std::int64_t>(std::time(nullptr));
  head_.model = host_.name;
  head_.logprobs = request.top_logprobs.has_value();
  head_.include_usage = request.include_usage;
  head_.return_token_ids = request.return_token_ids;
  is_stream_ = request.stream;
  if (openai::MaybeError error = session_.start(std::move(request), tenant)) {
    on_error(std::move(*error));
    return false;
  }
  return true;
}

void GenerationHandler::begin_stream() {
  if (has_begun_) {
    return;
  }
  has_begun_ = true;
  HttpResponse head;
  head.content_type = "text/event-stream; charset=utf-8";
  head.headers = {{"x-request-id", request_id_}, {"cache-control", "no-cache"}, {"x-accel-buffering", "no"}};
  exchange_.begin_stream(head);
}

void GenerationHandler::on_delta(openai::ChoiceDelta delta) {
  begin_stream();
  if (head_.kind == openai::RequestKind::kChat) {
    const auto index = static_cast<std::size_t>(delta.index);
    if (index >= has_role_.size()) {
      has_role_.resize(index + 1, false);
    }
    if (!has_role_[index]) {
      has_role_[index] = true;
      openai::append_role_chunk(head_, delta.index, batch_);
    }
  }
  openai::append_delta_chunk(head_, delta, batch_);
}

void GenerationHandler::on_done(openai::Answer answer) {
  if (is_stream_) {
    begin_stream();
    if (head_.include_usage) {
      openai::append_usage_chunk(head_, answer.usage, batch_);
    }
    batch_ += openai::kDoneEvent;
    ends_stream_ = true;
  } else {
    HttpResponse response;
    response.body = openai::write_answer(head_, answer);
    response.headers = {{"x-request-id", request_id_}};
    exchange_.respond(std::move(response));
  }
  finish(200);
}

void GenerationHandler::on_error(openai::ApiError error) {
  if (has_begun_) {  // the status line is gone: the error goes into the stream
    openai::append_error_event(error, batch_);
    batch_ += openai::kDoneEvent;
    ends_stream_ = true;
  } else {
    exchange_.respond(error_response(error, request_id_));
  }
  if (error.status >= 500) {
    spdlog::warn("request {}: {}", request_id_, error.message);
  }
  finish(error.status);
}

void GenerationHandler::on_flush() {
  if (has_begun_ && !batch_.empty()) {
    exchange_.write(std::exchange(batch_, {}));
  }
  if (std::exchange(ends_stream_, false)) {
    exchange_.end_stream();
  }
}

void GenerationHandler::finish(int status) {
  is_finished_ = true;
  state_.metrics.count_answer("http", route_, status);
  spdlog::info("request {} {} status {} prompt {} output {} finish {} first token {:.1f} ms", request_id_, route_,
               status, session_.prompt_tokens(), session_.completion_tokens(),
               status == kClientLeft ? "left" : session_.finish_label(), session_.first_token_s() * 1e3);
}

}  // namespace coppice::server
