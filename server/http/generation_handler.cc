// Generation over HTTP.
#include "server/http/generation_handler.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <ctime>
#include <utility>

namespace coppice::server {
namespace {

constexpr int kClientLeft = 499;  // status for metrics and log, as nginx: the client left before the answer; never sent

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
  writer_ =
      openai::make_answer_writer(request, {request_id_, static_cast<std::int64_t>(std::time(nullptr)), host_.name});
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
  writer_->append_delta(delta, batch_);
}

void GenerationHandler::on_done(openai::Answer answer) {
  if (is_stream_) {
    begin_stream();
    writer_->append_end(answer.usage, batch_);
    ends_stream_ = true;
  } else {
    HttpResponse response;
    response.body = writer_->whole(answer);
    response.headers = {{"x-request-id", request_id_}};
    exchange_.respond(std::move(response));
  }
  finish(200);
}

void GenerationHandler::on_error(openai::ApiError error) {
  if (has_begun_) {  // the status line is gone: the error goes into the stream
    writer_->append_error(error, batch_);
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
               status == kClientLeft ? "left" : session_.finish_label(), session_.meter().first_token_s() * 1e3);
}

}  // namespace coppice::server
