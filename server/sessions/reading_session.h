// ReadingSession: one request that reads instead of generating (embeddings, decisions), from its tokens to the answer:
// one request of the engine, whose branches answer one event each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/events.h"
#include "engine/request.h"
#include "proto/openai/answer.h"
#include "server/sessions/model_host.h"
#include "server/sessions/session_hub.h"
#include "server/sessions/session_meter.h"
#include "server/work/memory_budget.h"

namespace coppice::server {

// What is to be read, as token ids. A value; moved from the job that made it into its session.
struct PreparedReading {
  engine::Reading reading = engine::Reading::kNone;
  TokenIds prompt;  // what all branches begin with
  std::vector<engine::Branch> branches;
  std::int64_t priority = 0;
  std::string cache_salt;
  std::size_t held_bytes = 0;  // what the session will hold, the answer included

  // Tokens of the prompt, once, and of the branches.
  std::int64_t token_count() const;
};

struct ReadingAnswer {
  std::vector<std::vector<float>> readings;  // one a branch, as engine::Event::reading
  openai::AnswerUsage usage;
};

// Where the answer goes. Exactly one call comes, from inside SessionHub::dispatch(); it must neither block nor destroy
// the session.
class ReadingSink {
 public:
  virtual void on_reading(ReadingAnswer answer) = 0;
  virtual void on_reading_error(openai::ApiError error) = 0;

 protected:
  ~ReadingSink() = default;
};

// Owner: the front end's request object. Thread: its hub's. The host, the hub and the sink outlive it. Its destructor
// cancels.
class ReadingSession final : public EventListener {
 public:
  // `memory` pays for what the session holds; null: nothing is counted. The request came at `arrival`.
  ReadingSession(const ModelHost& host, SessionHub& hub, ReadingSink& sink, std::shared_ptr<MemoryBudget::Lease> memory,
                 SessionMeter::Clock::time_point arrival);
  ~ReadingSession();
  ReadingSession(const ReadingSession&) = delete;
  ReadingSession& operator=(const ReadingSession&) = delete;

  // Submits. `tenant` is the API key's name or "". REQUIRES: called once. ERRORS: 429; then the sink is not called.
  openai::MaybeError start(PreparedReading prepared, const std::string& tenant);

  // The client waits no longer than this; --request-timeout may end it sooner. Call before start().
  void end_by(SessionMeter::Clock::time_point deadline) { client_deadline_ = deadline; }

  // From the hub.
  std::size_t handle(engine::Event&& event) override;
  void flush() override {}
  void abort(const openai::ApiError& error) override;

  std::int64_t prompt_tokens() const { return answer_.usage.prompt_tokens; }
  const SessionMeter& meter() const { return meter_; }

 private:
  void leave(FinishLabel label);
  void fail(openai::ApiError error);

  const ModelHost& host_;
  SessionHub& hub_;
  ReadingSink& sink_;
  const std::shared_ptr<MemoryBudget::Lease> memory_;
  SessionMeter meter_;
  std::optional<SessionMeter::Clock::time_point> client_deadline_;
  engine::RequestId id_ = 0;
  std::size_t left_ = 0;  // branches without their event; > 0: the engine has the request
  ReadingAnswer answer_;
};

}  // namespace coppice::server
