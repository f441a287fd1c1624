// From a reading request to its events and back.
#include "server/sessions/reading_session.h"

#include <numeric>
#include <utility>

#include "server/access/api_keys.h"
#include "server/sessions/event_error.h"

namespace coppice::server {
namespace {

constexpr std::size_t kNumbersPerEntry = 16;  // moved, while an entry of a token is decoded and written

FinishLabel label_of(const openai::ApiError& error) {
  return error.status == openai::kTimeoutStatus       ? FinishLabel::kDeadline
         : error.status == openai::kUnavailableStatus ? FinishLabel::kAbort
                                                      : FinishLabel::kError;
}

}  // namespace

std::int64_t PreparedReading::token_count() const {
  return std::accumulate(branches.begin(), branches.end(), static_cast<std::int64_t>(prompt.size()),
                         [](std::int64_t sum, const engine::Branch& branch) {
                           return sum + static_cast<std::int64_t>(branch.tokens.size());
                         });
}

ReadingSession::ReadingSession(const ModelHost& host, SessionHub& hub, ReadingSink& sink,
                               std::shared_ptr<MemoryBudget::Lease> memory, SessionMeter::Clock::time_point arrival)
    : host_(host), hub_(hub), sink_(sink), memory_(std::move(memory)), meter_(*host.metrics, arrival) {}

ReadingSession::~ReadingSession() {
  leave(FinishLabel::kAbort);
}

// Forgets the request; what has not ended is cancelled and counted as ended so.
void ReadingSession::leave(FinishLabel label) {
  hub_.forget(id_);
  if (left_ == 0) {
    return;
  }
  host_.engine->cancel(id_, -1);
  for (; left_ > 0; --left_) {
    meter_.count_finish(label);
  }
}

openai::MaybeError ReadingSession::start(PreparedReading prepared, const std::string& tenant) {
  answer_.usage.prompt_tokens = prepared.token_count();
  answer_.readings.resize(prepared.branches.size());
  engine::Request request;
  id_ = host_.take_request_ids(1);
  request.id = id_;
  request.reading = prepared.reading;
  request.prompt = std::move(prepared.prompt);
  request.branches = std::move(prepared.branches);
  request.choices = static_cast<std::int32_t>(request.branches.size());
  request.sampling.max_tokens = 0;
  request.priority = static_cast<std::int32_t>(prepared.priority);
  request.tenant = tenant_of(tenant, prepared.cache_salt);
  request.account = key_part(request.tenant);
  request.deadline = host_.deadline(meter_.arrival(), client_deadline_);
  request.events = hub_.queue();
  hub_.remember(id_, *this);
  std::vector<engine::Request> one;
  one.push_back(std::move(request));
  meter_.mark_submitted();
  if (const engine::Overload overload = host_.engine->submit_all(std::move(one)); overload.exists()) {
    hub_.forget(id_);
    openai::ApiError error = error_of(overload);
    host_.metrics->count_rejection(error.code);
    return error;
  }
  left_ = answer_.readings.size();
  return std::nullopt;
}

std::size_t ReadingSession::handle(engine::Event&& event) {
  const std::size_t numbers = event.reading.size();
  if (left_ == 0 || event.finish == engine::FinishReason::kNone) {
    return 1;
  }
  if (openai::MaybeError error = error_of(event)) {
    fail(*std::move(error));
    return 1;
  }
  meter_.mark_event(event.queued_ns);
  answer_.readings[static_cast<std::size_t>(event.choice)] = std::move(event.reading);
  answer_.usage.cached_tokens += event.usage.cached_tokens;
  answer_.usage.cache_write_tokens += event.usage.cache_write_tokens;
  meter_.count_finish(FinishLabel::kLength);
  if (--left_ == 0) {
    meter_.observe_end({.prompt_tokens = answer_.usage.prompt_tokens});
    hub_.forget(id_);
    sink_.on_reading(std::move(answer_));
  }
  return 1 + numbers / kNumbersPerEntry;
}

void ReadingSession::fail(openai::ApiError error) {
  leave(label_of(error));
  sink_.on_reading_error(std::move(error));
}

void ReadingSession::abort(const openai::ApiError& error) {
  if (left_ > 0) {
    fail(error);
  }
}

}  // namespace coppice::server
