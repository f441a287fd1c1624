// Readings over HTTP.
#include "server/http/reading_handler.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <utility>

namespace coppice::server {
namespace {

// Bytes that a request holds from which its answer is written by the pool: smaller ones take less than a millisecond.
constexpr std::size_t kLargeAnswer = std::size_t{256} << 10U;

}  // namespace

ReadingHandler::ReadingHandler(ServerState& state, const ModelHost& host, const CallPointer& call, Write write,
                               std::size_t held_bytes)
    : state_(state),
      call_(call),
      write_(std::move(write)),
      held_bytes_(held_bytes),
      session_(host, call->hub, *this, call->request.memory, call->arrival) {
  if (call->deadline) {
    session_.end_by(*call->deadline);
  }
}

ReadingHandler::~ReadingHandler() {
  if (!is_finished_) {
    finish(openai::kClientLeftStatus);
  }
}

std::unique_ptr<RequestHandler> ReadingHandler::start(ServerState& state, const ModelHost& host,
                                                      const CallPointer& call, PreparedReading prepared, Write write) {
  auto handler = std::make_unique<ReadingHandler>(state, host, call, std::move(write), prepared.held_bytes);
  if (openai::MaybeError error = handler->session_.start(std::move(prepared), call->tenant)) {
    handler->on_reading_error(std::move(*error));
    return nullptr;
  }
  return handler;
}

void ReadingHandler::on_reading(ReadingAnswer answer) {
  if (held_bytes_ < kLargeAnswer || state_.work == nullptr) {
    respond(write_(answer));
    return;
  }
  const auto kept = std::make_shared<ReadingAnswer>(std::move(answer));
  writing_.emplace(call_->exchange.poster(), [this](const openai::ApiError& error) { on_reading_error(error); });
  const bool is_queued = writing_->start(*state_.work, call_->tenant, WorkPool::kLargeBytes + 1,
                                         [this, kept, write = write_](const auto& /*cancelled*/) {
                                           const auto body = std::make_shared<std::string>(write(*kept));
                                           return [this, body] { respond(std::move(*body)); };
                                         });
  if (!is_queued) {
    respond(write_(*kept));
  }
}

void ReadingHandler::respond(std::string body) {
  HttpResponse response;
  response.body = std::move(body);
  response.headers = {{"x-request-id", call_->request_id}};
  call_->exchange.respond(std::move(response));
  finish(200);
}

void ReadingHandler::on_reading_error(openai::ApiError error) {
  call_->exchange.respond(error_response(error, call_->request_id, call_->dialect));
  if (error.status >= 500) {
    spdlog::warn("request {}: {}", call_->request_id, error.message);
  }
  finish(error.status);
}

void ReadingHandler::finish(int status) {
  is_finished_ = true;
  state_.metrics.count_answer("http", call_->route, status);
  spdlog::info("request {} {} status {} prompt {} output 0 finish {}", call_->request_id, call_->route, status,
               session_.prompt_tokens(),
               status == openai::kClientLeftStatus ? "left"
               : status == 200                     ? "read"
                                                   : "error");
}

}  // namespace coppice::server
