// Posting from gRPC's threads, state on the loop. At most one write is outstanding; Finish() is called once, and not
// while the pool has the request.
#include "server/grpc/stream_reactor.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <exception>
#include <utility>

#include "grpcpp/server_context.h"
#include "proto/openai/service_fields.h"
#include "server/grpc/convert.h"
#include "server/grpc/message_bytes.h"
#include "server/sessions/request_id.h"

namespace coppice::server {

StreamReactor::StreamReactor(CallContext& context, grpc::CallbackServerContext& server_context, SessionLoop& home,
                             Call call, grpc::ByteBuffer& request, Read read)
    : context_(context),
      server_context_(server_context),
      home_(home),
      call_(std::move(call)),
      memory_(std::make_shared<MemoryBudget::Lease>(context.state.memory)) {
  queue(request, read);
}

// Runs `task` on the loop. What it throws, out of memory at worst, ends this call alone.
template <typename Task>
void StreamReactor::post(Task task) {
  home_.loop.post([this, task = std::move(task)]() mutable {
    try {
      task();
    } catch (const std::exception& error) {
      spdlog::error("request {}: {}", call_.request_id, error.what());
      drop_session("error");
      end(openai::internal_error("the request could not be answered"));
      pump();
    }
  });
}

// The result comes back to the loop when the last who could set it is gone, whether the job has run or was dropped, by
// a queue or at the end of the process: begin() is called once whatever happens.
std::shared_ptr<StreamReactor::Prepared> StreamReactor::expect_result() {
  const auto bring_back = [this](Prepared* result) {
    post([this, result] {
      const std::unique_ptr<Prepared> owner(result);
      begin(std::move(*owner));
    });
  };
  return {new Prepared(openai::unavailable("draining", "the server is shutting down", 1)), bring_back};
}

void StreamReactor::queue(grpc::ByteBuffer& request, Read read) {
  const std::shared_ptr<Prepared> result = expect_result();
  memory_->set_tenant(call_.tenant);
  if (openai::MaybeError error = memory_->set(MemoryPart::kBody, request.Length())) {
    *result = *std::move(error);
    return;
  }
  if (!context_.run(call_, request.Length(), [this, result, &request, read] { *result = prepare(request, read); })) {
    *result = openai::overloaded("too many requests wait to be read; try again later", 1);
  }
}

StreamReactor::Prepared StreamReactor::prepare(grpc::ByteBuffer& request, Read read) {
  if (is_cancelled_) {
    return openai::cancelled();
  }
  try {
    const ModelHost& host = *context_.state.host.load();  // not null: the phase was kServing
    const JobContext job{&is_cancelled_, memory_.get()};
    if (openai::MaybeError error = job.hold(parsing_bytes(request.Length(), host.request_limits))) {
      return *std::move(error);
    }
    std::string own_id;
    openai::Result<openai::GenerationRequest> parsed = read(request, host.request_limits, own_id);
    request.Clear();
    (void)memory_->set(MemoryPart::kBody, 0);
    if (is_request_id(own_id)) {
      call_.request_id = std::move(own_id);
    }
    if (!parsed.ok()) {
      return std::move(parsed.error());
    }
    parsed.value().return_token_ids = !parsed.value().top_logprobs.has_value();  // entries with logprobs name theirs
    return server::prepare(std::move(parsed.value()), host, job);
  } catch (const std::exception& error) {  // out of memory at worst
    spdlog::error("request {}: {}", call_.request_id, error.what());
    return openai::internal_error("the request could not be read");
  }
}

void StreamReactor::OnWriteDone(bool ok) {
  call_.place->entry().waits_for_client(false);
  post([this, ok] {
    is_writing_ = false;
    if (!ok) {
      abandon();
    }
    pump();
  });
}

void StreamReactor::OnCancel() {
  is_cancelled_ = true;
  post([this] {
    abandon();
    pump();
  });
}

void StreamReactor::OnDone() {
  call_.place->entry().leave();
  home_.loop.post([this] {
    context_.state.metrics.count_answer("grpc", call_.route, http_status_);
    drop_session(session_ == nullptr ? "" : session_->finish_label());
    delete this;  // NOLINT: gRPC's reactors own themselves; this is their last callback
  });
}

void StreamReactor::begin(Prepared prepared) {
  is_reading_ = false;
  if (is_ended_) {  // cancelled meanwhile
    pump();
    return;
  }
  if (!prepared.ok()) {
    end(prepared.error());
  } else if (prepared.value().order != nullptr) {
    compile(std::move(prepared.value()));
  } else {
    const ModelHost& host = *context_.state.host.load();
    const openai::GenerationRequest& request = prepared.value().request;
    writer_ = GrpcAnswerWriter(request.top_logprobs.has_value(), request.continuous_usage,
                               service_tier_name(request.service_tier));
    if (!request.ignored.empty()) {
      server_context_.AddTrailingMetadata(openai::kIgnoredHeader, request.ignored.header());
    }
    if (!prepared.value().unenforced.empty()) {
      server_context_.AddTrailingMetadata(openai::kUnenforcedHeader, prepared.value().unenforced);
    }
    OutputSink& sink = *this;
    session_ = std::make_unique<Session>(host, home_.hub, sink, memory_, arrival_);
    if (call_.deadline) {
      session_->end_by(*call_.deadline);
    }
    if (const openai::MaybeError error = session_->start(std::move(prepared.value()), call_.tenant)) {
      end(*error);
    }
  }
  pump();
}

// Comes back to begin() with the grammar.
void StreamReactor::compile(PreparedRequest prepared) {
  is_reading_ = true;
  const std::shared_ptr<Prepared> result = expect_result();
  const auto waiting = std::make_shared<PreparedRequest>(std::move(prepared));
  context_.state.host.load()->grammars->get(waiting->order, call_.tenant,
                                            [result, waiting](OutputGrammars::Grammar grammar) {
                                              if (!grammar.ok()) {
                                                *result = std::move(grammar.error());
                                                return;
                                              }
                                              waiting->hold_to(grammar.value());
                                              *result = std::move(*waiting);
                                            });
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
  drop_session("left");
  pending_.clear();
  pending_bytes_ = 0;
  end(openai::cancelled());
}

void StreamReactor::drop_session(const char* finish) {
  if (session_ != nullptr) {
    spdlog::info("request {} {} client {} status {} prompt {} output {} finish {} first token {:.1f} ms",
                 call_.request_id, call_.route, call_.client, http_status_, session_->prompt_tokens(),
                 session_->completion_tokens(), finish, session_->meter().first_token_s() * 1e3);
    session_.reset();
  }
}

// Ends the stream; what waits is dropped.
void StreamReactor::cut_off(const openai::ApiError& error) {
  end(error);
  post([this] {  // not from inside the session's own call
    drop_session("cut off");
    pending_.clear();
    pending_bytes_ = 0;
    pump();
  });
}

openai::MaybeError StreamReactor::count_pending() {
  const bool has_grown = pending_bytes_ >= counted_bytes_ + kCountedStep;
  if (!has_grown && pending_bytes_ * 2 >= counted_bytes_) {
    return std::nullopt;
  }
  counted_bytes_ = has_grown ? pending_bytes_ : 0;
  return memory_->set(MemoryPart::kOutput, counted_bytes_);
}

void StreamReactor::push(v1::GenerateResponse response) {
  if (is_ended_) {
    return;
  }
  if (pending_.size() >= kPendingMax || pending_bytes_ >= kPendingBytesMax) {
    cut_off(openai::overloaded("the client reads too slowly; the stream was cut off", 0));
    return;
  }
  response.set_request_id(call_.request_id);
  pending_.push_back(encode(response));
  pending_bytes_ += pending_.back().Length();
  if (const openai::MaybeError error = count_pending()) {
    cut_off(*error);
  }
}

void StreamReactor::on_done(openai::Answer answer) {
  push(writer_.end(answer));
  is_ended_ = true;
}

void StreamReactor::on_error(openai::ApiError error) {
  if (error.status >= 500) {
    spdlog::warn("request {}: {}", call_.request_id, error.message);
  }
  end(error);
}

void StreamReactor::pump() {
  if (is_writing_ || is_finished_ || is_reading_) {
    return;
  }
  if (!pending_.empty()) {
    writing_ = std::move(pending_.front());
    pending_.pop_front();
    pending_bytes_ -= writing_.Length();
    (void)count_pending();  // never an error for fewer bytes
    is_writing_ = true;
    call_.place->entry().waits_for_client(true);
    StartWrite(&writing_);
  } else if (is_ended_) {
    is_finished_ = true;
    Finish(status_);  // a status needs no window: no client holds it up
  }
}

}  // namespace coppice::server
