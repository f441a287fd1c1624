// Generation over HTTP.
#include "server/http/generation_handler.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <utility>

#include "server/http/route_call.h"

namespace coppice::server {
namespace {

// Bytes that a session holds at the end from which its answer is written by the pool: smaller ones take less than a
// millisecond.
constexpr std::size_t kLargeAnswer = std::size_t{256} << 10U;

constexpr std::size_t kCountedAtOnce = std::size_t{64} << 10U;  // bytes of a writer between two looks at the budget

}  // namespace

GenerationHandler::GenerationHandler(ServerState& state, const ModelHost& host, const CallPointer& call,
                                     std::shared_ptr<openai::AnswerWriter> writer, bool is_stream)
    : state_(state),
      call_(call),
      writer_(std::move(writer)),
      is_stream_(is_stream),
      session_(host, call->hub, *this, call->request.memory, call->arrival) {
  if (call->deadline) {
    session_.end_by(*call->deadline);
  }
}

GenerationHandler::~GenerationHandler() {
  if (!is_finished_) {
    finish(openai::kClientLeftStatus);
  }
}

std::unique_ptr<RequestHandler> GenerationHandler::start(ServerState& state, const ModelHost& host,
                                                         const CallPointer& call, Prepared prepared) {
  auto handler = std::make_unique<GenerationHandler>(state, host, call, std::move(prepared.writer),
                                                     prepared.request.request.stream);
  openai::MaybeError error = handler->count_writer();
  if (!error) {
    error = handler->session_.start(std::move(prepared.request), call->tenant);
  }
  if (error) {
    handler->on_error(std::move(*error));
    return nullptr;
  }
  return handler;
}

void GenerationHandler::begin_stream() {
  if (has_begun_) {
    return;
  }
  has_begun_ = true;
  HttpResponse head;
  head.content_type = "text/event-stream; charset=utf-8";
  head.headers = {{"x-request-id", call_->request_id}, {"cache-control", "no-cache"}, {"x-accel-buffering", "no"}};
  call_->exchange.begin_stream(head);
}

// What the writer keeps is part of the request's memory. ERRORS: as Lease::set.
openai::MaybeError GenerationHandler::count_writer() {
  const std::size_t bytes = writer_->held_bytes();
  if (call_->request.memory == nullptr || bytes < counted_ + kCountedAtOnce) {
    return std::nullopt;
  }
  counted_ = bytes;
  return call_->request.memory->set(MemoryPart::kWriter, bytes);
}

void GenerationHandler::on_begin(const openai::AnswerUsage& known) {
  if (is_stream_) {
    writer_->append_begin(known, batch_);
    if (!batch_.empty()) {
      begin_stream();
    }
  }
}

void GenerationHandler::on_delta(openai::ChoiceDelta delta) {
  if (is_finished_) {
    return;
  }
  begin_stream();
  writer_->append_delta(delta, batch_);
  if (openai::MaybeError error = count_writer()) {
    session_.abort(*error);
  }
}

// Proxies and clients give up what is silent for long: a long queue, a long prompt.
void GenerationHandler::on_quiet() {
  if (!is_stream_ || is_finished_) {
    return;
  }
  std::string sign;
  openai::AnswerUsage known;
  known.prompt_tokens = session_.prompt_tokens();
  writer_->append_begin(known, sign);
  if (sign.empty()) {
    writer_->append_ping(sign);
  }
  if (!sign.empty()) {
    begin_stream();
    call_->exchange.write(sign);
  }
}

void GenerationHandler::on_done(openai::Answer answer) {
  if (is_stream_) {
    begin_stream();
    writer_->append_begin(answer.usage, batch_);
    writer_->append_end(answer, batch_);
    ends_stream_ = true;
    finish(200);
  } else if (session_.held_bytes() < kLargeAnswer || !write_on_pool(answer)) {
    respond(writer_->whole(answer));
  }
}

// False: the pool is full or absent, and `answer` is as it was.
bool GenerationHandler::write_on_pool(openai::Answer& answer) {
  if (state_.work == nullptr) {
    return false;
  }
  const auto kept = std::make_shared<openai::Answer>(std::move(answer));
  writing_.emplace(call_->exchange.poster(), [this](const openai::ApiError& error) { on_error(error); });
  const bool is_queued = writing_->start(*state_.work, call_->tenant, WorkPool::kLargeBytes + 1,
                                         [this, kept, writer = writer_](const auto& /*cancelled*/) {
                                           const auto body = std::make_shared<std::string>(writer->whole(*kept));
                                           return [this, body] { respond(std::move(*body)); };
                                         });
  if (!is_queued) {
    answer = std::move(*kept);
  }
  return is_queued;
}

void GenerationHandler::respond(std::string body) {
  HttpResponse response;
  response.body = std::move(body);
  response.headers = {{"x-request-id", call_->request_id}};
  call_->exchange.respond(std::move(response));
  finish(200);
}

void GenerationHandler::on_error(openai::ApiError error) {
  if (has_begun_) {  // the status line is gone: the error goes into the stream
    writer_->append_error(error, batch_);
    ends_stream_ = true;
  } else {
    call_->exchange.respond(error_response(error, call_->request_id, call_->dialect));
  }
  if (error.status >= 500) {
    spdlog::warn("request {}: {}", call_->request_id, error.message);
  }
  finish(error.status);
}

void GenerationHandler::on_flush() {
  if (has_begun_ && !batch_.empty()) {
    call_->exchange.write(std::exchange(batch_, {}));
  }
  if (std::exchange(ends_stream_, false)) {
    call_->exchange.end_stream(StreamEnd::kWhole);
  }
}

void GenerationHandler::finish(int status) {
  is_finished_ = true;
  state_.metrics.count_answer("http", call_->route, status);
  spdlog::info("request {} {} client {} status {} prompt {} output {} finish {} first token {:.1f} ms",
               call_->request_id, call_->route, call_->exchange.client(), status, session_.prompt_tokens(),
               session_.completion_tokens(), status == openai::kClientLeftStatus ? "left" : session_.finish_label(),
               session_.meter().first_token_s() * 1e3);
}

}  // namespace coppice::server
